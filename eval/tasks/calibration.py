"""What a reader's log-odds mean, by its own answers to labelled questions."""

from __future__ import annotations

from collections.abc import Sequence

from eval.runs.run import System
from qa_system.errors import EvaluationError
from qa_system.readers.calibration import Calibration, fit_calibration

__all__ = ["fit_to"]


def fit_to(evaluations: Sequence[System], fitted_on: str) -> Calibration:
    """Fit a reader's no-answer threshold and probabilities on evaluations of it.

    Args:
        evaluations: over questions that are not tested on; each counts as much as the next,
            however many questions it has.
        fitted_on: what to remember of them.

    Raises:
        EvaluationError: the questions are all answerable, or all unanswerable, so that nothing
            says where an answer should be given.
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
