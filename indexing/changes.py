"""Reviews that a store does not have as they are now, as the documents that it takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qa_system.records import Review
from qa_system.texts.passages import Spans, hash_of, split
from qa_system.texts.sentences import sentences

if TYPE_CHECKING:
    import numpy as np
    from haystack import Document
    from numpy.typing import NDArray

    from qa_system.config import PassageSettings
    from qa_system.retrievers.encoders import Encoder
    from qa_system.stores.writes import Passages, Sentences

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
        sentences: of every review that is divided, by id.
        truncated: texts that the encoder could not read to their end.
    """

    documents: list[Document] = field(default_factory=list)
    passages: dict[str, Passages] = field(default_factory=dict)
    sentences: dict[str, Sentences] = field(default_factory=dict)
    truncated: int = 0


def documents_of(
    changed: Sequence[Changed], encoder: Encoder | None, *, embed_title: bool, divide: bool
) -> Written:
    """Make documents, passages and sentences with embeddings.

    Args:
        changed: the reviews.
        encoder: None: they get no embeddings.
        embed_title: embed a review's `title` with each of its passages, as DPR was trained.
        divide: divide the reviews into sentences, too.
    """
    from haystack import Document

    from qa_system.stores.writes import Passages, Sentences

    made = Written()
    divided = [sentences(each.review.content) if divide else [] for each in changed]
    spans_of = [[*each.spans, *own] for each, own in zip(changed, divided, strict=True)]
    vectors = None
    if encoder is not None and changed:
        before = encoder.truncated_passages
        vectors = _encoded(encoder, changed, spans_of, embed_title=embed_title)
        made.truncated = encoder.truncated_passages - before
    last = 0
    for each, own in zip(changed, divided, strict=True):
        review, first = each.review, last
        middle, last = first + len(each.spans), first + len(each.spans) + len(own)
        of_passages = None if vectors is None else vectors[first:middle]
        is_whole = len(each.spans) == 1
        if not is_whole:
            made.passages[review.id] = Passages(each.spans, of_passages)
        if divide:
            made.sentences[review.id] = Sentences(
                own, None if vectors is None else vectors[middle:last]
            )
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
                embedding=of_passages[0] if is_whole and of_passages is not None else None,
            )
        )
    return made


def _encoded(
    encoder: Encoder,
    changed: Sequence[Changed],
    spans_of: Sequence[Spans],
    *,
    embed_title: bool,
) -> NDArray[np.float32]:
    """Return an embedding for each span of each review; equal texts are encoded once.

    A review of one sentence, and what many reviews say word for word, cost nothing twice.
    """
    texts: list[tuple[str | None, str]] = []
    for each, spans in zip(changed, spans_of, strict=True):
        review = each.review
        # The title is read beside each passage: not in the first one, too.
        title = review.title if embed_title else None
        own = 0 if title is None else len(title) + 1
        texts += (
            (title, review.content[max(start, own) : end] or review.content[start:end])
            for start, end in spans
        )
    distinct = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    vectors = encoder.encode_passages(
        [text for _, text in distinct], [title for title, _ in distinct]
    )
    return vectors[[distinct[text] for text in texts]]
