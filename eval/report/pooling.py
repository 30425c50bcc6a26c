"""Poolings and layers compared: a table on a terminal, a page with plots."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.report.plots import require_matplotlib
from eval.report.plots.pooling import label_of, score_over_layers, score_over_size
from eval.report.rendering import render
from eval.report.tables import print_cells
from eval.runs.wording import dotted

__all__ = ["pooling_page", "print_pooling"]


def print_pooling(report: Mapping[str, Any]) -> None:
    """Print the table of `qa-eval pooling`, and below it that of smaller vectors."""
    notes = [_counted(report), *_notes(report)]
    columns, cells = _table(report, report["rows"])
    print_cells(_title(report), columns, cells, notes)
    if report["sizes"] is not None:
        columns, cells = _sizes(report)
        print_cells("Smaller vectors", columns, cells, report["sizes"]["notes"])


def pooling_page(report: Mapping[str, Any]) -> str:
    """Write the page of `qa-eval pooling`.

    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    require_matplotlib()
    tables = [("Poolings and layers", "", *_table(report, report["rows"]))]
    plots = [score_over_layers(report)]
    if report["sizes"] is not None:
        tables.append(("Smaller vectors", " ".join(report["sizes"]["notes"]), *_sizes(report)))
        plots.append(score_over_size(report))
    return render(
        "pooling.html",
        {"scores": "Scores", "plots": "Plots", "made-with": "Made with"},
        title=_title(report),
        lead=_counted(report),
        notes=_notes(report),
        tables=[
            (caption, note, ["Vectors", *columns], [[name, *row] for name, row in cells.items()])
            for caption, note, columns, cells in tables
        ],
        plots=plots,
        made_with=[(name, str(value)) for name, value in dotted(report["made_with"])],
    )


def _title(report: Mapping[str, Any]) -> str:
    made_with = report["made_with"]
    data = Path(made_with["data"]["path"]).name
    split = made_with["data"]["split"]
    on = f"{data}, {split}" if split and report["kind"] == "retrieval" else data
    return f"Poolings of {made_with['models']['encoder']['name']}: {report['kind']} on {on}"


def _notes(report: Mapping[str, Any]) -> list[str]:
    """Return what a reader of the table has to know."""
    best, primary = report["best"], label_of(report["primary"])
    notes = [
        (
            f"Highest {primary}: {best}. The best of {len(report['rows'])} on the same data looks "
            "better than it is: choose on one split, and measure the choice on another."
        )
    ]
    if report["kind"] == "retrieval":
        notes.append(
            f"Differences are from {report['baseline']!r}; p is adjusted for all of them (Holm). "
            "Intervals: 95 %, questions resampled by item."
        )
    else:
        notes.append(
            "AMI and NMI: k-means with as many clusters as there are groups, compared with the "
            "groups. Silhouette: how far the groups themselves lie apart. Intervals: 95 %."
        )
    return notes


def _counted(report: Mapping[str, Any]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in report["counts"].items())


def _table(
    report: Mapping[str, Any], rows: Mapping[str, Mapping[str, Any]]
) -> tuple[list[str], dict[str, list[str]]]:
    metrics = list(next(iter(rows.values()))["metrics"])
    compared = any("difference" in row for row in rows.values())
    columns = [label_of(metric) for metric in metrics]
    if compared:
        columns += [f"{label_of(report['primary'])}, difference", "p (Holm)"]
    cells = {}
    for name, row in rows.items():
        cells[name] = [
            _with_interval(row["metrics"][metric], row["intervals"][metric]) for metric in metrics
        ]
        if compared and "difference" in row:
            p = row["p_holm"]
            cells[name] += [
                _with_interval(row["difference"], row["difference_interval"], signed=True),
                "-" if p is None else f"{p:.3f}",
            ]
        elif compared:
            cells[name] += ["-", "-"]
    return columns, cells


def _sizes(report: Mapping[str, Any]) -> tuple[list[str], dict[str, list[str]]]:
    columns, cells = _table(report, report["sizes"]["rows"])
    shown = {
        name: [
            f"{row['bytes']:,}",
            "-" if row["kept"] is None else f"{row['kept']:.3f}",
            *cells[name],
        ]
        for name, row in report["sizes"]["rows"].items()
    }
    return ["bytes", "neighbours kept", *columns], shown


def _with_interval(
    value: float | None, interval: list[float] | None, *, signed: bool = False
) -> str:
    if value is None:
        return "-"
    shown = f"{value:+.3f}" if signed else f"{value:.3f}"
    return shown if interval is None else f"{shown} [{interval[0]:.2f}, {interval[1]:.2f}]"
