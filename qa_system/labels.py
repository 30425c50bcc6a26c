"""Labels: joined by annotator, aggregated by question and item, and written as JSON.

A data set has a label for each pair of a question and a review. A question about all of an item's
reviews is asked once, so the pairs with the same question about the same item become one label, and
each of their reviews may answer it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import orjson

from qa_system.arguments import check_text
from qa_system.errors import DataError, InvalidArgumentError
from qa_system.records import AnswerSpan, Label

__all__ = [
    "UNLOCATED",
    "aggregate",
    "decode_label",
    "encode_label",
    "gold_documents",
    "gold_texts",
    "is_answered",
    "join_annotators",
]

UNLOCATED = "unlocated_answers"
"""The key of `Label.meta` for answers, as text, whose place in the review was not found. A label
that has only such answers is answerable, but has no span."""


def is_answered(label: Label) -> bool:
    """Tell whether an annotator found an answer in the label's own review, located or not.

    >>> is_answered(Label("q", "How is it?", None, "r", "Good.", (), meta={UNLOCATED: ["fine"]}))
    True
    """
    return bool(label.answers or label.meta.get(UNLOCATED))


def join_annotators(labels: Iterable[Label]) -> tuple[Label, ...]:
    """Join labels that hold one annotator each into one label with all annotators.

    Labels with the same split, question id and review are joined. All annotations are kept, in
    order; a label without annotations counts as one annotator. Lists in `meta` hold a value for
    each annotator and are joined; of other values the first is kept.

    Args:
        labels: of one split or several.

    Raises:
        DataError: two labels with the same ids have different questions, items or texts.

    >>> yes = Label("q", "How is it?", "B00", "r", "Good.", (AnswerSpan("Good", 0, 4),))
    >>> no = Label("q", "How is it?", "B00", "r", "Good.", ())
    >>> [label.annotations for label in join_annotators([yes, no])]
    [((AnswerSpan(text='Good', start=0, end=4),), ())]
    """
    pairs: dict[_Pair, list[Label]] = {}
    for label in labels:
        pairs.setdefault(_pair(label), []).append(label)
    return tuple(_joined(apart) for apart in pairs.values())


def aggregate(labels: Iterable[Label], among: Iterable[Label] | None = None) -> tuple[Label, ...]:
    """Make one label of those that ask the same question about the same item in one split.

    Labels of several annotators are joined first (`join_annotators`). Of the labels with exactly
    the same question, the first answerable one represents all (or the first, if none is
    answerable), and the rest are its `others`. A label without an item is not aggregated. On the
    test split of SubjQA's electronics 358 labels become 330, as in chapter 7 of "Natural Language
    Processing with Transformers" (Tunstall, von Werra and Wolf), which aggregates by question and
    item.

    Args:
        labels: the questions to ask, of one split or several.
        among: labels of any split that are added to `others`, because a review of another split
            may answer the question, too. They add no questions.

    Raises:
        DataError: two labels with the same ids have different questions, items or texts.

    >>> first = Label("q1", "How is it?", "B00", "r1", "Blue.", ())
    >>> second = Label("q2", "How is it?", "B00", "r2", "Good.", (AnswerSpan("Good", 0, 4),))
    >>> [label] = aggregate([first, second])
    >>> label.review_id, [other.review_id for other in label.others]
    ('r2', ['r1'])
    """
    asked: dict[tuple[str | None, ...], list[Label]] = {}
    for label in join_annotators(labels):
        alone = () if label.item_id is not None else (label.question_id, label.review_id)
        question = (label.split, label.item_id, label.question, *alone)
        asked.setdefault(question, []).append(label)
    wider: dict[tuple[str | None, str], list[Label]] = {}
    for label in () if among is None else join_annotators(among):
        if label.item_id is not None:
            wider.setdefault((label.item_id, label.question), []).append(label)
    return tuple(
        _with_others(same, wider.get((same[0].item_id, same[0].question), ()))
        for same in asked.values()
    )


def gold_texts(label: Label) -> tuple[str, ...]:
    """Return the distinct answers that count as right; none if the question has no answer.

    If labels were aggregated, the answers of `others` count, too. Answers whose place in the
    review was not found count only if there are no others: a question with such answers is
    answerable.

    >>> gold_texts(Label("q", "How is it?", None, "r", "Good.", ()))
    ()
    """
    labels = label, *label.others
    located = dict.fromkeys(span.text for one in labels for span in one.answers)
    return tuple(located or dict.fromkeys(text for one in labels for text in _unlocated(one)))


def gold_documents(label: Label) -> frozenset[str]:
    """Return the ids of the reviews that answer the question; none if it has no answer."""
    return frozenset(one.review_id for one in (label, *label.others) if is_answered(one))


def _unlocated(label: Label) -> Sequence[str]:
    texts: Sequence[str] = label.meta.get(UNLOCATED, ())
    return texts


def encode_label(label: Label) -> bytes:
    """Return a label as a JSON object; the bytes do not depend on the order of its `meta`.

    Raises:
        DataError: it would not be the same label when read back, or it was aggregated.
        InvalidArgumentError: it is no label, or one of its texts is none.

    >>> encode_label(Label("q", "How is it?", None, "r", "Good.", ()))
    b'{"question_id":"q","question":"How is it?","review_id":"r","context":"Good.","answers":[]}'
    """
    if not isinstance(label, Label):
        raise InvalidArgumentError(f"a {type(label).__name__} is no Label", remedy="Pass labels.")
    for name in ("question_id", "question", "review_id", "context"):
        check_text(f"the label's {name}", getattr(label, name))
    tree: dict[str, Any] = {"question_id": label.question_id, "question": label.question}
    tree |= {} if label.item_id is None else {"item_id": label.item_id}
    tree |= {"review_id": label.review_id}
    tree |= {} if label.split is None else {"split": label.split}
    tree |= {"context": label.context, "answers": _spans_as_json(label.answers)}
    if label.annotations:
        tree["annotations"] = [_spans_as_json(spans) for spans in label.annotations]
    try:
        if label.meta:
            # orjson would write a date as text, and a tuple comes back as a list.
            options = orjson.OPT_SORT_KEYS | orjson.OPT_PASSTHROUGH_DATETIME
            tree["meta"] = orjson.Fragment(orjson.dumps(label.meta, option=options))
        encoded = orjson.dumps(tree)
        same = decode_label(encoded) == label
    except TypeError as error:
        raise _not_json(label, str(error)) from error
    if not same:
        raise _not_json(label, "it would not be read as it was written")
    return encoded


def decode_label(encoded: bytes | str) -> Label:
    """Return the label that `encode_label` wrote."""
    tree = orjson.loads(encoded)
    return Label(
        question_id=tree["question_id"],
        question=tree["question"],
        item_id=tree.get("item_id"),
        review_id=tree["review_id"],
        context=tree["context"],
        answers=_spans_of_json(tree["answers"]),
        annotations=tuple(_spans_of_json(spans) for spans in tree.get("annotations", ())),
        split=tree.get("split"),
        meta=tree.get("meta", {}),
    )


_Pair = tuple[str | None, str, str]


def _pair(label: Label) -> _Pair:
    return label.split, label.question_id, label.review_id


def _asked(label: Label) -> tuple[str, str | None, str]:
    return label.question, label.item_id, label.context


def _joined(apart: Sequence[Label]) -> Label:
    first = apart[0]
    if len(apart) == 1:
        return first
    meta = dict(first.meta)
    for label in apart[1:]:
        if _asked(label) != _asked(first):
            raise DataError(
                f"question id {label.question_id!r} stands for two questions or two texts",
                where=f"review {label.review_id}",
                remedy="Give every pair of question and review an id of its own.",
            )
        for key, value in label.meta.items():
            known = meta.setdefault(key, [] if isinstance(value, list) else value)
            if isinstance(known, list) and isinstance(value, list):
                meta[key] = known + value
    if UNLOCATED in meta:
        meta[UNLOCATED] = list(dict.fromkeys(meta[UNLOCATED]))
    return replace(
        first,
        answers=tuple(dict.fromkeys(chain.from_iterable(label.answers for label in apart))),
        annotations=tuple(chain.from_iterable(map(_annotations, apart))),
        meta=meta,
        others=tuple(chain.from_iterable(label.others for label in apart)),
    )


def _annotations(label: Label) -> tuple[tuple[AnswerSpan, ...], ...]:
    if label.annotations:
        return label.annotations
    # An annotator whose answer was not located found one, so () would be wrong.
    is_lost = is_answered(label) and not label.answers
    return () if is_lost else (label.answers,)


def _with_others(same: Sequence[Label], wider: Sequence[Label]) -> Label:
    head = next(filter(is_answered, same), same[0])
    others: dict[_Pair, Label] = {}
    for label in _flat(chain(same, wider)):
        others.setdefault(_pair(label), label)
    del others[_pair(head)]
    return replace(head, others=tuple(others.values()))


def _flat(labels: Iterable[Label]) -> Iterator[Label]:
    for label in labels:
        yield replace(label, others=()) if label.others else label
        yield from label.others


def _spans_as_json(spans: Iterable[AnswerSpan]) -> list[dict[str, Any]]:
    return [{"text": span.text, "start": span.start} for span in spans]


def _spans_of_json(spans: Iterable[Any]) -> tuple[AnswerSpan, ...]:
    return tuple(
        AnswerSpan(span["text"], span["start"], span["start"] + len(span["text"])) for span in spans
    )


def _not_json(label: Label, reason: str) -> DataError:
    return DataError(
        f"the label cannot be written: {reason}",
        where=f"question {label.question_id!r}",
        remedy="Write labels before they are aggregated; meta may hold strings, numbers (64 bits, "
        "finite), bools, None, lists, and dictionaries with strings as keys.",
    )
