"""What an adaptation bought and what it cost, worked out from rows."""

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
    """Compare each system with one of the systems or references; see `compare_pairs`.

    Holm's correction is for these pairs alone: they are what an adaptation is done for.
    """
    everyone = {**run.references, **run.systems}
    pairs = [(name, baseline) for name in run.systems if name != baseline]
    scores = {name: each.scores for name, each in everyone.items()}
    return compare_pairs(pairs, scores, metrics, resampling)


def seen_and_unseen(run: Run, *, resamples: int) -> dict[str, dict[str, Any]]:
    """Summarise a run apart for items that the training split asks about, too, and for others.

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
    """Say what share of the general reader's score each reader keeps on general questions.

    Args:
        systems: on the same questions.
        general: the one that is 1.
        metric: a question's score in it is a number.
        resampling: of these questions.

    Returns:
        Name -> `share`, and its `interval` (both means of a resample are of the same draw); None
        where the general reader has no score to keep.

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
    # A resample in which the general reader finds nothing has no share.
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
    """Give each reader's mean over folds and how far it spreads.

    Args:
        folds: the systems of each fold.
        metrics: those to look at.

    Returns:
        Name -> metric -> `mean`, `sd` (the standard deviation of the folds' means, n - 1 below
        the line), `min`, `max`, and `values`, a mean of each fold; None where a fold has no
        question that counts, and such folds are passed over by the rest.
    """
    return {
        name: {
            metric: _spread([fold[name].metrics[metric] for fold in folds]) for metric in metrics
        }
        for name in folds[0]
    }


def pooled(folds: Sequence[Mapping[str, System]]) -> dict[str, System]:
    """Put the folds' rows together: every question is tested on once."""
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

    return replace(run, systems=some(run.systems), references=some(run.references))
