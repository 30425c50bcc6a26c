"""Plots of a data set: bars and histograms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle

from eval.report.plots.style import COLOURS, DASHES, INK, Plot, legend, panels, styled
from eval.runs.wording import on_one_line

__all__ = ["bars", "histogram"]


def bars(title: str, counts: Mapping[str, float], xlabel: str, *, caption: str = "") -> Plot:
    """Draw a bar for each name, the first on top.

    Args:
        title: above it.
        counts: name -> the length of its bar.
        xlabel: what a bar counts.
        caption: below it.
    """
    with panels(1, width=6, height=max(0.32 * len(counts) + 0.7, 1.2)) as (figure, (ax,)):
        places = range(len(counts))
        ax.barh(places, list(counts.values()), 0.66, color=COLOURS[0], alpha=0.9)
        for place, value in zip(places, counts.values(), strict=True):
            ax.annotate(
                f"{value:,}",
                (value, place),
                xytext=(4, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
        ax.set_yticks(places, [on_one_line(name) for name in counts])
        ax.set_ylim(len(counts) - 0.5, -0.5)
        ax.set(xlabel=xlabel)
        ax.margins(x=0.12)
        ax.set_xlim(left=0)
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=False, axis="y")
    said = ", ".join(f"{name} {value:,}" for name, value in counts.items())
    return Plot(title, caption, f"{xlabel}: {said}", figure)


def histogram(
    title: str,
    edges: Sequence[float],
    counts: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    *,
    lines: Mapping[str, float] | None = None,
    caption: str = "",
) -> Plot:
    """Draw one or several histograms over the same bins.

    Args:
        title: above it.
        edges: of the bins, one more than there are bins.
        counts: name -> a count for each bin.
        xlabel: what is counted, with its unit.
        ylabel: what a bar counts.
        lines: name -> where to draw a vertical line (the size of a window).
        caption: below it.
    """
    with panels(1, width=6, height=3.2) as (figure, (ax,)):
        for (name, values), colour, _ in styled(counts):
            if len(counts) == 1:
                ax.stairs(
                    values, edges, fill=True, color=colour, alpha=0.85, label=on_one_line(name)
                )
            else:
                ax.stairs(values, edges, color=colour, linewidth=1.8, label=on_one_line(name))
        for (name, at), dashes in zip((lines or {}).items(), cycle(DASHES), strict=False):
            ax.axvline(at, color=INK, linestyle=dashes, linewidth=1.3, label=on_one_line(name))
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.set_ylim(bottom=0)
        if len(counts) > 1 or lines:
            legend(figure, ax)
    return Plot(title, caption, f"Histogram of {xlabel}", figure)
