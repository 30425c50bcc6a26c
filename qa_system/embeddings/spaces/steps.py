"""Steps that change vectors: each is fitted on some texts and applied to any others.

A fitted step is a frozen dataclass whose fields are numbers, words and arrays, so that it is saved
as JSON and safetensors and never as code.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from qa_system.embeddings.pooling import normalized
from qa_system.embeddings.spaces.checks import Floats, check_vectors
from qa_system.embeddings.spaces.neighbours import Placed
from qa_system.errors import InvalidArgumentError

__all__ = ["KINDS", "Normalized", "Principal", "Step", "fit_step"]

ROWS: Final = 8192
"""Vectors that are held in 64 bits at a time."""
UMAP_DIMENSIONS: Final = 2


class Step(Protocol):
    """A fitted step."""

    @property
    def dimension(self) -> int:
        """Numbers in a vector that it takes."""

    def apply(self, vectors: Floats) -> Floats:
        """Return the vectors (texts, dimension) as the step changes them."""


@dataclass(frozen=True, eq=False)
class Normalized:
    """Divide every vector by its length; a vector of zeros stays one.

    >>> Normalized(2).apply(np.array([[3, 4], [0, 0]], np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """

    dimension: int

    def apply(self, vectors: Floats) -> Floats:
        """Return the vectors with length 1."""
        return normalized(check_vectors(vectors, self.dimension))


@dataclass(frozen=True, eq=False)
class Principal:
    """Project vectors on their principal components, or whiten them.

    Args:
        mean: of the vectors that it was fitted on, shape (dimension,).
        components: orthonormal rows, that with most variance first; shape (kept, dimension).
        variances: of the projections, with n - 1 in the denominator, shape (kept,).
        share: of the whole variance that the components keep.
        whitens: also divide every projection by its standard deviation, so that all have variance
            1 and none goes with another (Su et al., Whitening Sentence Representations for Better
            Semantics and Faster Retrieval, 2021, https://arxiv.org/abs/2103.15316).

    Equal to scikit-learn's PCA with `svd_solver="full"`, signs included.
    """

    mean: Floats
    components: Floats
    variances: Floats
    share: float
    whitens: bool = False

    @property
    def dimension(self) -> int:
        """Numbers in a vector that it takes."""
        return len(self.mean)

    def apply(self, vectors: Floats) -> Floats:
        """Return the projections, shape (texts, kept)."""
        vectors = check_vectors(vectors, self.dimension)
        scale = np.sqrt(self.variances.astype(np.float64)) if self.whitens else 1.0
        projected = [
            (block - self.mean) @ self.components.T.astype(np.float64) / scale
            for block in _blocks(vectors)
        ]
        empty = np.empty((0, len(self.components)))
        return np.concatenate([empty, *projected]).astype(np.float32)

    @classmethod
    def fit(cls, vectors: Floats, kept: int | None, *, whitens: bool) -> Principal:
        """Fit it on vectors (texts, dimension).

        Args:
            vectors: at least two.
            kept: components to keep; None: all along which the vectors vary.
            whitens: as above.

        Raises:
            InvalidArgumentError: the vectors vary in fewer directions than `kept`, or in none.
        """
        vectors = check_vectors(vectors, least=2)
        mean = vectors.mean(axis=0, dtype=np.float64)
        scatter = np.zeros((vectors.shape[1],) * 2)
        for block in _blocks(vectors):
            centred = block - mean
            scatter += centred.T @ centred
        values, rows = np.linalg.eigh(scatter / (len(vectors) - 1))
        values, rows = np.maximum(values[::-1], 0), rows.T[::-1]
        varying = int((values > values[0] * len(values) * np.finfo(np.float64).eps).sum())
        if not varying or (kept or 1) > varying:
            raise InvalidArgumentError(
                f"{len(vectors)} vectors vary in {varying} directions, and {kept or 1} are to be "
                "kept",
                remedy="Keep fewer, or fit on more texts.",
            )
        kept = varying if kept is None else kept
        largest = np.abs(rows).argmax(axis=1)
        rows = rows * np.sign(rows[np.arange(len(rows)), largest])[:, None]
        return cls(
            mean.astype(np.float32),
            np.ascontiguousarray(rows[:kept], np.float32),
            values[:kept].astype(np.float32),
            float(values[:kept].sum() / values.sum()),
            whitens,
        )


KINDS: Final[dict[str, type[Normalized | Principal | Placed]]] = {
    "normalize": Normalized,
    "pca": Principal,
    "whiten": Principal,
    "umap": Placed,
    "tsne": Placed,
}
"""The name of each step, and what it is once fitted."""


def fit_step(said: str, vectors: Floats, *, seed: int = 13) -> Step:
    """Fit a step.

    Args:
        said: `normalize`, `pca`, `whiten`, `umap` or `tsne`; `NAME:N` keeps N dimensions. Default:
            `pca` and `whiten` keep all along which the vectors vary, `umap` and `tsne` two.
        vectors: shape (texts, dimension).
        seed: of `umap` and `tsne`.

    Raises:
        InvalidArgumentError: there is no such step, or it cannot be fitted on these vectors.
        MissingDependencyError: UMAP or scikit-learn is needed and not installed.

    >>> vectors = np.array([[0, 0], [2, 0], [4, 0]], np.float32)
    >>> fit_step("pca:1", vectors).apply(vectors).ravel().tolist()
    [-2.0, 0.0, 2.0]
    """
    name, colon, number = said.strip().partition(":")
    if name not in KINDS or (colon and not (number.isdecimal() and int(number) > 0)):
        raise InvalidArgumentError(
            f"there is no step {said!r}",
            remedy=f"Choose of: {', '.join(KINDS)}; NAME:N keeps N dimensions, as in pca:64.",
        )
    kept = int(number) if number else None
    if name == "normalize":
        if kept is not None:
            raise InvalidArgumentError(
                "normalize keeps all dimensions", remedy="Write normalize without a number."
            )
        return Normalized(check_vectors(vectors).shape[1])
    fit: dict[str, Callable[[], Step]] = {
        "pca": lambda: Principal.fit(vectors, kept, whitens=False),
        "whiten": lambda: Principal.fit(vectors, kept, whitens=True),
        "umap": lambda: Placed.umap(vectors, kept or UMAP_DIMENSIONS, seed=seed),
        "tsne": lambda: Placed.tsne(vectors, kept or UMAP_DIMENSIONS, seed=seed),
    }
    return fit[name]()


def _blocks(vectors: Floats) -> Iterator[NDArray[np.float64]]:
    for start in range(0, len(vectors), ROWS):
        yield vectors[start : start + ROWS].astype(np.float64)
