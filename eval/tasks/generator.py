"""How good are generated answers? The generator reads the gold review among others.

Retrieval is not measured here: each question comes with the reviews that the users' retriever
ranks best, and always with the gold review. Four systems answer from the same reviews:
`generated`, the generator's best answer, however well the reviews support it; `supported`, the
same answer, withheld where the reviews support it too little; `uniform prior`, the generator
without the reviews' scores; and `reader`, the extractive reader. Two numbers together show what
abstaining gains: `coverage`, the share of the questions that are answered, and `precision`, the
mean F1 of the answers given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from eval.metrics import metrics_of
from eval.metrics.selective import aurc, precision_coverage, reliability
from eval.runs.run import Row, System
from eval.tasks.candidates import Filters
from eval.tasks.predictions import (
    Failure,
    Prediction,
    Similarity,
    in_batches,
    score_predictions,
)
from eval.tasks.reader import BATCH, Reader
from qa_system.config import GeneratorSettings, Settings
from qa_system.errors import EvaluationError
from qa_system.labels import gold_documents
from qa_system.readers.calibration import expected_calibration_error
from qa_system.records import Label

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.generators.drafts import Draft
    from qa_system.generators.rag import Generated
    from qa_system.readers.extractive import Reading
    from qa_system.stores.contract import ReviewStore

__all__ = ["HEADLINE", "PAIRS", "Evidence", "evaluate_generator", "gold_evidence"]

HEADLINE = (
    "em",
    "f1",
    "coverage",
    "precision",
    "has_ans_f1",
    "no_ans_f1",
    "gold_posterior",
    "gold_top",
)
"""The metrics that a table of generators shows."""

PAIRS = (
    ("generated", "uniform prior"),
    ("supported", "generated"),
    ("supported", "reader"),
)
"""The compared systems: a prior with none, withholding with none, generator with reader."""

ANSWERS = 3
"""Answers that users ask for; it decides how many of the reader's spans check the support."""


class Generator(Protocol):
    """What is evaluated: `RAGGenerator`, `ReviewChat`, or anything with their `generate`."""

    def generate(
        self,
        questions: Sequence[str],
        documents: Sequence[Sequence[Document]],
        top_k: int | None = None,
    ) -> Sequence[Sequence[Generated]]:
        """Answer each question from its documents, the best answer first.

        A RAG generator also takes `prior`, where `generator.prior` is the reader.
        """


@dataclass(frozen=True, slots=True)
class Evidence:
    """The documents that are read to answer a question.

    Args:
        documents: with their scores; a gold review is among them.
        found: whether the retriever returned that one.
    """

    documents: tuple[Document, ...]
    found: bool


def gold_evidence(
    store: ReviewStore, settings: Settings, filters: Callable[[Label], Filters]
) -> Callable[[Label], Evidence]:
    """Let a retriever choose what a generator reads, and make sure that a gold review is among it.

    Args:
        store: holds the reviews, with embeddings.
        settings: `retriever`, `ranker` and `encoder` say what runs, `generator.documents` how
            many documents are read.
        filters: which reviews are a label's candidates; see `filters_of`.

    Returns:
        A function of a label that returns its documents, the retriever's best first. If no gold
        review is among them, the gold document nearest to the question replaces the last one.
        (The gold review of a question without an answer is the one in which annotators found
        none.) A document's score is the dense retriever's, whatever chose the document.

    Raises:
        EncoderMismatchError: the store was filled by another encoder.
        ModelError: a model cannot be loaded.
    """
    from qa_system.pipelines import last, retrieve
    from qa_system.retrievers.dense import DenseRetriever

    pipeline = retrieve(store, settings)
    pipeline.warm_up()
    dense = DenseRetriever(store, settings.encoder.model_dump(exclude_defaults=True))
    dense.warm_up()
    most = settings.generator.documents

    def nearest(label: Label, name: str, among: Iterable[str], top_k: int) -> list[Document]:
        only = {"field": name, "operator": "in", "value": sorted(among)}
        documents: list[Document] = dense.run(label.question, only, top_k)["documents"]
        return documents

    def choose(label: Label) -> Evidence:
        inputs = {"query": label.question, "filters": filters(label)}
        documents: list[Document] = pipeline.run(inputs)[last(settings)]["documents"][:most]
        gold = gold_documents(label) or {label.review_id}
        found = not gold.isdisjoint(map(_review_of, documents))
        if not found:
            put_in = nearest(label, "meta.review_id", gold, 1)
            if not put_in:
                raise EvaluationError(
                    "the gold review is not in the store, or has no embedding",
                    where=f"review {label.review_id}",
                    remedy="Index it, or let the data set's own reviews compete: name no store.",
                )
            documents = [*documents[: most - 1], *put_in]
        ids = [document.id for document in documents]
        scores = {each.id: each.score for each in nearest(label, "id", ids, len(ids))}
        return Evidence(
            tuple(replace(each, score=scores.get(each.id)) for each in documents), found
        )

    return choose


