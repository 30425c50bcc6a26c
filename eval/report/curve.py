"""Learning curves on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.metrics import describe
from eval.report.tables import print_cells
from eval.runs.wording import in_words
from qa_system.console.wording import counted

__all__ = ["print_curve"]


def print_curve(result: Mapping[str, Any], metric: str = "f1") -> None:
    """Print a line for each way to train, a column for each number of labels."""
    shown = describe(metric).shown
    data, sizes = result["data"], result["sizes"]
    cells = {
        line: [_cell(next((p for p in points if p["labels"] == n), None), metric) for n in sizes]
        for line, points in result["lines"].items()
    }
    for name, metrics in result["references"].items():
        cells[name] = [shown(metrics[metric])] * len(sizes)
    print_cells(
        f"{describe(metric).label} by number of labels: {data['path']}, "
        f"{counted(data['test_questions'], 'test question')}, {counted(result['seeds'], 'draw')} "
        "of the labels",
        [f"{n:,}" for n in sizes],
        cells,
        [
            *(f"{in_words(each)}." for each in result["against_plain"] if each["metric"] == metric),
            *(f"{each['line']}: {each['why']}" for each in result["left_out"]),
        ],
    )


def _cell(point: Mapping[str, Any] | None, metric: str) -> str:
    if point is None:
        return "-"
    shown = describe(metric).shown
    lines = [shown(point["metrics"][metric])]
    if (interval := point["intervals"][metric]) is not None:
        lines.append(f"[{shown(interval[0])}, {shown(interval[1])}]")
    return "\n".join(lines)
