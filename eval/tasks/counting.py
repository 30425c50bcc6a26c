"""Fit how mentions and stances are told, on questions labelled over all reviews of their item."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import floor
from operator import itemgetter
from statistics import fmean
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eval.metrics.points import jaccard
from eval.metrics.selective import RIGHT
from eval.tasks.candidates import temporary_index
from qa_system.config import Settings, changed
from qa_system.consensus.candidates import quoted
from qa_system.consensus.mentions import Mention
from qa_system.consensus.weighing import LOWEST, Counting, Leaning, Signals, Weighing
from qa_system.datasets.mentions import MarkedMention, MarkedQuestion
from qa_system.errors import EvaluationError
from qa_system.metrics import f1
from qa_system.opinions import Stance

__all__ = [
    "FOLDS",
    "Counted",
    "Sentence",
    "counted_questions",
    "counting_out_of_fold",
    "fit_counting",
    "logistic",
    "parts_of_items",
    "surest_of",
    "surest_out_of_fold",
]

Array = NDArray[np.float64]

FOLDS: Final = 5
PRECISION: Final = 0.8
"""The measured share of right ones among stances that are told, and among "not said"."""
LEAST_TOLD: Final = 10
"""Stances, or questions, that a measured share needs."""
PENALTY: Final = 1.0
"""Of a regression's squared weights, against the sum of its losses."""
STEPS: Final = 50
"""Of Newton's method; it takes some ten."""
THRESHOLDS: Final = tuple(percent / 100 for percent in range(5, 96))


@dataclass(frozen=True, slots=True)
class Sentence:
    """A sentence that was judged for a question.

    Args:
        review_id: its review.
        signals: what is known of it.
        is_mention: whether it says what an annotator marked.
        is_right: whether what is quoted of it has an F1 of .5 with what an annotator marked.
        stance: what its review answers, according to the annotators, if it is a mention.
    """

    review_id: str
    signals: Signals
    is_mention: bool
    is_right: bool
    stance: Stance | None


@dataclass(frozen=True, slots=True)
class Counted:
    """A labelled question with its sentences.

    Args:
        item_id: the item; an item's questions are in one fold.
        sentences: those that were judged.
        mentioning: ids of the reviews that speak of it.
        is_polar: whether yes or no answers it.
    """

    item_id: str
    sentences: tuple[Sentence, ...]
    mentioning: frozenset[str]
    is_polar: bool


def counted_questions(questions: Sequence[MarkedQuestion], settings: Settings) -> list[Counted]:
    """Find, read and judge the sentences of labelled questions.

    Args:
        questions: with their labels and reviews, which are put into a temporary index.
        settings: what users run; what was fitted before plays no part.

    Raises:
        QASystemError: a store or model cannot be opened.
    """
    from qa_system.pipelines import to_read
    from qa_system.retrievers.registry import mode_of

    reviews = {review.id: review for each in questions for review in each.reviews}.values()
    embed = mode_of(to_read(settings)).needs_embeddings
    with temporary_index(reviews, settings, embed=embed) as placed:
        bare = {"answers.confidence": os.devnull, "answers.max_error": None}
        return list(_counted(questions, changed(placed, bare)))


def _counted(questions: Sequence[MarkedQuestion], settings: Settings) -> Iterator[Counted]:
    from qa_system.consensus.summary import Material
    from qa_system.pipelines import build_consensus, build_reader, last, retrieve, to_read
    from qa_system.readers.extractive import SPANS
    from qa_system.stores import open_store
    from qa_system.stores.filters import of_item

    found = to_read(settings)
    reader, builder = build_reader(settings), build_consensus(settings)
    with open_store(settings.store) as store:
        retrieval, name = retrieve(store, found), last(found)
        for each in questions:
            asked = {"query": each.question, "filters": of_item(each.item_id, None)}
            documents = retrieval.run(asked, include_outputs_from={name})[name]["documents"]
            [reading] = reader.read([each.question], [documents], top_k=SPANS)
            marked = builder.marked_in(documents, reading.candidates, reading.decision.threshold)
            [clauses] = builder.judged([Material(each.question, documents, marked)])
            quotes = [
                quoted(clause, documents[clause.document].content or "", marked).text
                for clause in clauses
            ]
            labels = {label.review_id: label for label in each.mentions}
            yield Counted(
                each.item_id,
                tuple(map(_sentences_of(labels), clauses, quotes)),
                frozenset(labels),
                each.polar is True,
            )


