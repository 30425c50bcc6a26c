"""Which metrics there are: ours, those registered in Python, those of installed packages."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache

from eval.metrics.definitions import DEFINITIONS
from eval.metrics.metric import Metric, Task
from qa_system.errors import ConfigError
from qa_system.plugins import expect_kind, offered

__all__ = ["added_names", "describe", "markdown_table", "metrics_of", "register"]

ENTRY_POINTS = "qa_system.metrics"

_registered: dict[str, Metric] = {}


def register(*metrics: Metric) -> None:
    """Add metrics to every evaluation of this process.

    `qa-eval` finds those of an installed package by an entry point instead, a `Metric` or a
    sequence of them in the group `qa_system.metrics`:

        [project.entry-points."qa_system.metrics"]
        words = "my_package:words"

    Args:
        metrics: one of the same name that was registered before is replaced.

    Raises:
        ConfigError: a name is not a word (with `@k` or without), or one of our metrics has it.
    """
    for metric in metrics:
        known = _checked(expect_kind(metric, Metric, "register"), "register")
        _registered[known.name] = known


def metrics_of(task: Task, ks: Sequence[int] = ()) -> list[Metric]:
    """Return the metrics of an evaluation, in the order of reports.

    Args:
        task: what is evaluated.
        ks: the cut-offs of the metrics that have them; none: those metrics are left out.

    Raises:
        ConfigError: an installed package's metrics cannot be loaded.

    >>> [metric.name for metric in metrics_of("retriever", [3])][-3:]
    ['answer_recall@3', 'mrr', 'map']
    """
    return [*_at(DEFINITIONS, task, ks), *_at(_added(), task, ks)]


def added_names(task: Task, ks: Sequence[int] = ()) -> tuple[str, ...]:
    """Return the names of an evaluation's metrics that are not ours: tables show them, too."""
    return tuple(metric.name for metric in _at(_added(), task, ks))


def describe(name: str) -> Metric:
    """Return the metric of a name, at its cut-off.

    A name that nothing defines (a benchmark's column, a metric of a package that is no longer
    installed) is its own label.

    >>> describe("f1@3").label, describe("ece").higher_is_better, describe("my_seconds").label
    ('F1, best of 3', False, 'my seconds')
    """
    found = _find(name, DEFINITIONS) or _find(name, _added())
    return found or Metric(name=name, label=name.replace("_", " "), meaning="", source="")


def _find(name: str, table: Mapping[str, Metric]) -> Metric | None:
    if name in table:
        return table[name]
    stem, _, k = name.rpartition("@")
    family = table.get(f"{stem}@k")
    return family.at(int(k)) if family is not None and k.isdecimal() else None


def _at(table: Mapping[str, Metric], task: Task, ks: Sequence[int]) -> Iterator[Metric]:
    for metric in table.values():
        if task in metric.tasks:
            if metric.name.endswith("@k"):
                yield from map(metric.at, ks)
            else:
                yield metric


def _added() -> dict[str, Metric]:
    return {**_installed(), **_registered}


@cache
def _installed() -> dict[str, Metric]:
    return {metric.name: _checked(metric, where) for where, metric in offered(ENTRY_POINTS, Metric)}


def _checked(metric: Metric, where: str) -> Metric:
    if not re.fullmatch(r"\w+(@k)?", metric.name):
        raise ConfigError(
            f"metric {metric.name!r} has a name that reports cannot use",
            where=where,
            remedy="Use letters, digits and underscores, and @k at the end for cut-offs.",
        )
    if metric.name in DEFINITIONS:
        raise ConfigError(
            f"metric {metric.name!r} exists already", where=where, remedy="Choose another name."
        )
    return metric


def markdown_table(metrics: Iterable[Metric] = tuple(DEFINITIONS.values())) -> str:
    """Write metrics as the table of docs/evaluation.md."""
    heads = ("name", "label", "meaning", "mean over", "better", "at random", "source")
    rows = [heads, ("---",) * len(heads)] + [
        (
            f"`{metric.name}`",
            metric.label,
            metric.meaning,
            metric.over.name,
            "high" if metric.higher_is_better else "low",
            metric.at_random or "-",
            metric.source,
        )
        for metric in metrics
    ]
    escaped = [[cell.replace("|", "\\|") for cell in cells] for cells in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in escaped)
