"""Time and size of readers as a table, for terminals and pages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.metrics import describe
from eval.tasks.benchmark import PERFORMANCE

__all__ = ["performance_table", "timing_note"]

COLUMNS = (
    "MB",
    "MB / baseline",
    "ms, median",
    "ms, p95",
    "ms, median of each run",
    "times as fast",
    "F1",
    "F1 - baseline",
)


def performance_table(summary: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, list[str]]]:
    """Return the columns, and system -> cells; no rows if no time was measured.

    The first system is the baseline.
    """
    systems = {
        name: each for name, each in summary["systems"].items() if PERFORMANCE in each["details"]
    }
    scores = {name: each["metrics"]["f1"] for name, each in systems.items()}
    f1 = describe("f1")
    rows = {}
    for name, each in systems.items():
        cost, ms = each["details"][PERFORMANCE], each["details"][PERFORMANCE]["ms"]
        difference = scores[name] - next(iter(scores.values()))
        rows[name] = [
            f"{cost['bytes'] / 1e6:.1f}",
            f"{cost['size_ratio']:.2f}",
            f"{ms['median']:.1f}",
            f"{ms['p95']:.1f}",
            " ".join(f"{median:.1f}" for median in ms["runs"]),
            f"{cost['speedup']:.2f}",
            f1.shown(scores[name]),
            f1.shown(difference, signed=True),
        ]
    return COLUMNS, rows


def timing_note(summary: Mapping[str, Any]) -> str:
    """Write how the time was measured, and on which machine."""
    timing, machine = summary["made_with"]["timing"], summary["made_with"]["machine"]
    threads = summary["made_with"]["settings"]["reader"]["threads"]
    return (
        f"{timing['questions']:,} questions with {timing['reviews']:,} reviews, each asked "
        f"{timing['runs']:,} times, the readers in turn; {timing['warm_up']:,} questions before, "
        f"which are not counted. {machine['processor']}, {machine['cores']} cores; threads: "
        f"{'as the library chooses' if threads is None else threads}. Times as fast: the "
        "baseline's time divided by the reader's, median over the questions."
    )
