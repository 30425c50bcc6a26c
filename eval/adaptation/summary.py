"""Gains and costs of an adaptation, computed from rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import fmean, stdev
from typing import Any

import numpy as np

from eval.runs.paired import Resampling, compare_pairs
from eval.runs.run import Run, System
from eval.runs.significance import bootstrap_means, intervals
from eval.runs.summary import summarise

__all__ = ["against", "kept", "over_folds", "pooled", "seen_and_unseen"]

FEATURE = "item_in_training"


def against(
    baseline: str, run: Run, metrics: Sequence[str], resampling: Resampling
) -> list[dict[str, Any]]:
    """Compare each system with one of the systems or baselines; see `compare_pairs`.

    Holm's correction is for these pairs alone: they answer the question of an adaptation.
    """
    everyone = {**run.baselines, **run.systems}
    pairs = [(name, baseline) for name in run.systems if name != baseline]
    scores = {name: each.scores for name, each in everyone.items()}
    return compare_pairs(pairs, scores, metrics, resampling)


def seen_and_unseen(run: Run, *, resamples: int) -> dict[str, dict[str, Any]]:
    """Summarise a run separately for items that the training split has questions about, and others.

    Returns:
        `seen`, `unseen` -> `questions`, `items`, `systems`, `references` and `comparisons` as in
        `eval.runs.summary.summarise`; a part without questions is absent.
    """
    found = {}
    for value in ("seen", "unseen"):
        rows = next(iter(run.systems.values())).rows
        places = [at for at, row in enumerate(rows) if row.slices.get(FEATURE) == value]
        if places:
            summary = summarise(_part_of(run, places), resamples=resamples)
            found[value] = {
                "questions": len(places),
                "items": len({rows[at].cluster for at in places}),
                **{
                    group: {
                        name: {key: each[key] for key in ("metrics", "intervals", "questions")}
                        for name, each in summary[group].items()
                    }
                    for group in ("systems", "references")
                },
                "comparisons": summary["comparisons"],
            }
    return found


def kept(
    systems: Mapping[str, System], general: str, metric: str, resampling: Resampling
) -> dict[str, dict[str, Any]]:
    """Return the share of the general reader's score that each reader keeps on general questions.

    Args:
        systems: on the same questions.
        general: the reader whose share is 1.
        metric: every question must count in it.
        resampling: of these questions.

    Returns:
        Name -> `share`, and its `interval` (both means of a resample are of the same draw); None
        where the general reader scores 0.

    >>> from eval.runs.run import Row
    >>> def scored(*f1):
    ...     return System(tuple(
    ...         Row(f"q{n}", None, "?", None, "r", (), f"i{n}", {"f1": each})
    ...         for n, each in enumerate(f1)))
    >>> both = {"general": scored(1.0, 0.6), "adapted": scored(0.5, 0.3)}
    >>> kept(both, "general", "f1", Resampling(["i0", "i1"], 100))["adapted"]
    {'share': 0.5, 'interval': [0.5, 0.5]}
    """
    names = list(systems)
    values = [each.scores.values[:, each.scores.metrics.index(metric)] for each in systems.values()]
    columns = np.column_stack(values)
    means = np.array([[each.metrics[metric] for each in systems.values()]], dtype=np.float64)
    drawn = bootstrap_means(
        columns, resampling.clusters, resamples=resampling.resamples, seed=resampling.seed
    )
    one = names.index(general)
    if not means[0, one] > 0:
        return {name: {"share": None, "interval": None} for name in names}
    # A resample in which the general reader scores 0 has no share.
    drawn[~(drawn[:, one] > 0)] = np.nan
    shares = (means / means[:, [one]])[0]
    between = intervals(drawn / drawn[:, [one]], resampling.confidence)
    return {
        name: {
            "share": float(share),
            "interval": None if np.isnan(interval).any() else interval.tolist(),
        }
        for name, share, interval in zip(names, shares, between, strict=True)
    }


def over_folds(
    folds: Sequence[Mapping[str, System]], metrics: Sequence[str]
) -> dict[str, dict[str, dict[str, Any]]]:
    """Return each reader's mean and spread over folds.

    Args:
        folds: the systems of each fold.
        metrics: those to return.

    Returns:
        Name -> metric -> `mean`, `sd` (the standard deviation of the folds' means, with
        n - 1), `min`, `max`, and `values`, the mean of each fold; None where a fold has no
        question that counts; the other numbers leave out such folds.
    """
    return {
        name: {
            metric: _spread([fold[name].metrics[metric] for fold in folds]) for metric in metrics
        }
        for name in folds[0]
    }


def pooled(folds: Sequence[Mapping[str, System]]) -> dict[str, System]:
    """Join the folds' rows: every question is tested once."""
    return {
        name: System(tuple(row for fold in folds for row in fold[name].rows)) for name in folds[0]
    }


def _spread(values: Sequence[float | None]) -> dict[str, Any]:
    known = [value for value in values if value is not None]
    return {
        "mean": fmean(known) if known else None,
        "sd": stdev(known) if len(known) > 1 else None,
        "min": min(known, default=None),
        "max": max(known, default=None),
        "values": list(values),
    }


def _part_of(run: Run, places: Sequence[int]) -> Run:
    def some(systems: Mapping[str, System]) -> dict[str, System]:
        return {
            name: System(tuple(each.rows[at] for at in places)) for name, each in systems.items()
        }

    return replace(run, systems=some(run.systems), baselines=some(run.baselines))
