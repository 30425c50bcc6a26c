"""SQuAD 1.1 and 2.0 JSON: read, written, and turned into labels and back.

The format (https://rajpurkar.github.io/SQuAD-explorer): a list of articles, each a list of
paragraphs, each a context with its questions. Version 2.0 adds `is_impossible` and
`plausible_answers`. All other keys of a file are kept. Ids may be whole numbers and optional fields
null, as annotation tools write them; `qa_system.datasets.normal_form` says how the rest is read.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qa_system.datasets.json_fields import answer_errors, answers_of, id_of, is_id
from qa_system.datasets.normal_form import Reading, Row
from qa_system.errors import DataError
from qa_system.labels import UNLOCATED, is_answered
from qa_system.records import AnswerSpan, Label

__all__ = ["SquadFile", "read_squad", "write_squad"]

_log = logging.getLogger(__name__)

_PLAUSIBLE = "plausible_answers"
_OWN = frozenset(("id", "question", "answers", "is_impossible", "split"))
_TAKEN = _OWN | {"annotations", "meta", "title", "item_id", "review_id"}


@dataclass(frozen=True, slots=True)
class SquadFile:
    """The content of a SQuAD file, checked and otherwise unchanged.

    Args:
        tree: the JSON object; `SquadFile.read(path).write(other)` writes the same object.

    Raises:
        DataError: a key that every SQuAD file has is missing, or its value has another type; the
            message names its place in the tree.

    >>> answer = {"text": "Good", "answer_start": 0}
    >>> qas = [{"id": "q1", "question": "How is it?", "answers": [answer]}]
    >>> paragraphs = [{"context": "Good.", "qas": qas}]
    >>> file = SquadFile({"version": "1.1", "data": [{"title": "B00", "paragraphs": paragraphs}]})
    >>> file.labels()[0].answers
    (AnswerSpan(text='Good', start=0, end=4),)
    """

    tree: Mapping[str, Any]

    def __post_init__(self) -> None:
        _check(self.tree)

    @classmethod
    def read(cls, path: str | Path) -> SquadFile:
        """Read a file.

        Raises:
            DataError: the file is missing, is not JSON, or is not SQuAD.
        """
        try:
            tree = json.loads(Path(path).read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise DataError(
                f"the file cannot be read: {error.strerror}", where=str(path)
            ) from error
        except ValueError as error:  # JSONDecodeError and UnicodeDecodeError
            raise DataError(
                f"the file is not JSON: {error}", where=str(path), remedy="Fetch or write it again."
            ) from error
        except RecursionError as error:
            raise _too_deep(path) from error
        try:
            return cls(tree)
        except DataError as error:
            raise DataError(
                error.what, where=f"{path}: {error.where}", remedy=error.remedy
            ) from None

    @classmethod
    def from_labels(cls, labels: Iterable[Label], version: str = "2.0") -> SquadFile:
        """Lay out labels as SQuAD: an article for each item or title, a paragraph for each review.

        The keys `item_id`, `review_id`, `split` and a label's `meta` are added to SQuAD's own, and
        `annotations` where annotators marked several answers or none, so that `SquadFile.labels`
        returns the same labels. An answer that was marked twice is written twice, as in SQuAD. A
        label whose answers are all unlocated is left out, with a warning.

        Raises:
            DataError: a question id occurs twice, or a question has no answer and the version is
                1.1.
        """
        articles: dict[tuple[str | None, str], dict[str, dict[str, Any]]] = {}
        seen: set[str] = set()
        left_out = 0
        for label in labels:
            if not label.answers and label.meta.get(UNLOCATED):
                left_out += 1
                continue
            if label.question_id in seen:
                raise DataError(
                    f"question id {label.question_id!r} occurs twice",
                    remedy="Write one split to a file.",
                )
            seen.add(label.question_id)
            if version.startswith("1") and not label.answers:
                raise DataError(
                    f"SQuAD {version} cannot hold question {label.question_id!r}, "
                    "which has no answer",
                    remedy="Write version 2.0.",
                )
            title = str(label.meta.get("title") or label.item_id or "")
            paragraphs = articles.setdefault((label.item_id, title), {})
            paragraph = paragraphs.setdefault(
                label.review_id,
                {"context": label.context, "qas": [], "review_id": label.review_id},
            )
            paragraph["qas"].append(_question_of(label, title, version))
        if left_out:
            _log.warning("%d labels left out: their answers could not be located", left_out)
        data = [
            {"title": title}
            | ({} if item_id is None else {"item_id": item_id})
            | {"paragraphs": list(by_review.values())}
            for (item_id, title), by_review in articles.items()
        ]
        return cls({"version": version, "data": data})

    def write(self, path: str | Path) -> None:
        """Replace the file in one step: a crash leaves the old file or the new one."""
        # ASCII escapes can hold lone surrogates, which UTF-8 cannot.
        temporary = Path(f"{path}.{os.getpid()}.tmp")
        try:
            temporary.write_text(json.dumps(self.tree), encoding="ascii")
            temporary.replace(path)
        except TypeError as error:
            temporary.unlink(missing_ok=True)
            raise DataError(f"a label's meta is not JSON: {error}", where=str(path)) from error
        except RecursionError as error:
            raise _too_deep(path) from error
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DataError(
                f"the file cannot be written: {error.strerror}", where=str(path)
            ) from error

    def labels(self, reading: Reading | None = None, path: str = "SQuAD") -> tuple[Label, ...]:
        """Return a label for each question that is not blank.

        A label has an item if its article has `item_id`. Its review id is the paragraph's
        `review_id`, or else derived from title and context. Each answer is one annotator's. An
        answer that is not found in the context is moved from `answers` to
        `meta["unlocated_answers"]`.

        Args:
            reading: keeps count of the questions; None: what it would say is logged.
            path: of the file, for messages.

        Raises:
            DataError: a question id occurs twice.
        """
        counted = Reading() if reading is None else reading
        found: dict[str, Label] = {}
        for row in self._rows(path):
            label = counted.label(row)
            if label is not None and found.setdefault(label.question_id, label) is not label:
                raise DataError(
                    f"question id {label.question_id!r} occurs twice",
                    where=row.where,
                    remedy="Give every question an id of its own.",
                )
        if reading is None:
            counted.tell(path)
        return tuple(found.values())

    def _rows(self, path: str) -> Iterator[Row]:
        for number, article in enumerate(self.tree["data"]):
            for place, paragraph in enumerate(article["paragraphs"]):
                for position, question in enumerate(paragraph["qas"]):
                    where = f"{path}: $.data[{number}].paragraphs[{place}].qas[{position}]"
                    yield _row_of(article, paragraph, question, where)


def read_squad(path: str | Path, reading: Reading | None = None) -> tuple[Label, ...]:
    """Read a SQuAD file's labels, as `SquadFile.labels` returns them.

    Args:
        path: a JSON file, of version 1.1 or 2.0.
        reading: keeps count of the questions; None: what it would say is logged.

    Raises:
        DataError: the file is missing or is not SQuAD, a question id occurs twice, there
            are no questions, or every question is blank.
    """
    counted = Reading() if reading is None else reading
    labels = SquadFile.read(path).labels(counted, str(path))
    if reading is None:
        counted.check_any(str(path))
        counted.tell(str(path))
    return labels


def write_squad(labels: Iterable[Label], path: str | Path, version: str = "2.0") -> None:
    """Write labels as a SQuAD file, as `SquadFile.from_labels` lays them out.

    Raises:
        DataError: SQuAD cannot hold the labels, or the file cannot be written.
    """
    SquadFile.from_labels(labels, version).write(path)


def _question_of(label: Label, title: str, version: str) -> dict[str, Any]:
    marks = [span for spans in label.annotations for span in spans]
    written = marks if tuple(dict.fromkeys(marks)) == label.answers else list(label.answers)
    question: dict[str, Any] = {
        "id": label.question_id,
        "question": label.question,
        "answers": _as_json(written),
    }
    if not version.startswith("1"):
        question["is_impossible"] = not (is_answered(label) or marks)
    if label.annotations != (tuple((span,) for span in written) or ((),)):
        question["annotations"] = [_as_json(spans) for spans in label.annotations]
    if label.split is not None:
        question["split"] = label.split
    kept = dict(label.meta)
    if kept.get("title") == (_own_title(title, label.item_id) or None):
        kept.pop("title", None)
    # What stands for something else in SQuAD is written apart.
    taken = [key for key in kept if key in _TAKEN or (key == _PLAUSIBLE and _errors(kept, key))]
    apart = {key: kept.pop(key) for key in taken}
    return question | kept | ({"meta": apart} if apart else {})


def _as_json(spans: Iterable[AnswerSpan]) -> list[dict[str, Any]]:
    return [{"text": span.text, "answer_start": span.start} for span in spans]


def _own_title(title: str, item_id: str | None) -> str:
    """Return an article's title; none if it only repeats the item."""
    return "" if title == item_id else title


