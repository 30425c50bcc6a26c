"""Vectors in fewer bytes, and how many of each vector's neighbours stay its neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from qa_system.arguments import check_choice
from qa_system.embeddings.pooling import normalized

__all__ = ["DTYPES", "Dtype", "Quantized", "int8_scale", "neighbours_kept", "quantize", "to_int8"]

Dtype = Literal["float32", "int8", "binary"]
"""`binary` is a bit a number: whether it is above 0; eight of them are a byte."""

DTYPES: Final = ("float32", "int8", "binary")
LEVELS: Final = 127
"""An int8 goes from -127 to 127, so that its middle is 0."""
NEIGHBOURS: Final = 10

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Quantized:
    """Vectors in fewer bytes.

    Args:
        values: int8 (n, dimension); or uint8 (n, dimension / 8, rounded up) of bits, the first
            number's the highest; or float32.
        scale: of int8, for each dimension; None: there is none.
        offset: likewise; a number is about `value * scale + offset`.
    """

    values: NDArray[np.generic]
    scale: FloatArray | None = None
    offset: FloatArray | None = None

    def restored(self) -> FloatArray:
        """Return int8 and float32 as float32, and bits as -1 and 1 (filled up to whole bytes)."""
        if self.values.dtype == np.uint8:
            bits = np.unpackbits(self.values.astype(np.uint8), axis=1)
            return bits.astype(np.float32) * 2 - 1
        values = self.values.astype(np.float32)
        if self.scale is None or self.offset is None:
            return values
        return values * self.scale + self.offset


def quantize(vectors: FloatArray, dtype: Dtype) -> Quantized:
    """Put vectors into fewer bytes.

    Args:
        vectors: (n, dimension).
        dtype: `int8` (a quarter of the bytes; each dimension's range is divided into 254 steps),
            `binary` (a thirty-second), or `float32` (as they are).

    Raises:
        ConfigError: there is no such dtype.

    >>> found = quantize(np.array([[0.0, -1.0], [2.0, 1.0]], dtype=np.float32), "int8")
    >>> found.values.tolist(), found.restored().round(2).tolist()
    ([[-127, -127], [127, 127]], [[0.0, -1.0], [2.0, 1.0]])
    """
    check_choice("dtype", dtype, DTYPES)
    if dtype == "float32":
        return Quantized(vectors)
    if dtype == "binary":
        return Quantized(np.packbits(vectors > 0, axis=1))
    zeros = np.zeros(vectors.shape[1], np.float32)
    low, high = (vectors.min(axis=0), vectors.max(axis=0)) if len(vectors) else (zeros, zeros)
    scale, offset = int8_scale(low, high)
    return Quantized(to_int8(vectors, scale, offset), scale, offset)


def int8_scale(low: FloatArray, high: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return scale and offset of each dimension, of its smallest and largest number."""
    scale = (high - low) / np.float32(2 * LEVELS)
    return np.where(scale > 0, scale, np.float32(1)), (high + low) / np.float32(2)


def to_int8(vectors: FloatArray, scale: FloatArray, offset: FloatArray) -> NDArray[np.int8]:
    """Return vectors as int8, by a scale and an offset for each dimension."""
    steps = np.rint((vectors - offset) / scale)
    quantized: NDArray[np.int8] = np.clip(steps, -LEVELS, LEVELS).astype(np.int8)
    return quantized


def neighbours_kept(full: FloatArray, reduced: FloatArray, k: int = NEIGHBOURS) -> float | None:
    """Return the share of each vector's nearest others that are its nearest when reduced, too.

    Nearest is the largest cosine; between bits as -1 and 1 that is the fewest that differ.

    Args:
        full: (n, dimension).
        reduced: the same vectors, cut or restored from fewer bytes (n, any dimension).
        k: nearest others of each.

    Returns:
        Recall at k, 0 to 1; None: there are too few vectors to tell.

    >>> vectors = np.eye(4, dtype=np.float32) + np.arange(4, dtype=np.float32) / 10
    >>> neighbours_kept(vectors, vectors, k=2)
    1.0
    """
    if len(full) < k + 2:
        return None
    rows = [_nearest(vectors, k) for vectors in (full, reduced)]
    shared = [len(np.intersect1d(*pair)) for pair in zip(*rows, strict=True)]
    return float(np.mean(shared)) / k


def _nearest(vectors: FloatArray, k: int) -> NDArray[np.intp]:
    unit = normalized(vectors)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, :k]