def _sentences_of(labels: Mapping[str, MarkedMention]) -> Callable[[Mention, str], Sentence]:
    """Return what makes a sentence of a clause and its quote, by the labels of a question."""
    texts = [span.text for label in labels.values() for span in label.spans]

    def sentence_of(clause: Mention, quote: str) -> Sentence:
        label = labels.get(clause.review_id)
        is_mention = label is not None and any(
            span.start < clause.end and clause.start < span.end for span in label.spans
        )
        return Sentence(
            clause.review_id,
            clause.signals,
            is_mention,
            bool(texts) and f1(quote, texts) >= RIGHT,
            label.stance if label is not None and is_mention else None,
        )

    return sentence_of


def fit_counting(data: Sequence[Sequence[Counted]]) -> Counting:
    """Fit the weights and thresholds of counting.

    The weights of mentions are the likeliest, each question counting as much as any other. Their
    threshold is the one with the highest F0.5 of the reviews that are counted, the mean over data
    sets: a quote that is none does more harm than one that is missed. A stance is
    decided from the lowest probability on at which four fifths of those told of mentions are the
    annotators'.
    "Not said" is told below the highest probability of the surest sentence below which four fifths
    of polar questions have no mention.

    Args:
        data: of each data set its questions.

    Raises:
        EvaluationError: there is nothing to tell apart.
    """
    questions = [each for own in data for each in own]
    weighing = _fit_weighing(questions)
    weighing = _with_threshold(weighing, data)
    leaning = _fit_leaning(questions)
    leaning = _with_decided(leaning, weighing, questions)
    return Counting(weighing, leaning, _not_said(weighing, questions))


def counting_out_of_fold(data: Sequence[Sequence[Counted]], folds: int = FOLDS) -> dict[str, Any]:
    """Measure a fit on questions about items that it was not made on.

    Returns:
        Of each data set the precision and recall of the reviews counted, their similarity to those
        labelled, the mean error of the counts; over all, of the mentions counted for polar
        questions, the share with a stance, and the precision of these.
    """
    part_of = parts_of_items({each.item_id for own in data for each in own}, folds)
    fitted = {
        part: fit_counting(
            [[each for each in own if part_of[each.item_id] != part] for own in data]
        )
        for part in set(part_of.values())
    }
    of_data = []
    told: list[bool] = []
    spoken = 0
    for own in data:
        pairs = []
        for each in own:
            fit = fitted[part_of[each.item_id]]
            best = _best(each, fit.mentions)
            pairs.append((frozenset(best), each.mentioning))
            if each.is_polar:
                stances = [
                    (fit.stances.stance(one.signals), one.stance)
                    for one in best.values()
                    if one.is_mention
                ]
                told += [mine == right for mine, right in stances if mine is not None]
                spoken += len(stances)
        of_data.append(_agreement(pairs))
    return {
        "data": of_data,
        "stance_precision": fmean(told) if told else None,
        "stances_told": len(told) / spoken if spoken else None,
    }


def surest_of(question: Counted, weighing: Weighing) -> tuple[float, bool]:
    """Return the probability of a question's surest sentence, and whether its quote is right."""
    told = [(weighing.probability(each.signals), each.is_right) for each in question.sentences]
    return max(told, key=itemgetter(0), default=(0.0, False))


