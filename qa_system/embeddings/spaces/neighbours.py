"""Projections that place texts beside their neighbours: UMAP and t-SNE.

Neither has a formula that places a new text. One is placed between the texts that it is nearest
to, as UMAP starts with a new text, too, before it refines (McInnes, Healy and Melville, UMAP, 2018,
https://arxiv.org/abs/1802.03426). So the vectors that were fitted are kept with their places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qa_system.embeddings.spaces.checks import Floats, Ints, check_vectors, extra_package
from qa_system.errors import InvalidArgumentError

__all__ = ["Placed", "nearest"]

CELLS: Final = 1 << 22
"""Distances that are held at a time."""
NEIGHBOURS: Final = 15
"""UMAP's own default."""
PERPLEXITY: Final = 30.0
"""That of scikit-learn's t-SNE; fewer texts take a third of their number."""
MOST_OF_TSNE: Final = 3
"""Its fast algorithm places texts in up to so many dimensions."""


@dataclass(frozen=True, eq=False)
class Placed:
    """Place a text between its nearest neighbours among the texts that were fitted.

    Args:
        vectors: that were fitted, shape (texts, dimension).
        places: of these, shape (texts, kept).
        neighbours: how many count for a new text, each by one over its distance. A text whose
            vector was fitted has the place that was fitted.
    """

    vectors: Floats
    places: Floats
    neighbours: int

    @property
    def dimension(self) -> int:
        """Numbers in a vector that it takes."""
        return int(self.vectors.shape[1])

    def apply(self, vectors: Floats) -> Floats:
        """Return the places, shape (texts, kept)."""
        vectors = check_vectors(vectors, self.dimension)
        placed = np.empty((len(vectors), self.places.shape[1]), np.float32)
        for rows, found, distances in nearest(vectors, self.vectors, self.neighbours):
            same = distances == 0
            far = np.where(same, 1, distances)
            weights = np.where(same.any(axis=1, keepdims=True), same, 1 / far)
            weights = weights / weights.sum(axis=1, keepdims=True)
            placed[rows] = (weights[:, :, None] * self.places[found]).sum(axis=1)
        return placed

    @classmethod
    def umap(cls, vectors: Floats, kept: int, *, seed: int) -> Placed:
        """Fit UMAP.

        Raises:
            InvalidArgumentError: there are fewer than 4 vectors, or not more than `kept`.
            MissingDependencyError: umap-learn is not installed.
        """
        vectors = _enough(vectors, kept)
        package = extra_package("umap", "UMAP", "umap")
        neighbours = min(NEIGHBOURS, len(vectors) - 1)
        fitted = package.UMAP(
            n_components=kept,
            n_neighbors=neighbours,
            random_state=seed,
            n_jobs=1,
            init="spectral" if len(vectors) > kept + 10 else "random",
        )
        return cls(vectors, np.asarray(fitted.fit_transform(vectors), np.float32), neighbours)

    @classmethod
    def tsne(cls, vectors: Floats, kept: int, *, seed: int) -> Placed:
        """Fit t-SNE.

        Raises:
            InvalidArgumentError: there are fewer than 4 vectors, or `kept` is above 3.
            MissingDependencyError: scikit-learn is not installed.
        """
        if kept > MOST_OF_TSNE:
            raise InvalidArgumentError(
                f"t-SNE places texts in {MOST_OF_TSNE} dimensions at most, not {kept}",
                remedy=f"Write tsne:2 or umap:{kept}.",
            )
        vectors = _enough(vectors, kept)
        package = extra_package("sklearn.manifold", "t-SNE", "spaces")
        fitted = package.TSNE(
            n_components=kept,
            perplexity=min(PERPLEXITY, (len(vectors) - 1) / 3),
            init="pca" if min(vectors.shape) >= kept else "random",
            random_state=seed,
        )
        places = np.asarray(fitted.fit_transform(vectors), np.float32)
        return cls(vectors, places, min(NEIGHBOURS, len(vectors)))


def nearest(
    vectors: Floats, among: Floats, count: int
) -> Iterator[tuple[slice, Ints, NDArray[np.float64]]]:
    """Find the nearest vectors by Euclidean distance, exactly, block by block.

    Args:
        vectors: shape (texts, dimension).
        among: shape (others, dimension).
        count: how many; at most all.

    Returns:
        The rows of `vectors` that a block has; positions in `among`, the nearest first, and their
        distances, both of shape (rows, count). A distance of equal vectors is exactly 0.
    """
    count = min(count, len(among))
    squares = (among.astype(np.float64) ** 2).sum(axis=1)
    size = max(1, CELLS // max(1, len(among)))
    for start in range(0, len(vectors), size):
        block = vectors[start : start + size].astype(np.float64)
        # That of a text itself is left out: it does not change who is nearest.
        far = squares - 2 * block @ among.T.astype(np.float64)
        found = np.argpartition(far, count - 1, axis=1)[:, :count]
        gaps = np.linalg.norm(block[:, None] - among[found], axis=2)
        order = np.lexsort((found, gaps), axis=1)
        yield (
            slice(start, start + len(block)),
            np.take_along_axis(found, order, axis=1).astype(np.int64),
            np.take_along_axis(gaps, order, axis=1),
        )


def _enough(vectors: Floats, kept: int) -> Floats:
    return check_vectors(vectors, least=max(4, kept + 1))
