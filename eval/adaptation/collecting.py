"""Labels from wherever they are collected: files, a store's labels, shoppers' corrections."""

from __future__ import annotations

import hashlib
import logging
from codecs import BOM_UTF8
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import orjson
from haystack import Document
from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError

from eval.datasets import load_dataset
from eval.splitting import undivided
from qa_system.config import Settings, describe
from qa_system.console.wording import counted
from qa_system.datasets.normal_form import is_blank
from qa_system.errors import DataError
from qa_system.labels import UNLOCATED, gold_texts
from qa_system.records import AnswerSpan, Label
from qa_system.serving.product_page.feedback import FeedbackFile, Id, Span, latest_feedback

__all__ = ["collect", "corrections", "digest_of", "joined"]

SQLITE = b"SQLite format 3\0"
AT_ONCE = 100
"""Reviews that are asked for in one filter."""

LISTED = 20
"""Lines that a warning lists."""

_Aside = defaultdict[str, list[int]]
"""Why entries are set aside -> their numbers."""

_log = logging.getLogger(__name__)


def _not_blank(text: str) -> str:
    if is_blank(text):
        raise ValueError("the text is blank")
    return text


class _Entry(BaseModel):
    """What is needed of an entry."""

    model_config = ConfigDict(strict=True, frozen=True)
    request_id: Id
    item_id: Id
    question: Annotated[str, AfterValidator(_not_blank)]
    correction: Span | None = None


@dataclass(frozen=True, slots=True)
class _Correction:
    span: Span
    number: int


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

    Of several corrections of one answer the last one counts. What cannot be learnt from is set
    aside, and the log says why and where: an entry that is no feedback, a question or words that
    are blank, a review that is about another item, has changed or is not in the store.

    Args:
        path: the file that `qa serve --feedback` writes, or what `qa feedback` prints.
        settings: they name the store of the reviews.

    Raises:
        DataError: the file cannot be read, or nothing in it is feedback.
        QASystemError: the store cannot be opened.
    """
    aside: _Aside = defaultdict(list)
    said = latest_feedback(_said(path, aside))
    corrected = [entry for entry in said if entry["correction"] is not None]
    reviews = _reviews({entry["correction"].span.review_id for entry in corrected}, settings)
    found = []
    for entry in corrected:
        correction: _Correction = entry["correction"]
        review = reviews.get(correction.span.review_id)
        if (why := _unusable(entry["item_id"], correction.span, review)) is not None:
            aside[why].append(correction.number)
        elif review is not None:
            found.append(_label_of(entry, correction.span, review))
    for why, numbers in aside.items():
        listed = ", ".join(map(str, numbers[:LISTED])) + (", ..." if numbers[LISTED:] else "")
        where = f"{'line' if len(numbers) == 1 else 'lines'} {listed}"
        told = counted(len(numbers), "correction")
        _log.warning("%s: %s set aside, %s: %s", path, told, where, why)
    return found


def _renamed(label: Label) -> Label:
    review = hashlib.sha256(orjson.dumps([label.item_id, label.context])).hexdigest()[:16]
    question = hashlib.sha256(f"{label.question}\0{review}".encode()).hexdigest()[:16]
    return replace(label, question_id=question, review_id=review, meta=_unlocated(label))


def _unlocated(label: Label) -> dict[str, Any]:
    """Return what of `meta` says whether there is an answer; the rest is of its place."""
    return {UNLOCATED: label.meta[UNLOCATED]} if label.meta.get(UNLOCATED) else {}


def _label_of(entry: Mapping[str, Any], span: Span, review: Document) -> Label:
    text = review.content or ""
    return Label(
        question_id=f"feedback-{entry['request_id']}",
        question=entry["question"],
        item_id=entry["item_id"],
        review_id=span.review_id,
        context=text,
        answers=(AnswerSpan(text[span.start : span.end], span.start, span.end),),
    )


def _unusable(item: str, span: Span, review: Document | None) -> str | None:
    """Return why a correction cannot be learnt from; None: it can."""
    if review is None:
        return "the review is not in the store"
    if review.meta.get("item_id") != item:
        return "the review is about another item"
    text = review.content or ""
    if span.end > len(text):
        return "the review is shorter now"
    if is_blank(text[span.start : span.end]):
        return "the words are blank"
    return None


def _reviews(reviews: set[str], settings: Settings) -> dict[str, Document]:
    from qa_system.stores import open_store

    if not reviews:
        return {}
    ids = sorted(reviews)
    found: dict[str, Document] = {}
    with open_store(settings.store) as store:
        for start in range(0, len(ids), AT_ONCE):
            wanted = {"field": "id", "operator": "in", "value": ids[start : start + AT_ONCE]}
            found |= {each.id: each for each in store.filter_documents(wanted)}
    return found


def _said(path: Path, aside: _Aside) -> Iterator[dict[str, Any]]:
    """Return what of each entry is needed; numbers of those that are no feedback go aside."""
    wrong = total = 0
    for number, given in _entries(path):
        total += 1
        try:
            said = orjson.loads(given) if isinstance(given, bytes) else given
            entry = _Entry.model_validate(said)
        except ValueError as error:  # JSON's errors and pydantic's are
            wrong += 1
            aside[_reason(error)].append(number)
            continue
        span = entry.correction
        correction = None if span is None else _Correction(span, number)
        yield {**entry.model_dump(exclude={"correction"}), "correction": correction}
    if total and wrong == total:
        why, numbers = next(iter(aside.items()))
        raise DataError(
            f"nothing in the file is feedback: {why}",
            where=f"{path}:{numbers[0]}",
            remedy="Write the file anew: qa feedback --feedback FILE > FILE.jsonl.",
        )


def _reason(error: ValueError) -> str:
    if isinstance(error, ValidationError):
        return describe(error, {}, whole="the entry")
    return "the line is not JSON"


def _entries(path: Path) -> Iterator[tuple[int, dict[str, Any] | bytes]]:
    """Return the entries of a feedback file by their number, or of a text by their line."""
    try:
        with path.open("rb") as file:
            is_sqlite = file.read(len(SQLITE)) == SQLITE
        text = b"" if is_sqlite else path.read_bytes()
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    if is_sqlite:
        yield from ((entry["number"], entry) for entry in FeedbackFile(path).entries())
        return
    lines = text.removeprefix(BOM_UTF8).splitlines()
    yield from ((number, line) for number, line in enumerate(lines, start=1) if line.strip())
