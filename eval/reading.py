"""The reader alone: it is given the gold review and has to find the answer, or that there is none.

Scores follow the SQuAD 2.0 evaluation script: a question without an answer is right when the
prediction is empty. One number over both kinds says little (always answering nothing is right
on every unanswerable question), so they are also given apart: `has_ans_*` and `no_ans_*`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from eval.labels import gold_texts
from eval.metrics import exact_match, f1
from qa_system.errors import EvaluationError
from qa_system.progress import progress
from qa_system.readers.calibration import fit_threshold
from qa_system.records import Label

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.readers.extractive import Reading

__all__ = [
    "Prediction",
    "ReaderEvaluation",
    "ReadingRow",
    "evaluate_reader",
    "score_predictions",
]

BATCH = 64
"""Questions in one call of the reader: enough to sort their windows by length."""


class Reader(Protocol):
    """What is evaluated: `ExtractiveReader`, or anything that reads as it does."""

    def read(
        self,
        questions: Sequence[str],
        documents: Sequence[Sequence[Document]],
        top_k: int | None = None,
    ) -> Sequence[Reading]:
        """Answer each question from its documents."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a reader says to one question.

    Args:
        text: its answer; empty for "no answer".
        forced: its best span, had it been forced to answer.
        log_odds: of that span against no answer; None where there is no span at all.
        no_answer_probability: as the reader calibrated it; None if it gives none.
    """

    text: str
    forced: str
    log_odds: float | None = None
    no_answer_probability: float | None = None


@dataclass(frozen=True, slots=True)
class ReadingRow:
    """One question's prediction and scores; a missing prediction is None and scores 0."""

    question_id: str
    question: str
    review_id: str
    references: tuple[str, ...]
    prediction: str | None
    forced: str | None
    log_odds: float | None
    no_answer_probability: float | None
    em: float
    f1: float
    forced_em: float
    forced_f1: float

    @property
    def answerable(self) -> bool:
        """Whether an annotator found an answer."""
        return bool(self.references)

    def to_dict(self) -> dict[str, Any]:
        """Give the row as JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class ReaderEvaluation:
    """One reader's numbers.

    Args:
        metrics: `em`, `f1`; `has_ans_em`, `has_ans_f1` over answerable questions; `no_ans_em`,
            `no_ans_f1` over the others; `forced_has_ans_em`, `forced_has_ans_f1` with no
            question left unanswered; `best_em`, `best_f1` at the threshold on the log-odds
            that suits these very labels best, `best_em_thresh`, `best_f1_thresh`. None where
            there is nothing to take the mean over, or no span to choose a threshold by.
        references: the same for `always_empty`, a reader that never answers.
        counts: questions, answerable, unanswerable, missing (no prediction: scored 0),
            unlocated (their only answers could not be located in the review, and are compared
            as they were written down), answered.
        rows: one for each question.
    """

    metrics: Mapping[str, float | None]
    references: Mapping[str, Mapping[str, float | None]]
    counts: Mapping[str, int]
    rows: tuple[ReadingRow, ...]


def evaluate_reader(labels: Sequence[Label], reader: Reader) -> ReaderEvaluation:
    """Let a reader answer each question from its gold review, and score it.

    Raises:
        EvaluationError: there are no labels.
    """
    from haystack import Document

    predictions: dict[int, Prediction] = {}
    with progress("reading", unit="questions", total=len(labels)) as shown:
        for start in range(0, len(labels), BATCH):
            batch = labels[start : start + BATCH]
            readings = reader.read(
                [label.question for label in batch],
                [[Document(id=label.review_id, content=label.context)] for label in batch],
                top_k=1,
            )
            for position, reading in enumerate(readings, start=start):
                predictions[position] = _prediction(reading)
            shown.advance(len(batch))
    return score_predictions(labels, [predictions.get(at) for at in range(len(labels))])


def score_predictions(
    labels: Sequence[Label], predictions: Sequence[Prediction | None]
) -> ReaderEvaluation:
    """Score predictions, one for each label; None, a missing one, scores 0 and is counted.

    Raises:
        EvaluationError: there are no labels.
        ValueError: the two are not of one length.

    >>> from qa_system.records import AnswerSpan
    >>> good = (AnswerSpan("Good", 0, 4),)
    >>> labels = [
    ...     Label("q1", "How is it?", None, "r1", "Good.", good),
    ...     Label("q2", "Who made it?", None, "r1", "Good.", ()),
    ... ]
    >>> said = Prediction("Good", "Good", log_odds=1.0)
    >>> metrics = score_predictions(labels, [said, said]).metrics
    >>> metrics["em"], metrics["has_ans_em"], metrics["no_ans_em"]
    (0.5, 1.0, 0.0)
    """
    if not labels:
        raise EvaluationError("there are no questions", remedy="Choose another split.")
    rows = [_row(label, said) for label, said in zip(labels, predictions, strict=True)]
    nothing = Prediction(text="", forced="")
    return ReaderEvaluation(
        metrics=_means(rows) | _best_thresholds(rows),
        references={"always_empty": _means([_row(label, nothing) for label in labels])},
        counts={
            "questions": len(rows),
            "answerable": sum(row.answerable for row in rows),
            "unanswerable": sum(not row.answerable for row in rows),
            "answered": sum(bool(row.prediction) for row in rows),
            "missing": sum(row.prediction is None for row in rows),
            "unlocated": sum(bool(gold_texts(label)) and not label.answers for label in labels),
        },
        rows=tuple(rows),
    )


def _prediction(reading: Reading) -> Prediction:
    if not reading.candidates:
        return Prediction("", "", None, reading.no_answer_probability)
    best = reading.candidates[0]
    text = reading.answers[0].data if reading.answers else ""
    return Prediction(
        text=text or "",
        forced=best.data or "",
        log_odds=best.meta["log_odds"],
        no_answer_probability=reading.no_answer_probability,
    )


def _row(label: Label, said: Prediction | None) -> ReadingRow:
    references = gold_texts(label)

    def scores(text: str | None) -> tuple[float, float]:
        if text is None:
            return 0.0, 0.0
        return exact_match(text, references), f1(text, references)

    em, f1_ = scores(None if said is None else said.text)
    forced_em, forced_f1 = scores(None if said is None else said.forced)
    return ReadingRow(
        question_id=label.question_id,
        question=label.question,
        review_id=label.review_id,
        references=references,
        prediction=None if said is None else said.text,
        forced=None if said is None else said.forced,
        log_odds=None if said is None else said.log_odds,
        no_answer_probability=None if said is None else said.no_answer_probability,
        em=em,
        f1=f1_,
        forced_em=forced_em,
        forced_f1=forced_f1,
    )


def _means(rows: Sequence[ReadingRow]) -> dict[str, float | None]:
    has = [row for row in rows if row.answerable]
    no = [row for row in rows if not row.answerable]
    return {
        "em": _mean([row.em for row in rows]),
        "f1": _mean([row.f1 for row in rows]),
        "has_ans_em": _mean([row.em for row in has]),
        "has_ans_f1": _mean([row.f1 for row in has]),
        "no_ans_em": _mean([row.em for row in no]),
        "no_ans_f1": _mean([row.f1 for row in no]),
        "forced_has_ans_em": _mean([row.forced_em for row in has]),
        "forced_has_ans_f1": _mean([row.forced_f1 for row in has]),
    }


def _mean(scores: Sequence[float]) -> float | None:
    return fmean(scores) if scores else None


def _best_thresholds(rows: Sequence[ReadingRow]) -> dict[str, float | None]:
    """Find the thresholds that would have suited these rows best, and what they would bring.

    As `find_best_thresh_v2` of the SQuAD 2.0 evaluation script does with no-answer
    probabilities: the best span is given from the threshold on, nothing below it.
    """
    spoken = [row for row in rows if row.log_odds is not None]
    best: dict[str, float | None] = {}
    for name in ("em", "f1"):
        key = f"best_{name}"
        silence = sum(row.prediction is not None and not row.answerable for row in rows)
        best[key] = silence / len(rows)
        best[f"{key}_thresh"] = None
        if spoken:
            odds = np.array([row.log_odds for row in spoken], dtype=np.float64)
            answered = np.array([getattr(row, f"forced_{name}") for row in spoken])
            silent = np.array([float(not row.answerable) for row in spoken])
            threshold = fit_threshold(odds, answered, silent)
            gained = np.where(odds >= threshold, answered - silent, 0.0).sum()
            best[key] = (silence + float(gained)) / len(rows)
            best[f"{key}_thresh"] = threshold
    return best
