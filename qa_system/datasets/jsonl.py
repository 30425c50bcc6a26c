"""Your own labels as JSON Lines: one question about one review a line.

    {"question": "How is the sound?", "context": "Good bass.", "answers": ["bass"], "stars": 5}

Required: `question`, `context` (the review) and `answers`: texts, or `{"text", "start"}` with the
answer's first character in the review; an empty list or null means that the review does not say.
Optional: `question_id`, `item_id`, `review_id`, `split`, `annotations` (a list of answers for each
annotator), `is_impossible`, `meta`. Every other field becomes `meta`, too.
`qa_system.datasets.normal_form` says how blank texts, contradictions and wrong starts are read.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from qa_system.datasets.json_fields import answer_errors, answers_of, id_of, is_id
from qa_system.datasets.normal_form import Reading, Row
from qa_system.errors import DataError
from qa_system.labels import UNLOCATED, encode_label
from qa_system.records import Label

__all__ = ["read_labels_jsonl", "write_labels_jsonl"]

_NEEDED = ("question", "context")
_OPTIONAL = ("question_id", "item_id", "review_id", "split")
_OWN = frozenset((*_NEEDED, *_OPTIONAL, "answers", "annotations", "is_impossible", "meta"))
_NO_OTHERS: frozenset[str] = frozenset()


def read_labels_jsonl(path: str | Path, reading: Reading | None = None) -> tuple[Label, ...]:
    """Read labels, one a line.

    An answer without `start` is taken at the first place of its text in the review. An answer
    that is not in the review is moved from `answers` and `annotations` to
    `meta["unlocated_answers"]`. A missing `question_id` is derived from item, review and
    question, a missing `review_id` from item and text.

    Args:
        path: a JSON Lines file in UTF-8; empty lines are skipped.
        reading: keeps count of the lines; None: what it would say is logged.

    Raises:
        DataError: the file cannot be read, a line is wrong (the message lists everything that is
            wrong with it), two lines of one split have the same question id, two lines have
            different texts or items for one review, or every line is blank or none is there.

    >>> folder = getfixture("tmp_path")
    >>> line = '{"question": "How is it?", "context": "Good.", "answers": ["Good"], "stars": 5}'
    >>> _ = (folder / "labels.jsonl").write_text(line)
    >>> [label] = read_labels_jsonl(folder / "labels.jsonl")
    >>> label.answers, label.meta
    ((AnswerSpan(text='Good', start=0, end=4),), {'stars': 5})
    """
    counted = Reading() if reading is None else reading
    labels = []
    seen = _Seen()
    try:
        with Path(path).open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if not text.strip():
                    continue
                where = f"{path}:{number}"
                label = counted.label(_row_of(text, where))
                if label is not None:
                    seen.add(label, where)
                    labels.append(label)
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    if reading is None:
        counted.check_any(str(path))
        counted.tell(str(path))
    return tuple(labels)


def write_labels_jsonl(labels: Iterable[Label], path: str | Path) -> None:
    """Write labels, one a line, so that `read_labels_jsonl` returns the same labels.

    The file is replaced in one step: a crash leaves the old file or the new one.

    Raises:
        DataError: a label would not be the same when read back (its answers are not at their
            offsets, it was aggregated, its meta is not JSON), two labels contradict each other,
            or the file cannot be written.
    """
    temporary = Path(f"{path}.{os.getpid()}.tmp")
    seen = _Seen()
    try:
        with temporary.open("wb") as file:
            for number, label in enumerate(labels, start=1):
                line = encode_label(label)
                where = f"{path}:{number}"
                if Reading().label(_row_of(line, where)) != label:
                    raise DataError(
                        f"question {label.question_id!r} would not be the same when read back",
                        where=where,
                        remedy="Give each distinct answer once, at its place in the context.",
                    )
                seen.add(label, where)
                file.write(line + b"\n")
        temporary.replace(path)
    except OSError as error:
        raise DataError(f"the file cannot be written: {error.strerror}", where=str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)


class _Seen:
    """The questions and reviews of the lines so far, to refuse lines that contradict them."""

    def __init__(self) -> None:
        self._questions: dict[tuple[str | None, str], str] = {}
        self._reviews: dict[str, tuple[tuple[str | None, str], str]] = {}

    def add(self, label: Label, where: str) -> None:
        key = label.split, label.question_id
        before = self._questions.setdefault(key, where)
        if before is not where:
            split = "" if label.split is None else f" in split {label.split!r}"
            raise DataError(
                f"question id {label.question_id!r} occurs twice{split}",
                where=f"{before} and {where}",
                remedy="Give each pair of question and review an id of its own, and several "
                "annotators' answers as `annotations` of one line.",
            )
        review = label.item_id, label.context
        known, before = self._reviews.setdefault(label.review_id, (review, where))
        if known != review:
            raise DataError(
                f"review id {label.review_id!r} stands for two texts or two items",
                where=f"{before} and {where}",
                remedy="Give every review an id of its own, or none.",
            )


def _row_of(line: bytes, where: str) -> Row:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        raise DataError(
            f"the line is not JSON: {error}", where=where, remedy="Write one JSON object a line."
        ) from error
    try:
        errors = _errors(row) if isinstance(row, dict) else ["it is not an object"]
    except RecursionError:
        errors = ["it is nested too deep"]
    if errors:
        raise DataError(
            f"the line is not a label: {'; '.join(errors)}",
            where=where,
            remedy='A label is {"question", "context", "answers": [text or {"text", "start"}]}; '
            f"optional: {', '.join(_OPTIONAL)}, annotations, is_impossible, meta.",
        )
    item_id = id_of(row.get("item_id"))
    return Row(
        where,
        question=row["question"] or "",
        context=row["context"] or "",
        answers=answers_of(row["answers"]) if "answers" in row else None,
        annotations=[answers_of(given) for given in row.get("annotations") or ()],
        is_impossible=row.get("is_impossible"),
        question_id=id_of(row.get("question_id")),
        item_id=item_id,
        review_id=id_of(row.get("review_id")),
        owner=item_id or "",
        split=row.get("split"),
        meta={key: value for key, value in row.items() if key not in _OWN}
        | (row.get("meta") or {}),
    )


def _errors(row: Mapping[str, Any]) -> list[str]:
    errors = []
    for key in _NEEDED:
        if not isinstance(row.get(key, 0), str | None):
            missing = key not in row
            errors.append(
                f"{key!r} is missing" if missing else f"{key!r} is {row[key]!r:.40}, not a text"
            )
    for key in _OPTIONAL:
        value = row.get(key)
        if value is None:
            continue
        if not isinstance(value, str) and (key == "split" or not is_id(value)):
            errors.append(f"{key!r} is {value!r:.40}, not a text")
        elif not str(value).strip():
            errors.append(f"{key!r} is empty")
    if not isinstance(row.get("is_impossible"), bool | None):
        errors.append(f"'is_impossible' is {row['is_impossible']!r:.40}, not true or false")
    errors += answer_errors(row.get("answers"), "answers", _NO_OTHERS)
    annotations = row.get("annotations") or []
    if isinstance(annotations, list):
        for number, answers in enumerate(annotations):
            errors += answer_errors(answers, f"annotations[{number}]", _NO_OTHERS)
    else:
        errors.append("'annotations' is not a list")
    meta = row.get("meta") or {}
    if not isinstance(meta, dict):
        return [*errors, "'meta' is not an object"]
    errors += [
        f"{key!r} is both outside 'meta' and in it" for key in meta if key in row.keys() - _OWN
    ]
    for key, value in (*row.items(), *meta.items()):
        if key == UNLOCATED and not _is_texts(value):
            errors.append(f"{key!r} is not a list of texts")
    return errors


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
