"""The plots of poolings and layers, and of smaller vectors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.metrics import describe
from eval.report.plots.style import DASHES, GREY, INK, Plot, legend, panels, styled
from eval.runs.wording import on_one_line

__all__ = ["label_of", "score_over_layers", "score_over_size"]

LABELS = {"ami": "AMI", "nmi": "NMI", "silhouette": "silhouette"}

Rows = Mapping[str, Mapping[str, Any]]


def score_over_layers(report: Mapping[str, Any]) -> Plot:
    """Draw the primary metric of each pooling over the layers, with intervals.

    Args:
        report: of `qa-eval pooling`.
    """
    metric, rows = report["primary"], report["rows"]
    lines: dict[str, list[tuple[int, Mapping[str, Any]]]] = {}
    for row in rows.values():
        if row["layer"] is not None:
            lines.setdefault(row["pooling"], []).append((row["layer"], row))
    with panels(1, width=7.2, height=4) as (figure, (ax,)):
        for at, ((pooling, found), colour, marker) in enumerate(styled(lines)):
            shift = 0.06 * (at - (len(lines) - 1) / 2)
            places = [layer + shift for layer, _ in found]
            values = [row["metrics"][metric] for _, row in found]
            ax.plot(places, values, color=colour, marker=marker, label=on_one_line(pooling))
            for place, (_, row) in zip(places, found, strict=True):
                if row["intervals"][metric] is not None:
                    ax.plot(
                        [place] * 2, row["intervals"][metric], color=colour, linewidth=1, alpha=0.6
                    )
        own = rows[report["baseline"]]
        ax.axhline(
            own["metrics"][metric],
            color=GREY,
            linestyle=DASHES[0],
            label=on_one_line(report["baseline"]),
        )
        layers = sorted({layer for found in lines.values() for layer, _ in found})
        ax.set_xticks(layers, [str(layer) for layer in layers])
        ax.set(xlabel="layer (0: the embeddings of words)", ylabel=label_of(metric))
        legend(figure, ax)
    return Plot(
        f"{label_of(metric)} over layers",
        "Each pooling of each layer, with 95 % intervals; grey: the vectors that the model makes "
        "without a pooling of one's choice.",
        "; ".join(f"{name}: {row['metrics'][metric]:.3f}" for name, row in rows.items()),
        figure,
    )


def score_over_size(report: Mapping[str, Any]) -> Plot:
    """Draw the primary metric over the bytes of a vector, with intervals.

    Args:
        report: of `qa-eval pooling` with sizes.
    """
    metric, rows = report["primary"], report["sizes"]["rows"]
    kinds: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows.values():
        kinds.setdefault(row["dtype"], []).append(row)
    with panels(1, width=7.2, height=3.6) as (figure, (ax,)):
        for (dtype, found), colour, marker in styled(kinds):
            found = sorted(found, key=lambda row: row["bytes"])
            sizes = [row["bytes"] for row in found]
            values = [row["metrics"][metric] for row in found]
            ax.plot(sizes, values, color=colour, marker=marker, label=on_one_line(dtype))
            for size, row in zip(sizes, found, strict=True):
                ax.text(size, row["metrics"][metric], f" {row['dimensions']}", fontsize=8)
                if row["intervals"][metric] is not None:
                    ax.plot([size] * 2, row["intervals"][metric], color=INK, linewidth=0.8)
        ax.set_xscale("log", base=2)
        ax.set(xlabel="bytes of a vector", ylabel=label_of(metric))
        ax.margins(0.1)
        legend(figure, ax)
    return Plot(
        f"{label_of(metric)} over size",
        "Vectors cut to fewer dimensions (the number beside each mark) and kept in fewer bits, "
        "with 95 % intervals.",
        "; ".join(
            f"{name}: {row['metrics'][metric]:.3f} in {row['bytes']} bytes"
            for name, row in rows.items()
        ),
        figure,
    )


def label_of(metric: str) -> str:
    """Return what a table calls a metric."""
    return LABELS[metric] if metric in LABELS else describe(metric).label
