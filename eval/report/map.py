"""The page of a map: every review as a point, with its text, and the same reviews as a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.report.plots import COLOURS, require_matplotlib
from eval.report.plots.map import RAMP
from eval.report.plots.style import GREY
from eval.report.rendering import embedded, render
from eval.report.tables import print_cells
from eval.runs.wording import dotted

__all__ = ["map_page", "print_map"]


def map_page(mapped: Mapping[str, Any]) -> str:
    """Write the page of `eval.tasks.embeddings.mapping.map_reviews`.

    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    require_matplotlib()
    shown = ("x", "y", "texts", "ids", "fields")
    palette = {"colours": COLOURS, "ramp": RAMP, "grey": GREY}
    clusters = mapped["clusters"]
    return render(
        "map.html",
        {
            "map": "Map",
            "reviews": "Reviews",
            **({"clusters": "Clusters"} if clusters else {}),
            "made-with": "Made with",
        },
        script="map.js",
        title=f"Map of {len(mapped['ids']):,} reviews",
        lead=mapped["title"],
        explanation=mapped["explanation"],
        clusters=[] if clusters is None else clusters["sizes"],
        note="" if clusters is None else clusters["note"],
        made_with=[(name, str(value)) for name, value in dotted(mapped["made_with"])],
        data=embedded({**{name: mapped[name] for name in shown}, **palette}),
    )


def print_map(mapped: Mapping[str, Any]) -> None:
    """Print what a map shows: how many reviews, and its clusters."""
    clusters = mapped["clusters"]
    sizes = [] if clusters is None else clusters["sizes"]
    note = [] if clusters is None or not clusters["note"] else [clusters["note"]]
    print_cells(
        f"Map of {len(mapped['ids']):,} reviews: {mapped['title']}",
        ["reviews"],
        {name: [f"{size:,}"] for name, size in sizes},
        [mapped["explanation"], *note],
    )
