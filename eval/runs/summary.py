"""The summary of a run, computed from its rows: means, intervals, slices, comparisons.

The table, the JSON report and the page show this and nothing else.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from eval.runs.paired import SEED, Resampling, compare_pairs
from eval.runs.run import Run, Scores

__all__ = ["summarise"]

K = TypeVar("K")

DRAWN = ("recall_at",)
"""The details of a baseline that a plot draws."""


def summarise(run: Run, *, resamples: int = 10_000) -> dict[str, Any]:
    """Summarise a run as plain JSON values.

    All intervals and tests use the same draws of clusters (`Row.cluster`), by the seed of
    `made_with`, or 13. A mean over no question is None, and so is an interval where the
    questions are from a single cluster.

    Args:
        run: one or several systems on the same questions.
        resamples: for each interval and each test, from 1.

    Returns:
        - `kind`, `primary`, `headline`, `made_with`: the run's.
        - `systems`: name -> `metrics`, `intervals` (95 %) and `questions` (how many count), each
          by metric; `measures`, `counts`, `details` as they came; `slices`: feature -> value ->
          `questions`, and `metrics` and `intervals` of the headline.
        - `references`: the same for the baselines, but no slices, and of the details only
          `recall_at`.
        - `comparisons`: of every two systems, or the run's `pairs`, and of every system with the
          baselines `compared`, in each headline metric that both have; see `compare_pairs`.
        - `resampling`: how the draws were made.

        Questions that count in no headline metric are in no slice; a feature with a single value
        is left out.

    Raises:
        EvaluationError: `resamples` is less than 1.
    """
    clusters = [row.cluster for row in next(iter(run.systems.values())).rows]
    resampling = Resampling(clusters, resamples, int(run.made_with.get("seed", SEED)))
    everyone = {**run.systems, **run.baselines}
    estimates = _estimates({name: system.scores for name, system in everyone.items()}, resampling)
    slices = _slices(run, resampling)

    def numbers(name: str, details: Mapping[str, Any]) -> dict[str, Any]:
        system = everyone[name]
        return {
            **estimates[name],
            "measures": dict(system.measures),
            "counts": dict(system.counts),
            "details": dict(details),
        }

    return {
        "kind": run.kind,
        "primary": run.primary,
        "headline": list(run.headline),
        "systems": {
            name: {**numbers(name, each.details), "slices": slices[name]}
            for name, each in run.systems.items()
        },
        "references": {
            name: numbers(name, {key: each.details[key] for key in DRAWN if key in each.details})
            for name, each in run.baselines.items()
        },
        "comparisons": _comparisons(run, resampling),
        "resampling": resampling.to_dict(),
        "made_with": dict(run.made_with),
    }


def _estimates(scores: Mapping[K, Scores], resampling: Resampling) -> dict[K, dict[str, Any]]:
    """Return means, intervals and numbers of questions of several tables of scores at once."""
    if not scores:
        return {}
    values = [each.values for each in scores.values()]
    found = iter(resampling.intervals(np.hstack(values)))
    return {
        key: {
            "metrics": each.means(),
            "intervals": {name: next(found) for name in each.metrics},
            "questions": dict(
                zip(each.metrics, (~np.isnan(each.values)).sum(axis=0).tolist(), strict=True)
            ),
        }
        for key, each in scores.items()
    }


def _slices(run: Run, resampling: Resampling) -> dict[str, dict[str, dict[str, dict[str, Any]]]]:
    """Return each system's headline metrics by feature and value."""
    rows = next(iter(run.systems.values())).rows
    headline = {name: _select(system.scores, run.headline) for name, system in run.systems.items()}
    counts = np.any([~np.isnan(each.values).all(axis=1) for each in headline.values()], axis=0)
    inside: dict[tuple[str, str], NDArray[np.bool_]] = {}
    for feature in dict.fromkeys(feature for row in rows for feature in row.slices):
        of_rows = np.array([row.slices.get(feature, "") for row in rows])
        values = _in_order(Counter(of_rows[counts & (of_rows != "")].tolist()))
        if len(values) > 1:
            inside |= {(feature, value): counts & (of_rows == value) for value in values}
    tables = {
        (name, *place): Scores(each.metrics, np.where(member[:, None], each.values, np.nan))
        for name, each in headline.items()
        for place, member in inside.items()
    }
    slices: dict[str, dict[str, dict[str, dict[str, Any]]]] = {name: {} for name in run.systems}
    for (name, feature, value), estimate in _estimates(tables, resampling).items():
        slices[name].setdefault(feature, {})[value] = {
            **estimate,
            "questions": int(inside[feature, value].sum()),
        }
    return slices


def _comparisons(run: Run, resampling: Resampling) -> list[dict[str, Any]]:
    pairs = list(combinations(run.systems, 2) if run.pairs is None else run.pairs)
    pairs += [
        (name, each) for each in run.compared if each in run.baselines for name in run.systems
    ]
    scores = {name: each.scores for name, each in {**run.baselines, **run.systems}.items()}
    return compare_pairs(pairs, scores, run.headline, resampling)


def _select(scores: Scores, metrics: Sequence[str]) -> Scores:
    there = tuple(metric for metric in metrics if metric in scores.metrics)
    return Scores(there, scores.values[:, [scores.metrics.index(metric) for metric in there]])


def _in_order(values: Counter[str]) -> list[str]:
    """Sort bins (`2-3`, `11+`) by their first number, other values by their number of questions.

    >>> _in_order(Counter({"11+": 5, "2-3": 1})), _in_order(Counter({"is": 1, "how": 5}))
    (['2-3', '11+'], ['how', 'is'])
    """
    begins = {value: re.match(r"\d+", value) for value in values}
    return sorted(
        values,
        key=lambda value: (int(start[0]) if (start := begins[value]) else -values[value], value),
    )
