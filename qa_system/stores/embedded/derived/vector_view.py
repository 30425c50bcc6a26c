"""The vectors as they were at one generation: which are live, and which are nearest to a query."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import MissingDependencyError
from qa_system.records import Similarity
from qa_system.stores.embedded.ledger.snapshot import Rows

__all__ = [
    "Candidates",
    "Found",
    "Matrix",
    "VectorView",
    "import_faiss",
    "normalized",
    "positions_of",
]

Matrix = NDArray[np.float32]
Positions = NDArray[np.int64]
Found = tuple[int, float, int]
"""A row, its score, and which of its passages has that score."""
Candidates = Callable[[Matrix, int, NDArray[np.bool_]], NDArray[np.int64]]
"""An approximate search: (queries, how many, allowed positions) -> positions, -1 for none."""

GATHERED: Final = 4_000
"""Up to so many rows are copied together and scored; more are scored in place by a selector."""


def import_faiss() -> Any:
    """Import FAISS.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import faiss
    except ImportError as error:
        raise MissingDependencyError(
            "searching many vectors needs FAISS",
            remedy="Install it: pip install 'qa-system[cpu]', or [gpu].",
        ) from error
    return faiss


@dataclass(frozen=True)
class VectorView:
    """The vectors as they were at one generation.

    Args:
        store_id: of which store.
        generation: which.
        space: the set of embeddings.
        epoch: of the files; -1 where there are none.
        since: the generation that the files were begun at.
        similarity: how they are compared.
        rows: their row numbers, ascending; those of `tail` follow those of `matrix`. The
            passages of one review have its row, in their order.
        matrix: the memory-mapped file, (n, d).
        tail: vectors that are not in the file yet, (m, d).
        live: which positions are not deleted.
    """

    store_id: str
    generation: int
    space: int
    epoch: int
    since: int
    similarity: Similarity
    rows: Rows
    matrix: Matrix
    tail: Matrix
    live: NDArray[np.bool_] = field(repr=False)

    @cached_property
    def count(self) -> int:
        """How many live vectors there are."""
        return int(np.count_nonzero(self.live))

    @cached_property
    def has_passages(self) -> bool:
        """Whether a row has several vectors."""
        return bool((self.rows[1:] == self.rows[:-1]).any())

    def positions(self, rows: Rows) -> Positions:
        """Return the positions of the live vectors of some rows."""
        found = positions_of(self.rows, rows)
        live: Positions = found[self.live[found]]
        return live

    def vectors(self, positions: Positions) -> Matrix:
        """Copy vectors together."""
        if not len(self.tail):
            return self.matrix[positions]
        inside = positions < len(self.matrix)
        copied = np.empty((len(positions), self.matrix.shape[1]), np.float32)
        copied[inside] = self.matrix[positions[inside]]
        copied[~inside] = self.tail[positions[~inside] - len(self.matrix)]
        return copied

    def search(
        self,
        queries: Matrix,
        top_k: int,
        allowed: Rows | None,
        candidates: Candidates | None = None,
        covered: int = 0,
    ) -> list[list[Found]]:
        """Return the rows nearest to each query, best first: as many as there are, up to top_k.

        A row is as near as the nearest of its vectors.

        Args:
            queries: (n, d) vectors, as they come from the encoder.
            top_k: how many, at most.
            allowed: the rows that a filter selects, ascending; None: all.
            candidates: an approximate search, used where it can be trusted to find enough.
            covered: the positions, from 0, that the approximate search knows.
        """
        queries = self._prepared(queries)
        if allowed is not None:
            chosen = self.positions(allowed)
            if len(chosen) <= GATHERED:
                scores = self._scores(queries, self.vectors(chosen))
                return [self._best(chosen, row, top_k) for row in scores]
            mask = np.zeros(len(self.rows), np.bool_)
            mask[chosen] = True
        else:
            mask = self.live
        most = int(np.count_nonzero(mask))
        if most == 0:
            return [[] for _ in queries]
        wanted = min(top_k, most)
        while True:
            hits = self._nearest(queries, wanted, mask, candidates, covered)
            # Several of the nearest vectors may be of one row.
            if wanted == most or all(len(found) >= top_k for found in hits):
                return [found[:top_k] for found in hits]
            wanted = min(4 * wanted, most)

    def _nearest(
        self,
        queries: Matrix,
        wanted: int,
        mask: NDArray[np.bool_],
        candidates: Candidates | None,
        covered: int,
    ) -> list[list[Found]]:
        if candidates is None:
            found = self._scan(queries, wanted, mask, 0)
        else:
            rest = self._scan(queries, wanted, mask, covered)
            found = np.hstack([candidates(queries, wanted, mask), rest])
        hits = []
        for query, places in zip(queries, found, strict=True):
            chosen = np.unique(places[places >= 0])
            chosen = chosen[mask[chosen]]
            if len(chosen) < wanted:
                places = self._scan(query[None], wanted, mask, 0)[0]
                chosen = places[places >= 0]
            scores = self._scores(query[None], self.vectors(chosen))[0]
            hits.append(self._best(chosen, scores, wanted, wanted))
        return hits

    def _prepared(self, queries: Matrix) -> Matrix:
        queries = np.ascontiguousarray(queries, np.float32)
        return normalized(queries) if self.similarity == "cosine" else queries

    def _scores(self, queries: Matrix, vectors: Matrix) -> Matrix:
        if self.similarity != "l2":
            # Not BLAS: there a product can depend on its place, and equal vectors be no tie.
            products: Matrix = np.einsum("ij,kj->ik", queries, vectors)
            return products
        scores = np.empty((len(queries), len(vectors)), np.float32)
        for place, query in enumerate(queries):
            difference = vectors - query
            scores[place] = -np.einsum("ij,ij->i", difference, difference)
        return scores

    def _best(
        self, positions: Positions, scores: Matrix, top_k: int, depth: int | None = None
    ) -> list[Found]:
        # Of equals the older row is first, so that what is found does not depend on how.
        # Beyond `depth` the positions are not all there, and a row could seem too far away.
        order = np.lexsort((positions, -scores))[:depth]
        if self.has_passages:
            _, first = np.unique(self.rows[positions[order]], return_index=True)
            order = order[np.sort(first)]
        chosen = positions[order[:top_k]]
        rows = self.rows[chosen]
        passages = chosen - np.searchsorted(self.rows, rows)
        scored = scores[order[:top_k]].tolist()
        return list(zip(rows.tolist(), scored, passages.tolist(), strict=True))

    def _scan(
        self, queries: Matrix, top_k: int, mask: NDArray[np.bool_], start: int
    ) -> NDArray[np.int64]:
        """Score every allowed position from `start` on; -1 where there are fewer than top_k."""
        size = len(self.matrix)
        parts = []
        for block, first in ((self.matrix[start:], start), (self.tail, size)):
            if not len(block):
                continue
            places = _nearest(
                queries, block, top_k, mask[first : first + len(block)], self.similarity
            )
            parts.append(np.where(places < 0, -1, places + first))
        return np.hstack(parts) if parts else np.empty((len(queries), 0), np.int64)


