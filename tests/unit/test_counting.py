"""How counting is fitted: weights against their definition, thresholds by hand."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.tasks.confidence import weighed_outcomes
from eval.tasks.counting import (
    Counted,
    Sentence,
    counting_out_of_fold,
    fit_counting,
    logistic,
    parts_of_items,
    surest_of,
)
from qa_system.consensus.candidates import Marked, clauses_of, mentions_in, weighed_mentions
from qa_system.consensus.confidence import Confidence
from qa_system.consensus.summary import Grouped, Material, verdict_on
from qa_system.consensus.weighing import Counting, Signals
from qa_system.errors import EvaluationError, InvalidArgumentError
from qa_system.opinions import Verdict
from qa_system.readers.calibration import Sigmoid


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_a_regression_is_where_its_loss_is_level(seed):
    rng = np.random.default_rng(seed)
    rows = np.c_[rng.normal(size=(60, 2)), np.ones(60)]
    labels = (rows[:, 0] + rng.normal(size=60) > 0.5).astype(float)
    weights = rng.uniform(0.5, 1.5, size=60)
    found = np.array(logistic(rows, labels, weights, free=1))
    assert (found[:2] >= 0).all()
    told = 1 / (1 + np.exp(-rows @ found))
    slope = rows.T @ (weights * (told - labels)) + found
    kept = found != 0
    assert slope[kept] == pytest.approx(0, abs=0.01)


def sentence(review, judge, is_mention, stance=None, alike=0.0):
    return Sentence(review, Signals(judge=judge, alike=alike), is_mention, is_mention, stance)


def question(number):
    """Three reviews speak of it: two say yes, one no; what the judge says is right."""
    sentences = (
        sentence("r1", 3.0, True, "yes", 0.8),
        sentence("r2", 2.0, True, "no", -0.8),
        sentence("r3", 2.5, True, "yes", 0.7),
        sentence("r4", -2.0, False),
        sentence("r5", -3.0, False, None, 0.8),
    )
    return Counted(f"i{number}", sentences, frozenset({"r1", "r2", "r3"}), True)


QUESTIONS = [question(number) for number in range(12)]
UNANSWERED = [
    Counted(f"s{number}", (sentence("r1", -2.5, False),), frozenset(), True) for number in range(11)
]


def test_what_can_be_told_apart_is():
    fitted = fit_counting([QUESTIONS, UNANSWERED])
    assert fitted.mentions.judge > 0
    assert fitted.mentions.sentence == fitted.mentions.reader == 0
    chances = [fitted.mentions.probability(each.signals) for each in QUESTIONS[0].sentences]
    assert [each >= fitted.mentions.threshold for each in chances] == [True] * 3 + [False] * 2
    assert fitted.stances.decided <= fitted.stances.probability(Signals(alike=0.7))
    # None of the eleven questions as unsure as this has a mention; the others all have.
    assert fitted.not_said == fitted.mentions.probability(Signals(judge=-2.5))
    assert Counting.from_dict(fitted.to_dict()) == fitted
    measured = counting_out_of_fold([QUESTIONS, UNANSWERED])
    assert [each["jaccard"] for each in measured["data"]] == [1.0, 1.0]
    assert (measured["stances_told"], measured["stance_precision"]) == (1.0, 1.0)


def test_what_is_right_by_chance_is_not_decided():
    wrong = {"yes": "no", "no": "yes", None: None}
    turned = [
        replace(each, sentences=tuple(replace(s, stance=wrong[s.stance]) for s in each.sentences))
        for each in QUESTIONS
    ]
    fitted = fit_counting([QUESTIONS + turned])
    assert fitted.stances.decided == 1.0
    assert fitted.not_said is None


def test_the_surest_sentence_of_other_items_decides():
    asked = weighed_outcomes([*QUESTIONS, *UNANSWERED])
    whole = fit_counting([QUESTIONS, UNANSWERED]).mentions
    assert surest_of(QUESTIONS[0], whole)[0] == whole.probability(Signals(judge=3.0))
    assert surest_of(replace(QUESTIONS[0], sentences=()), whole) == (0.0, False)
    # Fitted on other items, the probabilities are near those of the whole.
    assert asked[0].score == pytest.approx(whole.probability(Signals(judge=3.0)), abs=0.05)
    assert [each.right for each in asked] == [each.answerable for each in asked]


def test_nothing_to_tell_apart_is_refused():
    with pytest.raises(EvaluationError, match="mentions and others"):
        fit_counting([UNANSWERED])


@given(st.sets(st.text(max_size=4)), st.integers(1, 7))
def test_items_are_divided_evenly(items, folds):
    parts = list(parts_of_items(items, folds).values())
    sizes = [parts.count(part) for part in range(folds)]
    assert max(sizes) - min(sizes) <= 1


def test_a_weighed_sentence_is_less_sure_than_the_readers_best(document_of_two):
    documents, marked = document_of_two
    clauses = [
        replace(each, confidence=0.6) for each in clauses_of("Is it loud?", documents, marked, 9)
    ]
    assert [each.signals.reader for each in clauses] == [1.5, 0.5]
    told = mentions_in(clauses, documents, marked, 0.5, reader_threshold=0.4, is_weighed=True)
    assert {each.review_id: each.confidence for each in told} == pytest.approx(
        {"r1": 0.8, "r2": 0.4 + 0.6 * (0.8 - 0.4)}
    )


def test_a_weighed_mention_is_as_probably_right_as_was_fitted(document_of_two):
    documents, marked = document_of_two
    clauses = [
        replace(each, confidence=chance)
        for each, chance in zip(
            clauses_of("Is it loud?", documents, marked, 9), (0.3, 0.6), strict=True
        )
    ]
    fitted = Confidence(0.5, Sigmoid(center=0.0, temperature=2.0))
    # As probabilities of being right: the logistic function of half the log-odds.
    right = [1 / (1 + ((1 - chance) / chance) ** 0.5) for chance in (0.3, 0.6)]
    told = weighed_mentions(clauses, documents, marked, 0.2, fitted)
    assert [each.confidence for each in told] == pytest.approx(right)
    assert [each.text for each in told] == ["So loud", "Loud"]
    [surest] = weighed_mentions(clauses, documents, marked, 0.6, fitted)
    assert (surest.review_id, surest.confidence) == ("r2", pytest.approx(right[1]))
    assert not weighed_mentions([], documents, marked, 0.2, fitted)


@pytest.fixture
def document_of_two():
    from haystack import Document

    documents = [Document(id="r1", content="So loud."), Document(id="r2", content="Loud.")]
    marked = [Marked(0, 0, 7, 0.8, True, 1.5), Marked(1, 0, 4, 0.7, True, 0.5)]
    return documents, marked


@pytest.mark.parametrize(
    ("surest", "not_said", "verdict"),
    [
        (0.1, 0.2, Verdict("not_said", 0, 0)),
        (None, 0.2, Verdict("not_said", 0, 0)),
        (0.3, 0.2, None),
        (None, 0.0, None),
        (0.3, 1.0, Verdict("not_said", 0, 0)),
    ],
)
def test_not_said_needs_evidence(document_of_two, surest, not_said, verdict):
    material = Material("Is it loud?", document_of_two[0])
    assert verdict_on([Grouped(material, [], surest)], 2, not_said) == verdict


@pytest.mark.parametrize(
    "change",
    [
        {"mentions": None},
        {"mentions": {"judge": 1.0}},
        {"stances": {"alike": 1.0, "own": float("nan"), "decided": 0.7}},
        {"stances": {"alike": 1.0, "own": 0.3, "decided": 1.7}},
        {"stances": {"alike": 1.0, "own": 0.3, "decided": 0.7, "more": 1}},
        {"not_said": "low"},
    ],
)
def test_a_counting_is_read_only_if_it_is_sound(change):
    whole = fit_counting([QUESTIONS]).to_dict()
    assert Counting.from_dict(whole).to_dict() == whole
    with pytest.raises(InvalidArgumentError):
        Counting.from_dict({**whole, **change})
