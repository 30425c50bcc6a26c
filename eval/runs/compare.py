"""Runs side by side: what got better, where, on which questions, and what was made differently.

The first run named is the baseline. Every number is taken over the questions that all runs share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eval.runs.paired import SEED, Resampling, compare_pairs
from eval.runs.run import Key, Row, Run, Scores
from eval.runs.storage import load_run
from eval.runs.wording import dotted
from qa_system.errors import EvaluationError

__all__ = ["compare_runs"]

LEAST = 10
"""Questions of a slice: in fewer, whatever differs is luck, and no interval shows it."""


@dataclass(frozen=True)
class _Chosen:
    """A run that was named, and those of its systems that are compared."""

    name: str
    folder: str
    run: Run
    systems: tuple[str, ...]


@dataclass(frozen=True)
class _Side:
    """One system on the questions that all runs share, in one order."""

    name: str
    rows: tuple[Row, ...]

    def scores(self, metrics: Sequence[str]) -> Scores:
        values = [[row.scores[metric] for metric in metrics] for row in self.rows]
        array = np.array(values, dtype=np.float64).reshape(len(self.rows), len(metrics))
        return Scores(tuple(metrics), array)


def compare_runs(
    named: Sequence[str],
    *,
    metric: str | None = None,
    common: bool = False,
    resamples: int = 10_000,
) -> dict[str, Any]:
    """Compare runs that `qa-eval ... --out` has kept, each with the first.

    Args:
        named: folders, or `FOLDER:SYSTEM`; two or more. Without `:SYSTEM`, systems of the same
            name are paired, or the only one of each run.
        metric: what the changed questions and slices are looked for by; None: `em` for readers
            and pipelines, recall@3 (or the first recall of the headline) for retrievers, and
            for slices the baseline's primary metric.
        common: compare runs of different data, on the questions that they share.
        resamples: for each interval and each test.

    Returns:
        JSON values:

        - `runs`: name, folder and kind; `questions`: how many are `compared`, and how many of
          each run were `left_out`, `changed` ones (asked or answered otherwise) among them;
        - `metric`: the one that slices are by; `flips_by`: the one that flips are by;
        - `pairs`, one for each system of the baseline and each other run's (`a`, the other;
          `b`, the baseline): `comparisons` as in a summary, with both `means`, over the headline
          metrics that both have, p-values adjusted by Holm over all pairs of a metric; `gained`
          and `lost`, how many questions score more or less; `flips`, those questions, the
          largest changes first; `slices`: the differences by kind of question, of 10
          questions or more, those first that are large for the width of their intervals;
        - `made_with`: dotted names whose values differ, with each run's value;
        - `resampling`: how the intervals were drawn.

    Raises:
        DataError: a folder holds no whole run.
        EvaluationError: fewer than two runs, no system to pair, no metric in common, or other
            data or questions, and not `common`; or no question in common.
    """
    if len(named) < 2:
        raise EvaluationError("one run has nothing to be compared with", remedy="Name two or more.")
    runs = _choose(named)
    keys, left_out, changed = _shared(runs, common=common)
    pairs = [pair for other in runs[1:] for pair in _pairs(runs[0], other, keys)]
    metrics = _metrics(runs[0].run, pairs, metric)
    by = metrics[0] if metric is not None else _flips_by(metrics)
    primary = metric or (runs[0].run.primary if runs[0].run.primary in metrics else by)
    seed = int(runs[0].run.made_with.get("seed", SEED))
    resampling = Resampling([row.cluster for row in pairs[0][0].rows], resamples, seed)
    comparisons = compare_pairs(
        [(a.name, b.name) for a, b in pairs],
        {side.name: side.scores(metrics) for pair in pairs for side in pair},
        metrics,
        resampling,
    )
    return {
        "runs": [{"name": r.name, "folder": r.folder, "kind": r.run.kind} for r in runs],
        "questions": {"compared": len(keys), "left_out": left_out, "changed": changed},
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
        "made_with": _made_differently(runs),
        "resampling": resampling.to_dict(),
    }


def _choose(named: Sequence[str]) -> list[_Chosen]:
    split = [_split(each) for each in named]
    names = [Path(folder).resolve().name for folder, _ in split]
    loaded: dict[str, Run] = {}
    chosen = []
    for (folder, system), name in zip(split, names, strict=True):
        if folder not in loaded:
            loaded[folder] = load_run(folder)[0]
        run = loaded[folder]
        if system is not None and system not in run.systems:
            raise EvaluationError(
                f"the run has no system {system!r}",
                where=folder,
                remedy=f"Systems there: {', '.join(run.systems)}.",
            )
        # Folders of the same name are told apart by their paths.
        unique = (
            name if len({f for f, _ in split if Path(f).resolve().name == name}) == 1 else folder
        )
        chosen.append(
            _Chosen(
                unique if system is None else f"{unique}:{system}",
                folder,
                run,
                tuple(run.systems) if system is None else (system,),
            )
        )
    if len({each.name for each in chosen}) < len(chosen):
        raise EvaluationError(
            "a run is named twice",
            where=", ".join(named),
            remedy="Name each once, or FOLDER:SYSTEM.",
        )
    return chosen


def _split(named: str) -> tuple[str, str | None]:
    """Tell a folder from the system named after it; a folder's own name may hold a colon."""
    folder, colon, system = named.rpartition(":")
    if Path(named).exists() or not colon or not Path(folder).is_dir():
        return named, None
    return folder, system


