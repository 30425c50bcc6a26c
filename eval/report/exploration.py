"""A data set's counts on a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from eval.explore import PLURAL
from eval.report.tables import print_cells
from eval.runs.wording import on_one_line

__all__ = ["print_exploration"]


def print_exploration(found: Mapping[str, Any]) -> None:
    """Print what `explore` returned as tables."""
    print_cells(
        f"Data set: {found['title']}",
        [
            *("questions", "reviews", "items", "answerable", "questions\na review"),
            *("reviews\nan item", "two annotators\nor more", "of which\nagree"),
        ],
        {
            name: [
                *(f"{part[key]:,}" for key in ("questions", "reviews", "items")),
                _percent(part["answerable"]),
                *(_mean(part[key]) for key in ("questions_of_review", "reviews_of_item")),
                f"{part['annotated_twice']:,}",
                _percent(part["agreement"]),
            ]
            for name, part in found["counts"].items()
        },
        _notes(found),
    )
    print_cells(
        "Tokens",
        ["number", "median", "95 %", "longest"],
        {
            PLURAL[name]: [_whole(of[key]) for key in ("count", "median", "p95", "max")]
            for name, of in found["lengths"].items()
        },
    )
    print_cells(
        "How questions begin",
        ["questions", "answerable"],
        {
            word: [f"{of['questions']:,}", _percent(of["answerable"])]
            for word, of in found["question_words"].items()
        },
        (
            f"{word}: {' | '.join(map(on_one_line, asked))}"
            for word, asked in found["question_samples"].items()
            if asked
        ),
    )


def _notes(found: Mapping[str, Any]) -> Iterator[str]:
    window, answers, overlap = found["window"], found["answers"], found["overlap"]
    yield (
        f"{_percent(window['several_windows'])} of the questions have a review that needs more "
        f"than one window of {window['tokens']} tokens ({window['reader']})."
    )
    if window["too_long"]:
        yield f"{window['too_long']:,} questions are too long for the window."
    if answers["exact"] is not None:
        yield (
            "Annotators' answers: {exact:,} are at the annotated place, {repaired:,} were found "
            "elsewhere in the review, {given_up:,} were not found.".format_map(answers)
        )
    if answers["unlocated"]:
        yield (
            "{unlocated:,} questions have an answer without a known place in the review, "
            "{only_unlocated:,} of them no other answer.".format_map(answers)
        )
    if overlap["doubled_question_ids"]:
        yield "{doubled_question_ids:,} question ids are in more than one split.".format_map(
            overlap
        )
    for split in ("dev", "test"):
        if overlap[f"{split}_items_in_train"] or overlap[f"{split}_reviews_in_train"]:
            parts = [
                f"{overlap[f'{split}_{kind}_in_train']:,} of {overlap[f'{split}_{kind}']:,} {kind}"
                for kind in ("items", "reviews", "questions")
            ]
            yield (
                f"Overlap of the {split} split with the training split: {parts[0]}, {parts[1]} "
                f"and {parts[2]}."
            )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.1%}"


def _mean(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _whole(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"
