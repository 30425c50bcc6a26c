"""Sentences as the files have them, mapped into memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qa_system.stores.sentences import SentenceColumns

__all__ = ["HEAD", "SentenceView", "packed", "ranges", "record_of"]

HEAD: Final = np.dtype([("start", "<u4"), ("end", "<u4"), ("scale", "<f4"), ("terms", "<u4")])
"""What is kept of a sentence before its embedding; `terms` is how many it has."""


@dataclass(frozen=True, slots=True)
class SentenceView:
    """All sentences in the files, whether their reviews are still there or not.

    Args:
        heads: of each, (n,).
        vectors: embedding of each, (n, dimension).
        terms: hashes of all sentences' terms, one after the other, (t,).
    """

    heads: NDArray[np.void]
    vectors: NDArray[np.int8]
    terms: NDArray[np.uint32]

    def columns(self, places: NDArray[np.int64]) -> SentenceColumns:
        """Return the sentences of some reviews; their embeddings are not copied.

        Args:
            places: (row, first sentence, sentences, first term) of each review, (n, 4).
        """
        rows, firsts, counts, first_terms = places.T
        chosen = ranges(firsts, counts)
        heads = self.heads[chosen]
        # Where the terms of a review end: they are as many as its sentences have together.
        before = np.concatenate([[0], np.cumsum(heads["terms"], dtype=np.int64)])
        ends = np.cumsum(counts)
        term_counts = before[ends] - before[ends - counts]
        return SentenceColumns(
            reviews=np.repeat(rows, counts),
            spans=np.stack([heads["start"], heads["end"]], axis=1),
            vectors=self.vectors[chosen] if isinstance(chosen, slice) else self.vectors,
            scales=np.ascontiguousarray(heads["scale"]),
            counts=np.ascontiguousarray(heads["terms"]),
            terms=self.terms[ranges(first_terms, term_counts)],
            places=None if isinstance(chosen, slice) else chosen,
        )


def record_of(dimension: int) -> np.dtype[np.void]:
    """Return how a sentence is kept: its `HEAD`, then its embedding."""
    return np.dtype([("head", HEAD), ("vector", np.int8, (dimension,))])


def packed(columns: SentenceColumns, dimension: int) -> tuple[bytes, bytes]:
    """Return sentences as the two files have them.

    Args:
        columns: the sentences.
        dimension: of the embeddings in the file; one that is not there is kept as zeros.
    """
    records = np.zeros(len(columns), record_of(dimension))
    heads = records["head"]
    heads["start"], heads["end"] = columns.spans.T
    heads["scale"], heads["terms"] = columns.scales, columns.counts
    vectors = columns.vectors if columns.places is None else columns.vectors[columns.places]
    records["vector"][:, : vectors.shape[1]] = vectors
    return records.tobytes(), columns.terms.astype("<u4").tobytes()


def ranges(firsts: NDArray[np.int64], counts: NDArray[np.int64]) -> NDArray[np.int64] | slice:
    """Return the numbers of stretches, one stretch after the other; a slice where that is one.

    >>> ranges(np.array([2, 7]), np.array([2, 1])).tolist()
    [2, 3, 7]
    >>> ranges(np.array([2, 4]), np.array([2, 1]))
    slice(2, 5, None)
    """
    ends = firsts + counts
    if not len(firsts):
        return slice(0, 0)
    if np.array_equal(firsts[1:], ends[:-1]):
        return slice(int(firsts[0]), int(ends[-1]))
    before = np.cumsum(counts) - counts
    return np.repeat(firsts - before, counts) + np.arange(counts.sum())
