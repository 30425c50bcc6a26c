"""A run's numbers on a terminal."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from eval.runs.wording import OUTCOMES, answered, in_words, metric_name, on_one_line

if TYPE_CHECKING:
    from rich.console import Console

    from eval.regression import Checked

__all__ = [
    "print_adaptation",
    "print_cells",
    "print_checked",
    "print_comparison",
    "print_summary",
    "print_table",
]


def print_table(
    title: str,
    rows: Mapping[str, Mapping[str, float | None]],
    columns: Sequence[str],
    notes: Iterable[str] = (),
) -> None:
    """Print numbers to stdout: a line for each system, a column for each metric.

    Args:
        title: above the table.
        rows: system -> metric -> value; what is None or absent is shown as a dash.
        columns: the metrics to show, in order.
        notes: lines below the table.
    """
    cells = {
        name: [shown(metrics.get(column)) for column in columns] for name, metrics in rows.items()
    }
    print_cells(title, columns, cells, notes)


def print_summary(summary: Mapping[str, Any]) -> None:
    """Print what `eval.runs.summary.summarise` gave: its table, and what to know about it."""
    headline = summary["headline"]
    systems, references = summary["systems"], summary["references"]
    level = summary["resampling"]["confidence"]
    notes = [
        *_questions(summary),
        (
            f"In brackets: {level:.0%} intervals, resampled by item."
            if summary["resampling"]["clusters"] > 1
            else "All questions are about one item: no intervals."
        ),
        *_measures(summary),
        *(
            in_words(each)
            for each in summary["comparisons"]
            if each["metric"] in (summary["primary"], "precision")
        ),
    ]
    _print_systems(_title(summary), systems, references, headline, notes)
    for name, system in systems.items():
        outcomes = system["details"].get("outcomes")
        if outcomes:
            print_cells(
                f"What became of the questions: {name}",
                ("questions", "share", "F1 lost", "F1 lost to the reader alone"),
                {
                    OUTCOMES[outcome]: [
                        f"{each['questions']:,}",
                        f"{each['share']:.1%}",
                        shown(each["loss"]),
                        shown(each["gap"]),
                    ]
                    for outcome, each in outcomes.items()
                },
            )


def print_adaptation(adaptation: Mapping[str, Any]) -> None:
    """Print what `eval.adaptation.compare.adapt` gave."""
    domain, parts = adaptation["domain"], adaptation["items"]
    asked = domain["splits"]["test"]["questions"]
    _print_systems(
        f"Adapted to {domain['path']}: {asked:,} test questions",
        adaptation["readers"],
        adaptation["references"],
        adaptation["headline"],
        [
            *(in_words(each) for each in adaptation["against_general"] if each["metric"] == "f1"),
            *(f"Every item is {value} in training." for value in parts if len(parts) == 1),
        ],
    )
    for value, part in parts.items() if len(parts) > 1 else ():
        _print_systems(
            f"{value.capitalize()} items: {part['items']:,}, {part['questions']:,} questions",
            part["systems"],
            part["references"],
            adaptation["headline"],
        )
    for name, cost in adaptation["held_out"].items():
        print_cells(
            f"What it cost: {name}, {cost['questions']:,} questions",
            ["em", "f1", *(f"{metric}, kept" for metric in cost["kept"])],
            {
                reader: [
                    *(shown(each["metrics"][metric]) for metric in ("em", "f1")),
                    *(shown(shares[reader]["share"]) for shares in cost["kept"].values()),
                ]
                for reader, each in cost["readers"].items()
            },
        )
    if folds := adaptation["folds"]:
        print_cells(
            f"{folds['number']} folds by {folds['by']}: {folds['questions']:,} questions, "
            "mean and standard deviation over folds",
            adaptation["headline"],
            {
                reader: [
                    f"{shown(spread[metric]['mean'])}\n± {shown(spread[metric]['sd'])}"
                    for metric in adaptation["headline"]
                ]
                for reader, spread in folds["readers"].items()
            },
            [in_words(e) for e in folds["against_general"] if e["metric"] == "f1"],
        )


def _print_systems(
    title: str,
    systems: Mapping[str, Mapping[str, Any]],
    references: Mapping[str, Mapping[str, Any]],
    metrics: Sequence[str],
    notes: Iterable[str] = (),
) -> None:
    cells = {
        name: [_with_interval(each, metric) for metric in metrics] for name, each in systems.items()
    } | {
        name: [shown(each["metrics"].get(metric)) for metric in metrics]
        for name, each in references.items()
    }
    print_cells(title, metrics, cells, notes)


def print_comparison(comparison: Mapping[str, Any], most: int = 10) -> None:
    """Print what `compare_runs` gave.

    Args:
        comparison: its result.
        most: flips to show in each direction, and slices.
    """
    console = _console()
    questions = comparison["questions"]
    console.print(f"{questions['compared']:,} questions in common")
    for name, count in questions["left_out"].items():
        if count:
            changed = questions["changed"].get(name, 0)
            otherwise = f", {changed:,} of them asked or answered otherwise" if changed else ""
            console.print(f"{name}: {count:,} left out{otherwise}")
    for pair in comparison["pairs"]:
        _print_scores(pair, comparison["metric"])
        _print_slices(pair, comparison["metric"], most)
        for direction, sign in (("lost", -1), ("gained", 1)):
            flips = [flip for flip in pair["flips"] if sign * flip["change"] > 0]
            title = f"{metric_name(comparison['flips_by'])} {direction}: {len(flips):,} question"
            title += "" if len(flips) == 1 else "s"
            if len(flips) > most:
                title += f", the {most} largest changes"
            _print_texts(
                console,
                title,
                ["Question", "Right answers", pair["b"], pair["a"]],
                [
                    [
                        flip["question"],
                        " · ".join(flip["references"]) or "(no answer)",
                        _in_short(flip["before"]),
                        _in_short(flip["after"]),
                    ]
                    for flip in flips[:most]
                ],
            )
    _print_texts(
        console,
        "Made differently" if comparison["made_with"] else "Nothing was made differently",
        ["Setting", *(run["name"] for run in comparison["runs"])],
        [[each["name"], *map(_setting, each["values"])] for each in comparison["made_with"]],
    )


def _print_scores(pair: Mapping[str, Any], metric: str) -> None:
    print_cells(
        f"{pair['a']} against {pair['b']}",
        [on_one_line(pair["b"]), on_one_line(pair["a"]), "difference", "p after Holm", "questions"],
        {
            metric_name(each["metric"]): [
                *(shown(mean) for mean in reversed(each["means"])),
                _difference(each),
                shown(each["p_holm"]),
                f"{each['questions']:,}",
            ]
            for each in pair["comparisons"]
        },
        [f"{in_words(each)}." for each in pair["comparisons"] if each["metric"] == metric],
    )


def _print_slices(pair: Mapping[str, Any], metric: str, most: int) -> None:
    if pair["slices"]:
        print_cells(
            f"Where {metric_name(metric)} differs most",
            ["difference", "questions"],
            {
                f"{each['feature'].replace('_', ' ')}: {on_one_line(each['value'])}": [
                    _difference(each),
                    f"{each['questions']:,}",
                ]
                for each in pair["slices"][:most]
            },
        )


def _difference(each: Mapping[str, Any]) -> str:
    if each["difference"] is None:
        return "-"
    around = "" if each["interval"] is None else " [{:+.3f}, {:+.3f}]".format(*each["interval"])
    return f"{each['difference']:+.3f}{around}"


def _in_short(side: Mapping[str, Any]) -> str:
    if side["error"] is not None:
        return f"(failed: {side['error']})"
    said = answered(side["output"])
    if "prediction" in side["output"]:
        return str(said) if said else "(no answer)"
    return "(not found)" if said is None else f"gold review at rank {said}"


def _setting(value: Any) -> str:
    """Write a setting; of a digest, what is enough to tell it from another."""
    text = str(value)
    return f"{text[:12]}…" if re.fullmatch(r"[0-9a-f]{64}", text) else text


def _print_texts(
    console: Console, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]
) -> None:
    """Print strangers' words side by side: nothing in them is markup or moves the cursor."""
    from rich.table import Table
    from rich.text import Text

    console.print(title, style="bold")
    if rows:
        table = Table(show_lines=True)
        for column in columns:
            table.add_column(Text(on_one_line(column)), overflow="fold")
        for row in rows:
            table.add_row(*(Text(on_one_line(cell, 300)) for cell in row))
        console.print(table)


