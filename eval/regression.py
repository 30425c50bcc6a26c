"""Regression checks: small evaluations, compared with the scores that they had before.

A file has an evaluation and its expected scores:

    evaluate: retriever            # retriever, reader, pipeline or generator
    dataset: bundled:sample
    split: test
    options: {scope: item, modes: [bm25, hybrid], ks: [1, 3]}
    settings: {retriever.top_k: 10}
    tolerance: 0.02
    data: 8f0c...                  # sha256 of the data set
    models: {encoder: 77aa...}     # sha256 of each model
    counts: {hybrid: {answerable: 116}}
    expected: {hybrid: {recall@3: 0.828}}

A score that rose is unexpected, too: mistakes in an evaluation raise numbers more often than
improvements do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from eval.metrics import Task
from eval.runs.run import Run
from qa_system.config import describe, load_settings
from qa_system.errors import ConfigError, DataError

__all__ = [
    "Checked",
    "Expectation",
    "Verdict",
    "changed_models",
    "check",
    "evaluate",
    "load_expectation",
    "updated",
    "write",
]

Verdict = Literal["as expected", "lower", "higher", "changed", "gone"]

OPTIONS: Mapping[Task, frozenset[str]] = {
    "retriever": frozenset(("scope", "modes", "ks", "aggregated")),
    "reader": frozenset(("similarity",)),
    "pipeline": frozenset(("scope", "top_k", "alone", "aggregated", "similarity")),
    "generator": frozenset(("scope", "questions", "aggregated", "similarity")),
}


class Options(BaseModel):
    """The options of an evaluation; see `eval.tasks.run` for their meanings and defaults."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scope: Literal["item-split", "item", "open"] | None = None
    modes: tuple[str, ...] | None = None
    ks: tuple[int, ...] | None = None
    top_k: int | None = None
    alone: bool | None = None
    questions: int | None = Field(default=None, ge=1)
    aggregated: bool | None = None
    similarity: bool | None = None