def _shared(
    runs: Sequence[_Chosen], *, common: bool
) -> tuple[list[Key], dict[str, int], dict[str, int]]:
    """Give the questions that all runs were asked, in the order of the first."""
    asked = [{row.key: row for row in next(iter(each.run.systems.values())).rows} for each in runs]
    first = asked[0]
    if not common:
        for each, questions in zip(runs[1:], asked[1:], strict=True):
            if _data(each.run) != _data(runs[0].run) or questions.keys() != first.keys():
                raise EvaluationError(
                    f"{each.name} and {runs[0].name} are of different data or questions",
                    remedy="Evaluate on the same data set and split, or pass --common to compare "
                    "the questions that they share.",
                )
    keys = [
        key
        for key, row in first.items()
        if all(key in other and _same(row, other[key]) for other in asked[1:])
    ]
    if not keys:
        raise EvaluationError(
            "the runs have no question in common", where=", ".join(each.name for each in runs)
        )
    left_out = {
        each.name: len(questions) - len(keys) for each, questions in zip(runs, asked, strict=True)
    }
    changed = {
        each.name: sum(key in first and not _same(first[key], row) for key, row in other.items())
        for each, other in zip(runs[1:], asked[1:], strict=True)
    }
    return keys, left_out, changed


def _data(run: Run) -> object:
    return run.made_with.get("data", {}).get("sha256")


def _same(row: Row, other: Row) -> bool:
    """Whether two rows are of one question, with the same answers counting as right."""
    return row.question == other.question and set(row.references) == set(other.references)


def _pairs(first: _Chosen, other: _Chosen, keys: Sequence[Key]) -> list[tuple[_Side, _Side]]:
    if len(first.systems) == len(other.systems) == 1:
        paired = [(other.systems[0], first.systems[0])]
    else:
        paired = [(name, name) for name in first.systems if name in other.systems]
    if not paired:
        raise EvaluationError(
            f"{first.name} and {other.name} have no system of the same name",
            where=f"{', '.join(first.systems)}; {', '.join(other.systems)}",
            remedy="Name one of each: FOLDER:SYSTEM.",
        )

    def side(run: _Chosen, system: str) -> _Side:
        rows = {row.key: row for row in run.run.systems[system].rows}
        named = run.name if len(paired) == 1 else f"{run.name}:{system}"
        return _Side(named, tuple(rows[key] for key in keys))

    return [(side(other, theirs), side(first, ours)) for theirs, ours in paired]


def _metrics(
    first: Run, pairs: Sequence[tuple[_Side, _Side]], wanted: str | None
) -> tuple[str, ...]:
    """Give the metrics to compare by, the wanted one first."""
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
    if wanted is not None and wanted not in both:
        raise EvaluationError(
            f"the runs have no metric {wanted!r} in common", remedy=f"In common: {', '.join(both)}."
        )
    shown = [metric for metric in first.headline if metric in both] or both
    return tuple(dict.fromkeys(shown if wanted is None else [wanted, *shown]))


def _flips_by(metrics: Sequence[str]) -> str:
    recalls = [metric for metric in metrics if metric.startswith("recall@")]
    return next((m for m in ("em", "recall@3", *recalls) if m in metrics), metrics[0])


def _flips(a: _Side, b: _Side, metric: str) -> dict[str, Any]:
    """Give the questions that score otherwise, the largest changes first.

    Where all changes are from 0 to 1 or back, F1 or the reciprocal rank says which is larger,
    then how sure the one that is wrong was of itself.
    """
    finer = next(
        (m for m in ("f1", "mrr") if m in a.rows[0].scores and m in b.rows[0].scores), metric
    )

    def change(after: Row, before: Row, by: str) -> float:
        gained, had = after.scores[by], before.scores[by]
        return 0.0 if gained is None or had is None else gained - had

    def size(pair: tuple[Row, Row]) -> tuple[float, float, float]:
        worse = min(pair, key=lambda row: row.scores[metric] or 0.0)
        sure = float(worse.output.get("confidence") or 0.0)
        return -abs(change(*pair, metric)), -abs(change(*pair, finer)), -sure

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
        "gained": sum(flip["change"] > 0 for flip in flips),
        "lost": sum(flip["change"] < 0 for flip in flips),
        "flips": flips,
    }


def _said(row: Row, metric: str) -> dict[str, Any]:
    return {
        "score": row.scores[metric],
        "scores": dict(row.scores),
        "output": dict(row.output),
        "error": row.error,
    }


def _slices(a: _Side, b: _Side, metric: str, resampling: Resampling) -> list[dict[str, Any]]:
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
    return sorted(found, key=_beyond_luck)


def _beyond_luck(part: Mapping[str, Any]) -> float:
    """Order differences by their size in units of their intervals' width, the largest first."""
    if part["interval"] is None:
        return 0.0
    low, high = part["interval"]
    return -float(abs(part["difference"]) / max(high - low, 1e-9))


def _made_differently(runs: Sequence[_Chosen]) -> list[dict[str, Any]]:
    flat = [dict(dotted(each.run.made_with)) for each in runs]
    names = dict.fromkeys(name for each in flat for name in each)
    # What the settings' hash would say, they say themselves.
    return [
        {"name": name, "values": [each.get(name) for each in flat]}
        for name in names
        if name != "settings_sha256" and any(each.get(name) != flat[0].get(name) for each in flat)
    ]