def print_checked(title: str, checked: Sequence[Checked], changed_models: Sequence[str]) -> None:
    """Print what `qa-eval check` found in one file: a table of surprises, if there are any."""
    surprises = {
        each.name: [_value(each.expected), _value(each.measured), each.verdict]
        for each in checked
        if each.verdict != "as expected"
    }
    said = f"{title}: {len(checked) - len(surprises)} of {len(checked)} numbers as expected"
    notes = [
        f"The {role} is not the one that the scores were written with." for role in changed_models
    ]
    print_cells(said, ("expected", "measured", "verdict"), surprises, notes)


def _value(value: int | float | str | None) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value[:12]}…" if isinstance(value, str) else shown(value)


def shown(value: float | None) -> str:
    """Write a score with three digits; a dash where there is none."""
    return "-" if value is None else f"{value:.3f}"


def print_cells(
    title: str,
    columns: Sequence[str],
    rows: Mapping[str, Sequence[str]],
    notes: Iterable[str] = (),
) -> None:
    """Print texts to stdout as a table, with a title above and notes below."""
    from rich.table import Table
    from rich.text import Text

    table = Table()
    table.add_column("")
    for column in columns:
        table.add_column(column, justify="right")
    for name, cells in rows.items():
        # As Text, so that a name in brackets is no markup.
        table.add_row(*map(Text, (name, *cells)))
    console = _console()
    console.print(title, style="bold")
    if rows:
        console.print(table)
    for note in notes:
        console.print(note, style="dim")


