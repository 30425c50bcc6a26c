"""Fit what confidences mean in answers that users get, on the outcome of the whole pipeline."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eval.metrics.selective import ERRORS, coverages
from eval.runs.run import Row
from eval.tasks.consensus import consensus_run
from eval.tasks.counting import (
    FOLDS,
    Counted,
    counted_questions,
    counting_out_of_fold,
    fit_counting,
    parts_of_items,
    surest_out_of_fold,
)
from qa_system.config import Settings, changed
from qa_system.consensus.confidence import Confidence
from qa_system.consensus.max_error import lowest_error, threshold_for
from qa_system.console.wording import counted
from qa_system.datasets.mentions import MarkedQuestion
from qa_system.errors import EvaluationError
from qa_system.readers.calibration import (
    expected_calibration_error,
    fit_sigmoid,
    fit_threshold,
    log_odds_of,
)

__all__ = ["Asked", "confidence_fitted", "fit_confidence", "out_of_fold", "weighed_outcomes"]

LEAST: Final = 0.5
"""There is no answer below this confidence, at which a sentence is as probably none as it is a
mention. The questions that are fitted on do not show what abstaining is worth: nearly all of them
have an answer."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A labelled question, and what the pipeline made of it.

    Args:
        item_id: the item; an item's questions are in one fold.
        score: the confidence of what decides: that the surest sentence is a mention, or without a
            judge the reader's; 0 if there was nothing.
        right: whether the first answer, or the one that a lower threshold would let through first,
            has an F1 of .5 with an annotator.
        answerable: whether a review answers it.
    """

    item_id: str
    score: float
    right: bool
    answerable: bool


def confidence_fitted(
    questions: Sequence[tuple[str, Sequence[MarkedQuestion]]], settings: Settings
) -> tuple[Confidence, dict[str, Any]]:
    """Ask the pipeline labelled questions, and fit what its confidences mean.

    Args:
        questions: of each data set its name and its questions, labelled over all reviews of their
            items, on which neither the reader nor the judge was trained.
        settings: what users run; what was fitted before plays no part.

    Returns:
        The confidence, fitted on all questions, with how mentions are counted if sentences are
        judged; and what `out_of_fold` measures, with `counting_out_of_fold`.

    Raises:
        EvaluationError: the answers are all right, or all wrong.
        QASystemError: a store or model cannot be opened.
    """
    bare = changed(settings, {"answers.confidence": os.devnull, "answers.max_error": None})
    names = ", ".join(f"{name} ({counted(len(own), 'question')})" for name, own in questions)
    if not bare.judge.sentences:
        runs = [consensus_run(own, bare, path=name) for name, own in questions]
        rows = [row for run in runs for row in run.systems["consensus"].rows]
        read = [_asked(row) for row in rows if row.error is None]
        return fit_confidence(read, names), out_of_fold(read)
    counted_of = [counted_questions(own, bare) for _, own in questions]
    asked = weighed_outcomes([each for own in counted_of for each in own])
    fitted = replace(fit_confidence(asked, names), counting=fit_counting(counted_of))
    return fitted, {**out_of_fold(asked), "counting": counting_out_of_fold(counted_of)}


def weighed_outcomes(questions: Sequence[Counted]) -> list[Asked]:
    """Return what the surest sentence of each question is worth.

    Args:
        questions: whose sentences were judged.
    """
    return [
        Asked(each.item_id, score, right, bool(each.mentioning))
        for each, (score, right) in zip(questions, surest_out_of_fold(questions), strict=True)
    ]


def fit_confidence(asked: Sequence[Asked], fitted_on: str | None = None) -> Confidence:
    """Fit the threshold and the probability on questions that were asked.

    Args:
        asked: the questions.
        fitted_on: what to remember of the questions.

    Returns:
        The threshold at which most questions are answered rightly or, where no review answers,
        not answered, but `LEAST` at least; and the sigmoid under which the answers' being right is
        likeliest.

    Raises:
        EvaluationError: the answers are all right, or all wrong.
    """
    right = np.array([each.right for each in asked], dtype=np.float64)
    if len(set(right.tolist())) < 2:
        raise EvaluationError(
            "probabilities need right answers and wrong ones",
            where=fitted_on,
            remedy="Fit on more questions.",
        )
    odds = _odds(asked)
    unanswerable = [not each.answerable for each in asked]
    fitted = 1 / (1 + np.exp(-fit_threshold(odds, right, unanswerable)))
    return Confidence(
        threshold=round(max(float(fitted), LEAST), 4),
        right=fit_sigmoid(odds, right),
        outcomes=tuple((round(each.score, 4), each.right) for each in asked),
        fitted_on=fitted_on,
    )


def out_of_fold(asked: Sequence[Asked], folds: int = FOLDS) -> dict[str, Any]:
    """Measure a fit on questions about items that it was not made on.

    Args:
        asked: the questions.
        folds: into how many parts the items are divided; each is measured with what was fitted on
            the others.

    Returns:
        `ece`, the calibration error over all questions; `answered` and `error` at the threshold,
        `coverage_at_10` and so on; and for each `max_error` the threshold's `coverage` and `error`
        and the `folds` in which there was one, and `lowest`, the lowest error that is kept on all.
    """
    part_of = parts_of_items({each.item_id for each in asked}, folds)
    parts = [part_of[each.item_id] for each in asked]
    told: list[float] = []
    happened: list[bool] = []
    given: list[bool] = []
    kept: dict[float, list[bool]] = {error: [] for error in ERRORS}
    of_folds = dict.fromkeys(ERRORS, 0)
    for part in range(folds):
        own = [each for each, at in zip(asked, parts, strict=True) if at == part]
        others = [each for each, at in zip(asked, parts, strict=True) if at != part]
        if not own:
            continue
        fitted = fit_confidence(others)
        told += [fitted.probability(each.score) for each in own]
        happened += [each.right for each in own]
        given += [each.right for each in own if each.score >= fitted.threshold]
        for error in ERRORS:
            threshold = threshold_for(fitted.outcomes, error)
            if threshold is not None:
                of_folds[error] += 1
                kept[error] += [each.right for each in own if each.score >= threshold]
    outcomes = [(each.score, each.right) for each in asked]
    return {
        "questions": len(asked),
        "folds": len(set(parts)),
        "ece": expected_calibration_error(told, happened),
        "answered": len(given) / len(asked),
        "error": _wrong(given),
        **coverages(told, happened),
        "lowest_error": lowest_error(outcomes),
        "max_error": {
            f"{error:g}": {
                "folds": of_folds[error],
                "coverage": len(own) / len(asked),
                "error": _wrong(own),
            }
            for error, own in kept.items()
        },
    }


def _wrong(given: Sequence[bool]) -> float | None:
    return 1 - fmean(given) if given else None


def _odds(asked: Sequence[Asked]) -> NDArray[np.float64]:
    return np.array([log_odds_of(each.score) for each in asked])


def _asked(row: Row) -> Asked:
    score = row.output["surest"]
    return Asked(
        item_id=str(row.item_id),
        score=0.0 if score is None else score,
        right=row.output["right"],
        answerable=row.answerable,
    )