def _annotations_of(question: Mapping[str, Any]) -> list[Any] | None:
    """Return each annotator's answers; None if there are none, or another tool's."""
    found = question.get("annotations")
    if not isinstance(found, list):
        return None
    is_ours = all(isinstance(each, list) and not answer_errors(each, "") for each in found)
    return found if is_ours else None


def _row_of(
    article: Mapping[str, Any],
    paragraph: Mapping[str, Any],
    question: Mapping[str, Any],
    where: str,
) -> Row:
    title = article.get("title") or ""
    item_id = id_of(article.get("item_id"))
    annotations, apart = _annotations_of(question), question.get("meta")
    meta = {key: value for key, value in question.items() if key not in _OWN}
    if annotations is not None:
        del meta["annotations"]
    if isinstance(apart, dict):
        meta = {key: value for key, value in meta.items() if key != "meta"} | apart
    if own := _own_title(title, item_id):
        meta.setdefault("title", own)
    answers = answers_of(question["answers"]) if "answers" in question else None
    return Row(
        where,
        question=question["question"] or "",
        context=paragraph["context"] or "",
        answers=answers,
        annotations=[[answer] for answer in answers or ()] or [[]]
        if annotations is None
        else [answers_of(given) for given in annotations],
        is_impossible=question.get("is_impossible"),
        question_id=id_of(question["id"]),
        item_id=item_id,
        review_id=id_of(paragraph.get("review_id")),
        owner=title,
        split=question.get("split") or article.get("split"),
        meta=meta,
    )


