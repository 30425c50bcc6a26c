"""Fit a reader's no-answer threshold and probabilities on its own answers to labelled questions."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from eval.runs.run import System
from eval.tasks.reader import evaluate_reader
from qa_system.config import Settings
from qa_system.console.wording import counted
from qa_system.datasets.dataset import Dataset
from qa_system.datasets.splitting import hold_out
from qa_system.errors import DataError, EvaluationError
from qa_system.readers.calibration import Calibration, fit_calibration

__all__ = ["calibrated", "fit_to", "part_to_fit_on"]

DEV = "dev"

_log = logging.getLogger(__name__)


def part_to_fit_on(data: Dataset, split: str | None) -> str | None:
    """Return the split to fit on: the one named, or else `dev`; None for data in one part.

    Data in one part is fitted on whole, with a warning: whatever is evaluated on it afterwards
    has been seen.

    Raises:
        DataError: no split is named, and there are splits, but no `dev`.
    """
    if split is not None:
        return split
    if not data.splits:
        _log.warning(
            "%s has no splits: questions of the whole are fitted on, so that no score on it is one "
            "of unseen questions any more",
            data.path,
        )
        return None
    if DEV not in data.splits:
        raise DataError(
            f"there is no split {DEV!r} to fit on",
            where=data.path,
            remedy=f"Choose one of {', '.join(data.splits)}: qa-eval calibrate --split NAME.",
        )
    return DEV


def calibrated(
    data: Sequence[Dataset],
    settings: Settings,
    parts: Sequence[str | None],
    *,
    held_out: float | None = None,
    seed: int = 13,
) -> tuple[Calibration, list[System]]:
    """Evaluate the configured reader on several data sets, and fit its calibration to all of them.

    Args:
        data: each has the same weight.
        settings: `reader` says what runs.
        parts: the split of each, as `part_to_fit_on` returns it.
        held_out: use this share of the split's items only; None: all of them.
        seed: random seed of `held_out`.

    Returns:
        The calibration, and the reader's evaluation on each data set.

    Raises:
        EvaluationError: see `fit_to`.
        DataError: there is no such split.
        ModelError: the reader cannot be loaded.
    """
    from qa_system.pipelines import build_reader

    labels = [each.labels_of(part) for each, part in zip(data, parts, strict=True)]
    if held_out is not None:
        labels = [hold_out(each, held_out, seed)[1] for each in labels]
    reader = build_reader(settings)
    reader.warm_up()
    runs = [evaluate_reader(each, reader) for each in labels]
    names = ", ".join(
        f"{Path(each.path).name} {_named(part, held_out)} ({counted(len(asked), 'question')})"
        for each, part, asked in zip(data, parts, labels, strict=True)
    )
    return fit_to(runs, names), runs


def _named(part: str | None, held_out: float | None) -> str:
    whole = "all of it" if part is None else part
    return whole if held_out is None else f"{held_out:g} of {whole}, held out"


def fit_to(evaluations: Sequence[System], fitted_on: str) -> Calibration:
    """Fit a reader's no-answer threshold and probabilities on evaluations of it.

    Args:
        evaluations: over questions that are not tested on; each has the same weight, however
            many questions it has.
        fitted_on: the name under which the calibration remembers them.

    Raises:
        EvaluationError: the questions are all answerable, or all unanswerable, so that nothing
            shows where an answer should be given.
    """
    read = [
        (odds, row.scores["forced_has_ans_f1"] or 0.0, row.answerable, 1 / len(each.rows))
        for each in evaluations
        for row in each.rows
        if (odds := row.output.get("log_odds")) is not None
    ]
    log_odds, f1_answered, answerable, weights = zip(*read, strict=True) if read else ((),) * 4
    if len(set(answerable)) < 2:
        raise EvaluationError(
            "a threshold needs questions with an answer and questions without one",
            where=fitted_on,
            remedy="Fit on another data set or split.",
        )
    return fit_calibration(log_odds, f1_answered, answerable, weights=weights, fitted_on=fitted_on)
