"""Plots of a report, drawn from a summary's numbers alone."""

from eval.report.plots.answers import gap, outcomes
from eval.report.plots.confidence import (
    precision_over_coverage,
    reliability,
    risk_coverage,
    score_over_threshold,
)
from eval.report.plots.curve import learning_curves
from eval.report.plots.datasets import bars, histogram
from eval.report.plots.performance import accuracy_over_time
from eval.report.plots.retrieval import recall_over_k
from eval.report.plots.scores import score_bars, slice_dots
from eval.report.plots.style import (
    COLOURS,
    INK,
    Plot,
    Summary,
    require_matplotlib,
    to_png,
    to_svg,
)

__all__ = [
    "COLOURS",
    "INK",
    "Plot",
    "accuracy_over_time",
    "bars",
    "gap",
    "histogram",
    "learning_curves",
    "outcomes",
    "plots_of",
    "precision_over_coverage",
    "recall_over_k",
    "reliability",
    "require_matplotlib",
    "risk_coverage",
    "score_bars",
    "score_over_threshold",
    "slice_dots",
    "to_png",
    "to_svg",
]


def plots_of(summary: Summary) -> list[Plot]:
    """Draw every plot that a run's numbers allow, in reading order.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    drawn = (
        accuracy_over_time(summary),
        recall_over_k(summary),
        score_bars(summary),
        gap(summary),
        outcomes(summary),
        precision_over_coverage(summary),
        slice_dots(summary),
        risk_coverage(summary),
        reliability(summary),
        score_over_threshold(summary),
    )
    return [plot for plot in drawn if plot is not None]
