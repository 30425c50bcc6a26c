"""Labels from wherever they are collected: files, a store's labels, shoppers' corrections."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from eval.datasets import load_dataset
from eval.splitting import undivided
from qa_system.config import Settings
from qa_system.console.wording import counted
from qa_system.errors import DataError
from qa_system.labels import gold_texts
from qa_system.records import AnswerSpan, Label

__all__ = ["collect", "corrections", "digest_of", "joined"]

SQLITE = b"SQLite format 3\0"
AT_ONCE = 100
"""Reviews that are asked for in one filter."""

_log = logging.getLogger(__name__)


def collect(places: Sequence[str], feedback: Path | None, settings: Settings) -> tuple[Label, ...]:
    """Read labels from all places.

    Args:
        places: as for `eval.datasets.load_dataset`.
        feedback: what `qa serve` keeps of shoppers, or what `qa feedback` prints of it; its
            corrections are labels. None: none.
        settings: they name the store, of `store:` and of the reviews that were corrected.

    Raises:
        DataError: a place has no labels, or is damaged.
        QASystemError: the store cannot be opened.
    """
    labels = [label for place in places for label in load_dataset(place, settings).labels]
    if feedback is not None:
        labels += corrections(feedback, settings)
    return tuple(labels)


def digest_of(label: Label) -> str:
    """Return what tells a label from others: its question, item, text and answers.

    >>> label = Label("q", "How is it?", "B00", "r", "Good.", ())
    >>> digest_of(label) == digest_of(replace(label, question_id="other", split="train"))
    True
    """
    spans = sorted((span.start, span.text) for span in label.answers)
    told = [label.question, label.item_id, label.context, spans, sorted(gold_texts(label))]
    return hashlib.sha256(orjson.dumps(told)).hexdigest()


def joined(labels: Iterable[Label]) -> tuple[Label, ...]:
    """Return every pair of question and text once, with all of its annotators.

    Ids of several places may contradict each other; they are made anew, of what the labels say.
    """
    return undivided(map(_renamed, labels))


def corrections(path: Path, settings: Settings) -> list[Label]:
    """Return what shoppers say are the words that answer, as labels.

    Of several entries about one answer the last one counts. One whose review is not in the store,
    or is shorter now, is left out.

    Args:
        path: the file that `qa serve --feedback` writes, or what `qa feedback` prints.
        settings: they name the store of the reviews.

    Raises:
        DataError: the file cannot be read.
        QASystemError: the store cannot be opened.
    """
    last = {entry["request_id"]: entry for entry in _entries(path)}
    corrected = [entry for entry in last.values() if entry.get("correction")]
    if not corrected:
        return []
    texts = _texts({entry["correction"]["review_id"] for entry in corrected}, settings)
    found = [
        label
        for entry in corrected
        if (label := _label_of(entry, texts.get(entry["correction"]["review_id"]))) is not None
    ]
    if lost := len(corrected) - len(found):
        _log.warning("%s: %s left out: their review has changed", path, counted(lost, "correction"))
    return found


def _renamed(label: Label) -> Label:
    review = hashlib.sha256(orjson.dumps([label.item_id, label.context])).hexdigest()[:16]
    question = hashlib.sha256(f"{label.question}\0{review}".encode()).hexdigest()[:16]
    return replace(label, question_id=question, review_id=review, meta=_unlocated(label))


def _unlocated(label: Label) -> dict[str, Any]:
    """Return what of `meta` says whether there is an answer; the rest is of its place."""
    from qa_system.labels import UNLOCATED

    return {UNLOCATED: label.meta[UNLOCATED]} if label.meta.get(UNLOCATED) else {}


def _label_of(entry: Mapping[str, Any], text: str | None) -> Label | None:
    start, end = entry["correction"]["start"], entry["correction"]["end"]
    if text is None or not start < end <= len(text):
        return None
    return Label(
        question_id=f"feedback-{entry['request_id']}",
        question=entry["question"],
        item_id=entry["item_id"],
        review_id=entry["correction"]["review_id"],
        context=text,
        answers=(AnswerSpan(text[start:end], start, end),),
    )


def _texts(reviews: set[str], settings: Settings) -> dict[str, str]:
    from qa_system.stores import open_store

    ids = sorted(reviews)
    found: dict[str, str] = {}
    with open_store(settings.store) as store:
        for start in range(0, len(ids), AT_ONCE):
            wanted = {"field": "id", "operator": "in", "value": ids[start : start + AT_ONCE]}
            found |= {each.id: each.content or "" for each in store.filter_documents(wanted)}
    return found


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open("rb") as file:
            is_sqlite = file.read(len(SQLITE)) == SQLITE
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    if is_sqlite:
        from qa_system.serving.product_page.feedback import FeedbackFile

        yield from FeedbackFile(path).entries()
        return
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = orjson.loads(line)
            _ = entry["request_id"], entry["question"], entry["item_id"]
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"the line is no feedback: {error!r}",
                where=f"{path}:{number}",
                remedy="Write the file anew: qa feedback --feedback FILE > FILE.jsonl.",
            ) from error
        yield entry
