"""Which systems of which runs are compared, and on which questions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from eval.runs.run import Key, Row, Run, Scores
from eval.runs.storage import load_run
from qa_system.errors import EvaluationError

__all__ = ["NamedRun", "Side", "name_runs", "pair_systems", "shared_questions"]


@dataclass(frozen=True)
class NamedRun:
    """A run to compare, and those of its systems that are compared."""

    name: str
    folder: str
    run: Run
    systems: tuple[str, ...]


@dataclass(frozen=True)
class Side:
    """One system on the questions that all runs share, in the same order for all systems."""

    name: str
    rows: tuple[Row, ...]

    def scores(self, metrics: Sequence[str]) -> Scores:
        """Return the scores of these metrics as an array."""
        values = [[row.scores[metric] for metric in metrics] for row in self.rows]
        array = np.array(values, dtype=np.float64).reshape(len(self.rows), len(metrics))
        return Scores(tuple(metrics), array)


def name_runs(named: Sequence[str]) -> list[NamedRun]:
    """Load runs by `FOLDER` or `FOLDER:SYSTEM`, and give each a name of its own.

    Raises:
        DataError: a folder holds no whole run.
        EvaluationError: a run has no such system, or is named twice.
    """
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
        # Folders of the same name are named by their paths.
        unique = (
            name if len({f for f, _ in split if Path(f).resolve().name == name}) == 1 else folder
        )
        chosen.append(
            NamedRun(
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
    """Split a folder from the system named after it; a folder's own name may have a colon."""
    folder, colon, system = named.rpartition(":")
    if Path(named).exists() or not colon or not Path(folder).is_dir():
        return named, None
    return folder, system


def shared_questions(
    runs: Sequence[NamedRun], *, common: bool
) -> tuple[list[Key], dict[str, int], dict[str, int]]:
    """Return the questions that all runs share, in the order of the first.

    Returns:
        Their keys; of each run how many questions are left out; and how many of these were asked
        in other words or have other right answers.

    Raises:
        EvaluationError: the runs share no question, or have different data, and not `common`.
    """
    asked = [{row.key: row for row in next(iter(each.run.systems.values())).rows} for each in runs]
    first = asked[0]
    if not common:
        for each, questions in zip(runs[1:], asked[1:], strict=True):
            if _data(each.run) != _data(runs[0].run) or questions.keys() != first.keys():
                raise EvaluationError(
                    f"{each.name} and {runs[0].name} are of different data or questions",
                    remedy="Evaluate on the same data set and split, or compare the questions "
                    "that they share: qa-eval compare --common.",
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
    """Tell whether two rows are of one question, with the same right answers."""
    return row.question == other.question and set(row.references) == set(other.references)


def pair_systems(first: NamedRun, other: NamedRun, keys: Sequence[Key]) -> list[tuple[Side, Side]]:
    """Pair the other run's systems with those of the first, the other's system in front.

    Raises:
        EvaluationError: several systems, and none of the same name.
    """
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

    def side(run: NamedRun, system: str) -> Side:
        rows = {row.key: row for row in run.run.systems[system].rows}
        named = run.name if len(paired) == 1 else f"{run.name}:{system}"
        return Side(named, tuple(rows[key] for key in keys))

    return [(side(other, theirs), side(first, ours)) for theirs, ours in paired]