def surest_out_of_fold(
    questions: Sequence[Counted], folds: int = FOLDS
) -> list[tuple[float, bool]]:
    """Return `surest_of` each question, with weights that were fitted on other items.

    What is fitted on these probabilities then holds for new questions, as in scikit-learn's
    `CalibratedClassifierCV(ensemble=False)`.
    """
    part_of = parts_of_items({each.item_id for each in questions}, folds)
    fitted = {
        part: _fit_weighing([each for each in questions if part_of[each.item_id] != part])
        for part in set(part_of.values())
    }
    return [surest_of(each, fitted[part_of[each.item_id]]) for each in questions]


def _agreement(pairs: Sequence[tuple[frozenset[str], frozenset[str]]]) -> dict[str, float]:
    right = sum(len(found & gold) for found, gold in pairs)
    return {
        "precision": right / max(1, sum(len(found) for found, _ in pairs)),
        "recall": right / max(1, sum(len(gold) for _, gold in pairs)),
        "jaccard": fmean(_alike(*pair) for pair in pairs),
        "count_error": fmean(
            abs(len(found) - len(gold)) / max(1, len(gold)) for found, gold in pairs
        ),
    }


def _f_half(pairs: Sequence[tuple[frozenset[str], frozenset[str]]]) -> float:
    """Return F0.5 of what was found, and what is right, in all (van Rijsbergen, 1979, ch. 7).

    >>> _f_half([(frozenset("abcd"), frozenset("ab"))])  # precision 1/2, recall 1
    0.5555555555555556
    """
    right = sum(len(found & gold) for found, gold in pairs)
    counted, labelled = (sum(map(len, each)) for each in zip(*pairs, strict=True))
    return 1.25 * right / max(1.0, counted + 0.25 * labelled)


def _alike(found: frozenset[str], gold: frozenset[str]) -> float:
    """Return the Jaccard similarity; of two sets without an element, 1."""
    return jaccard(found, gold) if found or gold else 1.0


def _best(question: Counted, weighing: Weighing) -> dict[str, Sentence]:
    """Return the best sentence of each review that is counted."""
    best: dict[str, tuple[float, Sentence]] = {}
    for each in question.sentences:
        probability = weighing.probability(each.signals)
        if probability >= weighing.threshold and (
            each.review_id not in best or probability > best[each.review_id][0]
        ):
            best[each.review_id] = probability, each
    return {review: sentence for review, (_, sentence) in best.items()}


def _fit_weighing(questions: Sequence[Counted]) -> Weighing:
    rows, labels, weights = [], [], []
    for question in questions:
        for each in question.sentences:
            rows.append(_of_mention(each.signals))
            labels.append(float(each.is_mention))
            weights.append(1 / len(question.sentences))
    if len(set(labels)) < 2:
        raise EvaluationError("counting needs sentences that are mentions and others")
    scaled = np.array(weights) * len(weights) / sum(weights)
    judge, reader, sentence, marked, bias = logistic(
        np.array(rows), np.array(labels), scaled, free=2
    )
    return Weighing(judge, reader, marked, sentence, bias, threshold=0.5)


def _of_mention(signals: Signals) -> tuple[float, ...]:
    is_marked = signals.reader is not None
    reader = max(signals.reader, LOWEST) if signals.reader is not None else 0.0
    return signals.judge, reader, signals.sentence, float(is_marked), 1.0


def _with_threshold(weighing: Weighing, data: Sequence[Sequence[Counted]]) -> Weighing:
    told = [
        [(_probabilities(each, weighing), each.mentioning) for each in own] for own in data if own
    ]

    def worth(threshold: float) -> float:
        return fmean(
            _f_half(
                [
                    (frozenset(one for one, p in found.items() if p >= threshold), gold)
                    for found, gold in own
                ]
            )
            for own in told
        )

    return replace(weighing, threshold=max(THRESHOLDS, key=worth))


