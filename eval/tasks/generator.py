"""How good are generated answers? The generator reads the gold review among others.

Retrieval is not what is measured here: a question comes with the reviews that the users' retriever
finds best, and with the gold one in any case. Four systems answer from the same reviews:
`generated`, the generator's best answer, whatever the reviews say to it; `supported`, the same
answer, withheld where they support it too little; `uniform prior`, the generator again, not told
how near each review is to the question; and `reader`, the extractive one. What withholding is
worth, two numbers tell together: `coverage`, the share of the questions that get an answer, and
`precision`, the mean F1 of the answers given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import fsum
from statistics import median
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from eval.metrics.selective import aurc, precision_coverage, reliability
from eval.runs.run import Row, System
from eval.tasks.candidates import Filters
from eval.tasks.reader import (
    BATCH,
    Failure,
    Prediction,
    Reader,
    Similarity,
    in_batches,
    score_predictions,
)
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
"""What is compared: a prior with none, withholding with none, and what users may be shown."""

ANSWERS = 3
"""Answers that users ask for: with it go the reader's spans that support is checked with."""


class Generator(Protocol):
    """What is evaluated: `RAGGenerator`, `ReviewChat`, or anything that writes as they do."""

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
    """What is read to answer a question.

    Args:
        documents: a gold review's among them, each with its score.
        found: whether the retriever had found that one.
    """

    documents: tuple[Document, ...]
    found: bool


def gold_evidence(
    store: ReviewStore, settings: Settings, filters: Callable[[Label], Filters]
) -> Callable[[Label], Evidence]:
    """Let a retriever choose what a generator reads, the gold review in any case among it.

    Args:
        store: holds the reviews, with embeddings.
        settings: `retriever`, `ranker` and `encoder` say what runs, `generator.documents` how
            many documents are read.
        filters: which reviews compete for a label; see `eval.tasks.candidates.filters_of`.

    Returns:
        What gives a label's documents, the retriever's best first. If no gold review is among
        them, the document nearest to the question of those takes the last place. (Of a question
        without an answer, the gold review is the one that annotators found none in.) A document's
        score is the dense retriever's for just that document, whatever chose it.

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
                    remedy="Index it, or evaluate without --store.",
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
        choose: gives what is read to a label; see `gold_evidence`.
        generator: what is evaluated.
        reader: stands beside it, and says what support is checked with.
        settings: `min_support` and `check_with_reader` say what is withheld; a chat has no prior,
            and no system without one.
        batch: questions in one call.
        slices: features of each label; None: none.
        similarity: see `score_predictions`.

    Returns:
        The systems, and for each question the text of the first document read.

        To the scores of `score_predictions` they add `coverage`, whether an answer was given, and
        over the questions that got one `precision`, its F1. Of these, for the answerable ones,
        also `gold_posterior`, how much of the answer the gold review carried, p(z|x,y), and
        `gold_top`, whether no other carried as much; the reader's answers are carried by the
        review that they stand in. The confidence of what was generated is its support. A question
        on which one system fails, fails for all.

        Measures: `ece` and `aurc`. Details: `reliability`, and `precision_coverage` (see
        `eval.metrics.selective`), whose `at` is where the system stands as it is set. `supported`
        has neither: it is that point of `generated`. Counts: also `gold_put_in` (the retriever
        had not found the gold review), `documents_median`, and of `supported` those `withheld`.

    Raises:
        EvaluationError: there are no labels, two are of one question, or all questions failed.
    """
    from qa_system.answers import best_spans
    from qa_system.generators.drafts import drafts
    from qa_system.system import SPANS_PER_ANSWER

    def written(
        questions: Sequence[str],
        documents: Sequence[Sequence[Document]],
        readings: Sequence[Reading],
        **prior: Sequence[Sequence[float]],
    ) -> list[Draft | None]:
        best: list[Draft | None] = []
        generate: Callable[..., Sequence[Sequence[Generated]]] = generator.generate
        answers = generate(questions, documents, 1, **prior)
        for found, own, reading in zip(answers, documents, readings, strict=True):
            spans = best_spans(reading, own) if settings.check_with_reader else None
            best.append(next(iter(drafts(found, own, spans, settings.min_support)), None))
        return best

    def ask(part: Sequence[Label]) -> list[_Asked]:
        questions = [label.question for label in part]
        evidence = [choose(label) for label in part]
        documents = [each.documents for each in evidence]
        readings = reader.read(questions, documents, top_k=ANSWERS * SPANS_PER_ANSWER)
        prior = {}
        if settings.reader_is_prior:
            prior["prior"] = [reading.calibrated for reading in readings]
        drafted = written(questions, documents, readings, **prior)
        said = {
            "generated": [_of_draft(draft) for draft in drafted],
            "supported": [_of_draft(draft, withhold=True) for draft in drafted],
        }
        if settings.type == "rag":
            unscored = [[replace(one, score=None) for one in each] for each in documents]
            said["uniform prior"] = list(map(_of_draft, written(questions, unscored, readings)))
        said["reader"] = list(map(_of_reading, readings))
        return [
            _Asked(each, {name: by_question[at] for name, by_question in said.items()})
            for at, each in enumerate(evidence)
        ]

    asked = in_batches(labels, ask, "generating", batch)
    answered = [each for each in asked if isinstance(each, _Asked)]
    if not answered:
        raise EvaluationError("there are no questions", remedy="Choose another split.")
    counts = {
        "gold_put_in": sum(not each.evidence.found for each in answered),
        "documents_median": median(len(each.evidence.documents) for each in answered),
    }
    systems: dict[str, System] = {}
    for name in answered[0].said:
        of_system = [each if isinstance(each, Failure) else each.said[name] for each in asked]
        scored = score_predictions(
            labels,
            [each if isinstance(each, Failure) else each.prediction for each in of_system],
            slices=slices,
            similarity=similarity,
        )
        rows = tuple(map(_row, scored.rows, labels, of_system))
        own = dict(counts)
        measures, details = _worth_of_confidence(rows, of_system)
        if name == "supported":
            measures, details = {}, {}
            own["withheld"] = sum(isinstance(each, _Said) and each.withheld for each in of_system)
        systems[name] = System(rows, measures, {**scored.counts, **own}, details)
    first_read = [
        "" if isinstance(each, Failure) else each.evidence.documents[0].content or ""
        for each in asked
    ]
    return systems, first_read