def positions_of(rows: Rows, wanted: Rows) -> Positions:
    """Return the positions of some rows among rows that ascend and may repeat."""
    first = np.searchsorted(rows, wanted)
    counts = np.searchsorted(rows, wanted, "right") - first
    before = np.cumsum(counts) - counts
    return np.repeat(first - before, counts) + np.arange(counts.sum())


def _nearest(
    queries: Matrix, vectors: Matrix, top_k: int, mask: NDArray[np.bool_], similarity: Similarity
) -> NDArray[np.int64]:
    faiss = import_faiss()
    bits = np.packbits(mask, bitorder="little")
    selector = faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits))
    scores = np.empty((len(queries), top_k), np.float32)
    places = np.empty((len(queries), top_k), np.int64)
    out = (top_k, faiss.swig_ptr(scores), faiss.swig_ptr(places))
    shape = (vectors.shape[1], len(queries), len(vectors))
    pointers = (faiss.swig_ptr(queries), faiss.swig_ptr(vectors))
    if similarity == "l2":
        faiss.knn_L2sqr(*pointers, *shape, *out, None, selector)
    else:
        faiss.knn_inner_product(*pointers, *shape, *out, selector)
    return places


def normalized(vectors: Matrix) -> Matrix:
    """Return the vectors with length 1; a zero vector stays one.

    >>> normalized(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(lengths == 0, 1, lengths)).astype(np.float32)
