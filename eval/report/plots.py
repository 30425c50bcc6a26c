"""What a report shows as plots: matplotlib figures, drawn from a summary's numbers alone.

Text and axes take the colour of the page they are put in, so that one drawing serves light and
dark; systems differ in colour and in marker or place, so that no plot needs colours to be read.
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
from typing import TYPE_CHECKING, Any

from eval.runs.wording import OUTCOMES, metric_name, on_one_line
from qa_system.errors import MissingDependencyError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "Plot",
    "gap",
    "histogram",
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

Summary = Mapping[str, Any]

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ((0, (6, 2)), (0, (1, 1.5)), (0, (4, 1.5, 1, 1.5)), (0, (2, 2)))
GREY = "#8a8a8a"
INK = "#010203"
"""Stands for the colour of the page's text until the drawing is written."""

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
    # A dollar sign in somebody's question starts no formula.
    "text.parse_math": False,
    "xtick.color": INK,
    "ytick.color": INK,
}


@dataclass(frozen=True)
class Plot:
    """A drawing and what is said with it.

    Args:
        title: above it.
        caption: below it: what it shows, and how to read it.
        alt: its numbers in short, for who cannot see it.
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
    except ImportError as fault:
        raise MissingDependencyError(
            f"a page with plots needs {fault.name}",
            remedy="Install it: pip install 'qa-system[report]'.",
        ) from fault


def to_svg(figure: Figure, name: str = "", *, ink: str = "currentColor") -> str:
    """Write a figure as an `svg` element that stands in a page as well as in a file.

    The same figure gives the same text: no dates, no random ids.

    Args:
        figure: one of those that this module draws.
        name: keeps the ids of several drawings in one page apart.
        ink: colour of text and axes; `currentColor` is that of the page around it.
    """
    from matplotlib import rc_context

    text = StringIO()
    with rc_context({**STYLE, "svg.hashsalt": f"qa-eval {name}"}), warnings.catch_warnings():
        # What the font of the measuring lacks, the browser's has.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    svg = svg[svg.index("<svg ") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", svg)
    return svg.replace(INK, ink)


def to_png(figure: Figure) -> bytes:
    """Write a figure as a picture on white, for documents that hold no `svg`.

    The same figure gives the same bytes.
    """
    from matplotlib import rc_context

    picture = BytesIO()
    with rc_context(STYLE):
        figure.savefig(
            picture, format="png", dpi=150, facecolor="white", metadata={"Software": None}
        )
    return picture.getvalue()


def plots_of(summary: Summary) -> list[Plot]:
    """Draw everything that a run's numbers allow, in the order in which it is read.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    drawn = (
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