def evaluate_generator(
    labels: Sequence[Label],
    choose: Callable[[Label], Evidence],
    generator: Generator,
    reader: Reader,
    settings: GeneratorSettings,
    *,
    batch: int = BATCH,
    slices: Sequence[Mapping[str, str]] | None = None,
    similarity: Similarity | None = None,
) -> tuple[dict[str, System], list[str]]:
    """Let a generator and a reader answer labelled questions from the same reviews.

    Args:
        labels: the questions.
        choose: returns what is read for a label; see `gold_evidence`.
        generator: what is evaluated.
        reader: the baseline, whose spans also check the support.
        settings: `min_support` and `check_with_reader` say what is withheld; a chat model has no
            prior, and so no system `uniform prior`.
        batch: questions in one call.
        slices: features of each label; None: none.
        similarity: see `score_predictions`.

    Returns:
        The systems, and for each question the text of the first document read. The confidence of
        a generated answer is its support. A question on which one system fails, fails for all.

        Measures: `ece` and `aurc`. Details: `reliability` and `precision_coverage` (see
        `eval.metrics.selective`), with `at`, the point of the threshold in use. `supported` has
        neither: it is that point of `generated`. Counts: also `gold_put_in` (the retriever had
        not found the gold review), `documents_median`, and of `supported` those `withheld`.

    Raises:
        EvaluationError: there are no labels, two are of one question, or all questions failed.
    """
    asking = _Asking(choose, generator, reader, settings)
    asked = in_batches(labels, asking.ask, "generating", batch)
    answered = [each for each in asked if isinstance(each, _Asked)]
    if not answered:
        raise EvaluationError("there are no questions", remedy="Choose another split.")
    counts = {
        "gold_put_in": sum(not each.evidence.found for each in answered),
        "documents_median": median(len(each.evidence.documents) for each in answered),
    }
    systems = {
        name: _scored(
            name,
            labels,
            [each if isinstance(each, Failure) else each.answers[name] for each in asked],
            counts,
            slices=slices,
            similarity=similarity,
        )
        for name in answered[0].answers
    }
    return systems, list(map(_first_text, asked))


@dataclass(frozen=True, slots=True)
class _Answer:
    """A system's answer, and where it comes from.

    Args:
        prediction: the confidence of a generated answer is its support.
        posterior: how much of it each review contributed.
        withheld: whether its support is too low to be shown.
        origin: more of it for the row, as JSON values.
    """

    prediction: Prediction
    posterior: Mapping[str, float]
    withheld: bool
    origin: Mapping[str, Any] = field(default_factory=dict)

    @property
    def output(self) -> dict[str, Any]:
        """What a row keeps beside the prediction."""
        return {**self.origin, "posterior": dict(self.posterior)}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was read for a question, and each system's answer."""

    evidence: Evidence
    answers: Mapping[str, _Answer]


