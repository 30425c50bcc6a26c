"""Texts of a store embedded by another encoder."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import EmbeddingError
from qa_system.stores.contract import PassageEncoder

__all__ = ["embeddings_of"]


def embeddings_of(
    encoder: PassageEncoder, texts: Sequence[Sequence[str]]
) -> list[NDArray[np.float32]]:
    """Return the embeddings of each list of texts; equal texts are encoded once.

    Args:
        encoder: encodes them.
        texts: of each document, for example.

    Returns:
        For each list an (n, dimension) array, a row for each text.

    Raises:
        EmbeddingError: the encoder returns arrays of the wrong shape, or not finite.
    """
    identity = encoder.identity
    places = {text: place for place, text in enumerate(dict.fromkeys(chain.from_iterable(texts)))}
    matrix = np.zeros((0, identity.dimension), np.float32)
    if places:
        matrix = np.asarray(encoder.encode_passages(list(places)), np.float32)
    if matrix.shape != (len(places), identity.dimension) or not np.isfinite(matrix).all():
        raise EmbeddingError(
            f"the encoder returned an array of shape {matrix.shape} instead of"
            f" ({len(places)}, {identity.dimension}), or numbers that are not finite",
            where=identity.name,
            remedy="Check the encoder; the store still answers from its old embeddings.",
        )
    return [matrix[np.array([places[text] for text in own], np.intp)] for own in texts]
