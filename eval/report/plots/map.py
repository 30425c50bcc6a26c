"""The picture of a map of reviews."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from eval.report.plots.style import COLOURS, GREY, Plot, legend, panels
from eval.runs.wording import on_one_line

__all__ = ["RAMP", "reviews_map"]

RAMP = ("#b2182b", "#e0793f", "#8a8a8a", "#3f8fc4", "#20559c")
"""For values that have an order, from the least to the most."""
MARKERS = ("o", "s", "^", "D")


def reviews_map(mapped: Mapping[str, Any], field: Mapping[str, Any]) -> Plot:
    """Draw every review as a point.

    Args:
        mapped: `eval.tasks.embeddings.mapping.map_reviews`.
        field: the one of its fields that colours.
    """
    x, y, of = (np.asarray(each) for each in (mapped["x"], mapped["y"], field["of"]))
    size = 5 if len(x) > 3000 else 9 if len(x) > 600 else 18
    with panels(1, width=7.6, height=6.4) as (figure, (ax,)):
        for value in [-1, *range(len(field["values"]))]:
            member = of == value
            if member.any():
                name = "none" if value < 0 else field["values"][value]
                ax.scatter(
                    x[member],
                    y[member],
                    s=size,
                    color=colour_of(field, value),
                    marker=MARKERS[max(0, value) % len(MARKERS)],
                    alpha=0.75,
                    linewidth=0,
                    label=f"{on_one_line(name)} ({member.sum():,})",
                )
        ax.set_aspect("equal", adjustable="datalim")
        ax.set(xticks=[], yticks=[], xlabel=mapped["axes"][0], ylabel=mapped["axes"][1])
        ax.grid(visible=False)
        legend(figure, ax, marker_size=5)
    return Plot(
        f"Map of {len(x):,} reviews, by {field['name']}",
        mapped["explanation"],
        "; ".join(
            f"{name}: {np.sum(of == value):,} reviews" for value, name in enumerate(field["values"])
        ),
        figure,
    )


def colour_of(field: Mapping[str, Any], value: int) -> str:
    """Return the colour of a field's value, by its number."""
    if value in (-1, field["rest"]):
        return GREY
    if not field["ordered"]:
        return COLOURS[value % len(COLOURS)]
    last = max(1, len(field["values"]) - 1)
    return RAMP[int(value / last * (len(RAMP) - 1) + 0.5)]
