"""Plots of a pipeline's answers: outcomes, and the gap to the reader alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from eval.report.plots.style import (
    COLOURS,
    GREY,
    INK,
    Plot,
    Summary,
    details_of,
    ink_on,
    legend,
    panels,
)
from eval.runs.wording import OUTCOMES, on_one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["gap", "outcomes"]

OUTCOME_COLOURS = {
    "right": "#009E73",
    "right_no_answer": "#7fd0b5",
    "not_retrieved": "#0072B2",
    "not_ranked_first": "#56B4E9",
    "wrong_span": "#E69F00",
    "wrong_no_answer": "#D55E00",
    "needless_answer": "#CC79A7",
    "failed": GREY,
}


def outcomes(summary: Summary) -> Plot | None:
    """Draw the shares of the outcomes."""
    systems = details_of(summary["systems"], "outcomes")
    if not systems:
        return None
    places = range(len(systems), 0, -1)
    with panels(1, width=7.6, height=1.35 + 0.5 * len(systems)) as (figure, (ax,)):
        drawn: set[str] = set()
        for place, parts in zip(places, systems.values(), strict=True):
            _draw_shares(ax, place, parts, drawn)
        ax.set_yticks(places, [on_one_line(name) for name in systems])
        ax.set(xlabel="share of the questions (%)", xlim=(0, 1))
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=False)
        legend(figure, ax)
    return Plot(
        "Outcomes",
        "The outcome of each question. An answer is right here if its F1 is 1: it has an "
        "annotator's words.",
        "; ".join(
            f"{name}: "
            + ", ".join(
                f"{OUTCOMES[outcome]} {part['share']:.0%}" for outcome, part in parts.items()
            )
            for name, parts in systems.items()
        ),
        figure,
    )


def _draw_shares(ax: Axes, place: int, parts: Mapping[str, Any], drawn: set[str]) -> None:
    left = 0.0
    for outcome, colour in OUTCOME_COLOURS.items():
        share = parts.get(outcome, {}).get("share", 0.0)
        if not share:
            continue
        label = None if outcome in drawn else OUTCOMES[outcome]
        drawn.add(outcome)
        ax.barh(place, share, 0.6, left=left, color=colour, label=label)
        if share >= 0.04:
            middle = left + share / 2
            text = ax.text(middle, place, f"{share:.0%}", ha="center", va="center", fontsize=8.5)
            text.set_color(ink_on(colour))
        left += share


def gap(summary: Summary) -> Plot | None:
    """Draw which outcomes make the difference between the reader alone and the whole pipeline.

    Source of the comparison: Tunstall, von Werra and Wolf, 2022, figure 7-12; there without the
    steps between.
    """
    systems = {
        name: {outcome: part["gap"] for outcome, part in parts.items()}
        for name, parts in details_of(summary["systems"], "outcomes").items()
        if all(part.get("gap") is not None for part in parts.values())
        and summary["systems"][name]["metrics"].get("f1") is not None
    }
    if not systems:
        return None
    with panels(len(systems), height=3.4, width=7.6, share_y=False) as (figure, axes):
        for ax, (name, gaps) in zip(axes, systems.items(), strict=True):
            _draw_steps(ax, gaps, summary["systems"][name]["metrics"]["f1"])
            if len(systems) > 1:
                ax.set_title(on_one_line(name))
    return Plot(
        "From the reader alone to the whole pipeline",
        "The reader alone is given the gold review; the pipeline has to retrieve it. Each step is "
        "the F1 that the pipeline loses or gains on the questions with that outcome.",
        "; ".join(
            f"{name}: " + ", ".join(f"{OUTCOMES[o]} {-g:+.3f}" for o, g in gaps.items())
            for name, gaps in systems.items()
        ),
        figure,
    )


def _draw_steps(ax: Axes, gaps: Mapping[str, float], end: float) -> None:
    """Draw a waterfall from the reader alone down to `end`, the pipeline's F1."""
    level = start = end + sum(gaps.values())
    # Steps of less than half a thousandth would be drawn as nothing, and labelled 0.000.
    steps = [(outcome, gaps[outcome]) for outcome in OUTCOMES if abs(gaps.get(outcome, 0)) >= 5e-4]
    names = ["reader alone", *(OUTCOMES[outcome] for outcome, _ in steps), "pipeline"]
    last = len(steps) + 1
    ax.barh(0, start, 0.66, color=GREY)
    for at, (outcome, step) in enumerate(steps, start=1):
        ax.barh(at, -step, 0.66, left=level, color=OUTCOME_COLOURS[outcome])
        _draw_level(ax, level, at)
        level -= step
        ax.text(max(level, level + step) + 0.012, at, f"{-step:+.3f}", va="center", fontsize=8.5)
    _draw_level(ax, level, last)
    ax.barh(last, end, 0.66, color=COLOURS[0])
    for at, value in ((0, start), (last, end)):
        ax.text(value + 0.012, at, f"{value:.3f}", va="center", fontsize=8.5)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set(xlabel="F1 over all questions (0 to 1)", xlim=(0, max(start, end, 0.1) * 1.15))
    ax.tick_params(axis="y", length=0)
    ax.grid(visible=False, axis="y")


def _draw_level(ax: Axes, level: float, at: int) -> None:
    """Join the end of the bar above with the start of bar `at`."""
    ax.plot([level, level], [at - 0.67, at + 0.33], color=INK, linewidth=0.6)
