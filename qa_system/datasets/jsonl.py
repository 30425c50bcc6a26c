"""Labels of one's own as JSON Lines: one question about one review a line.

    {"question": "How is the sound?", "context": "Good bass.", "answers": ["bass"], "stars": 5}

Needed: `question`, `context` (the review) and `answers`: texts, or `{"text", "start"}` with the
answer's first character in the review; none of them means that the review does not say. May be
there: `question_id`, `item_id`, `review_id`, `split`, `annotations` (a list of answers for each
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

    An answer without `start` is where its text first stands in the review. One that does not
    stand there, or not at its `start`, is left out of `answers` and `annotations`, stands in
    `meta["unlocated_answers"]`, and is counted in a warning. A `question_id` that is missing is
    derived from item, review and question, a `review_id` from item and text: always the same.

    Args:
        path: a JSON Lines file in UTF-8; empty lines are passed over.

    Raises:
        DataError: the file cannot be read, a line is wrong (the message names it, and all that
            is wrong with it), two lines of one split have the same question id, or two lines
            give a review different texts or items.

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
    except OSError as fault:
        raise DataError(f"the file cannot be read: {fault.strerror}", where=str(path)) from fault
    lost = sum(len(label.meta.get(UNLOCATED, ())) for label in labels)
    if lost:
        _log.warning("%s: %d answers are not in their context, or not at their start", path, lost)
    return tuple(labels)


def write_labels_jsonl(labels: Iterable[Label], path: str | Path) -> None:
    """Write labels, one a line, so that `read_labels_jsonl` gives the same ones back.

    It is written in one step: a crash leaves the old file or the new one.

    Raises:
        DataError: a label cannot be read back as it is (its answers are not where they say,
            it was aggregated, its meta is no JSON), two labels cannot stand in one file, or
            the file cannot be written.
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
                        f"question {label.question_id!r} would be read otherwise than it is",
                        where=where,
                        remedy="Give each distinct answer once, at its place in the context.",
                    )
                seen.add(label, where)
                file.write(line + b"\n")
        temporary.replace(path)
    except OSError as fault:
        raise DataError(f"the file cannot be written: {fault.strerror}", where=str(path)) from fault
    finally:
        temporary.unlink(missing_ok=True)


class _Seen:
    """What the lines of a file have said so far, to refuse what contradicts it."""

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
    except orjson.JSONDecodeError as fault:
        raise DataError(
            f"the line is not JSON: {fault}", where=where, remedy="Write one JSON object a line."
        ) from fault
    try:
        faults = _faults(row) if isinstance(row, dict) else ["it is not an object"]
    except RecursionError:
        faults = ["it is nested too deep"]
    if faults:
        raise DataError(
            f"the line is no label: {'; '.join(faults)}",
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


def _faults(row: Mapping[str, Any]) -> list[str]:
    faults = []
    for key in (*_NEEDED, *_OPTIONAL):
        value = row.get(key)
        if value is None:
            if key in _NEEDED:
                faults.append(f"{key!r} is missing")
        elif not isinstance(value, str):
            faults.append(f"{key!r} is {value!r:.40}, not a text")
        elif not value.strip():
            faults.append(f"{key!r} is empty")
    faults += _answer_faults(row.get("answers"), "answers")
    annotations = row.get("annotations") or []
    if isinstance(annotations, list):
        for number, answers in enumerate(annotations):
            faults += _answer_faults(answers, f"annotations[{number}]")
    else:
        faults.append("'annotations' is not a list")
    meta = row.get("meta") or {}
    if not isinstance(meta, dict):
        return [*faults, "'meta' is not an object"]
    faults += [
        f"{key!r} stands beside 'meta' and in it" for key in meta if key in row.keys() - _OWN
    ]
    for key, value in (*row.items(), *meta.items()):
        if key == UNLOCATED and not _is_texts(value):
            faults.append(f"{key!r} is not a list of texts")
    return faults


def _answer_faults(answers: object, name: str) -> list[str]:
    if answers is None:
        return [f"{name!r} is missing"]
    if not isinstance(answers, list):
        return [f"{name!r} is not a list"]
    faults = []
    for number, answer in enumerate(answers):
        tree = {"text": answer} if isinstance(answer, str) else answer
        place = f"{name}[{number}]"
        if not isinstance(tree, dict) or not isinstance(tree.get("text"), str):
            faults.append(f"{place} is neither a text nor has one")
            continue
        if not tree["text"].strip():
            faults.append(f"{place} is empty (no answer is an empty list)")
        start = tree.get("start")
        if start is not None and (not isinstance(start, int) or isinstance(start, bool)):
            faults.append(f"{place}.start is {start!r:.40}, not a whole number")
        faults += [f"{place} has {key!r}" for key in tree if key not in ("text", "start")]
    return faults


def _is_texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(text, str) for text in value)
