"""The vectors of a text's tokens as one vector: pure functions of arrays.

`mask` is 1 where a row has a token and 0 where it is filled, always on the right; every row has at
least one token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["POOLINGS", "Combine", "Pooling", "TextPooling", "combined", "normalized", "pooled"]

TextPooling = Literal["mean", "max", "min", "cls", "pooler", "last", "weighted_mean"]
"""Those that make one vector of a text."""
Pooling = Literal["mean", "max", "min", "cls", "pooler", "last", "weighted_mean", "none"]
"""`pooler` is a head of the model itself, `none` leaves the tokens as they are; all others are
functions of the tokens' vectors."""
Combine = Literal["mean", "concat"]
"""Several layers: their mean, or one after the other."""

FloatArray = NDArray[np.float32]
Mask = NDArray[np.integer[Any]]


def _weighted(vectors: FloatArray, weights: FloatArray) -> FloatArray:
    """Average along the tokens, in fp32; the same sum as a masked product, without the product."""
    total: FloatArray = np.einsum("rtd,rt->rd", vectors, weights)
    total /= weights.sum(axis=1, keepdims=True)
    return total


def _mean(vectors: FloatArray, mask: Mask) -> FloatArray:
    return _weighted(vectors, mask.astype(np.float32))


def _weighted_mean(vectors: FloatArray, mask: Mask) -> FloatArray:
    return _weighted(vectors, (mask * np.arange(1, mask.shape[1] + 1)).astype(np.float32))


def _max(vectors: FloatArray, mask: Mask) -> FloatArray:
    largest: FloatArray = np.where(mask[:, :, None] > 0, vectors, -np.inf).max(axis=1)
    return largest.astype(np.float32)


def _min(vectors: FloatArray, mask: Mask) -> FloatArray:
    return -_max(-vectors, mask)


def _cls(vectors: FloatArray, mask: Mask) -> FloatArray:  # noqa: ARG001 (one shape for all)
    return vectors[:, 0]


def _last(vectors: FloatArray, mask: Mask) -> FloatArray:
    last: FloatArray = vectors[np.arange(len(vectors)), mask.sum(axis=1) - 1]
    return last


POOLINGS: Final[Mapping[str, Callable[[FloatArray, Mask], FloatArray]]] = {
    "mean": _mean,
    "max": _max,
    "min": _min,
    "cls": _cls,
    "last": _last,
    "weighted_mean": _weighted_mean,
}
"""The poolings that are functions of the tokens' vectors and their mask."""


def pooled(vectors: FloatArray, mask: Mask, pooling: str) -> FloatArray:
    """Pool a padded batch of token vectors.

    Args:
        vectors: (n, length, dimension).
        mask: (n, length).
        pooling: one of `POOLINGS`. `weighted_mean` weighs the first token by 1, the second by 2
            and so on.

    Returns:
        An array (n, dimension).

    >>> vectors = np.array([[[1.0, 4.0], [3.0, 2.0], [9.0, 9.0]]], dtype=np.float32)
    >>> mask = np.array([[1, 1, 0]])
    >>> pooled(vectors, mask, "mean").tolist(), pooled(vectors, mask, "max").tolist()
    ([[2.0, 3.0]], [[3.0, 4.0]])
    >>> pooled(vectors, mask, "last").tolist()
    [[3.0, 2.0]]
    """
    return POOLINGS[pooling](vectors, mask)


def combined(layers: Sequence[FloatArray], combine: Combine) -> FloatArray:
    """Make one array of those of several layers.

    Args:
        layers: each (n, length, dimension).
        combine: their mean; or `concat`, an array of `len(layers) * dimension` numbers a token.
    """
    if len(layers) == 1:
        return layers[0]
    if combine == "concat":
        return np.concatenate(layers, axis=-1)
    total = layers[0].copy()
    for each in layers[1:]:
        total += each
    return total / np.float32(len(layers))


def normalized(vectors: FloatArray) -> FloatArray:
    """Return vectors (n, dimension) of length 1; a vector of zeros stays as it is.

    >>> normalized(np.array([[3.0, 4.0], [0.0, 0.0]], dtype=np.float32)).round(3).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
