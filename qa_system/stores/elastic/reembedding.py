"""Documents with another encoder's embeddings, for the next version of an index."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from haystack.dataclasses import Document
from numpy.typing import NDArray

from qa_system.errors import EmbeddingError
from qa_system.stores.contract import Passages
from qa_system.stores.elastic.documents import decode, passages_of

if TYPE_CHECKING:
    from qa_system.stores.embedded.reembedding import PassageEncoder

__all__ = ["embedded"]


def embedded(
    encoder: PassageEncoder, hits: Iterable[Mapping[str, Any]]
) -> tuple[list[Document], dict[str, Passages]]:
    """Embed documents and passages anew.

    Args:
        encoder: encodes their texts.
        hits: of the documents, with the fields of `READ`; their order is kept.

    Returns:
        The documents, and the passages of those that have any, by id.

    Raises:
        EmbeddingError: the encoder gives arrays of the wrong shape, or not finite.
    """
    found = [(decode(hit), passages_of(hit)) for hit in hits]
    texts = [_texts(*each) for each in found]
    vectors = _encoded(encoder, [text for own in texts for text in own])
    documents, passages, first = [], {}, 0
    for (document, split), own in zip(found, texts, strict=True):
        rows = vectors[first : first + len(own)]
        first += len(own)
        if split is not None:
            passages[document.id] = Passages(split.spans, rows)
        embedding = rows[0].tolist() if own and split is None else None
        documents.append(replace(document, embedding=embedding))
    return documents, passages


def _texts(document: Document, passages: Passages | None) -> list[str]:
    if document.content is None:
        return []
    if passages is None:
        return [document.content]
    return [document.content[start:end] for start, end in passages.spans]


def _encoded(encoder: PassageEncoder, texts: list[str]) -> NDArray[np.float32]:
    identity = encoder.identity
    matrix = np.asarray(encoder.encode_passages(texts) if texts else [], np.float32)
    if texts and (
        matrix.shape != (len(texts), identity.dimension) or not np.isfinite(matrix).all()
    ):
        raise EmbeddingError(
            f"the encoder gave an array of shape {matrix.shape} instead of"
            f" ({len(texts)}, {identity.dimension}), or numbers that are not finite",
            where=identity.name,
            remedy="Check the encoder; the store still answers from its old embeddings.",
        )
    return matrix
