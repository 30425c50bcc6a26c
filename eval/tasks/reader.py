"""The reader alone: it is given the gold review and has to find the answer, or that there is none.

Scores follow the SQuAD 2.0 evaluation script: a question without an answer is right when the
prediction is empty. One number over both kinds says little (always answering nothing is right
on every unanswerable question), so they are also given apart: `has_ans_*` and `no_ans_*`.
"""

from __future__ import annotations

import json
import math
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from eval.metrics.baselines import first_sentence, human_agreement, random_span
from eval.metrics.selective import worth_of_confidence
from eval.runs.run import Row, System
from qa_system.errors import DataError, EvaluationError, QASystemError
from qa_system.labels import gold_texts
from qa_system.metrics import exact_match, f1
from qa_system.progress import progress
from qa_system.records import Label

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.readers.extractive import Reading

__all__ = [
    "HEADLINE",
    "MISSING",
    "Failure",
    "Prediction",
    "evaluate_reader",
    "load_predictions",
    "references_of",
    "score_predictions",
]

HEADLINE = (
    "em",
    "f1",
    "has_ans_em",
    "has_ans_f1",
    "no_ans_em",
    "forced_has_ans_em",
    "forced_has_ans_f1",
)
"""The metrics that a table of readers shows."""

BATCH = 64
"""Questions in one call of the reader: enough to sort their windows by length."""

Similarity = Callable[[Sequence[str], Sequence[Sequence[str]]], Sequence[float]]
"""Predictions and their references -> similarities; see `eval.metrics.answer_similarity`."""


Said = TypeVar("Said")

DRAWS = 20
"""Random spans drawn for one question."""


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
    """What a system says to one question.

    Args:
        text: its answer; empty for "no answer".
        forced: its best span, had it been forced to answer.
        log_odds: of that span against no answer; None where there is no span at all.
        confidence: the calibrated probability of that span; None where none was told.
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


@dataclass(frozen=True, slots=True)
class Failure:
    """That a system could not say anything to a question, and why."""

    reason: str


MISSING = Failure("no prediction was given")


def evaluate_reader(
    labels: Sequence[Label],
    reader: Reader,
    *,
    batch: int = BATCH,
    slices: Sequence[Mapping[str, str]] | None = None,
    similarity: Similarity | None = None,
) -> System:
    """Let a reader answer each question from its gold review, and score it.

    Args:
        labels: the questions.
        reader: what is evaluated.
        batch: questions in one call of it; it changes no result.
        slices: features of each label; None: none.
        similarity: see `score_predictions`.

    Raises:
        EvaluationError: there are no labels, two are of one question, or the reader failed on
            every one.
    """
    from haystack import Document

    def read(part: Sequence[Label]) -> list[Prediction]:
        readings = reader.read(
            [label.question for label in part],
            [[Document(id=label.review_id, content=label.context)] for label in part],
            top_k=1,
        )
        return [Prediction.of(reading) for reading in readings]

    said = in_batches(labels, read, "reading", batch)
    return score_predictions(labels, said, slices=slices, similarity=similarity)


def in_batches(
    labels: Sequence[Label],
    answer: Callable[[Sequence[Label]], Sequence[Said]],
    title: str,
    batch: int,
) -> list[Said | Failure]:
    """Put questions to a system, batch by batch; one that fails is told apart and counted.

    Raises:
        EvaluationError: it failed on every question.
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
                    except (QASystemError, PipelineRuntimeError) as fault:
                        said.append(Failure(str(fault)))
            shown.advance(len(part))
    if said and all(isinstance(each, Failure) for each in said):
        first = next(each for each in said if isinstance(each, Failure))
        raise EvaluationError(f"every question failed, the first with: {first.reason}")
    return said