def _console() -> Console:
    from rich.console import Console

    # Where nobody looks at a terminal, a table is as wide as it needs to be.
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False, markup=False)


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
        parts.append("same questions of an item asked once")
    return ", ".join(parts)


def _with_interval(system: Mapping[str, Any], metric: str) -> str:
    interval = system["intervals"].get(metric)
    value = shown(system["metrics"].get(metric))
    if interval is None:
        return value
    return f"{value}\n[{interval[0]:.2f}, {interval[1]:.2f}]"


def _questions(summary: Mapping[str, Any]) -> Iterable[str]:
    told = {name: list(_counted(summary, each)) for name, each in summary["systems"].items()}
    lines = dict.fromkeys(line for each in told.values() for line in each)
    for line in lines:
        of = [name for name, each in told.items() if line in each]
        yield line if len(of) == len(told) else f"{', '.join(of)}: {line}"
    people = summary["references"].get("human")
    if people is not None:
        count = people["questions"][summary["primary"]]
        yield f"human: the {count:,} questions with several annotators, each against the others."


def _counted(summary: Mapping[str, Any], system: Mapping[str, Any]) -> Iterable[str]:
    counts = system["counts"]
    if summary["kind"] == "retriever":
        said = (
            "{answerable:,} questions with an answer ({unanswerable:,} without one are left "
            "out), candidates: median {candidates_median:g}, at most {candidates_max:,}."
        )
    else:
        said = (
            "{questions:,} questions: {answerable:,} with an answer, {unanswerable:,} without; "
            "{answered:,} answered."
        )
    yield said.format_map(counts)
    top_k = summary["made_with"].get("settings", {}).get("retriever", {}).get("top_k")
    if top_k is not None and counts.get("depth", 0) > top_k:
        yield f"Retrieved to a depth of {counts['depth']}; users get {top_k}."
    for count, meaning in (
        ("failed", "questions failed and score 0: their rows say why."),
        ("missing", "questions have no prediction and score 0."),
        ("gold_missing", "questions have a gold review that is not among the candidates."),
        (
            "gold_put_in",
            "gold reviews were not among those retrieved, and took the last one's place.",
        ),
        ("withheld", "answers were withheld: the reviews support them too little."),
        (
            "unlocated",
            "answers are nowhere in their review, and compared as they were written.",
        ),
    ):
        if counts.get(count):
            yield f"{counts[count]:,} {meaning}"


def _measures(summary: Mapping[str, Any]) -> Iterable[str]:
    for name, system in summary["systems"].items():
        measures = system["measures"]
        best = ""
        if measures.get("best_f1") is not None:
            threshold = measures["best_f1_threshold"]
            at = "none" if threshold is None else f"{threshold:.2f}"
            best = f"best F1 on these very questions {measures['best_f1']:.3f} (threshold {at}); "
        if measures.get("ece") is not None:
            yield (
                f"{name}: {best}expected calibration error {measures['ece']:.3f}; "
                f"area under the risk-coverage curve {measures['aurc']:.3f}."
            )