def recall_over_k(summary: Summary) -> Plot | None:
    """Draw how often the right review is among the first k, for every k.

    Source of the plot: Tunstall, von Werra and Wolf, Natural Language Processing with
    Transformers, 2022, figures 7-9.
    """
    systems = _details(summary["systems"], "recall_at")
    if not systems:
        return None
    references = _details(summary["references"], "recall_at")
    panels = {"gold": "gold review found", "answer": "gold answer contained"}
    with _figure(len(panels), height=3.7) as (figure, axes):
        for ax, (field, what) in zip(axes, panels.items(), strict=True):
            for (name, curve), colour, marker in _styled(systems):
                every = max(1, len(curve["k"]) // 10)
                ax.plot(
                    curve["k"],
                    curve[field],
                    color=colour,
                    marker=marker,
                    markevery=every,
                    label=on_one_line(name),
                )
            for (name, curve), dashes in zip(references.items(), cycle(DASHES), strict=False):
                ax.plot(
                    curve["k"],
                    curve[field],
                    color=GREY,
                    linestyle=dashes,
                    label=on_one_line(name),
                    linewidth=1.4,
                )
            depth = max(curve["k"][-1] for curve in systems.values())
            if depth > 30:
                ax.set_xscale("log")
                ticks = [k for k in (1, 2, 3, 5, 10, 20, 30, 50, 100, 200, 500) if k <= depth]
                ax.set_xticks(ticks, [str(k) for k in ticks], minor=False)
                ax.set_xticks([], minor=True)
            ax.set(title=what, xlabel="k: reviews retrieved", ylim=(0, 1.02))
        axes[0].set_ylabel("recall@k: share of questions (0 to 1)")
        _legend(figure, axes[0])
    return Plot(
        "Recall over k",
        "How often the first k reviews hold the gold review (left), or any review that contains "
        "a gold answer word for word (right). Questions without an answer are left out. Grey: "
        "what it is to be seen beside.",
        "; ".join(
            f"{name}: " + ", ".join(f"{_at(curve, k):.2f} at {k}" for k in (1, 3, 10))
            for name, curve in systems.items()
        ),
        figure,
    )


def score_bars(summary: Summary, metrics: Sequence[str] | None = None) -> Plot | None:
    """Draw each system's scores with their intervals, the lines of reference below them.

    Args:
        summary: of a run.
        metrics: one panel each; None: four of the headline, the primary one among them.
    """
    named = tuple(_leading(summary) if metrics is None else metrics)
    entries = {**summary["systems"], **summary["references"]}
    named = tuple(
        m for m in named if any(each["metrics"].get(m) is not None for each in entries.values())
    )
    if not named:
        return None
    colours = {name: colour for (name, _), colour, _ in _styled(summary["systems"])}
    with _figure(len(named), height=0.75 + 0.34 * len(entries), share_y=True) as (figure, axes):
        places = range(len(entries), 0, -1)
        for ax, metric in zip(axes, named, strict=True):
            for place, (name, each) in zip(places, entries.items(), strict=True):
                value = each["metrics"].get(metric)
                if value is None:
                    continue
                colour = colours.get(name, GREY)
                ax.barh(place, value, height=0.62, color=colour, alpha=0.9)
                interval = (each.get("intervals") or {}).get(metric)
                end = value
                if interval is not None:
                    ax.plot(interval, [place, place], color=INK, linewidth=1.2)
                    ax.plot(interval, [place, place], "|", color=INK, markersize=6)
                    end = max(interval[1], value)
                ax.text(end + 0.04, place, f"{value:.2f}", va="center", fontsize=8.5)
            ax.set_yticks(list(places), [on_one_line(name) for name in entries])
            ax.set(title=metric_name(metric).replace(", ", ",\n"), xlim=(0, 1.2))
            ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "¼", "½", "¾", "1"])
            ax.tick_params(axis="y", length=0)
            ax.grid(visible=False, axis="y")
        figure.supxlabel("mean over questions (0 to 1)", fontsize=9)
    return Plot(
        "Scores",
        "Mean scores with their 95 % intervals (bootstrap over items). Grey bars: what it is to "
        "be seen beside.",
        "; ".join(
            f"{name}: "
            + ", ".join(f"{metric_name(m)} {_number(each['metrics'].get(m))}" for m in named)
            for name, each in entries.items()
        ),
        figure,
    )


def precision_over_coverage(summary: Summary) -> Plot | None:
    """Draw what withholding buys: how good the answers are, and to how many questions."""
    systems = {
        name: curve
        for name, curve in _details(summary["systems"], "precision_coverage").items()
        if curve["coverage"]
    }
    if not systems:
        return None
    with _figure(1, width=5.4, height=3.7) as (figure, (ax,)):
        for (name, curve), colour, marker in _styled(systems, summary["systems"]):
            ax.plot(
                curve["coverage"],
                curve["precision"],
                color=colour,
                marker=".",
                markersize=3,
                linewidth=1.2,
            )
            coverage, precision = curve["at"]
            ax.plot(
                [coverage],
                [precision],
                marker,
                color=colour,
                markersize=8,
                label=on_one_line(name),
            )
        ax.set(
            xlabel="coverage: share of the questions that get an answer (0 to 1)",
            ylabel="precision: mean F1 of the answers given",
            xlim=(0, 1.02),
            ylim=(0, 1.02),
        )
        _legend(figure, ax)
    return Plot(
        "Precision over coverage",
        "How good answers are that are given from a support on (of the reader: from a "
        "confidence on), as the threshold falls from left to right. Marks: where it is set. A line "
        "that does not fall means that it tells nothing. Any answer to a question without one is "
        "wrong.",
        "; ".join(
            f"{name}: precision {_number(curve['at'][1])} at coverage {curve['at'][0]:.2f}, "
            f"{curve['precision'][-1]:.3f} at {curve['coverage'][-1]:.2f}"
            for name, curve in systems.items()
        ),
        figure,
    )


