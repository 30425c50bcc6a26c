"""Systems on the same questions, two at a time: how far apart they are, and whether by luck."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.runs.run import Scores
from eval.runs.significance import (
    bootstrap_means,
    bootstrap_p_values,
    holm,
    intervals,
    permutation_p_values,
)
from qa_system.errors import EvaluationError

__all__ = ["Resampling", "compare_pairs"]

Array = NDArray[np.float64]
SEED = 13

OF_THE_ANSWERED = frozenset({"precision", "gold_posterior", "gold_top"})
"""Metrics of `eval.tasks.generator` over the questions that a system chose to answer. What it
withholds moves its own mean, and what two systems have in common would hide that."""


@dataclass(frozen=True, slots=True)
class Resampling:
    """How luck is judged: the same draws of the same clusters for every number of a report.

    Args:
        clusters: `Row.cluster` of each question.
        resamples: for each interval and each test.
        seed: of the draws.
        confidence: the share of resamples inside an interval.

    Raises:
        EvaluationError: `resamples` is less than 1.
    """

    clusters: Sequence[str]
    resamples: int = 10_000
    seed: int = SEED
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.resamples < 1:
            raise EvaluationError(
                f"{self.resamples} resamples tell nothing", remedy="Take 1,000 or more."
            )

    def intervals(self, columns: Array) -> list[list[float] | None]:
        """Give each column's interval, shape (questions, columns); None if one cluster is all."""
        means = bootstrap_means(columns, self.clusters, resamples=self.resamples, seed=self.seed)
        return [_interval(each) for each in intervals(means, self.confidence)]

    def to_dict(self) -> dict[str, Any]:
        """Give what a report says of it."""
        return {
            "resamples": self.resamples,
            "seed": self.seed,
            "clusters": len(set(self.clusters)),
            "confidence": self.confidence,
        }


def compare_pairs(
    pairs: Sequence[tuple[str, str]],
    scores: Mapping[str, Scores],
    metrics: Sequence[str],
    resampling: Resampling,
) -> list[dict[str, Any]]:
    """Compare systems in pairs, over the questions that count for both.

    In a metric `OF_THE_ANSWERED` each counts over its own questions: the difference is that of the
    two means, resampled by the same draws. Names cannot be swapped there, as answering more is no
    matter of luck, so that there is no permutation test, and the bootstrap's p stands for it.

    Args:
        pairs: names of two systems, `a` and `b`.
        scores: of each system, on the same questions in the same order.
        metrics: those to compare by; one that a system lacks is passed over for it.
        resampling: of these questions.

    Returns:
        JSON values for each metric and pair: `a`, `b`, `metric`, `questions`, both `means`, the
        mean `difference` a - b with its `interval`, `p_bootstrap`, `p_permutation`, and `p_holm`,
        the latter adjusted for all pairs in that metric. None where there is no such number.
        `questions` are those that count for both, or `OF_THE_ANSWERED` for either.
    """
    columns = {
        name: {metric: each.values[:, at] for at, metric in enumerate(each.metrics)}
        for name, each in scores.items()
    }
    compared = [
        (metric, a, b)
        for metric in metrics
        for a, b in pairs
        if metric in columns[a] and metric in columns[b]
    ]
    if not compared:
        return []
    first = np.column_stack([columns[a][metric] for metric, a, _ in compared])
    second = np.column_stack([columns[b][metric] for metric, _, b in compared])
    of_metric = np.array([metric for metric, _, _ in compared])
    apart = np.isin(of_metric, list(OF_THE_ANSWERED))
    differences = first - second
    is_shared = ~np.isnan(differences)
    counted = [np.where(apart, ~np.isnan(each), is_shared) for each in (first, second)]
    means = _means(first, counted[0]), _means(second, counted[1])
    difference = np.where(apart, means[0] - means[1], _means(differences, is_shared))
    how = {"resamples": resampling.resamples, "seed": resampling.seed}
    drawn = bootstrap_means(differences, resampling.clusters, **how)
    drawn[:, apart] = bootstrap_means(first[:, apart], resampling.clusters, **how)
    drawn[:, apart] -= bootstrap_means(second[:, apart], resampling.clusters, **how)
    p_bootstrap = bootstrap_p_values(drawn, difference)
    p_permutation = permutation_p_values(differences, resampling.clusters, **how)
    p_permutation[apart] = np.nan
    p_holm = np.where(apart, p_bootstrap, p_permutation)
    for metric in metrics:
        p_holm[of_metric == metric] = holm(p_holm[of_metric == metric])
    numbers = {
        "difference": difference,
        "p_bootstrap": p_bootstrap,
        "p_permutation": p_permutation,
        "p_holm": p_holm,
    }
    between = intervals(drawn, resampling.confidence)
    return [
        {
            "a": a,
            "b": b,
            "metric": metric,
            "questions": int((counted[0] | counted[1])[:, at].sum()),
            "means": [_number(each[at]) for each in means],
            "interval": _interval(between[at]),
            **{name: _number(values[at]) for name, values in numbers.items()},
        }
        for at, (metric, a, b) in enumerate(compared)
    ]


def _means(columns: Array, is_counted: NDArray[np.bool_]) -> Array:
    """Give each column's mean over what counts; NaN where nothing does."""
    counts = is_counted.sum(axis=0)
    means: Array = np.where(is_counted, columns, 0.0).sum(axis=0)
    means[counts == 0] = np.nan
    means /= np.maximum(counts, 1)
    return means


def _interval(low_high: Array) -> list[float] | None:
    return None if np.isnan(low_high).any() else [float(each) for each in low_high]


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
