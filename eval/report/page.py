"""Self-contained HTML pages: of a run, of a comparison, of an adaptation, of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson

from eval.metrics import describe
from eval.report import plots
from eval.report.performance import performance_table, timing_note
from eval.report.questions import flips_data, run_data
from eval.report.rendering import render
from eval.runs.run import Run
from eval.runs.wording import HYBRID_DEPTH, OUTCOMES, depths_in_words, dotted, in_words

__all__ = ["adaptation_page", "comparison_page", "exploration_page", "run_page"]


def run_page(run: Run, summary: Mapping[str, Any], texts: Mapping[str, str] | None = None) -> str:
    """Write the page of a run: scores, comparisons, plots, slices, and every question.

    Args:
        run: whose rows are shown, the hardest questions first.
        summary: `eval.runs.summary.summarise` of it.
        texts: review id -> text, for gold reviews, those that answers are from, and the first of
            a ranking; None: the page shows only ids.

    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    everyone = {**summary["systems"], **summary["references"]}
    headline = [m for m in summary["headline"] if any(m in e["metrics"] for e in everyone.values())]
    slices = _slices(summary)
    outcomes = _outcomes(summary)
    columns, cost = performance_table(summary)
    return render(
        "run.html",
        {
            "scores": "Scores",
            **({"performance": "Time and size"} if cost else {}),
            "plots": "Plots",
            **({"outcomes": "Outcomes"} if outcomes else {}),
            **({"slices": "Slices"} if slices else {}),
            "questions": "Questions",
            "made-with": "Made with",
        },
        title=_title(summary),
        lead=_lead(summary),
        summary=summary,
        headline=headline,
        counted={m: max(e["questions"].get(m, 0) for e in everyone.values()) for m in headline},
        best={m: _best(summary["systems"], m) for m in headline},
        colours=plots.COLOURS,
        counts=_counts(summary["systems"]),
        measures=_measures(summary["systems"]),
        performance=[["Reader", *columns], *([name, *cells] for name, cells in cost.items())],
        timing=timing_note(summary) if cost else "",
        sentences=_sentences(summary["comparisons"]),
        plots=plots.plots_of(summary),
        outcomes=outcomes,
        slices=slices,
        made_with=_made_with(summary["made_with"]),
        data=run_data(run, texts or {}),
    )


def comparison_page(comparison: Mapping[str, Any]) -> str:
    """Write the page of `eval.runs.compare.compare_runs`: scores, slices, changed questions.

    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    pairs = comparison["pairs"]
    slices = any(pair["slices"] for pair in pairs)
    return render(
        "compare.html",
        {
            "scores": "Scores",
            **({"slices": "Slices"} if slices else {}),
            "questions": "What changed",
            "made-with": "Settings that differ",
        },
        title=f"Compared with {comparison['runs'][0]['name']}: "
        + ", ".join(run["name"] for run in comparison["runs"][1:]),
        comparison=comparison,
        depths=(
            f"{depths_in_words(comparison['depths'], comparison['not_compared'])} {HYBRID_DEPTH}"
            if comparison["not_compared"]
            else ""
        ),
        pairs=[
            {
                **pair,
                "sentences": [
                    in_words(each)
                    for each in pair["comparisons"]
                    if each["metric"] in {comparison["metric"], comparison["flips_by"]}
                ],
                "data": flips_data(pair, comparison["flips_by"]),
            }
            for pair in pairs
        ],
        made_with=[
            (each["name"], [_written(value) for value in each["values"]])
            for each in comparison["made_with"]
        ],
    )


def adaptation_page(adaptation: Mapping[str, Any], drawn: Sequence[plots.Plot]) -> str:
    """Write the page of `eval.adaptation.compare.adapt`: gains, and costs on general questions.

    It links to the files beside it: the test split's page, and the record of each training.

    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    folds = adaptation["folds"]
    domain = adaptation["domain"]
    return render(
        "adapt.html",
        {
            "scores": "Scores",
            **({"items": "Seen and unseen items"} if len(adaptation["items"]) > 1 else {}),
            **({"costs": "Cost on general questions"} if adaptation["held_out"] else {}),
            **({"folds": "Cross-validation"} if folds else {}),
            "readers": "Readers",
            "made-with": "Made with",
        },
        title=f"Adapting to {Path(domain['path']).name}",
        adaptation=adaptation,
        headline=adaptation["headline"],
        colours=plots.COLOURS,
        plots=drawn,
        sentences=_sentences([*adaptation["against_general"], *adaptation["against_always_empty"]]),
        fold_sentences=[] if folds is None else [in_words(e) for e in folds["against_general"]],
        made_with=_made_with(adaptation["made_with"]),
    )


