"""Predicted answers: asking for them in batches, scoring them, and baselines beside them.

Scores follow the SQuAD 2.0 evaluation script: on a question without an answer, abstaining is
right. One number over both kinds says little (always abstaining is right on every unanswerable
question), so there are also `has_ans_*` and `no_ans_*`.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, TypeVar

from eval.metrics import ANSWERABLE, Case, Metric, metrics_of, score_all
from eval.metrics.baselines import first_sentence, human_agreement, random_span
from eval.metrics.selective import confidence_measures
from eval.runs.run import Row, System
from qa_system.console.progress import progress
from qa_system.datasets.normal_form import says_no_answer
from qa_system.errors import DataError, EvaluationError, QASystemError
from qa_system.labels import gold_texts
from qa_system.records import Label

if TYPE_CHECKING:
    from qa_system.readers.extractive import Reading

__all__ = [
    "ALWAYS_EMPTY",
    "MISSING",
    "Failure",
    "Prediction",
    "Similarity",
    "baselines_of",
    "in_batches",
    "load_predictions",
    "score_predictions",
]

Similarity = Callable[[Sequence[str], Sequence[Sequence[str]]], Sequence[float]]
"""Predictions and their references -> similarities; see `eval.metrics.answer_similarity`."""

SAS = "has_ans_sas"

ALWAYS_EMPTY = "always_empty"
"""The baseline that always abstains."""

Said = TypeVar("Said")

DRAWS = 20
"""Random spans drawn for one question."""


@dataclass(frozen=True, slots=True)
class Prediction:
    """A system's answer to one question.

    Args:
        text: the answer; empty where the system abstains.
        forced: the best predicted span, whether or not it reaches the no-answer threshold.
        log_odds: of that span against no answer; None where there is no span at all.
        confidence: the calibrated probability of that span; None where none was given.
    """

    text: str
    forced: str
    log_odds: float | None = None
    confidence: float | None = None

    @classmethod
    def of(cls, reading: Reading) -> Prediction:
        """Take the first answer and the first candidate of a reading."""
        if not reading.candidates:
            return cls("", "", None, 0.0)
        best = reading.candidates[0]
        text = reading.answers[0].data if reading.answers else ""
        return cls(text or "", best.data or "", best.meta["log_odds"], best.score)

    @property
    def output(self) -> dict[str, Any]:
        """The answer as a row keeps it."""
        return {
            "prediction": self.text,
            "forced": self.forced,
            "log_odds": self.log_odds,
            "confidence": self.confidence,
        }


@dataclass(frozen=True, slots=True)
class Failure:
    """The error of a system that could not handle a question."""

    reason: str

    @property
    def output(self) -> dict[str, Any]:
        """No prediction, as a row keeps it."""
        return {"prediction": None}


MISSING = Failure("no prediction was given")


def in_batches(
    labels: Sequence[Label],
    answer: Callable[[Sequence[Label]], Sequence[Said]],
    title: str,
    batch: int,
) -> list[Said | Failure]:
    """Ask a system questions, batch by batch; one that fails becomes a `Failure`.

    Raises:
        EvaluationError: the system failed on every question.
    """
    from haystack.core.errors import PipelineRuntimeError

    said: list[Said | Failure] = []
    with progress(title, unit="questions", total=len(labels)) as shown:
        for start in range(0, len(labels), batch):
            part = labels[start : start + batch]
            try:
                said += answer(part)
            except (QASystemError, PipelineRuntimeError):
                for label in part:
                    try:
                        said += answer([label])
                    except (QASystemError, PipelineRuntimeError) as error:
                        said.append(Failure(str(error)))
            shown.advance(len(part))
    if said and all(isinstance(each, Failure) for each in said):
        first = next(each for each in said if isinstance(each, Failure))
        raise EvaluationError(f"every question failed, the first with: {first.reason}")
    return said


def score_predictions(
    labels: Sequence[Label],
    predictions: Sequence[Prediction | Failure],
    *,
    metrics: Sequence[Metric] | None = None,
    outputs: Sequence[Mapping[str, Any]] | None = None,
    slices: Sequence[Mapping[str, str]] | None = None,
    similarity: Similarity | None = None,
) -> System:
    """Score predictions, one for each label; a failure scores 0 and is counted.

    Args:
        labels: the questions.
        predictions: the answer to each.
        metrics: to score by; None: a reader's.
        outputs: what else each row keeps and metrics can read; None: nothing.
        slices: features of each label; None: none.
        similarity: adds `has_ans_sas`, the semantic answer similarity; None: no encoder is used.

    Returns:
        A row for each question. Measures: see `eval.metrics.selective`. Counts: questions,
        answerable, unanswerable, answered, missing (no prediction), failed (the system raised an
        error), unlocated (the only answers could not be located in the review, and are compared
        as they were written).

    Raises:
        EvaluationError: there are no labels, or two are of one question.
        ValueError: the sequences are not of one length.

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
    by = metrics_of("reader") if metrics is None else metrics
    features: Sequence[Mapping[str, str]] = [{}] * len(labels) if slices is None else slices
    more: Sequence[Mapping[str, Any]] = [{}] * len(predictions) if outputs is None else outputs
    written = [{**said.output, **each} for said, each in zip(predictions, more, strict=True)]
    scored = [
        score_all(by, label, output, failed=isinstance(said, Failure))
        for label, output, said in zip(labels, written, predictions, strict=True)
    ]
    if similarity is not None:
        _add_similarities(scored, labels, predictions, similarity)
    errors = [said.reason if isinstance(said, Failure) else None for said in predictions]
    rows = tuple(map(Row.of, labels, scored, written, features, errors))
    measures, details = _confidence_measures(rows)
    return System(rows, measures, _counts(labels, predictions), details)


