"""Plots of confidence: what abstaining gains, calibration, thresholds."""

from __future__ import annotations

from eval.report.plots.style import (
    COLOURS,
    DASHES,
    GREY,
    Plot,
    Summary,
    details_of,
    legend,
    number,
    panels,
    styled,
)
from eval.runs.wording import on_one_line

__all__ = ["precision_over_coverage", "reliability", "risk_coverage", "score_over_threshold"]


def precision_over_coverage(summary: Summary) -> Plot | None:
    """Draw precision over coverage: how good the answers are, and how many questions get one."""
    systems = {
        name: curve
        for name, curve in details_of(summary["systems"], "precision_coverage").items()
        if curve["coverage"]
    }
    if not systems:
        return None
    with panels(1, width=5.4, height=3.7) as (figure, (ax,)):
        for (name, curve), colour, marker in styled(systems, summary["systems"]):
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
        legend(figure, ax)
    return Plot(
        "Precision over coverage",
        "Precision and coverage of the answers as the threshold on their support (for the reader: "
        "on their confidence) falls from left to right. Marks show the threshold in use. If a line "
        "does not fall, the support does not separate right answers from wrong ones. Any answer to "
        "a question without one is wrong.",
        "; ".join(
            f"{name}: precision {number('precision', curve['at'][1])} at coverage "
            f"{curve['at'][0]:.2f}, {curve['precision'][-1]:.3f} at {curve['coverage'][-1]:.2f}"
            for name, curve in systems.items()
        ),
        figure,
    )


def risk_coverage(summary: Summary) -> Plot | None:
    """Draw the risk of answering only the questions with the highest confidence."""
    systems = details_of(summary["systems"], "risk_coverage")
    if not systems:
        return None
    with panels(1, width=5.4, height=3.7) as (figure, (ax,)):
        for (name, curve), colour, marker in styled(systems, summary["systems"]):
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
            xlabel="coverage: share of the questions answered, by confidence (0 to 1)",
            ylabel="risk: 1 - mean F1 of the answers given",
            xlim=(0, 1.02),
            ylim=(0, 1.02),
        )
        legend(figure, ax)
    return Plot(
        "Risk over coverage",
        "Risk if the system answers only the questions with the highest confidence. Lower is "
        "better. A flat line means that the confidence does not separate right answers from wrong "
        "ones. All questions count, and any answer to a question without one is wrong.",
        "; ".join(
            f"{name}: risk {curve['risk'][-1]:.2f} if all questions are answered"
            for name, curve in systems.items()
        ),
        figure,
    )


def reliability(summary: Summary) -> Plot | None:
    """Draw the mean F1 of the answers at each confidence."""
    systems = details_of(summary["systems"], "reliability")
    if not systems:
        return None
    with panels(1, width=4.6, height=4.3) as (figure, (ax,)):
        ax.plot(
            [0, 1],
            [0, 1],
            color=GREY,
            linestyle=DASHES[0],
            linewidth=1.2,
            label="perfect calibration",
        )
        for (name, curve), colour, marker in styled(systems, summary["systems"]):
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
            xlabel="confidence (probability)",
            ylabel="mean F1 of the answers",
            xlim=(-0.03, 1.03),
            ylim=(-0.03, 1.03),
            aspect="equal",
        )
        legend(figure, ax, marker_size=6)
    return Plot(
        "Reliability",
        "Mean F1 of the answers at each confidence. On the dashed line the two are equal; below it "
        "the system is overconfident. Larger marks stand for more questions. ECE, the expected "
        "calibration error, is the mean distance from the line.",
        "; ".join(
            f"{name}: expected calibration error "
            + number("ece", summary["systems"][name]["measures"].get("ece"))
            for name in systems
        ),
        figure,
    )


def score_over_threshold(summary: Summary) -> Plot | None:
    """Draw EM and F1 at every no-answer threshold."""
    systems = {
        name: curve
        for name, curve in details_of(summary["systems"], "thresholds").items()
        if curve["threshold"]
    }
    if not systems:
        return None
    with panels(len(systems), height=3.6, share_y=True) as (figure, axes):
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
        legend(figure, axes[0])
    return Plot(
        "Score over threshold",
        "EM and F1 at each no-answer threshold. At the left end every question is answered, at the "
        "right end none. Marks show the threshold that is best on these questions; a threshold "
        "must not be chosen on the questions that it is tested on.",
        "; ".join(
            f"{name}: best F1 "
            + number("best_f1", summary["systems"][name]["measures"].get("best_f1"))
            for name in systems
        ),
        figure,
    )
