"""The plot of learning curves: scores over the number of labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Any

from eval.metrics import describe
from eval.report.plots.style import DASHES, GREY, Plot, Summary, legend, number, panels, styled
from eval.runs.wording import on_one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["learning_curves"]

DRAWN = {"f1": "all questions", "forced_has_ans_f1": "questions with an answer, all answered"}


def learning_curves(result: Summary) -> Plot:
    """Draw what `eval.adaptation.curve.learning_curve` found: a line for each way to train.

    Source of the plot: Tunstall, von Werra and Wolf, Natural Language Processing with
    Transformers, 2022, chapter 9.
    """
    sizes, lines = result["sizes"], result["lines"]
    with panels(len(DRAWN), height=3.9) as (figure, axes):
        for ax, (metric, title) in zip(axes, DRAWN.items(), strict=True):
            _draw(ax, lines, metric)
            references = zip(result["references"].items(), cycle(DASHES), strict=False)
            for (name, metrics), dashes in references:
                if metrics[metric] is not None:
                    ax.axhline(
                        metrics[metric],
                        color=GREY,
                        linestyle=dashes,
                        linewidth=1.4,
                        label=on_one_line(name.replace("_", " ")),
                    )
            _over_labels(ax, sizes)
            ax.set(title=title, xlabel="labels")
        axes[0].set_ylabel(f"{describe('f1').label} on the test split")
        legend(figure, axes[0])
    return Plot(
        "Learning curves",
        f"Means over {result['seeds']} draws of the labels; upright lines are 95 % intervals over "
        "items. The number of labels is on a logarithmic scale, with 0 apart. Grey lines are "
        "baselines.",
        "; ".join(
            f"{name}: "
            + ", ".join(f"{number('f1', each['metrics']['f1'])} at {each['labels']}" for each in of)
            for name, of in lines.items()
        ),
        figure,
    )


def _draw(ax: Axes, lines: Mapping[str, Sequence[Mapping[str, Any]]], metric: str) -> None:
    for (name, points), colour, marker in styled(lines):
        known = [each for each in points if each["metrics"][metric] is not None]
        labels = [each["labels"] for each in known]
        ax.plot(
            labels,
            [each["metrics"][metric] for each in known],
            color=colour,
            marker=marker,
            label=on_one_line(name),
        )
        for each in known:
            if (interval := each["intervals"][metric]) is not None:
                ax.plot([each["labels"]] * 2, interval, color=colour, linewidth=1, alpha=0.5)


def _over_labels(ax: Axes, sizes: Sequence[int]) -> None:
    above = [size for size in sizes if size]
    if above:
        ax.set_xscale("symlog", linthresh=above[0], linscale=0.5)
    ax.set_xticks(sizes, [f"{size:,}" for size in sizes])
    ax.set_xticks([], minor=True)