def exploration_page(exploration: Mapping[str, Any]) -> str:
    """Write the page of `eval.explore.explore`: counts and lengths of a data set.

    Raises:
        MissingDependencyError: matplotlib or jinja2 is not installed.
    """
    tables = [
        ("By part", "Part", exploration["counts"]),
        ("Tokens", "Text", exploration["lengths"]),
        ("How questions begin", "Word", exploration["question_words"]),
    ]
    facts = {
        "The reader's window": "window",
        "Answers": "answers",
        "Overlap of splits": "overlap",
    }
    return render(
        "explore.html",
        {"counts": "Counts", "plots": "Plots"},
        title=f"Data set: {exploration['title']}",
        tables=[
            (caption, [first, *(_plain(key) for key in next(iter(rows.values())))], _cells(rows))
            for caption, first, rows in tables
            if rows
        ],
        facts={
            caption: [(_plain(key), _fact(key, value)) for key, value in exploration[name].items()]
            for caption, name in facts.items()
        }
        | {
            "Some questions": [
                (word, " | ".join(asked))
                for word, asked in exploration["question_samples"].items()
                if asked
            ]
        },
        plots=[
            *(plots.bars(**arguments) for arguments in exploration["bars"].values()),
            *(plots.histogram(**arguments) for arguments in exploration["histograms"].values()),
        ],
    )


def _title(summary: Mapping[str, Any]) -> str:
    data = summary["made_with"].get("data", {})
    place = Path(str(data.get("path", "?"))).name
    split = data.get("split")
    return f"{summary['kind'].capitalize()} on {place}" + (f", {split}" if split else "")


def _lead(summary: Mapping[str, Any]) -> str:
    metric = describe(summary["primary"])
    parts = []
    for name, each in summary["systems"].items():
        value = each["metrics"].get(metric.name)
        if value is not None:
            interval = each["intervals"].get(metric.name)
            ends = "" if interval is None else ", ".join(map(metric.shown, interval))
            parts.append(f"{name} {metric.shown(value)}" + (f" [{ends}]" if ends else ""))
    return f"{metric.label}: " + ", ".join(parts) if parts else "No question counts."


def _best(systems: Mapping[str, Mapping[str, Any]], metric: str) -> str | None:
    scored = {
        name: value
        for name, each in systems.items()
        if (value := each["metrics"].get(metric)) is not None
    }
    choose = max if describe(metric).higher_is_better else min
    return choose(scored, key=scored.__getitem__) if len(scored) > 1 else None


def _counts(systems: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Write how many questions there were of each kind: once, if it was the same for all."""
    said = {
        name: ", ".join(
            f"{_plain(key)} {_fact(key, value)}"
            for key, value in each["counts"].items()
            if value is not None
        )
        for name, each in systems.items()
    }
    if len(set(said.values())) == 1:
        return [f"{counts}." for counts in set(said.values()) if counts]
    return [f"{name}: {counts}." for name, counts in said.items() if counts]


def _measures(systems: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """Return a table, its head first; empty if no system has measures."""
    names = {
        "best_em": describe("best_em").label,
        "best_em_threshold": "at log-odds of",
        "best_f1": describe("best_f1").label,
        "best_f1_threshold": "at log-odds of",
        "ece": describe("ece").label,
        "aurc": describe("aurc").label,
    }
    rows = [
        [
            name,
            *(
                describe(measure).shown(each["measures"].get(measure), none="–")
                for measure in names
            ),
        ]
        for name, each in systems.items()
        if any(each["measures"].get(measure) is not None for measure in names)
    ]
    return [["System", *names.values()], *rows] if rows else []


def _sentences(comparisons: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    sentences: dict[str, list[str]] = {}
    for each in comparisons:
        sentences.setdefault(each["metric"], []).append(in_words(each))
    return sentences


def _outcomes(summary: Mapping[str, Any]) -> dict[str, list[list[str]]]:
    return {
        name: [
            [
                OUTCOMES[outcome],
                f"{part['questions']:,}",
                f"{part['share']:.1%}",
                describe("f1").shown(part["loss"], none="–"),
                describe("f1").shown(part["gap"], none="–"),
            ]
            for outcome, part in each["details"]["outcomes"].items()
        ]
        for name, each in summary["systems"].items()
        if each["details"].get("outcomes")
    }


def _slices(summary: Mapping[str, Any]) -> dict[str, dict[str, dict[str, Any]]]:
    """Return feature -> value -> number of questions, and each system's mean and interval."""
    metric = summary["primary"]
    table: dict[str, dict[str, dict[str, Any]]] = {}
    for at, each in enumerate(summary["systems"].values()):
        for feature, values in each["slices"].items():
            for value, part in values.items():
                line = table.setdefault(feature, {}).setdefault(
                    value,
                    {
                        "questions": part["questions"],
                        "systems": [(None, None)] * len(summary["systems"]),
                    },
                )
                line["systems"][at] = (part["metrics"].get(metric), part["intervals"].get(metric))
    return table


def _made_with(made_with: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [(name, _written(value)) for name, value in dotted(made_with)]


def _written(value: Any) -> str:
    return value if isinstance(value, str) else orjson.dumps(value).decode()


def _plain(name: str) -> str:
    return name.replace("_", " ")


def _cells(rows: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    return [
        [name, *(_fact(key, value) for key, value in row.items())] for name, row in rows.items()
    ]


SHARES = {"answerable", "agreement", "several_windows"}


def _fact(name: str, value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.1%}" if name in SHARES else f"{value:,.2f}".removesuffix(".00")
    return f"{value:,}" if isinstance(value, int) else str(value)
