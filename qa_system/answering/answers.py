"""Answers for a product page, from what readers and generators found."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qa_system.consensus.quotes import meta_of, offset_of, quote_of, review_of
from qa_system.generators.grounding import nearest
from qa_system.readers.extractive import snippet
from qa_system.records import Answer, Decision
from qa_system.ties import best_first

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.consensus.builder import ConsensusBuilder
    from qa_system.consensus.mentions import Mention
    from qa_system.consensus.summary import Consensus
    from qa_system.generators.drafts import Draft
    from qa_system.readers.extractive import Reading

__all__ = ["best_spans", "decision_on", "generated_answer", "quoted_answer"]

SPANS_COMPARED = 3
"""Spans of the reader, from different reviews, that a generated answer is compared with."""

CARRIED = 0.95
"""The share in a generated answer that its sources have, together."""


def quoted_answer(mention: Mention, document: Document, snippet_chars: int) -> Answer:
    """Return a mention as an answer.

    Args:
        mention: of the document.
        document: the review, or a passage of it in a store of version 0.1.
        snippet_chars: characters of the review to show around it.
    """
    quote, before = quote_of(mention, document, snippet_chars), offset_of(document)
    exact = mention.exact
    return Answer(
        text=quote.text,
        confidence=mention.confidence,
        review_id=quote.review_id,
        item_id=document.meta.get("item_id"),
        start=quote.start,
        end=quote.end,
        snippet=quote.snippet,
        meta=quote.meta,
        exact=exact and replace(exact, start=before + exact.start, end=before + exact.end),
    )


def decision_on(reading: Reading, consensus: Consensus, builder: ConsensusBuilder) -> Decision:
    """Return whether a question is answered in the words of reviews.

    What was fitted with the pipeline decides by all signals. Where nothing was, the reader decides,
    which was trained to abstain; of the parts of a compound question, which it does not read, the
    judge.

    Args:
        reading: what the reader found.
        consensus: of the same reviews.
        builder: built it.
    """
    own = reading.decision.threshold
    threshold = builder.threshold_of_answers(own, of_parts=bool(consensus.parts))
    return Decision(consensus.surest, threshold)


def generated_answer(draft: Draft, snippet_chars: int) -> Answer:
    """Return a generated answer with the review that supports it best.

    Args:
        draft: the answer, compared with its reviews.
        snippet_chars: characters of the review to show around it.
    """
    carried: dict[str, float] = {}
    for document, share in zip(draft.documents, draft.shares, strict=True):
        carried[review_of(document)] = carried.get(review_of(document), 0.0) + share
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
        review_id=review_of(document),
        item_id=document.meta.get("item_id"),
        start=offset_of(document) + start,
        end=offset_of(document) + end,
        snippet=around,
        meta=meta_of(document),
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


def best_spans(reading: Reading, documents: Iterable[Document]) -> list[str]:
    """Return the reader's best span in each document, for comparison with a generated answer."""
    read = {document.id for document in documents}
    best: dict[str, str] = {}
    for candidate in reading.candidates:
        if candidate.document is not None and candidate.document.id in read and candidate.data:
            best.setdefault(candidate.document.id, candidate.data)
    return list(best.values())[:SPANS_COMPARED]
