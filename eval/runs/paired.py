"""Systems compared in pairs on the same questions: differences, intervals and tests."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.metrics import describe
from eval.runs.run import Scores
from eval.runs.significance import (
    EXACT,
    bootstrap_means,
    bootstrap_p_values,
    holm,
    intervals,
    permutation_p_values,
)
from eval.runs.wording import SIGNIFICANT
from qa_system.errors import EvaluationError

__all__ = ["Resampling", "compare_pairs"]

Array = NDArray[np.float64]
SEED = 13

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Resampling:
    """How questions are resampled: by the same draws of the same clusters throughout a report.

    Args:
        clusters: `Row.cluster` of each question.
        resamples: for each interval and each test.
        seed: random seed of the draws.
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
                f"{self.resamples} resamples are too few", remedy="Take 1,000 or more."
            )

    def intervals(self, columns: Array) -> list[list[float] | None]:
        """Return each column's interval, shape (questions, columns); None for a single cluster."""
        means = bootstrap_means(columns, self.clusters, resamples=self.resamples, seed=self.seed)
        return [_interval(each) for each in intervals(means, self.confidence)]

    def to_dict(self) -> dict[str, Any]:
        """Return what a report says about it."""
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

    A metric may be a mean over the questions that a system chose to answer
    (`Population.by_system`). Abstaining then changes the system's own mean, which the questions
    that both answered would hide: each system is scored over its own questions, and the
    difference is that of the two means, resampled by the same draws. There is no permutation test
    then, as answering more is no matter of chance, and the bootstrap's p takes its place.

    Args:
        pairs: names of two systems, `a` and `b`.
        scores: of each system, on the same questions in the same order.
        metrics: those to compare by; one that a system lacks is left out for it.
        resampling: of these questions.

    Returns:
        JSON values for each metric and pair: `a`, `b`, `metric`, `questions`, both `means`, the
        mean `difference` a - b with its `interval`, `p_bootstrap`, `p_permutation`, and `p_holm`,
        which is adjusted for all pairs in that metric. None where there is no such number.
        `questions` are those that count for both, or, by system, for either.
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
    _warn_of_too_few(max(Counter(metric for metric, *_ in compared).values()), resampling)
    first = np.column_stack([columns[a][metric] for metric, a, _ in compared])
    second = np.column_stack([columns[b][metric] for metric, _, b in compared])
    numbers = _compared(first, second, [metric for metric, *_ in compared], resampling)
    return [
        {"a": a, "b": b, "metric": metric, **{name: each[at] for name, each in numbers.items()}}
        for at, (metric, a, b) in enumerate(compared)
    ]


def _warn_of_too_few(comparisons: int, resampling: Resampling) -> None:
    """Warn where no difference can be significant, however large: p is 1 / (resamples + 1)."""
    least = comparisons / (resampling.resamples + 1)
    if least > SIGNIFICANT and len(set(resampling.clusters)) > EXACT:
        log.warning(
            "with %d resamples and %d comparisons in a metric no difference can be significant: the"
            " smallest p that can be reached is %.3f. Use --resamples %d or more",
            resampling.resamples,
            comparisons,
            least,
            math.ceil(comparisons / SIGNIFICANT) - 1,
        )


def _compared(
    first: Array, second: Array, metrics: Sequence[str], resampling: Resampling
) -> dict[str, list[Any]]:
    """Compare two tables of scores column by column; see `compare_pairs`."""
    clusters = resampling.clusters
    how = {"resamples": resampling.resamples, "seed": resampling.seed}
    by_system = np.array([describe(metric).over.by_system for metric in metrics])
    differences = first - second
    is_shared = ~np.isnan(differences)
    counted = [np.where(by_system, ~np.isnan(each), is_shared) for each in (first, second)]
    means = np.stack([_means(first, counted[0]), _means(second, counted[1])], axis=1)
    difference = np.where(by_system, means[:, 0] - means[:, 1], _means(differences, is_shared))
    drawn = bootstrap_means(differences, clusters, **how)
    drawn[:, by_system] = bootstrap_means(first[:, by_system], clusters, **how)
    drawn[:, by_system] -= bootstrap_means(second[:, by_system], clusters, **how)
    p_bootstrap = bootstrap_p_values(drawn, difference)
    p_permutation = permutation_p_values(differences, clusters, **how)
    p_permutation[by_system] = np.nan
    p_holm = np.where(by_system, p_bootstrap, p_permutation)
    for metric in set(metrics):
        of_metric = np.array(metrics) == metric
        p_holm[of_metric] = holm(p_holm[of_metric])
    return {
        "questions": (counted[0] | counted[1]).sum(axis=0).tolist(),
        "means": [list(map(_number, each)) for each in means],
        "interval": list(map(_interval, intervals(drawn, resampling.confidence))),
        "difference": list(map(_number, difference)),
        "p_bootstrap": list(map(_number, p_bootstrap)),
        "p_permutation": list(map(_number, p_permutation)),
        "p_holm": list(map(_number, p_holm)),
    }


def _means(columns: Array, is_counted: NDArray[np.bool_]) -> Array:
    """Return each column's mean over what counts; NaN where nothing does."""
    counts = is_counted.sum(axis=0)
    means: Array = np.where(is_counted, columns, 0.0).sum(axis=0)
    means[counts == 0] = np.nan
    means /= np.maximum(counts, 1)
    return means


def _interval(low_high: Array) -> list[float] | None:
    return None if np.isnan(low_high).any() else [float(each) for each in low_high]


def _number(value: np.float64) -> float | None:
    return None if np.isnan(value) else float(value)
