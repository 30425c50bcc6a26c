"""SQuAD 1.1 and 2.0 JSON: read, written, and turned into labels and back.

The format (https://rajpurkar.github.io/SQuAD-explorer): a list of articles, each a list of
paragraphs, each a context with its questions. Version 2.0 adds `is_impossible` and
`plausible_answers`. All other keys of a file are kept.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qa_system.errors import DataError
from qa_system.labels import UNLOCATED
from qa_system.records import AnswerSpan, Label, stable_review_id

__all__ = ["SquadFile", "read_squad", "write_squad"]

_log = logging.getLogger(__name__)

_QUESTION_KEYS = frozenset(("id", "question", "answers"))


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

        The keys `item_id`, `review_id` and `split` are added to SQuAD's own, so that
        `SquadFile.labels` returns the same labels. An answer that was marked twice is written
        twice, as in SQuAD. A label whose answers are all unlocated is left out, with a warning.

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
            paragraph["qas"].append(_question_of(label, version))
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
        except RecursionError as error:
            raise _too_deep(path) from error
        except OSError as error:
            temporary.unlink(missing_ok=True)
            raise DataError(
                f"the file cannot be written: {error.strerror}", where=str(path)
            ) from error

    def labels(self) -> tuple[Label, ...]:
        """Return a label for each question.

        A label has an item if its article has `item_id`. Its review id is the paragraph's
        `review_id`, or else derived from title and context. Each answer is one annotator's. An
        answer that is not in the context at its offset is moved from `answers` to
        `meta["unlocated_answers"]`.

        Raises:
            DataError: a question id occurs twice.
        """
        found: dict[str, Label] = {}
        for article in self.tree["data"]:
            for paragraph in article["paragraphs"]:
                for question in paragraph["qas"]:
                    label = _label_of(article, paragraph, question)
                    if found.setdefault(label.question_id, label) is not label:
                        raise DataError(f"question id {label.question_id!r} occurs twice")
        return tuple(found.values())


def read_squad(path: str | Path) -> tuple[Label, ...]:
    """Read a SQuAD file's labels; answers at wrong offsets are counted in a warning.

    Args:
        path: a JSON file, of version 1.1 or 2.0.

    Raises:
        DataError: the file is missing or is not SQuAD.
    """
    labels = SquadFile.read(path).labels()
    misplaced = sum(len(label.meta.get(UNLOCATED, ())) for label in labels)
    if misplaced:
        _log.warning("%s: %d answers are not in their context at their offset", path, misplaced)
    return labels


def write_squad(labels: Iterable[Label], path: str | Path, version: str = "2.0") -> None:
    """Write labels as a SQuAD file, as `SquadFile.from_labels` lays them out.

    Raises:
        DataError: SQuAD cannot hold the labels, or the file cannot be written.
    """
    SquadFile.from_labels(labels, version).write(path)


def _question_of(label: Label, version: str) -> dict[str, Any]:
    marks = [span for spans in label.annotations for span in spans]
    spans = marks or list(label.answers)
    question: dict[str, Any] = {
        "id": label.question_id,
        "question": label.question,
        "answers": [{"text": span.text, "answer_start": span.start} for span in spans],
    }
    if not version.startswith("1"):
        question["is_impossible"] = not label.answers
    if label.split is not None:
        question["split"] = label.split
    return question


def _label_of(
    article: Mapping[str, Any], paragraph: Mapping[str, Any], question: Mapping[str, Any]
) -> Label:
    context = paragraph["context"]
    title = article.get("title", "")
    located: list[AnswerSpan] = []
    unlocated: list[str] = []
    for answer in question["answers"]:
        text, start = answer["text"], answer["answer_start"]
        end = start + len(text)
        if 0 <= start < end and context[start:end] == text:
            located.append(AnswerSpan(text, start, end))
        else:
            unlocated.append(text)
    meta = {key: value for key, value in question.items() if key not in _QUESTION_KEYS}
    meta["title"] = title
    if unlocated:
        meta[UNLOCATED] = list(dict.fromkeys(unlocated))
    review_id = paragraph.get("review_id")
    return Label(
        question_id=question["id"],
        question=question["question"],
        item_id=article.get("item_id"),
        review_id=stable_review_id(title, context) if review_id is None else review_id,
        context=context,
        answers=tuple(dict.fromkeys(located)),
        annotations=tuple((span,) for span in located) if question["answers"] else ((),),
        split=meta.pop("split", article.get("split")),
        meta=meta,
    )


_OPTIONAL_TEXT = ("title", "item_id", "review_id", "split")


def _check(tree: object) -> None:
    for number, article in _members(tree, "data", "$"):
        at_article = f"$.data[{number}]"
        for place, paragraph in _members(article, "paragraphs", at_article):
            at_paragraph = f"{at_article}.paragraphs[{place}]"
            _text(paragraph, "context", at_paragraph)
            for position, question in _members(paragraph, "qas", at_paragraph):
                at_question = f"{at_paragraph}.qas[{position}]"
                _text(question, "id", at_question)
                _text(question, "question", at_question)
                for key in ("answers", "plausible_answers"):
                    if key == "answers" or key in question:
                        for index, answer in _members(question, key, at_question):
                            _check_answer(answer, f"{at_question}.{key}[{index}]")


def _members(node: object, key: str, where: str) -> Iterator[tuple[int, Any]]:
    """Return the objects in a node's list."""
    members = node.get(key) if isinstance(node, dict) else None
    if not isinstance(members, list):
        raise _not_squad(f"{key!r} is not a list", where)
    for position, member in enumerate(members):
        if not isinstance(member, dict):
            raise _not_squad(f"{key}[{position}] is not an object", where)
        for optional in _OPTIONAL_TEXT:
            if optional in member:
                _text(member, optional, f"{where}.{key}[{position}]")
        yield position, member


def _text(node: Mapping[str, Any], key: str, where: str) -> None:
    value = node.get(key)
    if not isinstance(value, str):
        raise _not_squad(f"{key!r} is not a text", where)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise _not_squad(f"{key!r} holds half a character (a lone surrogate)", where) from None


def _check_answer(answer: Mapping[str, Any], where: str) -> None:
    _text(answer, "text", where)
    start = answer.get("answer_start")
    if not isinstance(start, int) or isinstance(start, bool):
        raise _not_squad("'answer_start' is not a whole number", where)


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