def _probabilities(question: Counted, weighing: Weighing) -> dict[str, float]:
    found: dict[str, float] = {}
    for each in question.sentences:
        own = weighing.probability(each.signals)
        found[each.review_id] = max(own, found.get(each.review_id, 0.0))
    return found


def _fit_leaning(questions: Sequence[Counted]) -> Leaning:
    decided = [
        each
        for question in questions
        if question.is_polar
        for each in question.sentences
        if each.stance in ("yes", "no")
    ]
    if not decided:
        return Leaning()
    rows = np.array([(each.signals.alike, each.signals.own) for each in decided])
    labels = np.array([float(each.stance == "yes") for each in decided])
    # As many of either: a leaning has no bias.
    yes = max(1.0, labels.sum())
    weights = (
        np.where(labels == 1, len(labels) / yes, len(labels) / max(1.0, len(labels) - yes)) / 2
    )
    alike, own = logistic(rows, labels, weights, free=0)
    return Leaning(alike, own)


def _with_decided(leaning: Leaning, weighing: Weighing, questions: Sequence[Counted]) -> Leaning:
    told = []
    for question in questions:
        for each in _best(question, weighing).values() if question.is_polar else ():
            if not each.is_mention:
                continue
            yes = leaning.probability(each.signals)
            told.append((max(yes, 1 - yes), each.stance == ("yes" if yes > 0.5 else "no")))
    lowest = _lowest_with_precision([(-sure, right) for sure, right in told])
    return replace(leaning, decided=1.0 if lowest is None else floor(-lowest * 1e4) / 1e4)


def _not_said(weighing: Weighing, questions: Sequence[Counted]) -> float | None:
    polar = [
        (surest_of(each, weighing)[0], not each.mentioning) for each in questions if each.is_polar
    ]
    return _lowest_with_precision(polar)


def _lowest_with_precision(told: Sequence[tuple[float, bool]]) -> float | None:
    """Return the highest value up to which four fifths are right; None: there is none."""
    found, right = None, 0
    ordered = sorted(told)
    for number, (value, is_right) in enumerate(ordered, start=1):
        right += is_right
        is_last = number == len(ordered) or ordered[number][0] > value
        if is_last and number >= LEAST_TOLD and right >= PRECISION * number:
            found = value
    return found


def logistic(rows: Array, labels: Array, weights: Array, *, free: int) -> list[float]:
    """Fit a logistic regression by Newton's method; weights that come out negative are 0.

    Args:
        rows: (n, features).
        labels: (n,) 0 or 1.
        weights: of the rows, (n,).
        free: how many of the last features may have a negative weight.

    Returns:
        The weight of each feature.
    """
    kept = list(range(rows.shape[1]))
    while True:
        found = _newton(rows[:, kept], labels, weights)
        negative = [
            at
            for at, value in zip(kept, found, strict=True)
            if value < 0 and at < rows.shape[1] - free
        ]
        if not negative:
            fitted = dict(zip(kept, found.tolist(), strict=True))
            return [round(fitted.get(at, 0.0), 4) for at in range(rows.shape[1])]
        kept = [at for at in kept if at not in negative]


def _newton(rows: Array, labels: Array, weights: Array) -> Array:
    found = np.zeros(rows.shape[1])
    for _ in range(STEPS):
        told = 1 / (1 + np.exp(-np.clip(rows @ found, -30, 30)))
        slope = rows.T @ (weights * (told - labels)) + PENALTY * found
        curve = (rows * (weights * told * (1 - told))[:, None]).T @ rows
        step = np.linalg.solve(curve + PENALTY * np.eye(len(found)), slope)
        found = found - step
        if np.abs(step).max(initial=0.0) < 1e-8:
            break
    return found


def parts_of_items(items: Collection[str], folds: int) -> dict[str, int]:
    """Divide items into parts of one size, in an order that depends on their names only."""
    ordered = sorted(items, key=lambda item: hashlib.sha256(item.encode()).digest())
    return {item: place % folds for place, item in enumerate(ordered)}
