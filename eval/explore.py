"""A first look at a data set, before any model sees it: what is asked, how long, how surely.

Chapter 7 of "Natural Language Processing with Transformers" (Tunstall, von Werra and Wolf) looks
at SubjQA this way: splits, question types, and the share of reviews that are longer than the
reader's window. What else spoils an evaluation is counted with it: answers that are not where
their annotators say, annotators who disagree, questions and items that stand in two splits.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from eval.runs.slices import slices_of
from qa_system.config import ReaderSettings
from qa_system.datasets.dataset import Dataset
from qa_system.errors import EvaluationError
from qa_system.inference import load_tokenizer
from qa_system.labels import UNLOCATED, gold_texts
from qa_system.models import locate
from qa_system.readers.windows import WindowCutter
from qa_system.records import Label

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["explore", "print_exploration"]

TEXTS_AT_ONCE = 1_000
BARS = 40
MEASURED = ("dev", "test")


def explore(dataset: Dataset, reader: ReaderSettings) -> dict[str, Any]:
    """Count what a data set holds.

    Args:
        dataset: all its splits are looked at.
        reader: whose tokenizer counts tokens, and whose window they have to fit into.

    Returns:
        JSON values:

        - `title`: the data set's path;
        - `counts`: `all`, each split and (as `domain NAME`) each of several domains ->
          questions, reviews, items, `answerable` (share of the questions),
          `questions_of_review` and `reviews_of_item` (means), `annotated_twice` (questions with
          two annotators or more) and `agreement` (the share of those on which all say alike
          whether there is an answer);
        - `question_words`: the word that opens a question -> how many do, and `answerable`;
        - `lengths`: `question`, `review` and `answer` -> how many there are, and the median,
          95th percentile and maximum of their tokens;
        - `window`: `tokens` and `stride` of the `reader`, the `questions` that it can take in,
          those `too_long` for it, and `several_windows`: the share of the former whose review
          needs more than one window;
        - `answers`: annotators' answers that were `exact`, `repaired` and `given_up` where a
          data set's offsets had to be mended; questions with an answer that is not `located`
          in the review, and those that have `only_unlocated` ones;
        - `overlap`: question ids in more than one split, and the items, reviews and questions
          (item and text) of the dev and the test split that stand in the training split, too;
        - `histograms`: name -> arguments of `eval.report.plots.histogram`.

    Raises:
        EvaluationError: the data set has no questions.
        ModelError: the reader's tokenizer cannot be had.
    """
    labels = dataset.labels
    if not labels:
        raise EvaluationError("there are no questions", where=dataset.path)
    tokenizer = load_tokenizer(locate(reader.model).path)
    tokens = _token_counts(tokenizer, _texts(labels))
    texts = {
        "question": [label.question for label in labels],
        "review": list({label.review_id: label.context for label in labels}.values()),
        "answer": [text for label in labels for text in gold_texts(label)],
    }
    lengths = {
        name: np.array([tokens[text] for text in found], np.int64) for name, found in texts.items()
    }
    return {
        "title": dataset.path,
        "counts": {name: _counts(part) for name, part in _parts(dataset)},
        "question_words": _question_words(dataset),
        "lengths": {name: _spread(found) for name, found in lengths.items()},
        "window": _window(labels, tokens, WindowCutter(tokenizer, reader.max_seq_length), reader),
        "answers": _answers(dataset),
        "overlap": _overlap(labels),
        "histograms": {
            f"{name}_tokens": {
                "title": f"Length of {name}s",
                **_histogram(found, f"{name}s"),
                "xlabel": "tokens",
                "ylabel": f"{name}s",
                "lines": {"the reader's window": reader.max_seq_length} if name == "review" else {},
            }
            for name, found in lengths.items()
            if len(found)
        },
    }


def print_exploration(found: Mapping[str, Any]) -> None:
    """Print what `explore` gave as tables."""
    from eval.report.tables import print_cells

    print_cells(
        f"Data set: {found['title']}",
        [
            *("questions", "reviews", "items", "answerable", "questions\na review"),
            *("reviews\nan item", "two annotators\nor more", "of which\nagree"),
        ],
        {
            name: [
                *(f"{part[key]:,}" for key in ("questions", "reviews", "items")),
                _percent(part["answerable"]),
                *(_mean(part[key]) for key in ("questions_of_review", "reviews_of_item")),
                f"{part['annotated_twice']:,}",
                _percent(part["agreement"]),
            ]
            for name, part in found["counts"].items()
        },
        _notes(found),
    )
    print_cells(
        "Tokens",
        ["number", "median", "95 %", "longest"],
        {
            f"{name}s": [_whole(of[key]) for key in ("count", "median", "p95", "max")]
            for name, of in found["lengths"].items()
        },
    )
    print_cells(
        "How questions begin",
        ["questions", "answerable"],
        {
            word: [f"{of['questions']:,}", _percent(of["answerable"])]
            for word, of in found["question_words"].items()
        },
    )


def _parts(dataset: Dataset) -> Iterator[tuple[str, Sequence[Label]]]:
    yield "all", dataset.labels
    for split in dataset.splits:
        yield split, dataset.labels_of(split)
    domains: dict[str, list[Label]] = {}
    for label in dataset.labels:
        domains.setdefault(str(label.meta.get("domain")), []).append(label)
    if len(domains) > 1:
        yield from ((f"domain {name}", part) for name, part in domains.items())


def _counts(labels: Sequence[Label]) -> dict[str, Any]:
    reviews = {label.review_id for label in labels}
    of_items = {(label.item_id, label.review_id) for label in labels if label.item_id is not None}
    items = {item for item, _ in of_items}
    votes = [_votes(label) for label in labels]
    twice = [found for found in votes if len(found) > 1]
    return {
        "questions": len(labels),
        "reviews": len(reviews),
        "items": len(items),
        "answerable": _share(sum(bool(gold_texts(label)) for label in labels), len(labels)),
        "questions_of_review": _share(len(labels), len(reviews)),
        "reviews_of_item": _share(len(of_items), len(items)),
        "annotated_twice": len(twice),
        "agreement": _share(sum(len(set(found)) == 1 for found in twice), len(twice)),
    }


def _votes(label: Label) -> list[bool]:
    """Say of each annotator whether they found an answer.

    Who marked one that could not be located is left out of `annotations`.
    """
    found = [bool(spans) for spans in label.annotations]
    return found + [True] * len(label.meta.get(UNLOCATED, ()))


def _question_words(dataset: Dataset) -> dict[str, dict[str, Any]]:
    asked: Counter[str] = Counter()
    answerable: Counter[str] = Counter()
    for slices in slices_of(dataset.labels, dataset):
        asked[slices["question_word"]] += 1
        answerable[slices["question_word"]] += slices["answerable"] == "yes"
    return {
        word: {"questions": count, "answerable": _share(answerable[word], count)}
        for word, count in asked.most_common()
    }


def _texts(labels: Iterable[Label]) -> dict[str, None]:
    texts: dict[str, None] = {}
    for label in labels:
        texts |= dict.fromkeys((label.question, label.context, *gold_texts(label)))
    return texts


def _token_counts(tokenizer: Tokenizer, texts: Iterable[str]) -> dict[str, int]:
    listed = list(texts)
    counts: dict[str, int] = {}
    for start in range(0, len(listed), TEXTS_AT_ONCE):
        batch = listed[start : start + TEXTS_AT_ONCE]
        encoded = tokenizer.encode_batch_fast(batch, add_special_tokens=False)
        counts.update(zip(batch, map(len, encoded), strict=True))
    return counts


def _spread(lengths: np.ndarray[Any, np.dtype[np.int64]]) -> dict[str, float | None]:
    if not len(lengths):
        return {"count": 0, "median": None, "p95": None, "max": None}
    median, p95 = np.percentile(lengths, (50, 95))
    return {
        "count": len(lengths),
        "median": float(median),
        "p95": float(p95),
        "max": int(lengths.max()),
    }


def _window(
    labels: Sequence[Label], tokens: Mapping[str, int], cutter: WindowCutter, reader: ReaderSettings
) -> dict[str, Any]:
    rooms = [cutter.room(tokens[label.question]) for label in labels]
    fitting = [
        tokens[label.context] > room
        for label, room in zip(labels, rooms, strict=True)
        if room >= cutter.least_room
    ]
    return {
        "reader": reader.model,
        "tokens": reader.max_seq_length,
        "stride": reader.stride,
        "questions": len(fitting),
        "too_long": len(labels) - len(fitting),
        "several_windows": _share(sum(fitting), len(fitting)),
    }


def _answers(dataset: Dataset) -> dict[str, int | None]:
    unlocated = [label for label in dataset.labels if label.meta.get(UNLOCATED)]
    repairs = dataset.repairs
    return {
        **{
            name: None if repairs is None else getattr(repairs, name)
            for name in ("exact", "repaired", "given_up")
        },
        "unlocated": len(unlocated),
        "only_unlocated": sum(not label.answers for label in unlocated),
    }


def _overlap(labels: Sequence[Label]) -> dict[str, int]:
    splits: dict[str, set[str | None]] = {}
    for label in labels:
        splits.setdefault(label.question_id, set()).add(label.split)

    def of(split: str) -> dict[str, set[Any]]:
        part = [label for label in labels if label.split == split]
        asked = [label for label in part if label.item_id is not None]
        return {
            "items": {label.item_id for label in asked},
            "reviews": {label.review_id for label in part},
            "questions": {(label.item_id, label.question) for label in asked},
        }

    learnt = of("train")
    found = {"doubled_question_ids": sum(len(each) > 1 for each in splits.values())}
    for split in MEASURED:
        for kind, values in of(split).items():
            found[f"{split}_{kind}"] = len(values)
            found[f"{split}_{kind}_in_train"] = len(values & learnt[kind])
    return found


def _histogram(lengths: np.ndarray[Any, np.dtype[np.int64]], name: str) -> dict[str, Any]:
    """Count lengths in bars of equal width; a long tail is the last one."""
    most = float(np.percentile(lengths, 99))
    width = max(int(np.ceil(most / BARS)), 1)
    edges = np.arange(0, most + width + 1, width)
    counts, _ = np.histogram(np.minimum(lengths, edges[-1]), edges)
    longer = int((lengths > edges[-1]).sum())
    caption = f"The last bar holds {longer:,} that are longer, too." if longer else ""
    return {"edges": edges.tolist(), "counts": {name: counts.tolist()}, "caption": caption}


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    window, answers, overlap = found["window"], found["answers"], found["overlap"]
    yield (
        f"{_percent(window['several_windows'])} of the questions have a review that needs more "
        f"than one window of {window['tokens']} tokens ({window['reader']})."
    )
    if window["too_long"]:
        yield f"{window['too_long']:,} questions are too long for the window."
    if answers["exact"] is not None:
        yield (
            "Annotators' answers: {exact:,} stand where they say, {repaired:,} were found "
            "elsewhere in the review, {given_up:,} nowhere.".format_map(answers)
        )
    if answers["unlocated"]:
        yield (
            "{unlocated:,} questions have an answer whose place is not known, {only_unlocated:,} "
            "have only such ones.".format_map(answers)
        )
    if overlap["doubled_question_ids"]:
        yield "{doubled_question_ids:,} question ids stand in more than one split.".format_map(
            overlap
        )
    for split in MEASURED:
        if overlap[f"{split}_items_in_train"] or overlap[f"{split}_reviews_in_train"]:
            parts = [
                f"{overlap[f'{split}_{kind}_in_train']:,} of {overlap[f'{split}_{kind}']:,} {kind}"
                for kind in ("items", "reviews", "questions")
            ]
            yield (
                f"Of the {split} split {parts[0]}, {parts[1]} and {parts[2]} stand in the "
                "training split, too."
            )


def _share(part: int, whole: int) -> float | None:
    return part / whole if whole else None


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
