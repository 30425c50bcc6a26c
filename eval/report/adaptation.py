"""An adaptation on a terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eval.metrics import describe
from eval.report.tables import print_cells, print_systems
from eval.runs.wording import in_words
from qa_system.console.wording import counted

__all__ = ["print_adaptation"]


def print_adaptation(adaptation: Mapping[str, Any]) -> None:
    """Print what `eval.adaptation.compare.adapt` returned."""
    domain, parts = adaptation["domain"], adaptation["items"]
    asked = domain["splits"]["test"]["questions"]
    print_systems(
        f"Adapted to {domain['path']}: {asked:,} test questions",
        adaptation["readers"],
        adaptation["references"],
        adaptation["headline"],
        [
            *_on_generated(adaptation["generated"]),
            *(f"{in_words(e)}." for e in adaptation["against_general"] if e["metric"] == "f1"),
            *(f"Every item is {value} in training." for value in parts if len(parts) == 1),
        ],
    )
    for value, part in parts.items() if len(parts) > 1 else ():
        print_systems(
            f"{value.capitalize()} items: {part['items']:,}, "
            f"{counted(part['questions'], 'question')}",
            part["systems"],
            part["references"],
            adaptation["headline"],
        )
    for name, cost in adaptation["held_out"].items():
        _print_cost(name, cost)
    if adaptation["folds"]:
        _print_folds(adaptation["folds"], adaptation["headline"])


def _on_generated(generated: Mapping[str, Any] | None) -> list[str]:
    """Say what a reader learnt from that had no label of the domain."""
    if generated is None:
        return []
    train = generated["train"]
    asked = counted(train["labels"], "generated question")
    answered = f"{train['answered']:,} with an answer"
    return [f"general-then-generated learnt from {asked} ({answered}), no label of the domain."]


def _print_cost(name: str, cost: Mapping[str, Any]) -> None:
    f1 = describe("f1")
    print_cells(
        f"Cost on general questions: {name}, {counted(cost['questions'], 'question')}",
        ["em", "f1", *(f"share of {metric} kept" for metric in cost["kept"])],
        {
            reader: [
                *(f1.shown(each["metrics"][metric]) for metric in ("em", "f1")),
                *(f1.shown(shares[reader]["share"]) for shares in cost["kept"].values()),
            ]
            for reader, each in cost["readers"].items()
        },
    )


def _print_folds(folds: Mapping[str, Any], headline: list[str]) -> None:
    def shown(spread: Mapping[str, Any], metric: str) -> str:
        number = describe(metric).shown
        return f"{number(spread[metric]['mean'])}\n± {number(spread[metric]['sd'])}"

    print_cells(
        f"{folds['number']} folds by {folds['by']}: {counted(folds['questions'], 'question')}, "
        "mean and standard deviation over folds",
        headline,
        {
            reader: [shown(spread, metric) for metric in headline]
            for reader, spread in folds["readers"].items()
        },
        [f"{in_words(each)}." for each in folds["against_general"] if each["metric"] == "f1"],
    )
