"""Plots of scores: bars beside baselines, and slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eval.metrics import describe
from eval.report.plots.style import (
    DASHES,
    GREY,
    INK,
    Plot,
    Summary,
    legend,
    number,
    panels,
    plain,
    styled,
)
from eval.runs.wording import on_one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["score_bars", "slice_dots"]

Line = tuple[str, str | None]
"""A line of the plot of slices: a feature and one of its values; None: the feature's heading."""


def score_bars(summary: Summary, metrics: Sequence[str] | None = None) -> Plot | None:
    """Draw each system's scores with their intervals, the baselines below them.

    Args:
        summary: of a run.
        metrics: one panel each; None: four of the headline, the primary one among them.
    """
    entries = {**summary["systems"], **summary["references"]}
    named = [
        metric
        for metric in (_leading(summary) if metrics is None else metrics)
        if any(each["metrics"].get(metric) is not None for each in entries.values())
    ]
    if not named:
        return None
    colours = {name: colour for (name, _), colour, _ in styled(summary["systems"])}
    with panels(len(named), height=0.75 + 0.34 * len(entries), share_y=True) as (figure, axes):
        for ax, metric in zip(axes, named, strict=True):
            _draw_bars(ax, metric, entries, colours)
        figure.supxlabel("mean over questions (0 to 1)", fontsize=9)
    return Plot(
        "Scores",
        "Mean scores with 95 % intervals (bootstrap over items). Grey bars are baselines.",
        "; ".join(
            f"{name}: "
            + ", ".join(f"{describe(m).label} {number(m, each['metrics'].get(m))}" for m in named)
            for name, each in entries.items()
        ),
        figure,
    )


def slice_dots(summary: Summary, metric: str | None = None, most: int = 8) -> Plot | None:
    """Draw a metric by slice, with intervals.

    Args:
        summary: of a run.
        metric: None: the primary one.
        most: values of a feature to show; those with the most questions.
    """
    metric = summary["primary"] if metric is None else metric
    systems = {name: each for name, each in summary["systems"].items() if each.get("slices")}
    lines = _lines(systems, metric, most)
    if not lines:
        return None
    label = describe(metric).label
    with panels(1, width=7.2, height=0.9 + 0.25 * len(lines)) as (figure, (ax,)):
        for at, ((name, each), colour, marker) in enumerate(styled(systems)):
            shift = 0.5 * (at - (len(systems) - 1) / 2) / len(systems)
            style = {"color": colour, "marker": marker, "label": on_one_line(name)}
            _draw_dots(ax, each, metric, lines, shift, style)
        _name_lines(ax, lines, systems)
        ax.set(xlabel=f"{label}, mean over questions (0 to 1)", xlim=(-0.02, 1.02))
        ax.set_ylabel("slice (questions)")
        ax.set_ylim(len(lines) - 0.4, -0.6)
        if len(systems) > 1:
            legend(figure, ax)
    return Plot(
        "Slices",
        f"{label} by slice, with 95 % intervals. Dashed lines: the mean over all questions. Of a "
        f"feature with many values, the {most} most frequent are drawn.",
        "The table of slices has the numbers.",
        figure,
    )


def _leading(summary: Summary) -> list[str]:
    headline, primary = summary["headline"], summary["primary"]
    first: list[str] = headline[:4]
    return first if primary in first or primary not in headline else [*first[:3], primary]


def _draw_bars(
    ax: Axes, metric: str, entries: Mapping[str, Any], colours: Mapping[str, str]
) -> None:
    places = range(len(entries), 0, -1)
    longest = 1.0
    for place, (name, each) in zip(places, entries.items(), strict=True):
        value = each["metrics"].get(metric)
        if value is None:
            continue
        ax.barh(place, value, height=0.62, color=colours.get(name, GREY), alpha=0.9)
        interval = (each.get("intervals") or {}).get(metric)
        end = value
        if interval is not None:
            ax.plot(interval, [place, place], color=INK, linewidth=1.2)
            ax.plot(interval, [place, place], "|", color=INK, markersize=6)
            end = max(interval[1], value)
        longest = max(longest, end)
        ax.text(end + 0.04, place, f"{value:.2f}", va="center", fontsize=8.5)
    ax.set_yticks(list(places), [on_one_line(name) for name in entries])
    ax.set(title=describe(metric).label.replace(", ", ",\n"), xlim=(0, 1.2 * longest))
    if longest == 1:
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")


def _lines(systems: Mapping[str, Any], metric: str, most: int) -> list[Line]:
    lines: list[Line] = []
    for feature in dict.fromkeys(name for each in systems.values() for name in each["slices"]):
        sizes: dict[str, int] = {}
        for each in systems.values():
            for value, part in each["slices"].get(feature, {}).items():
                if part["metrics"].get(metric) is not None:
                    sizes[value] = part["questions"]
        if len(sizes) > 1:
            largest = set(sorted(sizes, key=lambda value: -sizes[value])[:most])
            lines.append((feature, None))
            lines += [(feature, value) for value in sizes if value in largest]
    return lines


def _draw_dots(
    ax: Axes,
    system: Mapping[str, Any],
    metric: str,
    lines: Sequence[Line],
    shift: float,
    style: dict[str, Any],
) -> None:
    colour = style["color"]
    overall = system["metrics"].get(metric)
    if overall is not None:
        ax.axvline(overall, color=colour, linewidth=1, linestyle=DASHES[0], alpha=0.7)
    for at, (feature, value) in enumerate(lines):
        part = None if value is None else system["slices"].get(feature, {}).get(value)
        mean = None if part is None else part["metrics"].get(metric)
        if part is None or mean is None:
            continue
        interval = part["intervals"].get(metric)
        if interval is not None:
            ax.plot(interval, [at + shift] * 2, color=colour, linewidth=1.3, alpha=0.8)
        ax.plot([mean], [at + shift], linestyle="none", **style)
        style = {**style, "label": None}


def _name_lines(ax: Axes, lines: Sequence[Line], systems: Mapping[str, Any]) -> None:
    names = []
    for at, (feature, value) in enumerate(lines):
        if value is None:
            names.append(plain(feature))
            ax.axhline(at, color=INK, linewidth=0.5, alpha=0.25)
        else:
            parts = (each["slices"].get(feature, {}).get(value) for each in systems.values())
            count = max(part["questions"] for part in parts if part is not None)
            names.append(f"{on_one_line(value, 28)} ({count:,})")
    ax.set_yticks(range(len(lines)), names)
    for tick, (_, value) in zip(ax.get_yticklabels(), lines, strict=True):
        tick.set_fontweight("bold" if value is None else "normal")
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")
