"""A search as a drawing: scores over the trials, and over the values of each key."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import accumulate
from typing import Any, Final

__all__ = ["draw"]

BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "#8a8a8a"
"""Of Okabe and Ito, Color Universal Design, 2008; marks differ in shape, too."""
STYLE: Final[dict[Any, Any]] = {
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.labelsize": 9,
    "font.size": 9,
    "grid.alpha": 0.13,
    "legend.frameon": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "qa tune",
    "text.parse_math": False,
}
COLUMNS: Final = 3


def draw(record: Mapping[str, Any]) -> Iterator[tuple[str, bytes]]:
    """Yield `study.svg` and `study.png` of what `study.json` holds; nothing without matplotlib.

    The same record gives the same bytes.
    """
    trials = [each for each in record["trials"] if each["measured"]]
    try:
        from matplotlib import rc_context
        from matplotlib.figure import Figure
    except ImportError:
        return  # the numbers are in the record; a drawing needs qa-system[report]
    if not trials:
        return
    score, space = record["score"], record["space"]
    rows = -(-(len(space) + 1) // COLUMNS)
    columns = min(len(space) + 1, COLUMNS)
    with rc_context(STYLE):
        figure = Figure(figsize=(3.4 * columns, 3 * rows + 0.4), layout="constrained")
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        _over_trials(panels[0], trials, score)
        for axes, (key, dimension) in zip(panels[1:], space.items(), strict=False):
            _over_values(axes, trials, key, dimension)
        for axes in panels[len(space) + 1 :]:
            axes.set_axis_off()
        figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
        for kind, written in (("svg", {"Date": None}), ("png", {"Software": None})):
            content = BytesIO()
            figure.savefig(content, format=kind, dpi=150, facecolor="white", metadata=written)
            yield f"study.{kind}", content.getvalue()


def _over_trials(axes: Any, trials: Sequence[Mapping[str, Any]], score: str) -> None:
    complete = [each for each in trials if each["state"] == "complete"]
    _marks(axes, trials, lambda each: each["number"])
    axes.step(
        [each["number"] for each in complete],
        list(accumulate((each["value"] for each in complete), max)),
        where="post",
        color=GREY,
        lw=1.2,
        label="best so far",
    )
    axes.set(title=f"{score} on dev", xlabel="trial", ylabel=score)
    axes.xaxis.get_major_locator().set_params(integer=True)


def _over_values(
    axes: Any, trials: Sequence[Mapping[str, Any]], key: str, dimension: Mapping[str, Any]
) -> None:
    if dimension["type"] == "categorical":
        names = [str(each) for each in dimension["choices"]]
        _marks(axes, trials, lambda each: names.index(str(each["values"][key])))
        axes.set_xticks(range(len(names)), names)
    else:
        _marks(axes, trials, lambda each: each["values"][key])
        if dimension["type"] == "log":
            axes.set_xscale("log")
    axes.set(title=key, xlabel=key)


def _marks(axes: Any, trials: Sequence[Mapping[str, Any]], place: Any) -> None:
    """Mark each trial at its best score."""
    for state, marker, colour in (("complete", "o", BLUE), ("pruned", "x", ORANGE)):
        drawn = [each for each in trials if each["state"] == state]
        axes.scatter(
            [place(each) for each in drawn],
            [max(each["measured"]) for each in drawn],
            marker=marker,
            color=colour,
            s=22,
            label=state,
        )
