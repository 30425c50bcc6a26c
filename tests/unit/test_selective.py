import itertools
import math

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.metrics.selective import (
    aurc,
    best_threshold,
    confidence_measures,
    coverage_at_error,
    reliability,
    risk_coverage,
    threshold_curve,
)
from qa_system.readers.calibration import expected_calibration_error

NOTHING = math.nan
SCORE = st.sampled_from([0.0, 0.25, 0.5, 1.0])
ODDS = st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.5, NOTHING])
CASES = st.lists(st.tuples(ODDS, SCORE, st.sampled_from([0.0, 1.0])), min_size=1, max_size=10)


def mean_at(threshold, cases):
    # NaN reaches no threshold.
    return np.mean(
        [answered if odds >= threshold else if_abstained for odds, answered, if_abstained in cases]
    )


# Thresholds


@given(CASES)
def test_the_best_threshold_is_the_best_of_all(cases):
    best, threshold = best_threshold(*zip(*cases, strict=True))
    reachable = [odds for odds, _, _ in cases if not math.isnan(odds)]
    assert best == pytest.approx(max(mean_at(each, cases) for each in [*reachable, math.inf]))
    assert (threshold is None) == (not reachable)
    assert best == pytest.approx(mean_at(math.inf if threshold is None else threshold, cases))


def find_best_thresh_v2(scores, na_probs, has_ans):
    """The SQuAD 2.0 evaluation script's, put down from its rules; every question was answered."""
    cur_score = best_score = sum(not has for has in has_ans)
    best_thresh = 0.0
    for qid in sorted(range(len(scores)), key=lambda qid: na_probs[qid]):
        cur_score += scores[qid] if has_ans[qid] else -1
        if cur_score > best_score:
            best_score, best_thresh = cur_score, na_probs[qid]
    return best_score / len(scores), best_thresh


@given(
    st.permutations(range(12)), st.lists(st.tuples(SCORE, st.booleans()), min_size=1, max_size=12)
)
def test_the_best_threshold_is_the_official_one(order, cases):
    odds = np.array(order[: len(cases)], dtype=float)
    scores = [score if answerable else 0.0 for score, answerable in cases]
    answerable = [answerable for _, answerable in cases]
    best, threshold = best_threshold(odds, scores, np.logical_not(answerable))
    na_probs = 1 / (1 + np.exp(odds))
    official, cut = find_best_thresh_v2(scores, na_probs, answerable)
    assert best == pytest.approx(official)
    # Its cut, the probability up to which answers are given, is as good in our terms.
    given_there = np.where(na_probs <= cut, scores, np.logical_not(answerable))
    ours = np.where(odds >= threshold, scores, np.logical_not(answerable))
    assert given_there.mean() == pytest.approx(ours.mean())


@given(CASES)
def test_the_curve_is_the_mean_at_each_threshold(cases):
    odds, answered, if_abstained = zip(*cases, strict=True)
    curve = threshold_curve(odds, {"f1": answered, "em": np.floor(answered)}, if_abstained)
    assert curve["threshold"] == sorted(curve["threshold"])
    exact = [(each, math.floor(score), quiet) for each, score, quiet in cases]
    assert curve["f1"] == pytest.approx([mean_at(each, cases) for each in curve["threshold"]])
    assert curve["em"] == pytest.approx([mean_at(each, exact) for each in curve["threshold"]])
    if curve["f1"]:
        assert max(curve["f1"]) == pytest.approx(best_threshold(odds, answered, if_abstained)[0])


def test_a_long_curve_is_thinned_and_keeps_its_ends():
    rng = np.random.default_rng(3)
    odds, answered, if_abstained = rng.normal(size=5_000), rng.random(5_000), rng.random(5_000)
    curve = threshold_curve(odds, {"f1": answered}, if_abstained)
    assert len(curve["threshold"]) == len(set(curve["threshold"])) == 200
    assert curve["f1"][0] == pytest.approx(answered.mean())
    assert curve["f1"][-1] == pytest.approx(if_abstained.mean())
    cases = list(zip(odds, answered, if_abstained, strict=True))
    assert curve["f1"][77] == pytest.approx(mean_at(curve["threshold"][77], cases))


def test_where_no_question_has_an_answer_to_give():
    assert best_threshold([NOTHING, NOTHING], [0, 0], [1, 0]) == (0.5, None)
    assert threshold_curve([NOTHING], {"f1": [0]}, [1]) == {"threshold": [], "f1": []}


# Risk and coverage


def test_risk_by_hand():
    curve = risk_coverage([0.2, 0.9, 0.5, 0.5, NOTHING], [1.0, 1.0, 0.5, 0.0, 0.0])
    assert curve["coverage"] == pytest.approx([1 / 5, 3 / 5, 4 / 5, 1])
    assert curve["risk"] == pytest.approx([0, 1.5 / 3, 1.5 / 4, 2.5 / 5])


RATED = st.lists(
    st.tuples(st.sampled_from([0.1, 0.5, 0.9, NOTHING]), SCORE), min_size=1, max_size=6
)


@given(RATED)
def test_risk_is_what_goes_wrong_among_the_surest(rated):
    confidence, scores = zip(*rated, strict=True)
    curve = risk_coverage(confidence, scores)
    for coverage, risk in zip(curve["coverage"], curve["risk"], strict=True):
        answered = round(coverage * len(rated))
        surest = sorted(rated, key=lambda each: -each[0] if each[0] == each[0] else 1)[:answered]
        assert risk == pytest.approx(1 - np.mean([score for _, score in surest]))
    assert len(curve["coverage"]) == len({str(each) for each in confidence})
    assert curve["coverage"][-1] == 1


