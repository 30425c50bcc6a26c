"""Plots of retrieval: recall over k."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from eval.report.plots.style import DASHES, GREY, Plot, Summary, details_of, legend, panels, styled
from eval.runs.wording import on_one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["recall_over_k"]


def recall_over_k(summary: Summary) -> Plot | None:
    """Draw how often the gold review is among the first k, for every k.

    Source of the plot: Tunstall, von Werra and Wolf, Natural Language Processing with
    Transformers, 2022, figures 7-9.
    """
    systems = details_of(summary["systems"], "recall_at")
    if not systems:
        return None
    baselines = details_of(summary["references"], "recall_at")
    titles = {"gold": "gold review found", "answer": "gold answer contained"}
    with panels(len(titles), height=3.7) as (figure, axes):
        for ax, (field, title) in zip(axes, titles.items(), strict=True):
            _draw_curves(ax, systems, baselines, field)
            depth = max(curve["k"][-1] for curve in systems.values())
            if depth > 30:
                ax.set_xscale("log")
                ticks = [k for k in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500) if k <= depth]
                ax.set_xticks(ticks, [str(k) for k in ticks], minor=False)
                ax.set_xticks([], minor=True)
            ax.set(title=title, xlabel="k: reviews retrieved", ylim=(0, 1.02))
        axes[0].set_ylabel("recall@k: share of questions (0 to 1)")
        legend(figure, axes[0])
    return Plot(
        "Recall over k",
        "Left: share of the gold reviews that are among the first k. Right: share of the questions "
        "with an answer, word for word, in one of the first k reviews. Only questions with an "
        "answer count. Grey lines are baselines.",
        "; ".join(
            f"{name}: " + ", ".join(f"{_at(curve, k):.2f} at {k}" for k in (1, 3, 10))
            for name, curve in systems.items()
        ),
        figure,
    )


def _draw_curves(
    ax: Axes, systems: Mapping[str, Any], baselines: Mapping[str, Any], field: str
) -> None:
    for (name, curve), colour, marker in styled(systems):
        ax.plot(
            curve["k"],
            curve[field],
            color=colour,
            marker=marker,
            markevery=max(1, len(curve["k"]) // 10),
            label=on_one_line(name),
        )
    for (name, curve), dashes in zip(baselines.items(), cycle(DASHES), strict=False):
        ax.plot(
            curve["k"],
            curve[field],
            color=GREY,
            linestyle=dashes,
            label=on_one_line(name),
            linewidth=1.4,
        )


def _at(curve: Mapping[str, Sequence[float]], k: int) -> float:
    return curve["gold"][min(k, len(curve["gold"])) - 1]
