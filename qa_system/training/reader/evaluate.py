"""A reader in training, measured on labelled questions and calibrated on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np

from qa_system.console.wording import counted
from qa_system.errors import DataError
from qa_system.labels import gold_texts
from qa_system.metrics import exact_match, f1
from qa_system.readers.backends import ReaderBackend, score_windows
from qa_system.readers.calibration import (
    Calibration,
    expected_calibration_error,
    fit_calibration,
    fit_threshold,
)
from qa_system.readers.spans import best_spans
from qa_system.readers.windows import WindowCutter
from qa_system.records import Label

__all__ = ["Read", "calibrate", "measure", "read_labels"]

BATCH_TOKENS = 4096


@dataclass(frozen=True, slots=True)
class Read:
    """A reader's best span for a labelled question, in the question's own text.

    Args:
        log_odds: of the span.
        em: its exact match, had it been answered; 0 where the question has no answer.
        f1: likewise.
        answerable: whether the question has an answer.
    """

    log_odds: float
    em: float
    f1: float
    answerable: bool


def read_labels(
    backend: ReaderBackend, cutter: WindowCutter, labels: Sequence[Label], max_answer_length: int
) -> list[Read]:
    """Read every label's own text.

    Args:
        backend: computes the logits.
        cutter: cuts texts into the reader's windows.
        labels: questions, each with its text.
        max_answer_length: tokens of an answer at most.

    Returns:
        What was read, in the order of the labels.
    """
    cuts = cutter.cut([label.question for label in labels], [[label.context] for label in labels])
    logits = iter(
        score_windows(
            backend,
            [window for [windows] in cuts for window in windows],
            BATCH_TOKENS,
        )
    )
    reads = []
    for label, [windows] in zip(labels, cuts, strict=True):
        found = best_spans([next(logits) for _ in windows], 1, max_answer_length)
        answer = label.context[found[0].start : found[0].end] if found else ""
        odds = found[0].log_odds if found else -np.inf
        gold = gold_texts(label)
        reads.append(
            Read(
                odds,
                exact_match(answer, gold) if gold else 0.0,
                f1(answer, gold) if gold else 0.0,
                bool(gold),
            )
        )
    return reads


def measure(sources: Sequence[Sequence[Read]]) -> dict[str, float]:
    """Return a reader's scores on dev, each source counting as much as the next.

    Returns:
        `threshold`, the one with the best F1; `em` and `f1` at it; `forced_f1`, over the
        answerable questions with none left unanswered.

    Raises:
        DataError: no question has an answer, so that abstaining would always be best.
    """
    answerable = [[read for read in source if read.answerable] for source in sources]
    if not any(answerable):
        raise DataError(
            "no question to measure on has an answer", remedy="Name another source in `dev`."
        )
    reads = [(read, 1 / len(source)) for source in sources for read in source]
    threshold = fit_threshold(
        [read.log_odds for read, _ in reads],
        [read.f1 * weight for read, weight in reads],
        [(not read.answerable) * weight for read, weight in reads],
    )

    def mean(score: Callable[[Read], float]) -> float:
        return fmean(fmean(map(score, source)) for source in sources)

    def at_threshold(read: Read, score: float) -> float:
        return score if read.log_odds >= threshold else float(not read.answerable)

    return {
        "threshold": threshold,
        "em": mean(lambda read: at_threshold(read, read.em)),
        "f1": mean(lambda read: at_threshold(read, read.f1)),
        "forced_f1": fmean(fmean(read.f1 for read in source) for source in answerable if source),
    }


def calibrate(sources: Sequence[Sequence[Read]], name: str) -> tuple[Calibration, dict[str, float]]:
    """Fit the calibration, each source counting as much as the next.

    Args:
        sources: what was read, by source.
        name: of the sources, for the record.

    Returns:
        The calibration, and the expected calibration error before and after: `ece_before`,
        `ece_after`. Neither is fitted if all questions have an answer, or none has.
    """
    # A text in which the tokenizer sees nothing has no span, and says nothing of confidence.
    reads = [
        (read, 1 / len(source)) for source in sources for read in source if read.log_odds > -np.inf
    ]
    odds = [read.log_odds for read, _ in reads]
    right = [read.f1 for read, _ in reads]
    answerable = [read.answerable for read, _ in reads]
    if len(set(answerable)) < 2:
        return Calibration(), {}
    calibration = fit_calibration(
        odds,
        right,
        answerable,
        weights=[weight for _, weight in reads],
        fitted_on=f"{name}, {counted(len(reads), 'question')}",
    )
    return calibration, {
        key: expected_calibration_error([fitted.right(each) for each in odds], right)
        for key, fitted in (("ece_before", Calibration()), ("ece_after", calibration))
    }
