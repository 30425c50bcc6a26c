"""Clusters of texts: found once, with names, and told of new texts.

A new text belongs to the cluster whose centroid is nearest. That is k-means itself. HDBSCAN has
clusters of any shape, and texts that belong to none, but no rule for new texts: a new text belongs
to none where it lies farther from the centroid than every text of the cluster. How often this rule
says of the texts that were fitted what HDBSCAN said of them is kept as `agreement`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from qa_system.arguments import check_choice, check_count
from qa_system.console.wording import counted
from qa_system.embeddings.spaces.checks import Floats, Ints, check_vectors, extra_package
from qa_system.embeddings.spaces.naming import cluster_names
from qa_system.embeddings.spaces.neighbours import nearest
from qa_system.errors import InvalidArgumentError

__all__ = ["METHODS", "Clusters", "Method", "fit_clusters"]

Method = Literal["kmeans", "hdbscan"]
METHODS: Final[tuple[Method, ...]] = ("kmeans", "hdbscan")
NONE: Final = "none"
"""The name of what belongs to no cluster."""
MOST_TRIED: Final = 15
SAMPLE: Final = 2000
"""Texts on which the number of clusters is chosen."""
PURPOSE: Final = "clustering"
EXTRA: Final = "spaces"


@dataclass(frozen=True, eq=False)
class Clusters:
    """Clusters that were found.

    Args:
        method: that found them.
        centroids: shape (clusters, dimension).
        radii: from a centroid to the farthest text of its cluster, shape (clusters,); infinite
            with k-means, where every text belongs to a cluster.
        names: by their words.
        sizes: texts of each, of those that were fitted.
        agreement: of the texts that were fitted, how many `assign` puts where the method had put
            them, 0 to 1.
    """

    method: Method
    centroids: Floats
    radii: Floats
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    agreement: float

    @property
    def dimension(self) -> int:
        """Numbers in a vector that they take."""
        return int(self.centroids.shape[1])

    def assign(self, vectors: Floats) -> Ints:
        """Return the number of each vector's cluster, from 0; -1: none.

        Raises:
            InvalidArgumentError: the vectors have another dimension.
        """
        vectors = check_vectors(vectors, self.dimension)
        labels = np.full(len(vectors), -1, np.int64)
        if len(self.centroids):
            for rows, found, distances in nearest(vectors, self.centroids, 1):
                inside = distances[:, 0] <= self.radii[found[:, 0]] * (1 + 1e-6)
                labels[rows] = np.where(inside, found[:, 0], -1)
        return labels

    def name_of(self, label: int) -> str:
        """Return the name of a cluster by its number."""
        return NONE if label < 0 else self.names[label]


def fit_clusters(
    vectors: Floats,
    texts: Sequence[str] | None = None,
    *,
    method: str = "kmeans",
    count: int | None = None,
    least: int | None = None,
    seed: int = 13,
) -> tuple[Clusters, Ints]:
    """Find clusters, and name them.

    Args:
        vectors: shape (texts, dimension). In many dimensions all distances are alike: take
            `pca:50` first.
        texts: theirs, whose words name the clusters; None: numbers do.
        method: `kmeans` or `hdbscan` (Campello, Moulavi and Sander, Density-Based Clustering
            Based on Hierarchical Density Estimates, 2013).
        count: clusters of k-means; None: that number from 2 to 15 with the highest silhouette
            (Rousseeuw, Silhouettes, 1987), on at most 2,000 of the texts.
        least: texts that a cluster of HDBSCAN has at least; None: a hundredth, 5 or more.
        seed: of k-means, and of the choice of the number.

    Returns:
        The clusters, the largest first, and the number of each text's, -1 where it has none.

    Raises:
        ConfigError: there is no such method.
        InvalidArgumentError: there are fewer different vectors than clusters.
        MissingDependencyError: scikit-learn is not installed.
    """
    check_choice("method", method, METHODS)
    vectors = check_vectors(vectors, least=2)
    if method == "kmeans":
        found, centroids = _by_means(vectors, count, seed)
        radii = np.full(len(centroids), np.inf)
    else:
        found = _by_density(vectors, least)
        centroids, radii = _extents(vectors, found)
    sizes = np.bincount(found[found >= 0], minlength=len(centroids))
    order = np.argsort(-sizes, kind="stable")
    number = np.append(np.argsort(order), -1)
    labels = number[found]
    clusters = Clusters(
        "kmeans" if method == "kmeans" else "hdbscan",
        np.ascontiguousarray(centroids[order], np.float32),
        radii[order].astype(np.float32),
        cluster_names([""] * len(vectors) if texts is None else texts, labels.tolist(), len(order)),
        tuple(sizes[order].tolist()),
        1.0,
    )
    same = float((clusters.assign(vectors) == labels).mean())
    return replace(clusters, agreement=same), labels


def _by_means(vectors: Floats, count: int | None, seed: int) -> tuple[Ints, Floats]:
    different = len(np.unique(vectors, axis=0))
    if count is not None:
        check_count("count", count)
        if count > different:
            raise InvalidArgumentError(
                f"{counted(different, 'different vector')} cannot make {counted(count, 'cluster')}",
                remedy=f"Ask for {different} at most, or pass more texts.",
            )
    fitted = _means(vectors, count or _best_count(vectors, different, seed), seed)
    return np.asarray(fitted.labels_, np.int64), np.asarray(fitted.cluster_centers_)


def _best_count(vectors: Floats, different: int, seed: int) -> int:
    metrics = extra_package("sklearn.metrics", PURPOSE, EXTRA)
    draw = np.random.default_rng(seed)
    chosen = vectors[np.sort(draw.permutation(len(vectors))[:SAMPLE])]
    most = min(MOST_TRIED, len(np.unique(chosen, axis=0)) - 1)
    if most < 2:
        return min(2, different)
    scores = {
        count: float(metrics.silhouette_score(chosen, _means(chosen, count, seed).labels_))
        for count in range(2, most + 1)
    }
    return max(scores, key=scores.__getitem__)


def _means(vectors: Floats, count: int, seed: int) -> Any:
    package = extra_package("sklearn.cluster", PURPOSE, EXTRA)
    return package.KMeans(count, n_init=4, random_state=seed).fit(vectors)


def _by_density(vectors: Floats, least: int | None) -> Ints:
    cluster = extra_package("sklearn.cluster", PURPOSE, EXTRA)
    size = max(5, len(vectors) // 100) if least is None else least
    check_count("least", size, 2)
    if size > len(vectors):
        raise InvalidArgumentError(
            f"a cluster is to have {size} texts, and there are {len(vectors)}",
            remedy="Ask for smaller clusters, or pass more texts.",
        )
    labels = cluster.HDBSCAN(min_cluster_size=size, copy=True).fit_predict(vectors)
    return np.asarray(labels, np.int64)


def _extents(vectors: Floats, found: Ints) -> tuple[Floats, Floats]:
    """Return the centroid of each cluster, and how far its farthest text lies from it."""
    members = [vectors[found == each].astype(np.float64) for each in range(found.max() + 1)]
    centroids = np.array([each.mean(axis=0) for each in members], np.float32)
    centroids = centroids.reshape(len(members), vectors.shape[1])
    radii = [
        np.linalg.norm(each - centroid, axis=1).max()
        for each, centroid in zip(members, centroids, strict=True)
    ]
    return centroids, np.array(radii, np.float32)