_OPTIONAL_TEXT = ("title", "split")
_OPTIONAL_ID = ("item_id", "review_id")


def _check(tree: object) -> None:
    for number, article in _members(tree, "data", "$"):
        at_article = f"$.data[{number}]"
        for place, paragraph in _members(article, "paragraphs", at_article):
            at_paragraph = f"{at_article}.paragraphs[{place}]"
            _text(paragraph, "context", at_paragraph)
            for position, question in _members(paragraph, "qas", at_paragraph):
                _check_question(question, f"{at_paragraph}.qas[{position}]")


def _errors(question: Mapping[str, Any], name: str) -> list[str]:
    return answer_errors(question.get(name), name)


def _check_question(question: Mapping[str, Any], where: str) -> None:
    _id(question, "id", where)
    _text(question, "question", where)
    if not isinstance(question.get("is_impossible"), bool | None):
        raise _not_squad("'is_impossible' is not true or false", where)
    unlocated = question.get(UNLOCATED, [])
    if not isinstance(unlocated, list) or not all(isinstance(text, str) for text in unlocated):
        raise _not_squad(f"{UNLOCATED!r} is not a list of texts", where)
    for text in unlocated:
        _check_characters(UNLOCATED, text, where)
    for name in ("answers", _PLAUSIBLE):
        if errors := _errors(question, name):
            raise _not_squad(errors[0], where)
        for number, answer in enumerate(answers_of(question.get(name))):
            _check_characters("text", answer.text or "", f"{where}.{name}[{number}]")


def _members(node: object, key: str, where: str) -> Iterator[tuple[int, Any]]:
    """Return the objects in a node's list."""
    members = node.get(key) if isinstance(node, dict) else None
    if not isinstance(members, list):
        raise _not_squad(f"{key!r} is not a list", where)
    for position, member in enumerate(members):
        if not isinstance(member, dict):
            raise _not_squad(f"{key}[{position}] is not an object", where)
        at_member = f"{where}.{key}[{position}]"
        for optional in _OPTIONAL_TEXT:
            if member.get(optional) is not None:
                _text(member, optional, at_member)
        for optional in _OPTIONAL_ID:
            if member.get(optional) is not None:
                _id(member, optional, at_member)
        yield position, member


def _text(node: Mapping[str, Any], key: str, where: str) -> None:
    value = node.get(key, 0)
    if not isinstance(value, str | None):
        raise _not_squad(f"{key!r} is not a text", where)
    _check_characters(key, value or "", where)


def _id(node: Mapping[str, Any], key: str, where: str) -> None:
    value = node.get(key)
    if not is_id(value):
        raise _not_squad(f"{key!r} is not a text", where)
    _check_characters(key, str(value), where)


def _check_characters(key: str, value: str, where: str) -> None:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _not_squad(f"{key!r} holds half a character (a lone surrogate)", where) from None


def _too_deep(path: str | Path) -> DataError:
    return DataError(
        "the file is nested too deep to be SQuAD",
        where=str(path),
        remedy="Write it as data[].paragraphs[].{context, qas[].{id, question, answers}}.",
    )


def _not_squad(what: str, where: str) -> DataError:
    return DataError(
        f"the file is not SQuAD: {what}",
        where=where,
        remedy="SQuAD is data[].paragraphs[].{context, qas[].{id, question, answers}}.",
    )