@dataclass(frozen=True, slots=True)
class _Asking:
    """The systems that answer from the same documents."""

    choose: Callable[[Label], Evidence]
    generator: Generator
    reader: Reader
    settings: GeneratorSettings

    def ask(self, labels: Sequence[Label]) -> list[_Asked]:
        from qa_system.readers.extractive import SPANS

        settings = self.settings
        questions = [label.question for label in labels]
        evidence = [self.choose(label) for label in labels]
        documents = [each.documents for each in evidence]
        readings = self.reader.read(questions, documents, top_k=SPANS)
        prior = {}
        if settings.reader_is_prior:
            prior["prior"] = [reading.calibrated for reading in readings]
        drafted = self._written(questions, documents, readings, **prior)
        answers = {
            "generated": [_of_draft(draft) for draft in drafted],
            "supported": [_of_draft(draft, withhold=True) for draft in drafted],
        }
        if settings.type == "rag":
            unscored = [[replace(one, score=None) for one in each] for each in documents]
            uniform = self._written(questions, unscored, readings)
            answers["uniform prior"] = list(map(_of_draft, uniform))
        answers["reader"] = list(map(_of_reading, readings))
        return [
            _Asked(each, {name: by_question[at] for name, by_question in answers.items()})
            for at, each in enumerate(evidence)
        ]

    def _written(
        self,
        questions: Sequence[str],
        documents: Sequence[Sequence[Document]],
        readings: Sequence[Reading],
        **prior: Sequence[Sequence[float]],
    ) -> list[Draft | None]:
        """Return the generator's best answer to each question, with its support."""
        from qa_system.answering.answers import best_spans
        from qa_system.generators.drafts import drafts

        settings = self.settings
        generate: Callable[..., Sequence[Sequence[Generated]]] = self.generator.generate
        best: list[Draft | None] = []
        answers = generate(questions, documents, 1, **prior)
        for found, own, reading in zip(answers, documents, readings, strict=True):
            spans = best_spans(reading, own) if settings.check_with_reader else None
            best.append(next(iter(drafts(found, own, spans, settings.min_support)), None))
        return best


def _first_text(asked: _Asked | Failure) -> str:
    return "" if isinstance(asked, Failure) else asked.evidence.documents[0].content or ""


def _of_reading(reading: Reading) -> _Answer:
    prediction = Prediction.of(reading)
    document = reading.candidates[0].document if reading.candidates else None
    posterior = {} if document is None else {_review_of(document): 1.0}
    return _Answer(prediction, posterior, withheld=not prediction.text)


def _of_draft(draft: Draft | None, *, withhold: bool = False) -> _Answer:
    if draft is None:
        return _Answer(Prediction("", "", None, 0.0), {}, withheld=False)
    text, support = draft.generated.text, draft.support
    posterior: dict[str, float] = {}
    for document, share in zip(draft.documents, draft.shares, strict=True):
        posterior[_review_of(document)] = posterior.get(_review_of(document), 0.0) + share
    origin = {
        "supported": not draft.withheld,
        "log_probability": draft.generated.log_probability,
        "words_supported": support.words,
        "agreement_with_reader": support.agreement,
    }
    shown = "" if withhold and draft.withheld else text
    prediction = Prediction(shown, text, None, support.score)
    return _Answer(prediction, posterior, draft.withheld, origin)


def _scored(
    name: str,
    labels: Sequence[Label],
    answers: Sequence[_Answer | Failure],
    counts: Mapping[str, float],
    *,
    slices: Sequence[Mapping[str, str]] | None,
    similarity: Similarity | None,
) -> System:
    scored = score_predictions(
        labels,
        [each if isinstance(each, Failure) else each.prediction for each in answers],
        metrics=metrics_of("generator"),
        outputs=[{} if isinstance(each, Failure) else each.output for each in answers],
        slices=slices,
        similarity=similarity,
    )
    counts = {**scored.counts, **counts}
    if name == "supported":
        withheld = sum(isinstance(each, _Answer) and each.withheld for each in answers)
        return System(scored.rows, counts={**counts, "withheld": withheld})
    measures, details = _confidence_measures(scored.rows, answers)
    return System(scored.rows, measures, counts, details)


def _confidence_measures(
    rows: Sequence[Row], answers: Sequence[_Answer | Failure]
) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Measure how useful a system's confidence is, at every threshold."""
    could = np.array([bool(row.output.get("forced")) for row in rows])
    given = could & [isinstance(each, _Answer) and not each.withheld for each in answers]
    confidence = np.array([row.output.get("confidence") or 0.0 for row in rows])
    f1 = np.array([row.scores["forced_has_ans_f1"] or 0.0 for row in rows])
    at = float(given.mean()), float(f1[given].mean()) if given.any() else None
    return {"ece": expected_calibration_error(confidence, f1), "aurc": aurc(confidence, f1)}, {
        "reliability": reliability(confidence, f1),
        "precision_coverage": {
            **precision_coverage(np.where(could, confidence, np.nan), f1),
            "at": at,
        },
    }


def _review_of(document: Document) -> str:
    return str(document.meta.get("review_id", document.id))
