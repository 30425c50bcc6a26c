"""Tables on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eval.metrics import describe
from eval.runs.wording import on_one_line

if TYPE_CHECKING:
    from rich.console import Console

    from eval.regression import Checked

__all__ = [
    "open_console",
    "print_cells",
    "print_checked",
    "print_systems",
    "print_table",
    "print_texts",
]


def print_table(
    title: str,
    rows: Mapping[str, Mapping[str, float | None]],
    columns: Sequence[str],
    notes: Iterable[str] = (),
) -> None:
    """Print numbers to stdout: a line for each system, a column for each metric.

    Args:
        title: above the table.
        rows: system -> metric -> value; a dash is printed for None and for absent values.
        columns: the metrics to show, in order.
        notes: lines below the table.
    """
    cells = {
        name: [describe(column).shown(metrics.get(column)) for column in columns]
        for name, metrics in rows.items()
    }
    print_cells(title, columns, cells, notes)


def print_systems(
    title: str,
    systems: Mapping[str, Mapping[str, Any]],
    baselines: Mapping[str, Mapping[str, Any]],
    metrics: Sequence[str],
    notes: Iterable[str] = (),
) -> None:
    """Print systems with their intervals, and below them baselines without."""
    cells = {
        name: [_with_interval(each, metric) for metric in metrics] for name, each in systems.items()
    } | {
        name: [describe(metric).shown(each["metrics"].get(metric)) for metric in metrics]
        for name, each in baselines.items()
    }
    print_cells(title, metrics, cells, notes)


def print_checked(title: str, checked: Sequence[Checked], changed_models: Sequence[str]) -> None:
    """Print what `qa-eval check` found in one file: a table of the unexpected numbers, if any."""
    unexpected = {
        each.name: [_value(each.expected), _value(each.measured), each.verdict]
        for each in checked
        if each.verdict != "as expected"
    }
    expected = len(checked) - len(unexpected)
    notes = [
        f"The {role} is not the model that the expected scores were measured with."
        for role in changed_models
    ]
    print_cells(
        f"{title}: {expected} of {len(checked)} numbers as expected",
        ("expected", "measured", "verdict"),
        unexpected,
        notes,
    )


def print_cells(
    title: str,
    columns: Sequence[str],
    rows: Mapping[str, Sequence[str]],
    notes: Iterable[str] = (),
) -> None:
    """Print texts to stdout as a table, with a title above and notes below."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name, cells in rows.items():
        # As Text, so that a name in brackets is no markup.
        table.add_row(*map(Text, (name, *cells)))
    console = open_console()
    console.print(title, style="bold")
    if rows:
        console.print(table)
    for note in notes:
        console.print(note, style="dim")


def print_texts(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print users' texts side by side: nothing in them is markup or moves the cursor."""
    from rich.table import Table
    from rich.text import Text

    console = open_console()
    console.print(title, style="bold")
    if rows:
        table = Table(show_lines=True)
        for column in columns:
            table.add_column(Text(on_one_line(column)), overflow="fold")
        for row in rows:
            table.add_row(*(Text(on_one_line(cell, 300)) for cell in row))
        console.print(table)


def open_console() -> Console:
    """Return a console on stdout, as wide as a table needs where stdout is no terminal."""
    from rich.console import Console

    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False)


def _value(value: int | float | str | None) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, str):
        return f"{value[:12]}…"
    return "-" if value is None else f"{value:.3f}"


def _with_interval(system: Mapping[str, Any], metric: str) -> str:
    definition = describe(metric)
    interval = system["intervals"].get(metric)
    value = definition.shown(system["metrics"].get(metric))
    if interval is None:
        return value
    digits = max(definition.decimals - 1, 1)
    return f"{value}\n[{interval[0]:.{digits}f}, {interval[1]:.{digits}f}]"
