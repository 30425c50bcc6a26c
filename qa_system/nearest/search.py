"""The nearest of some vectors, found by FAISS; equal ones stay in the order of their rows."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qa_system.stores.embedded.derived.vector_view import import_faiss

__all__ = ["Nearest", "unit_vectors"]

Vectors = NDArray[np.float32]

DECIMALS: Final = 6
"""Similarities that are equal to so many are equal: the order of additions decides the rest."""
MORE: Final = 16
"""Neighbours that are fetched besides, so that most ties are whole at once."""


class Nearest:
    """Search vectors by cosine similarity.

    Args:
        vectors: of length 1, (n, dimension).
        groups: of each row what it is about (an item), by which a search can be limited; None: it
            belongs to none.

    >>> nearest = Nearest(unit_vectors(np.array([[1, 0], [0, 1], [1, 0]], np.float32)))
    >>> rows, similarities = nearest.search(np.array([[1, 0]], np.float32), 2)
    >>> rows[0].tolist(), similarities[0].tolist()
    ([0, 2], [1.0, 1.0])
    """

    def __init__(self, vectors: Vectors, groups: Sequence[Hashable] = ()) -> None:
        self._faiss = import_faiss()
        self._vectors = np.ascontiguousarray(vectors, np.float32)
        self._index = self._faiss.IndexFlatIP(vectors.shape[1])
        self._index.add(self._vectors)
        rows: dict[Hashable, list[int]] = {}
        for row, group in enumerate(groups):
            rows.setdefault(group, []).append(row)
        self._rows = {name: np.array(own, np.int64) for name, own in rows.items()}

    def search(
        self, vectors: Vectors, k: int, groups: Sequence[Hashable | None] | None = None
    ) -> tuple[list[NDArray[np.int64]], list[NDArray[np.float64]]]:
        """Return the k nearest rows of each vector, the most similar first.

        Args:
            vectors: (m, dimension).
            k: how many, from 1; fewer come back where there are fewer.
            groups: of each vector the group that is searched; None: all rows are.

        Returns:
            Rows and similarities, an array each for every vector. Of equally similar rows the
            first comes first.
        """
        sought = unit_vectors(np.ascontiguousarray(vectors, np.float32))
        rows: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(sought)
        similarities = [np.zeros(0, np.float64)] * len(sought)
        together: dict[Hashable | None, list[int]] = {}
        for at in range(len(sought)):
            together.setdefault(None if groups is None else groups[at], []).append(at)
        for group, places in together.items():
            among = None if group is None else self._rows.get(group, np.zeros(0, np.int64))
            for at, candidates in zip(
                places, self._candidates(sought[places], k, among), strict=True
            ):
                rows[at], similarities[at] = self._exact(sought[at], candidates, k)
        return rows, similarities

    def _candidates(
        self, sought: Vectors, k: int, among: NDArray[np.int64] | None
    ) -> list[NDArray[np.int64]]:
        """Return rows among which the k nearest are, with all that are as similar as the last."""
        total = len(self._vectors) if among is None else len(among)
        if not total:
            return [np.zeros(0, np.int64)] * len(sought)
        given: dict[str, Any] = {}
        if among is not None:
            selector = self._faiss.IDSelectorBatch(among)
            given["params"] = self._faiss.SearchParameters(sel=selector)
        found: list[NDArray[np.int64]] = [np.zeros(0, np.int64)] * len(sought)
        open_ = np.arange(len(sought))
        depth = min(total, k + MORE)
        while len(open_):
            scores, rows = self._index.search(sought[open_], depth, **given)
            for at, own in zip(open_, rows, strict=True):
                found[at] = own[own >= 0]
            # The tie at the k-th may go on behind the last that was fetched.
            last, kth = scores[:, -1], scores[:, min(k, depth) - 1]
            goes_on = (depth < total) & (last >= kth - 10.0 ** (1 - DECIMALS))
            open_ = open_[goes_on]
            depth = min(total, 2 * depth)
        return found

    def _exact(
        self, sought: Vectors, candidates: NDArray[np.int64], k: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        scores = self._vectors[candidates].astype(np.float64) @ sought.astype(np.float64)
        rounded = scores.round(DECIMALS)
        order = np.lexsort((candidates, -rounded))[:k]
        return candidates[order], rounded[order]


def unit_vectors(vectors: Vectors) -> Vectors:
    """Return vectors with a length of 1; one of zeros stays, and is like none."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths), np.float32)
