"""What a search found: `study.json`, `best.yaml`, and the drawing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson
import yaml

from qa_system.training.record import versions
from qa_system.training.tuning.drawing import draw

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

    from qa_system.training.tuning.space import Search

__all__ = ["BEST", "STUDY", "table", "write_drawing", "write_study"]

FORMAT: Final = 1
STUDY: Final = "study.json"
BEST: Final = "best.yaml"
STATES: Final = {"complete": "complete", "pruned": "pruned", "fail": "failed"}
"""By Optuna's name; every other one is a trial that runs or waits."""


def write_study(study: Study, search: Search, out: Path) -> dict[str, Any]:
    """Write what is known of a search by now.

    `best.yaml` is the recipe with the best trial's values.

    Args:
        study: Optuna's.
        search: what is tried.
        out: the folder.

    Returns:
        The content of `study.json`: `score`, by which `trials` are compared; `counts` of trials by
        state; `best`, with its `number`, `value` and `values`, None where no trial is complete.
    """
    trials = [_described(each) for each in study.get_trials(deepcopy=False)]
    complete = [each for each in trials if each["state"] == "complete"]
    best = max(complete, key=lambda each: each["value"], default=None)
    states = ("complete", "pruned", "failed", "running")
    record = {
        "format": FORMAT,
        "kind": search.kind,
        "score": study.user_attrs.get("score"),
        "counts": {state: sum(each["state"] == state for each in trials) for state in states},
        "best": best and {key: best[key] for key in ("number", "value", "values")},
        "space": {
            key: each.model_dump(mode="json", exclude_none=True)
            for key, each in search.space.items()
        },
        "trials": trials,
        "versions": dict(versions()),
    }
    if best is not None:
        recipe = search.recipe(best["values"]).model_dump(mode="json", exclude_unset=True)
        told = f"# The best of {len(trials)} trials of `qa tune {search.kind}`: {record['score']} "
        told += f"{best['value']:.4f} on dev.\n"
        _write(out / BEST, (told + yaml.safe_dump(recipe, sort_keys=False)).encode())
    _write(out / STUDY, orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
    return record


def write_drawing(record: Mapping[str, Any], out: Path) -> None:
    """Write `study.svg` and `study.png`; without matplotlib neither."""
    for name, drawing in draw(record):
        _write(out / name, drawing)


def table(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines that a terminal shows of `study.json`: trials, the best one first.

    >>> trials = [{"number": 0, "state": "pruned", "value": None, "values": {"alpha": 0.5}},
    ...           {"number": 1, "state": "complete", "value": 0.5, "values": {"alpha": 1.0}}]
    >>> for line in table({"score": "f1", "trials": trials, "space": {"alpha": {}}}):
    ...     print(line)
    trial      f1  alpha
        1  0.5000      1
        0  pruned    0.5
    """
    keys = list(record["space"])
    rows = [["trial", record["score"] or "score", *keys]]
    known = sorted(
        record["trials"],
        key=lambda each: (each["state"] != "complete", -(each["value"] or 0), each["number"]),
    )
    for each in known:
        score = f"{each['value']:.4f}" if each["state"] == "complete" else each["state"]
        shown = [_short(each["values"].get(key, "")) for key in keys]
        rows.append([str(each["number"]), score, *shown])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _described(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": STATES.get(trial.state.name.lower(), "running"),
        "value": trial.value if trial.state.name == "COMPLETE" else None,
        "values": dict(trial.params),
        "measured": [trial.intermediate_values[at] for at in sorted(trial.intermediate_values)],
        "seconds": trial.user_attrs.get("seconds"),
        "error": trial.user_attrs.get("error"),
    }


def _write(path: Path, content: bytes) -> None:
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_bytes(content)
    unfinished.replace(path)
