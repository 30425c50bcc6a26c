"""A run's summary on a terminal: its table, and the notes below it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from eval.metrics import describe
from eval.report.performance import performance_table, timing_note
from eval.report.tables import print_cells, print_systems
from eval.runs.wording import HYBRID_DEPTH, OUTCOMES, in_words

__all__ = ["print_summary"]

NOTES = {
    "failed": "questions failed and score 0; their rows have the error.",
    "missing": "questions have no prediction and score 0.",
    "gold_missing": "questions have a gold review that is not among the candidates.",
    "gold_put_in": "gold reviews were not retrieved; each replaced the last review retrieved.",
    "withheld": "answers were withheld, because the reviews support them too little.",
    "unlocated": "questions have answers that were not located in the review; they are compared "
    "as they were written.",
}
"""Count of a system -> the note about it."""


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print what `eval.runs.summary.summarise` returned: its table, and notes."""
    level = summary["resampling"]["confidence"]
    notes = [
        *_questions(summary),
        (
            f"In brackets: {level:.0%} intervals (bootstrap over {_resampled(summary)})."
            if summary["resampling"]["clusters"] > 1
            else "All questions are about one item, so that there are no intervals."
        ),
        *_measures(summary),
        *(
            f"{in_words(each)}."
            for each in summary["comparisons"]
            if each["metric"] in (summary["primary"], "precision")
        ),
    ]
    systems = summary["systems"]
    print_systems(_title(summary), systems, summary["references"], summary["headline"], notes)
    for name, system in systems.items():
        if outcomes := system["details"].get("outcomes"):
            _print_outcomes(name, outcomes)
    columns, rows = performance_table(summary)
    if rows:
        print_cells("Time and size", columns, rows, [timing_note(summary)])


def _print_outcomes(name: str, outcomes: Mapping[str, Mapping[str, Any]]) -> None:
    f1 = describe("f1")
    print_cells(
        f"Outcomes: {name}",
        ("questions", "share", "F1 lost", "F1 below the reader alone"),
        {
            OUTCOMES[outcome]: [
                f"{each['questions']:,}",
                f"{each['share']:.1%}",
                f1.shown(each["loss"]),
                f1.shown(each["gap"]),
            ]
            for outcome, each in outcomes.items()
        },
    )


def _title(summary: Mapping[str, Any]) -> str:
    made = summary["made_with"]
    data = made.get("data", {})
    parts = [
        f"{summary['kind'].capitalize()}: {data.get('path')}",
        data.get("split") or "all splits",
    ]
    if "scope" in made:
        parts.append(f"scope {made['scope']}")
    if made.get("aggregated"):
        parts.append("each question of an item asked once")
    return ", ".join(parts)


def _questions(summary: Mapping[str, Any]) -> Iterable[str]:
    """Write what was counted: once, where it is the same for all systems."""
    lines_of = {name: list(_counts(summary, each)) for name, each in summary["systems"].items()}
    for line in dict.fromkeys(line for lines in lines_of.values() for line in lines):
        names = [name for name, lines in lines_of.items() if line in lines]
        yield line if len(names) == len(lines_of) else f"{', '.join(names)}: {line}"
    people = summary["references"].get("human")
    if people is not None:
        count = people["questions"][summary["primary"]]
        yield (
            f"human: each annotator compared with the others, on the {count:,} questions that "
            "have several."
        )


def _counts(summary: Mapping[str, Any], system: Mapping[str, Any]) -> Iterable[str]:
    counts = system["counts"]
    if summary["kind"] == "retriever":
        text = (
            "{answerable:,} questions with an answer ({unanswerable:,} without one are left "
            "out). Candidates per question: median {candidates_median:g}, at most "
            "{candidates_max:,}."
        )
    else:
        text = (
            "{questions:,} questions: {answerable:,} with an answer, {unanswerable:,} without; "
            "{answered:,} answered."
        )
    yield text.format_map(counts)
    top_k = summary["made_with"].get("settings", {}).get("retriever", {}).get("top_k")
    if (depth := counts.get("depth")) is not None:
        yield f"MRR and MAP look at the first {depth:g} reviews (the depth)."
        if top_k is not None and depth > top_k:
            yield f"Users get {top_k} documents, as retriever.top_k says. {HYBRID_DEPTH}"
    for count, note in NOTES.items():
        if counts.get(count):
            yield f"{counts[count]:,} {note}"


def _resampled(summary: Mapping[str, Any]) -> str:
    return "questions" if summary["kind"] == "consensus" else "items"


def _measures(summary: Mapping[str, Any]) -> Iterable[str]:
    for name, system in summary["systems"].items():
        measures = system["measures"]
        parts = []
        if measures.get("best_f1") is not None:
            threshold = measures["best_f1_threshold"]
            at = "none" if threshold is None else f"{threshold:.2f}"
            best = describe("best_f1").shown(measures["best_f1"])
            parts.append(f"F1 {best} at the best threshold for these questions ({at})")
        parts += [
            f"{describe(measure).label} {describe(measure).shown(measures[measure])}"
            for measure in ("ece", "aurc", "coverage_at_10", "coverage_at_20", "coverage_at_30")
            if measures.get(measure) is not None
        ]
        if parts:
            yield f"{name}: {'; '.join(parts)}."
        if measures.get("count_error_median") is not None:
            yield f"{name}: count error {measures['count_error_median']:.3f} (median of points)."
        if measures.get("stance_precision") is not None:
            yield f"{name}: {measures['stance_precision']:.1%} of the stances told are right."
        if measures.get("both_confirmed") is not None:
            yield (
                f"{name}: of {system['counts']['pairs']} pairs of opposite questions "
                f"{measures['both_confirmed']:.1%} have both confirmed, "
                f"{measures['pairs_decided']:.1%} both decided."
            )