def risk_coverage(summary: Summary) -> Plot | None:
    """Draw how wrong the answers are if only those are given that a system is surest of."""
    systems = _details(summary["systems"], "risk_coverage")
    if not systems:
        return None
    with _figure(1, width=5.4, height=3.7) as (figure, (ax,)):
        for (name, curve), colour, marker in _styled(systems, summary["systems"]):
            every = max(1, len(curve["coverage"]) // 10)
            area = summary["systems"][name]["measures"].get("aurc")
            label = on_one_line(name) + ("" if area is None else f" (area {area:.3f})")
            ax.plot(
                curve["coverage"],
                curve["risk"],
                color=colour,
                marker=marker,
                markevery=every,
                label=label,
            )
        ax.set(
            xlabel="coverage: share of the questions answered, the surest first (0 to 1)",
            ylabel="risk: 1 - mean F1 of the answers given",
            xlim=(0, 1.02),
            ylim=(0, 1.02),
        )
        _legend(figure, ax)
    return Plot(
        "Risk over coverage",
        "If only the answers were given that the system is surest of, how wrong would they be? "
        "Lower is better; a flat line means that its confidence tells nothing. Every question "
        "counts, and any answer to one without an answer is wrong.",
        "; ".join(
            f"{name}: risk {curve['risk'][-1]:.2f} if all are answered"
            for name, curve in systems.items()
        ),
        figure,
    )


def reliability(summary: Summary) -> Plot | None:
    """Draw what confidence promises against what the answers keep."""
    systems = _details(summary["systems"], "reliability")
    if not systems:
        return None
    with _figure(1, width=4.6, height=4.3) as (figure, (ax,)):
        ax.plot([0, 1], [0, 1], color=GREY, linestyle=DASHES[0], linewidth=1.2, label="kept")
        for (name, curve), colour, marker in _styled(systems, summary["systems"]):
            error = summary["systems"][name]["measures"].get("ece")
            label = on_one_line(name) + ("" if error is None else f" (ECE {error:.3f})")
            ax.plot(
                curve["confidence"],
                curve["accuracy"],
                color=colour,
                linewidth=1.2,
                alpha=0.6,
            )
            sizes = [25 + 400 * share for share in curve["share"]]
            ax.scatter(
                curve["confidence"],
                curve["accuracy"],
                s=sizes,
                color=colour,
                marker=marker,
                alpha=0.8,
                label=label,
            )
        ax.set(
            xlabel="confidence told (probability)",
            ylabel="mean F1 of those answers",
            xlim=(-0.03, 1.03),
            ylim=(-0.03, 1.03),
            aspect="equal",
        )
        _legend(figure, ax, marker_size=6)
    return Plot(
        "Reliability",
        "Whether a confidence of 0.7 is right seven times in ten: on the dashed line it is, below "
        "it the system is too sure of itself. Larger marks stand for more questions. ECE is the "
        "mean distance from the line.",
        "; ".join(
            f"{name}: expected calibration error "
            + _number(summary["systems"][name]["measures"].get("ece"))
            for name in systems
        ),
        figure,
    )


def score_over_threshold(summary: Summary) -> Plot | None:
    """Draw EM and F1 as they would be with the no-answer threshold elsewhere."""
    systems = {
        name: curve
        for name, curve in _details(summary["systems"], "thresholds").items()
        if curve["threshold"]
    }
    if not systems:
        return None
    with _figure(len(systems), height=3.6, share_y=True) as (figure, axes):
        for ax, (name, curve) in zip(axes, systems.items(), strict=True):
            for metric, colour, marker in (("f1", COLOURS[0], "o"), ("em", COLOURS[1], "s")):
                ax.plot(curve["threshold"], curve[metric], color=colour, label=metric.upper())
                measures = summary["systems"][name]["measures"]
                best, at = measures.get(f"best_{metric}"), measures.get(f"best_{metric}_threshold")
                if best is not None and at is not None:
                    ax.plot([at], [best], marker, color=colour, markersize=7)
                    ax.annotate(
                        f"{best:.2f}",
                        (at, best),
                        xytext=(0, 7 if metric == "f1" else -14),
                        textcoords="offset points",
                        ha="center",
                        fontsize=8,
                    )
            ax.set(
                title=on_one_line(name), xlabel="threshold on the log-odds (nats)", ylim=(0, 1.02)
            )
        axes[0].set_ylabel("mean score (0 to 1)")
        _legend(figure, axes[0])
    return Plot(
        "Score over threshold",
        "What the scores would be if answers were given from this log-odds on. Left end: every "
        "question is answered; right end: none is. Marks: the best threshold for these very "
        "questions, which no honest evaluation may choose.",
        "; ".join(
            f"{name}: best F1 {_number(summary['systems'][name]['measures'].get('best_f1'))}"
            for name in systems
        ),
        figure,
    )


def slice_dots(summary: Summary, metric: str | None = None, most: int = 8) -> Plot | None:
    """Draw a metric by kind of question, with intervals.

    Args:
        summary: of a run.
        metric: None: the primary one.
        most: values of a feature to show; those with the most questions.
    """
    metric = summary["primary"] if metric is None else metric
    systems = {name: each for name, each in summary["systems"].items() if each.get("slices")}
    lines: list[tuple[str, str | None]] = []
    features = dict.fromkeys(feature for each in systems.values() for feature in each["slices"])
    for feature in features:
        sizes: dict[str, int] = {}
        for each in systems.values():
            for value, part in each["slices"].get(feature, {}).items():
                if part["metrics"].get(metric) is not None:
                    sizes[value] = part["questions"]
        if len(sizes) < 2:
            continue
        largest = set(sorted(sizes, key=lambda value: -sizes[value])[:most])
        lines.append((feature, None))
        lines += [(feature, value) for value in sizes if value in largest]
    if not lines:
        return None
    with _figure(1, width=7.2, height=0.9 + 0.25 * len(lines)) as (figure, (ax,)):
        names = []
        for (name, each), colour, marker in _styled(systems):
            shift = 0.5 * (list(systems).index(name) - (len(systems) - 1) / 2) / len(systems)
            overall = each["metrics"].get(metric)
            if overall is not None:
                ax.axvline(overall, color=colour, linewidth=1, linestyle=DASHES[0], alpha=0.7)
            label: str | None = on_one_line(name)
            for at, (feature, value) in enumerate(lines):
                part = None if value is None else each["slices"].get(feature, {}).get(value)
                mean = None if part is None else part["metrics"].get(metric)
                if part is None or mean is None:
                    continue
                interval = part["intervals"].get(metric)
                if interval is not None:
                    ax.plot(interval, [at + shift] * 2, color=colour, linewidth=1.3, alpha=0.8)
                ax.plot([mean], [at + shift], marker, color=colour, label=label)
                label = None
        for at, (feature, value) in enumerate(lines):
            if value is None:
                names.append(_plain(feature))
                ax.axhline(at, color=INK, linewidth=0.5, alpha=0.25)
            else:
                parts = (each["slices"].get(feature, {}).get(value) for each in systems.values())
                count = max(part["questions"] for part in parts if part is not None)
                names.append(f"{on_one_line(value, 28)} ({count:,})")
        ax.set_yticks(range(len(lines)), names)
        for tick, (_, value) in zip(ax.get_yticklabels(), lines, strict=True):
            tick.set_fontweight("bold" if value is None else "normal")
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=False, axis="y")
        ax.set(xlabel=f"{metric_name(metric)}, mean over questions (0 to 1)", xlim=(-0.02, 1.02))
        ax.set_ylabel("kind of question (questions)")
        ax.set_ylim(len(lines) - 0.4, -0.6)
        if len(systems) > 1:
            _legend(figure, ax)
    return Plot(
        "Slices",
        f"{metric_name(metric)} by kind of question, with 95 % intervals; dashed: over all "
        f"questions. Of a feature with many values, the {most} most frequent are drawn.",
        "The numbers stand in the table of slices.",
        figure,
    )


