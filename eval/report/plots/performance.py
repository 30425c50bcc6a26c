"""The plot of a benchmark: accuracy over time, with sizes."""

from __future__ import annotations

from eval.metrics import describe
from eval.report.plots.style import INK, Plot, Summary, details_of, legend, number, panels, styled
from eval.runs.wording import on_one_line

__all__ = ["accuracy_over_time"]

LARGEST = 900
"""Area of the largest model's mark, in square points."""


def accuracy_over_time(summary: Summary) -> Plot | None:
    """Draw each system's score over the time of a question; the area of a mark is its size."""
    metric, systems = summary["primary"], summary["systems"]
    costs = details_of(systems, "performance")
    scores = {name: systems[name]["metrics"].get(metric) for name in costs}
    if not costs or None in scores.values():
        return None
    label = describe(metric).label
    largest = max(each["bytes"] for each in costs.values())
    with panels(1, width=6.4, height=3.8) as (figure, (ax,)):
        for (name, cost), colour, marker in styled(costs, systems):
            megabytes = f"{cost['bytes'] / 1e6:.1f} MB"
            ms, interval = cost["ms"], systems[name]["intervals"].get(metric)
            if interval is not None:
                ax.plot([ms["median"]] * 2, interval, color=colour, linewidth=1, alpha=0.7)
            ax.plot([ms["median"], ms["p95"]], [scores[name]] * 2, color=colour, linewidth=1)
            ax.scatter(
                ms["median"],
                scores[name],
                s=LARGEST * cost["bytes"] / largest,
                color=colour,
                marker=marker,
                alpha=0.6,
                edgecolor=INK,
                linewidth=0.6,
                label=f"{on_one_line(name)}, {megabytes}",
            )
        ax.set(xlabel="milliseconds a question", ylabel=f"{label}, mean over questions")
        ax.margins(0.2)
        ax.set_xlim(left=0)
        legend(figure, ax, marker_size=7)
    return Plot(
        "Accuracy, time and size",
        "The area of a mark is the size on disk. It stands at the median time; the line to the "
        "right ends at the 95th percentile, the upright one is the score's 95 % interval.",
        "; ".join(
            f"{name}: {label} {number(metric, scores[name])}, {cost['ms']['median']:.1f} ms, "
            f"{cost['bytes'] / 1e6:.1f} MB"
            for name, cost in costs.items()
        ),
        figure,
    )