def baselines_of(labels: Sequence[Label], texts: Sequence[str], seed: int) -> dict[str, System]:
    """Score trivial systems on the same questions, and people.

    Args:
        labels: the questions.
        texts: what each is read in: the gold review, or the first one retrieved; empty if none.
        seed: random seed of the random spans.

    Returns:
        `always_empty` (always abstains); `first_sentence` of the text; `random_span` of it, the
        mean of several draws; and, where questions have several annotators, `human`: one of them
        compared with the others.
    """
    metrics = metrics_of("reader")

    def score(label: Label, text: str) -> dict[str, float | None]:
        return score_all(metrics, label, Prediction(text, text).output)

    draws = random.Random(seed)
    spans = [[random_span(text, draws) for _ in range(DRAWS)] for text in texts]
    people = human_agreement(labels)
    baselines = {
        ALWAYS_EMPTY: [score(label, "") for label in labels],
        "first_sentence": list(map(score, labels, map(first_sentence, texts))),
        "random_span": [
            _mean([score(label, span) for span in drawn])
            for label, drawn in zip(labels, spans, strict=True)
        ],
    }
    if any(each is not None for each in people):
        baselines["human"] = list(map(_human_scores, [metrics] * len(labels), labels, people))
    return {
        name: System(
            tuple(Row.of(label, scores, {}) for label, scores in zip(labels, scored, strict=True))
        )
        for name, scored in baselines.items()
    }


def load_predictions(
    path: str | Path, labels: Sequence[Label], set_aside: Collection[str] = ()
) -> list[Prediction | Failure]:
    """Read another system's answers, laid out as the SQuAD 2.0 evaluation script takes them.

    Args:
        path: a JSON file, question id -> answer; null, a blank text or another spelling of "no
            answer" (`says_no_answer`) means that the system abstains.
        labels: the questions asked.
        set_aside: ids of questions that the data set has and nobody can be asked: predictions
            for them do not count.

    Returns:
        A prediction for each label; `MISSING` where the file has none.

    Raises:
        DataError: the file cannot be read, is no such object, names a question twice or one
            that was not asked, or a question id is in several splits of the labels.
    """
    where = str(path)
    tree = _read_predictions(path)
    asked = Counter(label.question_id for label in labels)
    duplicates = [question_id for question_id, times in asked.items() if times > 1]
    if duplicates:
        raise DataError(
            f"question id {duplicates[0]!r} is in several splits",
            where=where,
            remedy="Choose one: qa-eval reader --split NAME.",
        )
    unknown = [
        question_id
        for question_id in tree
        if not (question_id in asked or question_id in set_aside)
    ]
    if unknown:
        raise DataError(
            f"{len(unknown)} predictions are for questions that were not asked, the first for "
            f"{unknown[0]!r}",
            where=where,
            remedy="Choose their data set and split.",
        )
    return [
        Prediction(tree[label.question_id], tree[label.question_id])
        if label.question_id in tree
        else MISSING
        for label in labels
    ]