def outcomes(summary: Summary) -> Plot | None:
    """Draw what became of the questions."""
    systems = _details(summary["systems"], "outcomes")
    if not systems:
        return None
    with _figure(1, width=7.6, height=1.35 + 0.5 * len(systems)) as (figure, (ax,)):
        drawn: set[str] = set()
        for place, parts in zip(range(len(systems), 0, -1), systems.values(), strict=True):
            left = 0.0
            for outcome, colour in OUTCOME_COLOURS.items():
                share = parts.get(outcome, {}).get("share", 0.0)
                if not share:
                    continue
                label = None if outcome in drawn else OUTCOMES[outcome]
                drawn.add(outcome)
                ax.barh(place, share, 0.6, left=left, color=colour, label=label)
                if share >= 0.04:
                    middle = (left + share / 2, place)
                    ax.text(
                        *middle,
                        f"{share:.0%}",
                        ha="center",
                        va="center",
                        fontsize=8.5,
                        color=_on(colour),
                    )
                left += share
        ax.set_yticks(range(len(systems), 0, -1), [on_one_line(name) for name in systems])
        ax.set(xlabel="share of the questions (%)", xlim=(0, 1))
        ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25", "50", "75", "100"])
        ax.tick_params(axis="y", length=0)
        ax.grid(visible=False)
        _legend(figure, ax)
    return Plot(
        "Outcomes",
        "What became of the questions. An answer counts as right here if its F1 is 1: it has an "
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


def gap(summary: Summary) -> Plot | None:
    """Draw where the points between the reader alone and the whole pipeline go.

    Source of the comparison: Tunstall, von Werra and Wolf, 2022, figure 7-12; there without the
    steps between.
    """
    systems = {
        name: {outcome: part["gap"] for outcome, part in parts.items()}
        for name, parts in _details(summary["systems"], "outcomes").items()
        if all(part.get("gap") is not None for part in parts.values())
        and summary["systems"][name]["metrics"].get("f1") is not None
    }
    if not systems:
        return None
    with _figure(len(systems), height=3.4, width=7.6, share_y=False) as (figure, axes):
        for ax, (name, gaps) in zip(axes, systems.items(), strict=True):
            end = summary["systems"][name]["metrics"]["f1"]
            level = start = end + sum(gaps.values())
            # Steps of less than half a thousandth would be drawn as nothing, and labelled 0.000.
            steps = [
                (outcome, gaps[outcome])
                for outcome in OUTCOMES
                if abs(gaps.get(outcome, 0)) >= 5e-4
            ]
            names = ["reader alone", *(OUTCOMES[outcome] for outcome, _ in steps), "pipeline"]
            ax.barh(0, start, 0.66, color=GREY)
            for at, (outcome, step) in enumerate(steps, start=1):
                ax.barh(at, -step, 0.66, left=level, color=OUTCOME_COLOURS[outcome])
                ax.plot([level, level], [at - 1.33 + 0.66, at + 0.33], color=INK, linewidth=0.6)
                level -= step
                beside = max(level, level + step)
                ax.text(beside + 0.012, at, f"{-step:+.3f}", va="center", fontsize=8.5)
            ax.plot(
                [level, level],
                [len(steps) + 0.0 - 0.33, len(steps) + 1.33],
                color=INK,
                linewidth=0.6,
            )
            ax.barh(len(steps) + 1, end, 0.66, color=COLOURS[0])
            for at, value in ((0, start), (len(steps) + 1, end)):
                ax.text(value + 0.012, at, f"{value:.3f}", va="center", fontsize=8.5)
            ax.set_yticks(range(len(names)), names)
            ax.set_ylim(len(names) - 0.5, -0.5)
            most = max(start, end, 0.1)
            ax.set(xlabel="F1 over all questions (0 to 1)", xlim=(0, most * 1.15))
            if len(systems) > 1:
                ax.set_title(on_one_line(name))
            ax.tick_params(axis="y", length=0)
            ax.grid(visible=False, axis="y")
    return Plot(
        "From the reader alone to the whole pipeline",
        "The reader alone is given the gold review; the pipeline has to find it among the others. "
        "Each step is what the pipeline loses (or gains) on the questions of that outcome.",
        "; ".join(
            f"{name}: " + ", ".join(f"{OUTCOMES[o]} {-g:+.3f}" for o, g in gaps.items())
            for name, gaps in systems.items()
        ),
        figure,
    )


def histogram(
    title: str,
    edges: Sequence[float],
    counts: Mapping[str, Sequence[float]],
    xlabel: str,
    ylabel: str,
    *,
    lines: Mapping[str, float] | None = None,
    caption: str = "",
) -> Plot:
    """Draw one or several histograms over the same bins.

    Args:
        title: above it.
        edges: of the bins, one more than there are bins.
        counts: name -> a count for each bin.
        xlabel: what is counted, with its unit.
        ylabel: what a bar is, with its unit.
        lines: name -> where to draw a line across (a window's size).
        caption: below it.
    """
    with _figure(1, width=6, height=3.2) as (figure, (ax,)):
        for (name, values), colour, _ in _styled(counts):
            if len(counts) == 1:
                ax.stairs(
                    values, edges, fill=True, color=colour, alpha=0.85, label=on_one_line(name)
                )
            else:
                ax.stairs(values, edges, color=colour, linewidth=1.8, label=on_one_line(name))
        for (name, at), dashes in zip((lines or {}).items(), cycle(DASHES), strict=False):
            ax.axvline(at, color=INK, linestyle=dashes, linewidth=1.3, label=on_one_line(name))
        ax.set(xlabel=xlabel, ylabel=ylabel)
        ax.set_ylim(bottom=0)
        if len(counts) > 1 or lines:
            _legend(figure, ax)
    return Plot(title, caption, f"Histogram of {xlabel}", figure)


@contextmanager
def _figure(
    panels: int, *, width: float = 7.6, height: float = 3.4, share_y: bool = False
) -> Iterator[tuple[Figure, Sequence[Axes]]]:
    require_matplotlib()
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(width, height), layout="constrained")
        axes = figure.subplots(1, panels, sharey=share_y, squeeze=False)[0]
        yield figure, axes