@dataclass(frozen=True, slots=True)
class _Said:
    """An answer, and how it came about.

    Args:
        prediction: with the support of what was generated as its confidence.
        shares: how much of it each review carried.
        withheld: whether its support is too little to give it.
        origin: more of it for the row, as JSON values.
    """

    prediction: Prediction
    shares: Mapping[str, float]
    withheld: bool
    origin: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What was read to a question, and what each system said."""

    evidence: Evidence
    said: Mapping[str, _Said]


def _of_reading(reading: Reading) -> _Said:
    prediction = Prediction.of(reading)
    document = reading.candidates[0].document if reading.candidates else None
    shares = {} if document is None else {_review_of(document): 1.0}
    return _Said(prediction, shares, withheld=not prediction.text)


def _of_draft(draft: Draft | None, *, withhold: bool = False) -> _Said:
    if draft is None:
        return _Said(Prediction("", "", None, 0.0), {}, withheld=False)
    text, support = draft.generated.text, draft.support
    shares: dict[str, float] = {}
    for document, share in zip(draft.documents, draft.shares, strict=True):
        shares[_review_of(document)] = shares.get(_review_of(document), 0.0) + share
    origin = {
        "supported": not draft.withheld,
        "log_probability": draft.generated.log_probability,
        "words_supported": support.words,
        "agreement_with_reader": support.agreement,
    }
    said = "" if withhold and draft.withheld else text
    return _Said(Prediction(said, text, None, support.score), shares, draft.withheld, origin)


def _row(row: Row, label: Label, said: _Said | Failure) -> Row:
    given = bool(row.output["prediction"])
    carried: Mapping[str, float] = {} if isinstance(said, Failure) else said.shares
    gold = gold_documents(label) if given else frozenset()
    most = {review for review, share in carried.items() if share == max(carried.values())}
    scores = {
        "coverage": float(given),
        "precision": row.scores["f1"] if given else None,
        "gold_posterior": fsum(carried.get(review, 0.0) for review in gold) if gold else None,
        "gold_top": float(most <= gold) if gold else None,
    }
    output = dict(row.output)
    if not isinstance(said, Failure):
        output |= {**said.origin, "posterior": dict(carried)}
    return replace(row, scores={**row.scores, **scores}, output=output)


def _worth_of_confidence(
    rows: Sequence[Row], said: Sequence[_Said | Failure]
) -> tuple[dict[str, float | None], dict[str, Any]]:
    """Say what a system's confidence is worth, whatever is withheld as it is set."""
    could = np.array([bool(row.output.get("forced")) for row in rows])
    given = could & [isinstance(each, _Said) and not each.withheld for each in said]
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