@given(RATED)
def test_a_tie_is_worth_the_mean_of_its_orders(rated):
    areas = []
    for order in itertools.permutations(rated):
        ranked = sorted(order, key=lambda each: -each[0] if each[0] == each[0] else 1)
        wrong = np.cumsum([1 - score for _, score in ranked])
        areas.append(np.mean(wrong / np.arange(1, len(ranked) + 1)))
    assert aurc(*zip(*rated, strict=True)) == pytest.approx(np.mean(areas))


def test_knowing_what_one_knows_is_worth_something():
    scores = np.repeat([1.0, 0.0], 500)
    sure = np.linspace(1, 0, 1_000)
    best, worst, blind = aurc(sure, scores), aurc(-sure, scores), aurc(np.ones(1_000), scores)
    assert blind == pytest.approx(0.5)
    # With half of the answers wrong, the optimum is 1/2 + 1/2 ln 1/2 (Geifman et al., 2019).
    assert best == pytest.approx(0.5 + 0.5 * math.log(0.5), abs=0.002)
    assert worst > blind > best


def test_a_long_curve_of_risks_is_thinned():
    curve = risk_coverage(np.arange(5_000), np.zeros(5_000))
    assert len(curve["coverage"]) == 200
    assert (curve["coverage"][0], curve["coverage"][-1]) == (1 / 5_000, 1)


# Reliability


def test_bins_by_hand():
    found = reliability([0.0, 0.05, 0.1, 1.0, 0.95], [0.0, 1.0, 0.5, 1.0, 0.0])
    assert found["confidence"] == pytest.approx([0.025, 0.1, 0.975])
    assert found["accuracy"] == pytest.approx([0.5, 0.5, 0.5])
    assert found["share"] == pytest.approx([0.4, 0.2, 0.4])


@given(st.lists(st.tuples(st.floats(0, 1), SCORE), min_size=1, max_size=20))
def test_the_bins_are_those_of_the_calibration_error(told):
    confidence, scores = zip(*told, strict=True)
    found = {name: np.array(values) for name, values in reliability(confidence, scores).items()}
    error = np.abs(found["confidence"] - found["accuracy"]) @ found["share"]
    assert error == pytest.approx(expected_calibration_error(confidence, scores))
    assert found["share"].sum() == pytest.approx(1)


# All of it


def test_all_of_it_as_json():
    measures, details = confidence_measures(
        [3.0, 1.0, NOTHING, 2.0],
        [0.9, 0.6, 0.0, 0.7],
        {"em": [1, 0, 0, 0], "f1": [1, 0.5, 0, 0]},
        [0, 0, 1, 1],
    )
    # Answering the first only lets the system abstain rightly on the last two.
    assert measures == {
        "best_em": 3 / 4,
        "best_em_threshold": 2.5,
        "best_f1": 3 / 4,
        "best_f1_threshold": 2.5,
        "ece": pytest.approx((0.1 + 0.1 + 0 + 0.7) / 4),
        "aurc": pytest.approx((0 + 1 / 2 + 1.5 / 3 + 2.5 / 4) / 4),
        # The surest is right, the next has an F1 of 0, the third one of 1/2: 1 wrong of 3.
        "coverage_at_10": 1 / 4,
        "coverage_at_20": 1 / 4,
        "coverage_at_30": 1 / 4,
    }
    assert details.keys() == {"thresholds", "risk_coverage", "reliability"}
    assert orjson.loads(orjson.dumps(details)) == details


# Coverage at an error


@pytest.mark.parametrize(
    ("confidence", "right", "error", "coverage"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 1, 0], 0.25, 1.0),
        ([0.9, 0.8, 0.7, 0.6], [1, 1, 1, 0], 0.24, 3 / 4),
        # Two of two wrong, then a right one: the share of errors falls again, to 2/3.
        ([0.9, 0.8, 0.7], [0, 0, 1], 0.7, 1.0),
        ([0.9, 0.8, 0.7], [0, 0, 1], 0.6, 0.0),
        # Equal confidence is answered together, and what has no answer never.
        ([0.9, 0.9, 0.1], [1, 0, 1], 0.1, 0.0),
        ([0.9, NOTHING, NOTHING, NOTHING], [1, 0, 0, 0], 0.1, 1 / 4),
        ([NOTHING], [0], 0.5, 0.0),
    ],
)
def test_coverage_at_an_error_by_hand(confidence, right, error, coverage):
    assert coverage_at_error(confidence, right, error) == pytest.approx(coverage)


@given(st.lists(st.tuples(ODDS, st.booleans()), min_size=1, max_size=10), st.floats(0, 1))
def test_coverage_at_an_error_is_the_largest(cases, error):
    confidence, right = zip(*cases, strict=True)
    shares = [0.0]
    for threshold in {each for each in confidence if not math.isnan(each)}:
        given_ = [ok for each, ok in cases if each >= threshold]
        if given_.count(False) <= error * len(given_) + 1e-12:
            shares.append(len(given_) / len(cases))
    assert coverage_at_error(confidence, right, error) == pytest.approx(max(shares))