def _legend(figure: Figure, ax: Axes, marker_size: float | None = None) -> None:
    handles, labels = ax.get_legend_handles_labels()
    if not labels:
        return
    columns = 6 if sum(map(len, labels)) < 70 else 3
    legend = figure.legend(
        handles, labels, loc="outside lower center", ncols=min(columns, len(labels))
    )
    if marker_size is not None:
        for handle in legend.legend_handles:
            if handle is not None and hasattr(handle, "set_sizes"):
                handle.set_sizes([marker_size**2])


def _styled(
    entries: Mapping[str, Any], among: Iterable[str] | None = None
) -> Iterable[tuple[tuple[str, Any], str, str]]:
    """Give each entry its colour and marker: those of its place among the systems of a page."""
    names = entries if among is None else among
    styles = dict(zip(names, zip(cycle(COLOURS), cycle(MARKERS), strict=False), strict=False))
    return [((name, each), *styles[name]) for name, each in entries.items()]


def _details(entries: Mapping[str, Mapping[str, Any]], field: str) -> dict[str, Any]:
    return {
        name: each["details"][field]
        for name, each in entries.items()
        if (each.get("details") or {}).get(field)
    }


def _leading(summary: Summary) -> list[str]:
    headline, primary = summary["headline"], summary["primary"]
    first: list[str] = headline[:4]
    return first if primary in first or primary not in headline else [*first[:3], primary]


def _at(curve: Mapping[str, Sequence[float]], k: int) -> float:
    return curve["gold"][min(k, len(curve["gold"])) - 1]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.3f}"


def _plain(feature: str) -> str:
    return on_one_line(feature.replace("_", " "))


def _on(colour: str) -> str:
    """Give black or white, whichever can be read on a colour."""
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return "#000000" if 0.299 * red + 0.587 * green + 0.114 * blue > 130 else "#ffffff"
