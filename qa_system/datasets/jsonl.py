"""Your own labels as JSON Lines: one question about one review a line.

    {"question": "How is the sound?", "context": "Good bass.", "answers": ["bass"], "stars": 5}

Required: `question`, `context` (the review) and `answers`: texts, or `{"text", "start"}` with the
answer's first character in the review; an empty list means that the review does not say.
Optional: `question_id`, `item_id`, `review_id`, `split`, `annotations` (a list of answers for each
annotator), `meta`. Every other field becomes `meta`, too.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import orjson

from qa_system.errors import DataError
from qa_system.labels import UNLOCATED, encode_label
from qa_system.records import AnswerSpan, Label, stable_review_id

__all__ = ["read_labels_jsonl", "write_labels_jsonl"]

_log = logging.getLogger(__name__)

_NEEDED = ("question", "context")
_OPTIONAL = ("question_id", "item_id", "review_id", "split")
_OWN = frozenset((*_NEEDED, *_OPTIONAL, "answers", "annotations", "meta"))


def read_labels_jsonl(path: str | Path) -> tuple[Label, ...]:
    """Read labels, one a line.

    An answer without `start` is taken at the first place of its text in the review. An answer
    that is not in the review, or not at its `start`, is moved from `answers` and `annotations` to
    `meta["unlocated_answers"]`, and counted in a warning. A missing `question_id` is derived from
    item, review and question, a missing `review_id` from item and text.

    Args:
        path: a JSON Lines file in UTF-8; empty lines are skipped.

    Raises:
        DataError: the file cannot be read, a line is wrong (the message lists everything that is
            wrong with it), two lines of one split have the same question id, or two lines have
            different texts or items for one review.

    >>> folder = getfixture("tmp_path")
    >>> line = '{"question": "How is it?", "context": "Good.", "answers": ["Good"], "stars": 5}'
    >>> _ = (folder / "labels.jsonl").write_text(line)
    >>> [label] = read_labels_jsonl(folder / "labels.jsonl")
    >>> label.answers, label.meta
    ((AnswerSpan(text='Good', start=0, end=4),), {'stars': 5})
    """
    labels = []
    seen = _Seen()
    try:
        with Path(path).open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                text = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if not text.strip():
                    continue
                where = f"{path}:{number}"
                label = _label_of(text, where)
                seen.add(label, where)
                labels.append(label)
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    lost = sum(len(label.meta.get(UNLOCATED, ())) for label in labels)
    if lost:
        _log.warning("%s: %d answers are not in their context, or not at their start", path, lost)
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
                if _label_of(line, where) != label:
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


def _label_of(line: bytes, where: str) -> Label:
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
            f"optional: {', '.join(_OPTIONAL)}, annotations, meta.",
        )
    context, item_id = row["context"], row.get("item_id")
    meta = {key: value for key, value in row.items() if key not in _OWN} | (row.get("meta") or {})
    lost: dict[str, None] = dict.fromkeys(meta.get(UNLOCATED, ()))
    answers = _spans(row["answers"], context, lost)
    annotations = []
    for given in row.get("annotations") or ():
        spans = _spans(given, context, lost)
        if spans or not given:  # an annotator whose answers are lost did not say "no answer"
            annotations.append(spans)
    if lost:
        meta[UNLOCATED] = list(lost)
    review_id = row.get("review_id")
    if review_id is None:
        review_id = stable_review_id(item_id or "", context)
    question_id = row.get("question_id")
    if question_id is None:
        asked = orjson.dumps([item_id, review_id, row["question"]])
        question_id = hashlib.sha256(asked).hexdigest()[:32]
    return Label(
        question_id=question_id,
        question=row["question"],
        item_id=item_id,
        review_id=review_id,
        context=context,
        answers=tuple(dict.fromkeys(answers)),
        annotations=tuple(annotations),
        split=row.get("split"),
        meta=meta,
    )


def _spans(given: Iterable[Any], context: str, lost: dict[str, None]) -> tuple[AnswerSpan, ...]:
    """Locate answers; those that cannot be are added to `lost`."""
    spans = []
    for answer in given:
        text = answer if isinstance(answer, str) else answer["text"]
        start = None if isinstance(answer, str) else answer.get("start")
        if start is None:
            start = context.find(text)
        if start >= 0 and context.startswith(text, start):
            spans.append(AnswerSpan(text, start, start + len(text)))
        else:
            lost[text] = None
    return tuple(spans)


def _errors(row: Mapping[str, Any]) -> list[str]:
    errors = []
    for key in (*_NEEDED, *_OPTIONAL):
        value = row.get(key)
        if value is None:
            if key in _NEEDED:
                errors.append(f"{key!r} is missing")
        elif not isinstance(value, str):
            errors.append(f"{key!r} is {value!r:.40}, not a text")
        elif not value.strip():
            errors.append(f"{key!r} is empty")
    errors += _answer_errors(row.get("answers"), "answers")
    annotations = row.get("annotations") or []
    if isinstance(annotations, list):
        for number, answers in enumerate(annotations):
            errors += _answer_errors(answers, f"annotations[{number}]")
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


def _answer_errors(answers: object, name: str) -> list[str]:
    if answers is None:
        return [f"{name!r} is missing"]
    if not isinstance(answers, list):
        return [f"{name!r} is not a list"]
    errors = []
    for number, answer in enumerate(answers):
        tree = {"text": answer} if isinstance(answer, str) else answer
        place = f"{name}[{number}]"
        if not isinstance(tree, dict) or not isinstance(tree.get("text"), str):
            errors.append(f"{place} is neither a text nor has one")
            continue
        if not tree["text"].strip():
            errors.append(f"{place} is empty (no answer is an empty list)")
        start = tree.get("start")
        if start is not None and (not isinstance(start, int) or isinstance(start, bool)):
            errors.append(f"{place}.start is {start!r:.40}, not a whole number")
        errors += [f"{place} has {key!r}" for key in tree if key not in ("text", "start")]
    return errors


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
