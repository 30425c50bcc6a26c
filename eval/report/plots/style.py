"""How plots look, and how they are written: matplotlib figures as SVG and PNG.

Text and axes take the colour of the page around them, so that one drawing serves light and dark
pages. Systems differ in colour and in marker or place, so that no plot needs colours to be read.
Colours: Okabe and Ito, Color Universal Design, 2008.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO, StringIO
from itertools import cycle
from math import ceil
from typing import TYPE_CHECKING, Any

from eval.metrics import describe
from eval.runs.wording import on_one_line
from qa_system.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "DASHES",
    "GREY",
    "INK",
    "Plot",
    "Summary",
    "details_of",
    "ink_on",
    "legend",
    "number",
    "panels",
    "plain",
    "require_matplotlib",
    "styled",
    "to_png",
    "to_svg",
]

Summary = Mapping[str, Any]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ((0, (6, 2)), (0, (1, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (2, 2)))
GREY = "#8a8a8a"
INK = "#010203"
"""Stands for the colour of the page's text until the drawing is written."""

STYLE: dict[Any, Any] = {
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "font.size": 9,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.7,
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "patch.linewidth": 0,
    "svg.fonttype": "none",
    "svg.hashsalt": "qa-eval",
    "text.color": INK,
    # A dollar sign in a question must not start a formula.
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Plot:
    """A drawing with its texts.

    Args:
        title: above it.
        caption: below it: what it shows, and how to read it.
        alt: its main numbers, for those who cannot see it.
        figure: of matplotlib.
    """

    title: str
    caption: str
    alt: str
    figure: Figure

    @property
    def svg(self) -> str:
        """The drawing as an `svg` element."""
        return to_svg(self.figure, self.title)


def require_matplotlib() -> None:
    """Make sure that plots can be drawn.

    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    try:
        import_module("jinja2")
        import_module("matplotlib")
    except ImportError as error:
        raise MissingDependencyError(
            f"a page with plots needs {error.name}",
            remedy="Install it: pip install 'qa-system[report]'.",
        ) from error


def to_svg(figure: Figure, name: str = "", *, ink: str = "currentColor") -> str:
    """Write a figure as an `svg` element, for a page or a file of its own.

    The same figure gives the same text: no dates, no random ids.

    Args:
        figure: of a `Plot`.
        name: makes the ids in the drawing differ from those of other drawings in the page.
        ink: colour of text and axes; `currentColor` is that of the page around it.
    """
    from matplotlib import rc_context

    text = StringIO()
    with rc_context({**STYLE, "svg.hashsalt": f"qa-eval {name}"}), warnings.catch_warnings():
        # The browser has the glyphs that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", svg)
    return svg.replace(INK, ink)


def to_png(figure: Figure) -> bytes:
    """Write a figure as a picture on white, for documents that cannot show `svg`.

    The same figure gives the same bytes.
    """
    from matplotlib import rc_context

    picture = BytesIO()
    with rc_context(STYLE):
        figure.savefig(
            picture, format="png", dpi=150, facecolor="white", metadata={"Software": None}
        )
    return picture.getvalue()


@contextmanager
def panels(
    panels: int, *, width: float = 7.6, height: float = 3.4, share_y: bool = False
) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    """Open a figure with panels side by side, in the style of a page."""
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, panels, sharey=share_y, squeeze=False)[0]
        yield figure, axes


def legend(figure: Figure, ax: Axes, marker_size: float | None = None) -> None:
    """Put one legend below the figure, with the entries of one panel."""
    handles, labels = ax.get_legend_handles_labels()
    if not labels:
        return
    columns = _columns(labels, figure.get_figwidth())
    legend = figure.legend(handles, labels, loc="outside lower center", ncols=columns)
    if marker_size is not None:
        for handle in legend.legend_handles:
            if handle is not None and hasattr(handle, "set_sizes"):
                handle.set_sizes([marker_size**2])


def _columns(labels: Sequence[str], inches: float) -> int:
    """Return how many columns of a legend fit into a width; marks and gaps take 8 characters."""
    for rows in range(ceil(len(labels) / 6), len(labels)):
        columns = [labels[at : at + rows] for at in range(0, len(labels), rows)]
        if sum(max(map(len, column)) + 8 for column in columns) <= 13 * inches:
            return len(columns)
    return 1


def styled(
    entries: Mapping[str, Any], among: Iterable[str] | None = None
) -> Iterable[tuple[tuple[str, Any], str, str]]:
    """Return each entry with its colour and marker: by its place among the systems of a page."""
    names = entries if among is None else among
    styles = dict(zip(names, zip(cycle(COLOURS), cycle(MARKERS), strict=False), strict=False))
    return [((name, each), *styles[name]) for name, each in entries.items()]


def details_of(entries: Mapping[str, Mapping[str, Any]], field: str) -> dict[str, Any]:
    """Return one field of the details of each entry that has it."""
    return {
        name: each["details"][field]
        for name, each in entries.items()
        if (each.get("details") or {}).get(field)
    }


def number(metric: str, value: float | None) -> str:
    """Write a metric's value for those who cannot see the plot."""
    return describe(metric).shown(value, none="none")


def plain(feature: str) -> str:
    """Return a feature's name as text."""
    return on_one_line(feature.replace("_", " "))


def ink_on(colour: str) -> str:
    """Return black or white, whichever can be read on a colour."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else "#ffffff"
