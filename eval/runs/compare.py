"""Runs compared: which metrics, slices and questions changed, and which settings differ.

The first run named is the baseline. Every number is over the questions that all runs share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.metrics import describe
from eval.runs.paired import SEED, Resampling, compare_pairs
from eval.runs.pairing import NamedRun, Side, name_runs, pair_systems, shared_questions
from eval.runs.run import Row, Run
from eval.runs.wording import depths_in_words, dotted
from qa_system.errors import EvaluationError

__all__ = ["compare_runs"]

LEAST = 10
"""Questions of a slice: in a smaller one any difference can be chance."""


def compare_runs(
    named: Sequence[str],
    *,
    metric: str | None = None,
    common: bool = False,
    resamples: int = 10_000,
) -> dict[str, Any]:
    """Compare runs that `qa-eval ... --out` has written, each with the first.

    Args:
        named: folders, or `FOLDER:SYSTEM`; two or more. Without `:SYSTEM`, systems of the same
            name are paired, or the only one of each run.
        metric: the metric of the changed questions and slices; None: for the questions `em`, or
            for retrievers recall@3 (else the first recall of the headline), and for the slices
            the baseline's primary metric.
        common: compare runs of different data, on the questions that they share.
        resamples: for each interval and each test.

    Returns:
        JSON values:

        - `runs`: name, folder and kind; `questions`: how many are `compared`, and of each run
          how many were `left_out`, and how many of these `changed` (other words, other answers);
        - `metric`: that of the slices; `flips_by`: that of the flips;
        - `pairs`, one for each system of the baseline and of each other run (`a`, the other;
          `b`, the baseline): `comparisons` as in a summary; `gained` and `lost`, how many
          questions score better or worse; `flips`, those questions, the largest changes first;
          `slices`: the differences by slice, see `_slices`;
        - `depths`: run -> depth, where retrievers' runs differ in it; else empty; and
          `not_compared`, the metrics that depend on it;
        - `made_with`: dotted names whose values differ, with each run's value;
        - `resampling`: how the intervals were drawn.

    Raises:
        DataError: a folder holds no whole run.
        EvaluationError: fewer than two runs, no system to pair, no metric in common that can be
            compared, or other data or questions, and not `common`; or no question in common.
    """
    if len(named) < 2:
        raise EvaluationError("one run has nothing to be compared with", remedy="Name two or more.")
    runs = name_runs(named)
    keys, left_out, changed = shared_questions(runs, common=common)
    pairs = [pair for other in runs[1:] for pair in pair_systems(runs[0], other, keys)]
    shared = _shared_metrics(pairs)
    depths = _depths(runs)
    not_compared = [name for name in shared if depths and describe(name).k is None]
    left = [name for name in shared if name not in not_compared]
    if depths and (metric in not_compared or not left):
        raise EvaluationError(
            depths_in_words(depths, not_compared).rstrip("."),
            remedy="Evaluate both with the same retriever.top_k and the same largest k.",
        )
    return {
        "runs": [{"name": r.name, "folder": r.folder, "kind": r.run.kind} for r in runs],
        "questions": {"compared": len(keys), "left_out": left_out, "changed": changed},
        **_compared(runs[0].run, pairs, _metrics(runs[0].run, left, metric), metric, resamples),
        "depths": depths,
        "not_compared": not_compared,
        "made_with": _made_differently(runs),
    }


def _compared(
    first: Run,
    pairs: Sequence[tuple[Side, Side]],
    metrics: Sequence[str],
    metric: str | None,
    resamples: int,
) -> dict[str, Any]:
    by = metrics[0] if metric is not None else _flips_by(metrics)
    primary = metric or (first.primary if first.primary in metrics else by)
    seed = int(first.made_with.get("seed", SEED))
    resampling = Resampling([row.cluster for row in pairs[0][0].rows], resamples, seed)
    comparisons = compare_pairs(
        [(a.name, b.name) for a, b in pairs],
        {side.name: side.scores(metrics) for pair in pairs for side in pair},
        metrics,
        resampling,
    )
    return {
        "metric": primary,
        "flips_by": by,
        "pairs": [
            {
                "a": a.name,
                "b": b.name,
                "comparisons": [
                    each for each in comparisons if (each["a"], each["b"]) == (a.name, b.name)
                ],
                **_flips(a, b, by),
                "slices": _slices(a, b, primary, resampling),
            }
            for a, b in pairs
        ],
        "resampling": resampling.to_dict(),
    }


def _depths(runs: Sequence[NamedRun]) -> dict[str, float]:
    """Return each run's depth if they differ in it; only retrievers have one."""
    found = {
        each.name: depth
        for each in runs
        if (depth := each.run.systems[each.systems[0]].counts.get("depth")) is not None
    }
    return found if len(set(found.values())) > 1 else {}


