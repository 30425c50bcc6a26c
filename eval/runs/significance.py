"""Bootstrap intervals and significance tests that resample questions by their item.

Questions about one item share its reviews, so they are right and wrong together, and a test that
treats them as independent finds too many differences significant. Here an item's questions are
drawn, or have their signs flipped, all at once: they form a cluster (Field and Welsh, Bootstrapping
clustered data, Journal of the Royal Statistical Society B 69, 2007).

Every function takes many columns of scores at once (metrics, slices, differences of systems) and
resamples them alike, so that the numbers of one table differ by their scores only.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "EXACT",
    "bootstrap_means",
    "bootstrap_p_values",
    "holm",
    "intervals",
    "permutation_p_values",
]

Array = NDArray[np.float64]

CELLS = 1 << 21
"""Resamples are drawn in chunks of so many cells (resamples by clusters): 16 MiB an array."""

EXACT = 12
"""Up to so many clusters, every assignment of signs is tried: 4,096 of them."""


def bootstrap_means(
    scores: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    resamples: int = 10_000,
    seed: int = 13,
) -> Array:
    """Take the mean of each column over resampled questions, many times.

    A resample draws as many clusters as there are, with replacement; its mean is the sum of the
    scores drawn over their number, so that it does not matter in how many pieces they came.

    Args:
        scores: shape (questions, columns); NaN where a question does not count in a column.
        clusters: what each question is drawn with; all different: the usual bootstrap.
        resamples: how many.
        seed: random seed; the same seed, questions and clusters give the same resamples.

    Returns:
        Shape (resamples, columns). NaN where a resample drew no question that counts, and in
        all of a column whose questions are from fewer than two clusters: one cluster says
        nothing about how clusters differ.

    Source: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapters 6 and 8;
    Field and Welsh, 2007, for the clusters.

    >>> means = bootstrap_means([[0.0], [1.0], [1.0], [1.0]], ["a", "a", "b", "c"])
    >>> means.shape, float(means.min()), float(means.max())
    ((10000, 1), 0.5, 1.0)
    """
    sums, counts = _by_cluster(np.asarray(scores, dtype=np.float64), clusters)
    means = np.empty((resamples, sums.shape[1]))
    generator = np.random.default_rng(seed)
    for chunk in _chunks(resamples, len(sums)):
        weights = _draw(generator, chunk.stop - chunk.start, len(sums))
        drawn = weights @ counts
        drawn[drawn == 0] = np.nan
        np.divide(weights @ sums, drawn, out=means[chunk])
    means[:, (counts > 0).sum(axis=0) < 2] = np.nan
    return means


def intervals(means: Array, confidence: float = 0.95) -> Array:
    """Return the percentile interval of each column of `bootstrap_means`.

    With a handful of clusters it is too narrow, as every bootstrap is.

    Args:
        means: shape (resamples, columns); NaN is left out.
        confidence: the share of resamples that lies inside.

    Returns:
        Shape (columns, 2): low and high; NaN where a column has nothing but NaN.

    Source: Efron and Tibshirani, 1993, section 13.3.

    >>> intervals(np.arange(101.0)[:, None], confidence=0.9)
    array([[ 5., 95.]])
    """
    tail = (1 - confidence) / 2
    found = np.full((means.shape[1], 2), np.nan)
    for column, interval in zip(means.T, found, strict=True):
        drawn = column[~np.isnan(column)]
        if len(drawn):
            interval[:] = np.quantile(drawn, [tail, 1 - tail])
    return found


def bootstrap_p_values(means: Array, observed: ArrayLike) -> Array:
    """Return the two-sided p-value of each mean difference by the paired bootstrap.

    Resamples vary around the observed difference as differences by chance vary around 0: p is the
    share of them that are as far from it as it is from 0, itself included.

    Args:
        means: `bootstrap_means` of the differences between two systems, question by question.
        observed: the mean difference itself, one a column.

    Returns:
        One a column; NaN where `means` has nothing but NaN.

    Source: Berg-Kirkpatrick, Burkett and Klein, An Empirical Investigation of Statistical
    Significance in NLP, EMNLP 2012, section 2 (there one-sided), after Koehn, Statistical
    Significance Tests for Machine Translation Evaluation, EMNLP 2004.

    >>> bootstrap_p_values(np.array([[1.0], [2.0], [3.0]]), [2.0])
    array([0.25])
    """
    difference = np.asarray(observed, dtype=np.float64)
    drawn = (~np.isnan(means)).sum(axis=0)
    # Sums in another order differ in their last digits; that must not make a draw smaller.
    as_far = np.abs(means - difference) >= np.abs(difference) - 1e-12
    return np.where(drawn > 0, (as_far.sum(axis=0) + 1) / (drawn + 1), np.nan)


def permutation_p_values(
    differences: ArrayLike,
    clusters: Sequence[Hashable],
    *,
    resamples: int = 10_000,
    seed: int = 13,
) -> Array:
    """Return the two-sided p-value of each mean difference by the paired permutation test.

    If two systems are equally good, their names can be swapped on any cluster, which flips the
    signs of its differences; p is the share of such flips whose mean difference is as far from 0
    as the observed one.

    Args:
        differences: of two systems' scores, shape (questions, columns); NaN where a question
            does not count for both.
        clusters: whose differences are flipped together.
        resamples: how many assignments of signs are drawn. Where no more than 12 clusters
            differ at all, every assignment is tried instead, and p is exact.
        seed: random seed of the draws.

    Returns:
        One a column; 1 where nothing differs, NaN where no question counts. The observed
        assignment is one of those drawn, so that p is never 0.

    Source: Fisher, The Design of Experiments, 1935, section 21; Yeh, More accurate tests for
    the statistical significance of result differences, COLING 2000; Phipson and Smyth,
    Permutation P-values should never be zero, 2010, for the count.

    >>> permutation_p_values([[1.0], [1.0], [1.0], [1.0]], ["a", "b", "c", "d"])
    array([0.125])
    """
    sums, counts = _by_cluster(np.asarray(differences, dtype=np.float64), clusters)
    # How many questions count is the same whatever the signs, so that sums will do for means.
    far = np.abs(sums.sum(axis=0)) - 1e-12 * np.abs(sums).sum(axis=0)
    p_values = np.full(sums.shape[1], np.nan)
    differing = (sums != 0).sum(axis=0)
    for at in np.flatnonzero((counts.sum(axis=0) > 0) & (differing <= EXACT)):
        totals = np.zeros(1)
        for difference in sums[sums[:, at] != 0, at]:
            totals = np.concatenate([totals - difference, totals + difference])
        p_values[at] = np.mean(np.abs(totals) >= far[at])
    many = np.flatnonzero(differing > EXACT)
    if len(many):
        as_far = np.ones(len(many))
        generator = np.random.default_rng(seed)
        for chunk in _chunks(resamples, len(sums)):
            shape = (chunk.stop - chunk.start, len(sums))
            signs = 2.0 * generator.integers(0, 2, shape) - 1.0
            as_far += (np.abs(signs @ sums[:, many]) >= far[many]).sum(axis=0)
        p_values[many] = as_far / (resamples + 1)
    return p_values


def holm(p_values: ArrayLike) -> Array:
    """Adjust p-values for the number of comparisons that were made.

    If every difference with an adjusted value of at most 0.05 is called significant, the
    probability of any false one is at most 0.05, however the comparisons depend on each other.

    Args:
        p_values: one a comparison; NaN is no comparison, and stays NaN.

    Source: Holm, A Simple Sequentially Rejective Multiple Test Procedure, Scandinavian Journal
    of Statistics 6, 1979.

    >>> holm([0.01, 0.04, 0.03])
    array([0.03, 0.06, 0.06])
    """
    p = np.asarray(p_values, dtype=np.float64)
    ascending = np.argsort(p)[: (~np.isnan(p)).sum()]  # NaN last
    steps = p[ascending] * np.arange(len(ascending), 0, -1)
    adjusted = np.full_like(p, np.nan)
    adjusted[ascending] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def _by_cluster(scores: Array, clusters: Sequence[Hashable]) -> tuple[Array, Array]:
    """Sum each column's scores, and count them, cluster by cluster: (clusters, columns) each."""
    number = {cluster: at for at, cluster in enumerate(dict.fromkeys(clusters))}
    member = np.array([number[cluster] for cluster in clusters], dtype=np.intp)
    counted = ~np.isnan(scores)
    sums = np.zeros((len(number), scores.shape[1]))
    counts = np.zeros_like(sums)
    np.add.at(sums, member, np.where(counted, scores, 0.0))
    np.add.at(counts, member, counted)
    return sums, counts


def _chunks(resamples: int, clusters: int) -> Iterator[slice]:
    size = max(1, CELLS // clusters)
    for start in range(0, resamples, size):
        yield slice(start, min(start + size, resamples))


def _draw(generator: np.random.Generator, resamples: int, clusters: int) -> Array:
    """Return how often each resample drew each cluster, shape (resamples, clusters)."""
    drawn = generator.integers(0, clusters, (resamples, clusters))
    drawn += np.arange(resamples)[:, None] * clusters
    times = np.bincount(drawn.ravel(), minlength=resamples * clusters)
    return times.reshape(resamples, clusters).astype(np.float64)
