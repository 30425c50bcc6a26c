"""Reviews that a store does not have as they are now, as the documents that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qa_system.records import Review
from qa_system.texts.passages import Spans, hash_of, split

if TYPE_CHECKING:
    import numpy as np
    from haystack import Document
    from numpy.typing import NDArray

    from qa_system.config import PassageSettings
    from qa_system.retrievers.encoders import Encoder
    from qa_system.stores.writes import Passages

__all__ = ["Changed", "Written", "documents_of"]


@dataclass(frozen=True, slots=True)
class Changed:
    """A review with the spans of its passages.

    Args:
        review: as it came.
        spans: of its passages.
        content_hash: changes with the review and with the spans.

    >>> from qa_system.config import PassageSettings
    >>> each = Changed.of(Review("r1", "B00", "It is light."), PassageSettings(max_words=2,
    ...     overlap_words=0))
    >>> each.spans
    [(0, 5), (6, 12)]
    """

    review: Review
    spans: Spans
    content_hash: str

    @classmethod
    def of(cls, review: Review, passages: PassageSettings) -> Changed:
        """Split a review into passages."""
        spans = split(review.content, passages.max_words, passages.overlap_words)
        return cls(review, spans, hash_of(review.content_hash, spans))


@dataclass(slots=True)
class Written:
    """What a store is given.

    Args:
        documents: one for each review.
        passages: of the reviews that have several, by id.
        truncated: texts that the encoder could not read to their end.
    """

    documents: list[Document] = field(default_factory=list)
    passages: dict[str, Passages] = field(default_factory=dict)
    truncated: int = 0


def documents_of(
    changed: Sequence[Changed], encoder: Encoder | None, *, embed_title: bool
) -> Written:
    """Make documents and passages with embeddings.

    Args:
        changed: the reviews.
        encoder: None: they get no embeddings.
        embed_title: embed a review's `title` with each of its passages, as DPR was trained.
    """
    from haystack import Document

    from qa_system.stores.writes import Passages

    made = Written()
    texts = [each.review.content[start:end] for each in changed for start, end in each.spans]
    vectors = None
    if encoder is not None and texts:
        before = encoder.truncated_passages
        vectors = _with_titles(encoder, changed) if embed_title else encoder.encode_passages(texts)
        made.truncated = encoder.truncated_passages - before
    first = 0
    for each in changed:
        review, last = each.review, first + len(each.spans)
        own = None if vectors is None else vectors[first:last]
        first = last
        is_whole = len(each.spans) == 1
        if not is_whole:
            made.passages[review.id] = Passages(each.spans, own)
        made.documents.append(
            Document(
                id=review.id,
                content=review.content,
                meta={
                    **review.stored_meta,
                    "review_id": review.id,
                    "item_id": review.item_id,
                    "content_hash": each.content_hash,
                },
                embedding=own[0] if is_whole and own is not None else None,
            )
        )
    return made


def _with_titles(encoder: Encoder, changed: Sequence[Changed]) -> NDArray[np.float32]:
    texts: list[str] = []
    titles: list[str | None] = []
    for each in changed:
        review = each.review
        own = 0 if review.title is None else len(review.title) + 1
        for start, end in each.spans:
            # The title is read beside each passage: not in the first one, too.
            texts.append(review.content[max(start, own) : end] or review.content[start:end])
            titles.append(review.title)
    return encoder.encode_passages(texts, titles)