def _shared_metrics(pairs: Sequence[tuple[Side, Side]]) -> list[str]:
    sides = [side for pair in pairs for side in pair]
    both = [
        metric
        for metric in sides[0].rows[0].scores
        if all(metric in side.rows[0].scores for side in sides)
    ]
    if not both:
        raise EvaluationError(
            "the runs have no metric in common",
            where=", ".join(dict.fromkeys(side.name for side in sides)),
            remedy="Compare retrievers with retrievers, and readers with readers or pipelines.",
        )
    return both


def _metrics(first: Run, both: Sequence[str], wanted: str | None) -> tuple[str, ...]:
    """Return the metrics to compare by, the wanted one first."""
    if wanted is not None and wanted not in both:
        raise EvaluationError(
            f"the runs have no metric {wanted!r} in common", remedy=f"In common: {', '.join(both)}."
        )
    shown = [metric for metric in first.headline if metric in both] or both
    return tuple(dict.fromkeys(shown if wanted is None else [wanted, *shown]))


def _flips_by(metrics: Sequence[str]) -> str:
    recalls = [metric for metric in metrics if metric.startswith("recall@")]
    return next((m for m in ("em", "recall@3", *recalls) if m in metrics), metrics[0])


def _flips(a: Side, b: Side, metric: str) -> dict[str, Any]:
    """Return the questions whose score changed, the largest changes first.

    Equal changes (from 0 to 1 or back) are ordered by F1 or the reciprocal rank, then by the
    confidence of the worse answer.
    """
    better = 1 if describe(metric).higher_is_better else -1
    finer = next(
        (m for m in ("f1", "mrr") if m in a.rows[0].scores and m in b.rows[0].scores), metric
    )

    def change(after: Row, before: Row, by: str) -> float:
        gained, had = after.scores[by], before.scores[by]
        return 0.0 if gained is None or had is None else gained - had

    def size(pair: tuple[Row, Row]) -> tuple[float, float, float]:
        worse = min(pair, key=lambda row: better * (row.scores[metric] or 0.0))
        confidence = float(worse.output.get("confidence") or 0.0)
        return -abs(change(*pair, metric)), -abs(change(*pair, finer)), -confidence

    moved = [pair for pair in zip(a.rows, b.rows, strict=True) if change(*pair, metric)]
    flips: list[dict[str, Any]] = [
        {
            "question_id": before.question_id,
            "split": before.split,
            "question": before.question,
            "item_id": before.item_id,
            "review_id": before.review_id,
            "references": list(before.references),
            "slices": dict(before.slices),
            "change": change(after, before, metric),
            "before": _said(before, metric),
            "after": _said(after, metric),
        }
        for after, before in sorted(moved, key=size)
    ]
    return {
        "gained": sum(better * flip["change"] > 0 for flip in flips),
        "lost": sum(better * flip["change"] < 0 for flip in flips),
        "flips": flips,
    }


def _said(row: Row, metric: str) -> dict[str, Any]:
    return {
        "score": row.scores[metric],
        "scores": dict(row.scores),
        "output": dict(row.output),
        "error": row.error,
    }


def _slices(a: Side, b: Side, metric: str, resampling: Resampling) -> list[dict[str, Any]]:
    """Return the differences by slice of 10 questions or more, the clearest ones first."""
    difference = (a.scores([metric]).values - b.scores([metric]).values)[:, 0]
    counted = ~np.isnan(difference)
    places: dict[tuple[str, str], NDArray[np.bool_]] = {}
    for feature in dict.fromkeys(feature for row in b.rows for feature in row.slices):
        of_rows = np.array([row.slices.get(feature, "") for row in b.rows])
        values = Counter(of_rows[counted & (of_rows != "")].tolist())
        if len(values) > 1:
            places |= {
                (feature, value): counted & (of_rows == value)
                for value, count in values.items()
                if count >= LEAST
            }
    if not places:
        return []
    columns = np.stack([np.where(at, difference, np.nan) for at in places.values()], axis=1)
    found = [
        {
            "feature": feature,
            "value": value,
            "questions": int(member.sum()),
            "difference": float(difference[member].mean()),
            "interval": interval,
        }
        for ((feature, value), member), interval in zip(
            places.items(), resampling.intervals(columns), strict=True
        )
    ]
    return sorted(found, key=_clearness)


def _clearness(part: Mapping[str, Any]) -> float:
    """Order differences by their size in widths of their intervals, the largest first."""
    if part["interval"] is None:
        return 0.0
    low, high = part["interval"]
    return -float(abs(part["difference"]) / max(high - low, 1e-9))


def _made_differently(runs: Sequence[NamedRun]) -> list[dict[str, Any]]:
    flat = [dict(dotted(each.run.made_with)) for each in runs]
    names = dict.fromkeys(name for each in flat for name in each)
    # The settings themselves are listed: their hash adds nothing.
    return [
        {"name": name, "values": [each.get(name) for each in flat]}
        for name in names
        if name != "settings_sha256" and any(each.get(name) != flat[0].get(name) for each in flat)
    ]