def _read_predictions(path: str | Path) -> dict[str, str]:
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
        tree = json.loads(text, object_pairs_hook=_refuse_duplicates)
    except OSError as error:
        raise DataError(f"it cannot be read: {error.strerror}", where=str(path)) from error
    except ValueError as error:
        raise DataError(f"these are no predictions: {error}", where=str(path)) from error
    if not isinstance(tree, dict) or not all(
        isinstance(said, str | None) for said in tree.values()
    ):
        raise DataError(
            "these are no predictions",
            where=str(path),
            remedy='Write one JSON object: {"question id": "answer", ...}.',
        )
    return {key: "" if says_no_answer(said) else said for key, said in tree.items()}


def _refuse_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(key for key, _ in pairs)
        raise ValueError(f"{times.most_common(1)[0][0]!r} is named twice")
    return found


def _add_similarities(
    scored: Sequence[dict[str, float | None]],
    labels: Sequence[Label],
    predictions: Sequence[Prediction | Failure],
    similarity: Similarity,
) -> None:
    for scores in scored:
        scores[SAS] = None
    answerable = [at for at, label in enumerate(labels) if gold_texts(label)]
    said = [
        "" if isinstance(each, Failure) else each.text
        for each in (predictions[at] for at in answerable)
    ]
    similarities = similarity(said, [gold_texts(labels[at]) for at in answerable])
    for at, score in zip(answerable, similarities, strict=True):
        scored[at][SAS] = score


def _human_scores(
    metrics: Sequence[Metric], label: Label, scores: tuple[float, float] | None
) -> dict[str, float | None]:
    """Return an annotator's EM and F1, over all questions and over those of the label's kind."""
    known: dict[str, float] = {}
    if scores is not None:
        kind = "has_ans" if ANSWERABLE.counts(Case(label, {})) else "no_ans"
        known = {
            f"{prefix}{name}": score
            for prefix in ("", f"{kind}_")
            for name, score in zip(("em", "f1"), scores, strict=True)
        }
    return {metric.name: known.get(metric.name) for metric in metrics if metric.score is not None}


def _confidence_measures(
    rows: Sequence[Row],
) -> tuple[Mapping[str, float | None], Mapping[str, Any]]:
    """Measure how useful the system's confidence is, if it returned any."""
    if all(row.output.get("confidence") is None for row in rows):
        return {}, {}
    return confidence_measures(
        [math.nan if (odds := row.output.get("log_odds")) is None else odds for row in rows],
        [row.output.get("confidence") or 0.0 for row in rows],
        {
            name: [row.scores[f"forced_has_ans_{name}"] or 0.0 for row in rows]
            for name in ("em", "f1")
        },
        [float(not row.answerable and row.error is None) for row in rows],
    )


def _counts(
    labels: Sequence[Label], predictions: Sequence[Prediction | Failure]
) -> dict[str, float]:
    answerable = sum(bool(gold_texts(label)) for label in labels)
    missing = sum(said is MISSING for said in predictions)
    return {
        "questions": len(labels),
        "answerable": answerable,
        "unanswerable": len(labels) - answerable,
        "answered": sum(isinstance(said, Prediction) and bool(said.text) for said in predictions),
        "missing": missing,
        "failed": sum(isinstance(said, Failure) for said in predictions) - missing,
        "unlocated": sum(bool(gold_texts(label)) and not label.answers for label in labels),
    }


def _mean(scored: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Return the mean of several scorings of one question."""
    means: dict[str, float | None] = {}
    for name in scored[0]:
        known = [value for each in scored if (value := each[name]) is not None]
        means[name] = fmean(known) if known else None
    return means