class Expectation(BaseModel):
    """An evaluation and its expected scores; the module's docstring shows a file."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    evaluate: Task
    dataset: str
    split: str | None = None
    options: Options = Options()
    settings: Mapping[str, Any] = Field(default_factory=dict)
    tolerance: float = Field(default=0.02, ge=0)
    data: str | None = None
    models: Mapping[str, str] = Field(default_factory=dict)
    counts: Mapping[str, Mapping[str, int | float]] = Field(default_factory=dict)
    expected: Mapping[str, Mapping[str, float | None]] = Field(min_length=1)

    @model_validator(mode="after")
    def _options_belong(self) -> Expectation:
        foreign = self.options.model_fields_set - OPTIONS[self.evaluate]
        if foreign:
            raise ValueError(f"{', '.join(sorted(foreign))}: no option of a {self.evaluate}")
        return self


@dataclass(frozen=True, slots=True)
class Checked:
    """One number, expected and measured.

    Args:
        name: `system metric`, or what else was compared.
        expected: as in the file.
        measured: None where the run has no such number.
        verdict: `changed` for counts and hashes, `gone` for a score that the run does not have.
    """

    name: str
    expected: int | float | str | None
    measured: int | float | str | None
    verdict: Verdict


def load_expectation(path: str | Path) -> Expectation:
    """Read a file of expectations.

    Raises:
        ConfigError: it is missing, is no YAML, or has keys or values that are not known.
    """
    try:
        tree = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
        return Expectation.model_validate(tree)
    except OSError as error:
        raise ConfigError(f"it cannot be read: {error.strerror}", where=str(path)) from error
    except yaml.YAMLError as error:
        raise ConfigError(f"it is no YAML: {error}", where=str(path)) from error
    except ValidationError as error:
        told = describe(error, {}, whole="the file")
        raise ConfigError(f"it cannot be checked: {told}", where=str(path)) from error


def evaluate(expectation: Expectation) -> Run:
    """Run the evaluation again.

    Raises:
        QASystemError: it cannot be run.
    """
    from eval.datasets import load_dataset
    from eval.tasks.candidates import Selection
    from eval.tasks.run import generator_run, pipeline_run, reader_run, retriever_run

    settings = load_settings(None, expectation.settings, environ={})
    data = load_dataset(expectation.dataset)
    options = expectation.options.model_dump(exclude_none=True)
    if expectation.evaluate == "reader":
        return reader_run(data, settings, split=expectation.split, **options)
    chosen = {name: options.pop(name) for name in ("scope", "aggregated") if name in options}
    selection = Selection(expectation.split, **chosen)
    runs: dict[Task, Callable[..., Run]] = {
        "retriever": retriever_run,
        "pipeline": pipeline_run,
        "generator": generator_run,
    }
    return runs[expectation.evaluate](data, settings, selection, **options)


def check(expectation: Expectation, run: Run) -> list[Checked]:
    """Compare a run with its expectation.

    Returns:
        The scores, then the counts and the data's hash. Scores are as expected within the
        tolerance, counts and hashes if they are equal. Models are not checked, see
        `changed_models`.
    """
    checked = [
        _score(f"{name} {metric}", value, _metrics(run, name).get(metric), expectation.tolerance)
        for name, metrics in expectation.expected.items()
        for metric, value in metrics.items()
    ]
    for name, counts in expectation.counts.items():
        found = run.systems[name].counts if name in run.systems else {}
        checked += [
            _same(f"{name} {count}", value, found.get(count)) for count, value in counts.items()
        ]
    if expectation.data is not None:
        checked.append(_same("data", expectation.data, run.made_with["data"]["sha256"]))
    return checked


def changed_models(expectation: Expectation, run: Run) -> list[str]:
    """Return the roles whose model is not the one that the expected scores were measured with."""
    used = {role: each["sha256"] for role, each in run.made_with["models"].items()}
    return [role for role, sha256 in expectation.models.items() if used.get(role) != sha256]


def updated(expectation: Expectation, run: Run) -> Expectation:
    """Return the expectation with the run's scores, counts and hashes, for the same metrics."""
    return expectation.model_copy(
        update={
            "data": run.made_with["data"]["sha256"],
            "models": {role: each["sha256"] for role, each in run.made_with["models"].items()},
            "counts": {
                name: {count: run.systems[name].counts.get(count, 0) for count in counts}
                for name, counts in expectation.counts.items()
                if name in run.systems
            },
            "expected": {
                name: {
                    metric: None
                    if (value := _metrics(run, name).get(metric)) is None
                    else round(value, 4)
                    for metric in metrics
                }
                for name, metrics in expectation.expected.items()
            },
        }
    )


def write(expectation: Expectation, path: str | Path) -> None:
    """Write a file of expectations; the comment at its head is kept.

    Raises:
        DataError: it cannot be written.
    """
    path = Path(path)
    temporary = path.with_suffix(f".{os.getpid()}.tmp")
    try:
        lines = path.read_text(encoding="utf-8").splitlines(keepends=True) if path.exists() else []
        head = []
        for line in lines:
            if line.strip() and not line.startswith("#"):
                break
            head.append(line)
        tree = expectation.model_dump(mode="json", exclude_none=False, exclude_defaults=True)
        body = yaml.safe_dump(tree, sort_keys=False, default_flow_style=False, width=100)
        temporary.write_text("".join(head) + body, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise DataError(f"it cannot be written: {error.strerror}", where=str(path)) from error


def _metrics(run: Run, name: str) -> Mapping[str, float | None]:
    """Return the metrics and measures of a system or a baseline."""
    system = run.systems.get(name) or run.baselines.get(name)
    return {} if system is None else {**system.metrics, **system.measures}


def _score(name: str, expected: float | None, measured: float | None, tolerance: float) -> Checked:
    if expected is None or measured is None:
        verdict: Verdict = "as expected" if expected is measured else "gone"
    elif abs(measured - expected) <= tolerance:
        verdict = "as expected"
    else:
        verdict = "higher" if measured > expected else "lower"
    return Checked(name, expected, measured, verdict)


def _same(name: str, expected: float | str, measured: float | str | None) -> Checked:
    return Checked(name, expected, measured, "as expected" if expected == measured else "changed")
