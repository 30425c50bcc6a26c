"""What is written of vectors: their first numbers, or all, in fewer bytes; and what that costs."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qa_system.embeddings.embedder import Embedder
from qa_system.embeddings.formats import Vectors
from qa_system.embeddings.pooling import normalized
from qa_system.embeddings.quantizing import (
    Dtype,
    Quantized,
    int8_scale,
    neighbours_kept,
    to_int8,
)
from qa_system.embeddings.working import Working

__all__ = ["Cut"]

SAMPLE: Final = 1_000
"""Vectors among which neighbours are looked for, to tell what fewer bytes cost."""

FloatArray = NDArray[np.float32]


class Cut:
    """Make what is written of vectors that were computed whole.

    Args:
        embedder: that computes them.
        dimensions: that are kept.
        dtype: in which they are written.
        by_token: whether each token has a vector.
    """

    def __init__(
        self, embedder: Embedder, dimensions: int, dtype: Dtype, *, by_token: bool
    ) -> None:
        self.dimensions = dimensions
        self.dtype: Dtype = dtype
        self.by_token = by_token
        self._is_shorter = dimensions < embedder.dimension
        self._normalizes = embedder.normalizes
        self._scales: tuple[FloatArray, FloatArray] | None = None

    @property
    def changes(self) -> bool:
        """Whether anything is lost."""
        return self._is_shorter or self.dtype != "float32"

    def vectors(self, working: Working) -> Vectors:
        """Return the vectors as they are written; of int8, the range of all is found first."""
        if self.dtype == "int8":
            self._scales = self._ranges(working)
        width = -(-self.dimensions // 8) if self.dtype == "binary" else self.dimensions
        kind = {"float32": np.float32, "int8": np.int8, "binary": np.uint8}[self.dtype]
        return Vectors(working, width, np.dtype(kind), self._changed, self.by_token)

    def _shortened(self, vectors: FloatArray) -> FloatArray:
        if not self._is_shorter:
            return vectors
        kept = vectors[:, : self.dimensions]
        return normalized(kept) if self._normalizes else kept

    def _changed(self, vectors: FloatArray) -> NDArray[Any]:
        vectors = self._shortened(vectors)
        if self.dtype == "binary":
            return np.packbits(vectors > 0, axis=1)
        return vectors if self._scales is None else to_int8(vectors, *self._scales)

    def _ranges(self, working: Working) -> tuple[FloatArray, FloatArray]:
        low = np.full(self.dimensions, np.inf, np.float32)
        high = -low
        shortened = Vectors(
            working, self.dimensions, np.dtype(np.float32), self._shortened, self.by_token
        )
        for block in shortened.blocks():
            low = np.minimum(low, block.min(axis=0))
            high = np.maximum(high, block.max(axis=0))
        if not working.counts.vectors:
            low = high = np.zeros(self.dimensions, np.float32)
        return int8_scale(low, high)

    def recall(self, working: Working) -> float | None:
        """Return what is kept of the neighbours of some vectors; None: nothing is lost."""
        if self.by_token or not self.changes:
            return None
        whole = working.counts.vectors
        rows = sorted({whole * each // SAMPLE for each in range(min(SAMPLE, whole))} - {whole})
        if whole <= SAMPLE:
            rows = list(range(whole))
        full = [working.vectors(row, row + 1) for row in rows]
        sample = np.unique(np.concatenate(full), axis=0) if full else np.zeros((0, 1), np.float32)
        sample = sample[np.abs(sample).sum(axis=1) > 0]  # a text that is empty has no neighbours
        if not len(sample):
            return None
        restored = Quantized(self._changed(sample), *(self._scales or (None, None))).restored()
        bits = self.dimensions if self.dtype == "binary" else None
        return neighbours_kept(sample, restored[:, :bits])

    def facts(self) -> dict[str, Any]:
        """Return what restores numbers from int8."""
        if self._scales is None:
            return {}
        scale, offset = self._scales
        return {"scale": scale.tolist(), "offset": offset.tolist()}
