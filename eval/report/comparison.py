"""A comparison of runs on a terminal."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from eval.metrics import describe
from eval.report.tables import open_console, print_cells, print_texts
from eval.runs.wording import HYBRID_DEPTH, answered, depths_in_words, in_words, on_one_line
from qa_system.console.wording import counted

__all__ = ["print_comparison"]


def print_comparison(comparison: Mapping[str, Any], most: int = 10) -> None:
    """Print what `compare_runs` returned.

    Args:
        comparison: its result.
        most: flips to show in each direction, and slices.
    """
    console = open_console()
    questions = comparison["questions"]
    console.print(f"{counted(questions['compared'], 'question')} in common")
    for name, count in questions["left_out"].items():
        if count:
            changed = questions["changed"].get(name, 0)
            more = f", {changed:,} of them with other words or other answers" if changed else ""
            console.print(f"{name}: {counted(count, 'question')} left out{more}")
    if comparison["not_compared"]:
        console.print(depths_in_words(comparison["depths"], comparison["not_compared"]))
        console.print(HYBRID_DEPTH)
    for pair in comparison["pairs"]:
        _print_scores(pair, comparison["metric"])
        _print_slices(pair, comparison["metric"], most)
        _print_flips(pair, comparison["flips_by"], most)
    print_texts(
        "Settings that differ" if comparison["made_with"] else "No setting differs",
        ["Setting", *(run["name"] for run in comparison["runs"])],
        [[each["name"], *map(_setting, each["values"])] for each in comparison["made_with"]],
    )


def _print_scores(pair: Mapping[str, Any], metric: str) -> None:
    print_cells(
        f"{pair['a']} compared with {pair['b']}",
        [on_one_line(pair["b"]), on_one_line(pair["a"]), "difference", "p after Holm", "questions"],
        {
            describe(each["metric"]).label: [
                *(describe(each["metric"]).shown(mean) for mean in reversed(each["means"])),
                _difference(each, each["metric"]),
                "-" if each["p_holm"] is None else f"{each['p_holm']:.3f}",
                f"{each['questions']:,}",
            ]
            for each in pair["comparisons"]
        },
        [f"{in_words(each)}." for each in pair["comparisons"] if each["metric"] == metric],
    )


def _print_slices(pair: Mapping[str, Any], metric: str, most: int) -> None:
    if pair["slices"]:
        print_cells(
            f"Slices with the clearest differences in {describe(metric).label}",
            ["difference", "questions"],
            {
                f"{each['feature'].replace('_', ' ')}: {on_one_line(each['value'])}": [
                    _difference(each, metric),
                    f"{each['questions']:,}",
                ]
                for each in pair["slices"][:most]
            },
        )


def _print_flips(pair: Mapping[str, Any], metric: str, most: int) -> None:
    definition = describe(metric)
    better = 1 if definition.higher_is_better else -1
    for direction, sign in (("lost", -better), ("gained", better)):
        flips = [flip for flip in pair["flips"] if sign * flip["change"] > 0]
        title = f"{definition.label} {direction}: {len(flips):,} question"
        title += "" if len(flips) == 1 else "s"
        if len(flips) > most:
            title += f", the {most} largest changes"
        print_texts(
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


def _difference(each: Mapping[str, Any], metric: str) -> str:
    shown = describe(metric).shown
    if each["interval"] is None:
        return shown(each["difference"], signed=True)
    low, high = (shown(end, signed=True) for end in each["interval"])
    return f"{shown(each['difference'], signed=True)} [{low}, {high}]"


def _in_short(side: Mapping[str, Any]) -> str:
    if side["error"] is not None:
        return f"(failed: {side['error']})"
    said = answered(side["output"])
    if "prediction" in side["output"]:
        return str(said) if said else "(no answer)"
    return "(not found)" if said is None else f"gold review at rank {said}"


def _setting(value: Any) -> str:
    """Write a setting; a digest is shortened."""
    text = str(value)
    return f"{text[:12]}…" if re.fullmatch(r"[0-9a-f]{64}", text) else text
