"""Answers for a product page, from what readers and generators found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from qa_system.answering.clauses import widen
from qa_system.generators.grounding import nearest
from qa_system.readers.extractive import snippet
from qa_system.records import Answer, AnswerSpan
from qa_system.stores.joining import is_passage
from qa_system.ties import best_first

if TYPE_CHECKING:
    from haystack import Document
    from haystack.dataclasses import ExtractedAnswer

    from qa_system.generators.drafts import Draft
    from qa_system.readers.extractive import Reading

__all__ = ["best_spans", "extracted_answers", "generated_answer"]

SPANS_COMPARED = 3
"""Spans of the reader, from different reviews, that a generated answer is compared with."""

CARRIED = 0.95
"""The share in a generated answer that its sources have, together."""

STORE_FIELDS = frozenset(
    {"review_id", "item_id", "content_hash", "passage_start", "passage_end", "sentences"}
)


def extracted_answers(reading: Reading) -> tuple[Answer, ...]:
    """Return the best span of each review, best first, with the words that its meaning needs."""
    by_review: dict[str, Answer] = {}
    for extracted in reading.answers:
        answer = _read_answer(extracted)
        by_review.setdefault(answer.review_id, answer)
    return tuple(by_review.values())


def _read_answer(extracted: ExtractedAnswer) -> Answer:
    document, span = extracted.document, extracted.document_offset
    if document is None or span is None or extracted.data is None:
        raise TypeError("the reader returned an answer without its document")
    content, before = document.content or "", _offset(document)
    shown = extracted.context if extracted.context is not None else extracted.data
    exact = None
    start, end = widen(content, span.start, span.end)
    if (start, end) != (span.start, span.end):
        exact = AnswerSpan(extracted.data, before + span.start, before + span.end)
        shown, _ = snippet(content, start, end, len(shown))
    return Answer(
        text=content[start:end],
        confidence=extracted.score,
        review_id=_review_of(document),
        item_id=document.meta.get("item_id"),
        start=before + start,
        end=before + end,
        snippet=shown,
        meta=_meta_of(document),
        exact=exact,
    )


def generated_answer(draft: Draft, snippet_chars: int) -> Answer:
    """Return a generated answer with the review that supports it best.

    Args:
        draft: the answer, compared with its reviews.
        snippet_chars: characters of the review to show around it.
    """
    carried: dict[str, float] = {}
    for document, share in zip(draft.documents, draft.shares, strict=True):
        carried[_review_of(document)] = carried.get(_review_of(document), 0.0) + share
    ordered = best_first(carried, carried.__getitem__, str)
    place = draft.support.document
    if place is None:  # shown only if min_support is 0
        place = draft.shares.index(max(draft.shares))
    document = draft.documents[place]
    content = document.content or ""
    if draft.support.span is not None:
        start, end = draft.support.span
        text = content[start:end]
    else:
        text = draft.generated.text
        start = end = nearest(text, content)
    around, _ = snippet(content, start, end, snippet_chars)
    return Answer(
        text=text,
        confidence=draft.support.score,
        review_id=_review_of(document),
        item_id=document.meta.get("item_id"),
        start=_offset(document) + start,
        end=_offset(document) + end,
        snippet=around,
        meta=_meta_of(document),
        support=draft.support.score,
        sources=tuple(_carriers(ordered, carried)),
        generated=True,
    )


def _carriers(ordered: Sequence[str], carried: Mapping[str, float]) -> Iterator[str]:
    total = 0.0
    for review in ordered:
        if total >= CARRIED:
            return
        total += carried[review]
        yield review


def _review_of(document: Document) -> str:
    return str(document.meta.get("review_id", document.id))


def _offset(document: Document) -> int:
    """Return where the document begins in its review; it is 0 except in a store of version 0.1."""
    start: int = document.meta["passage_start"] if is_passage(document) else 0
    return start


def _meta_of(document: Document) -> dict[str, Any]:
    return {key: value for key, value in document.meta.items() if key not in STORE_FIELDS}


def best_spans(reading: Reading, documents: Iterable[Document]) -> list[str]:
    """Return the reader's best span in each document, for comparison with a generated answer."""
    read = {document.id for document in documents}
    best: dict[str, str] = {}
    for candidate in reading.candidates:
        if candidate.document is not None and candidate.document.id in read and candidate.data:
            best.setdefault(candidate.document.id, candidate.data)
    return list(best.values())[:SPANS_COMPARED]
