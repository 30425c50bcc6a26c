"""Thresholds that keep an error: by hand, by scipy's binomial, and on simulated data."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.consensus.confidence import Confidence
from qa_system.consensus.max_error import (
    Trial,
    binomial_tail,
    lowest_error,
    threshold_for,
    trials,
)
from qa_system.errors import ConfigError
from qa_system.readers.calibration import Sigmoid


@given(st.integers(0, 60), st.integers(1, 60), st.floats(0.01, 0.99))
def test_the_binomial_is_scipys(most, draws, share):
    stats = pytest.importorskip("scipy.stats")
    assert binomial_tail(most, draws, share) == pytest.approx(
        stats.binom.cdf(most, draws, share), abs=1e-9
    )


def test_the_binomial_by_hand():
    # No head in three tosses: 1/8; one at most: 4/8.
    assert binomial_tail(0, 3, 0.5) == pytest.approx(1 / 8)
    assert binomial_tail(1, 3, 0.5) == pytest.approx(1 / 2)
    assert binomial_tail(3, 3, 0.5) == pytest.approx(1)


def outcomes(*groups):
    """Made of (score, right, wrong)."""
    return [
        (score, is_right)
        for score, right, wrong in groups
        for is_right in [True] * right + [False] * wrong
    ]


def test_thresholds_by_hand():
    # Tenths of 100 questions: 10 with .9, 20 with .8 beside them, the rest with .1.
    found = trials(outcomes((0.9, 10, 0), (0.8, 18, 2), (0.1, 35, 35)))
    assert found == [Trial(0.9, 10, 0), Trial(0.8, 30, 2), Trial(0.1, 100, 37)]


def test_the_least_number_of_right_answers():
    # .9 ** 28 = .0523 is above .05, .9 ** 29 = .0471 is not.
    assert threshold_for(outcomes((0.9, 28, 0)), 0.1) is None
    assert threshold_for(outcomes((0.9, 29, 0)), 0.1) == 0.9


def test_the_first_failure_ends_it():
    # 60 answers, 1 wrong: P(1 or fewer of 60 at .1) = .9**60 + 60 * .1 * .9**59 = .0138.
    # 100 answers, 41 wrong: not below .1. Of 300 answers 41: the same.
    sure, unsure, rest = (0.9, 59, 1), (0.5, 0, 40), (0.1, 200, 0)
    assert threshold_for(outcomes(sure, unsure, rest), 0.1) == 0.9
    assert threshold_for(outcomes(unsure, rest), 0.1) is None


def test_the_lowest_error_is_kept_and_no_lower():
    found = outcomes((0.9, 55, 5), (0.2, 20, 80))
    lowest = lowest_error(found)
    assert threshold_for(found, lowest) is not None
    assert threshold_for(found, lowest - 0.01) is None
    assert lowest_error([]) is None


def test_a_promise_holds_in_nineteen_of_twenty():
    """On data whose error at each threshold is known: wrong with probability 1 - score."""
    draw = random.Random(5)
    broken = 0
    for _ in range(400):
        scores = [draw.random() for _ in range(300)]
        threshold = threshold_for([(s, draw.random() < s) for s in scores], 0.2)
        # The mean of 1 - score above t is (1 - t) / 2.
        broken += threshold is not None and (1 - threshold) / 2 > 0.2
    assert broken / 400 <= 0.08


def test_a_promise_that_cannot_be_kept_names_the_lowest():
    fitted = Confidence(0.5, Sigmoid(), tuple(outcomes((0.9, 40, 0), (0.2, 0, 40))), "some")
    assert fitted.with_error(0.1).threshold == 0.9
    with pytest.raises(ConfigError) as refused:
        fitted.with_error(0.02)
    assert "the lowest error that one keeps is 0.08" in str(refused.value)
    # The threshold of mentions is never lowered.
    assert Confidence(0.95, Sigmoid(), fitted.outcomes, "some").with_error(0.1).threshold == 0.95
