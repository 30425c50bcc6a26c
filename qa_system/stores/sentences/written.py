"""Sentences as they are written with a review: checked, then in columns."""

from __future__ import annotations

from itertools import pairwise
from operator import index

import numpy as np
from haystack.dataclasses import Document

from qa_system.errors import EmbeddingError
from qa_system.stores.documents import DocumentTypeError
from qa_system.stores.sentences.columns import SentenceColumns, columns_of
from qa_system.stores.writes import Sentences

__all__ = ["written_columns"]


def written_columns(
    document: Document, sentences: Sentences, dimension: int | None
) -> SentenceColumns:
    """Return what a store keeps of a review's sentences; their review has the number 0.

    Args:
        document: the review.
        sentences: of it.
        dimension: numbers that each embedding must have; None takes what is given.

    Raises:
        EmbeddingError: the embeddings are of another dimension or number, or not finite.
        DocumentTypeError: the spans are not stretches of the text, one after the other.

    >>> review = Document(id="r1", content="Light. Cheap.")
    >>> written_columns(review, Sentences([(0, 6), (7, 13)]), None).spans.tolist()
    [[0, 6], [7, 13]]
    """
    where = f"document {document.id!r}"
    text = document.content or ""
    try:
        spans = [(index(start), index(end)) for start, end in sentences.spans]
    except (TypeError, ValueError):
        raise DocumentTypeError(
            f"the sentences are {sentences.spans!r:.60}, not pairs of whole numbers", where=where
        ) from None
    in_order = all(before[1] <= after[0] for before, after in pairwise(spans))
    if not in_order or not all(0 <= start < end <= len(text) for start, end in spans):
        raise DocumentTypeError(
            f"the sentences are not stretches of its {len(text)} characters, one after the other:"
            f" {spans}",
            where=where,
        )
    matrix = None
    if sentences.embeddings is not None:
        matrix = np.asarray(sentences.embeddings, np.float32)
        width = matrix.shape[-1] if dimension is None else dimension
        if matrix.shape != (len(spans), width):
            raise EmbeddingError(
                f"the embeddings of its sentences have the shape {matrix.shape} instead of"
                f" ({len(spans)}, {width})",
                where=where,
                remedy="All embeddings of a store come from one encoder.",
            )
        if not np.isfinite(matrix).all():
            raise EmbeddingError(
                "the embeddings of its sentences hold NaN or infinity",
                where=where,
                remedy="Check the encoder that they came from.",
            )
    # Without a sentence there is no embedding, and none whose dimension could be the store's.
    return columns_of(0, text, spans, matrix if spans else None)