def score_predictions(
    labels: Sequence[Label],
    predictions: Sequence[Prediction | Failure],
    *,
    slices: Sequence[Mapping[str, str]] | None = None,
    similarity: Similarity | None = None,
) -> System:
    """Score predictions, one for each label; a failure scores 0 everywhere and is counted.

    Args:
        labels: the questions.
        predictions: what was said to each.
        slices: features of each label; None: none.
        similarity: adds `has_ans_sas`, the semantic answer similarity, to the scores; None:
            there is no encoder at hand.

    Returns:
        A row for each question. Scores: `em`, `f1`; `has_ans_em`, `has_ans_f1` over answerable
        questions; `no_ans_em`, `no_ans_f1` over the others; `forced_has_ans_em`,
        `forced_has_ans_f1` with no question left unanswered. Measures: see
        `eval.metrics.selective`.
        Counts: questions, answerable, unanswerable, answered, missing (no prediction), failed
        (it was tried), unlocated (their only answers could not be located in the review, and
        are compared as they were written down).

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
    features: Sequence[Mapping[str, str]] = [{}] * len(labels) if slices is None else slices
    scored = [_scores(label, said) for label, said in zip(labels, predictions, strict=True)]
    if similarity is not None:
        _add_similarities(scored, labels, predictions, similarity)
    rows = tuple(
        Row.of(
            label,
            scores,
            {"prediction": None} if isinstance(said, Failure) else _output(said),
            feature,
            said.reason if isinstance(said, Failure) else None,
        )
        for label, said, scores, feature in zip(labels, predictions, scored, features, strict=True)
    )
    measures, details = _worth_of_confidence(rows)
    return System(rows, measures, _counts(labels, predictions), details)


def references_of(labels: Sequence[Label], texts: Sequence[str], seed: int) -> dict[str, System]:
    """Give what systems without any sense score on the same questions, and what people do.

    Args:
        labels: the questions.
        texts: what each is read in: the gold review, or the first one retrieved; empty if none.
        seed: of the random spans.

    Returns:
        `always_empty`; `first_sentence` of the text; `random_span` of it, the mean of several
        draws; and, where questions have several annotators, `human`: one of them against the
        others.
    """
    silent = [Prediction("", "")] * len(labels)
    first = [Prediction(said, said) for said in map(first_sentence, texts)]
    draws = random.Random(seed)
    spans = [[random_span(text, draws) for _ in range(DRAWS)] for text in texts]
    references = {
        "always_empty": _reference(labels, list(map(_scores, labels, silent))),
        "first_sentence": _reference(labels, list(map(_scores, labels, first))),
        "random_span": _reference(
            labels,
            [
                _mean([_scores(label, Prediction(said, said)) for said in drawn])
                for label, drawn in zip(labels, spans, strict=True)
            ],
        ),
    }
    people = human_agreement(labels)
    if any(each is not None for each in people):
        references["human"] = _reference(
            labels,
            [_split_by_kind(label, scores) for label, scores in zip(labels, people, strict=True)],
        )
    return references


def load_predictions(path: str | Path, labels: Sequence[Label]) -> list[Prediction | Failure]:
    """Read another system's answers, laid out as the SQuAD 2.0 evaluation script takes them.

    Args:
        path: a JSON file, question id -> answer; an empty answer is "no answer".
        labels: the questions asked.

    Returns:
        A prediction for each label; `MISSING` where the file has none.

    Raises:
        DataError: the file cannot be read, is no such object, names a question twice or one
            that was not asked, or a question id stands in several splits of the labels.
    """
    try:
        tree = json.loads(
            Path(path).read_text(encoding="utf-8"), object_pairs_hook=_without_doubles
        )
    except OSError as fault:
        raise DataError(f"it cannot be read: {fault.strerror}", where=str(path)) from fault
    except ValueError as fault:
        raise DataError(f"these are no predictions: {fault}", where=str(path)) from fault
    if not isinstance(tree, dict) or not all(isinstance(said, str) for said in tree.values()):
        raise DataError(
            "these are no predictions",
            where=str(path),
            remedy='Write one JSON object: {"question id": "answer", ...}.',
        )
    asked = Counter(label.question_id for label in labels)
    doubled = [question_id for question_id, times in asked.items() if times > 1]
    if doubled:
        raise DataError(
            f"question id {doubled[0]!r} stands in several splits",
            where=str(path),
            remedy="Choose one by --split.",
        )
    unknown = [question_id for question_id in tree if question_id not in asked]
    if unknown:
        raise DataError(
            f"{len(unknown)} predictions are to no question asked, the first to {unknown[0]!r}",
            where=str(path),
            remedy="Choose their data set and split.",
        )
    return [
        Prediction(tree[label.question_id], tree[label.question_id])
        if label.question_id in tree
        else MISSING
        for label in labels
    ]


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        times = Counter(key for key, _ in pairs)
        raise ValueError(f"{times.most_common(1)[0][0]!r} is named twice")
    return found


def _scores(label: Label, said: Prediction | Failure) -> dict[str, float | None]:
    if isinstance(said, Failure):
        return _split_by_kind(label, (0.0, 0.0), (0.0, 0.0))
    references = gold_texts(label)

    def scores(text: str) -> tuple[float, float]:
        return exact_match(text, references), f1(text, references)

    return _split_by_kind(label, scores(said.text), scores(said.forced))


def _split_by_kind(
    label: Label,
    scores: tuple[float, float] | None,
    forced: tuple[float, float] | None = None,
) -> dict[str, float | None]:
    """Let a question count among its kind only."""
    answerable = bool(gold_texts(label))
    nothing = (None, None)
    em, f1_ = nothing if scores is None else scores
    has_em, has_f1 = (em, f1_) if answerable else nothing
    no_em, no_f1 = nothing if answerable else (em, f1_)
    forced_em, forced_f1 = forced if answerable and forced is not None else nothing
    return {
        "em": em,
        "f1": f1_,
        "has_ans_em": has_em,
        "has_ans_f1": has_f1,
        "no_ans_em": no_em,
        "no_ans_f1": no_f1,
        "forced_has_ans_em": forced_em,
        "forced_has_ans_f1": forced_f1,
    }


def _add_similarities(
    scored: Sequence[dict[str, float | None]],
    labels: Sequence[Label],
    predictions: Sequence[Prediction | Failure],
    similarity: Similarity,
) -> None:
    for scores in scored:
        scores["has_ans_sas"] = None
    answerable = [at for at, label in enumerate(labels) if gold_texts(label)]
    said = [
        "" if isinstance(each, Failure) else each.text
        for each in (predictions[at] for at in answerable)
    ]
    similarities = similarity(said, [gold_texts(labels[at]) for at in answerable])
    for at, score in zip(answerable, similarities, strict=True):
        scored[at]["has_ans_sas"] = score


def _output(said: Prediction) -> dict[str, Any]:
    return {
        "prediction": said.text,
        "forced": said.forced,
        "log_odds": said.log_odds,
        "confidence": said.confidence,
    }


def _worth_of_confidence(
    rows: Sequence[Row],
) -> tuple[Mapping[str, float | None], Mapping[str, Any]]:
    """Say what the system's confidence is worth, if it told any."""
    if all(row.output.get("confidence") is None for row in rows):
        return {}, {}
    return worth_of_confidence(
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


def _reference(labels: Sequence[Label], scored: Sequence[Mapping[str, float | None]]) -> System:
    return System(
        tuple(Row.of(label, scores, {}) for label, scores in zip(labels, scored, strict=True))
    )


def _mean(scored: Sequence[Mapping[str, float | None]]) -> dict[str, float | None]:
    """Give the mean of several scorings of one question."""
    means: dict[str, float | None] = {}
    for name in scored[0]:
        known = [value for each in scored if (value := each[name]) is not None]
        means[name] = fmean(known) if known else None
    return means
