import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.errors import ModelError
from qa_system.readers.calibration import (
    Calibration,
    expected_calibration_error,
    fit_calibration,
    fit_temperature,
    fit_threshold,
)


def test_probability_is_the_sigmoid_of_the_scaled_margin():
    calibration = Calibration(threshold=1.0, temperature=2.0)
    assert calibration.probability(1.0) == 0.5
    assert calibration.probability(3.0) == pytest.approx(1 / (1 + math.exp(-1)))
    assert calibration.probability(1e6) == 1.0
    assert calibration.probability(-1e6) == 0.0


question = st.tuples(
    st.integers(-20, 20).map(float), st.integers(0, 4).map(lambda n: n / 4), st.booleans()
)


@given(st.lists(question, min_size=1, max_size=30))
def test_threshold_is_as_good_as_any(questions):
    odds, f1, silent = (np.array(column) for column in zip(*questions, strict=True))

    def total(threshold):
        return np.where(odds >= threshold, f1, silent.astype(float)).sum()

    found = fit_threshold(odds, f1, silent)
    assert total(found) == pytest.approx(max(total(t) for t in [*(odds - 0.5), odds.max() + 1]))


def test_threshold_lies_beyond_the_ends_where_that_is_best():
    assert fit_threshold([1.0, 2.0], [1, 1], [0, 0]) == 0.0
    assert fit_threshold([1.0, 2.0], [0, 0], [1, 1]) == 3.0


def test_temperature_is_recovered_from_outcomes_that_follow_it():
    generator = np.random.default_rng(0)
    odds = generator.normal(0, 10, 50_000)
    right = generator.random(50_000) < 1 / (1 + np.exp(-(odds - 2) / 5))
    assert fit_temperature(odds, right, 2.0) == pytest.approx(5, rel=0.05)


def test_temperature_is_the_likeliest_of_a_grid():
    generator = np.random.default_rng(1)
    odds = generator.normal(0, 4, 200)
    right = generator.random(200) < 0.5

    def loss(temperature):
        margin = odds / temperature
        return (np.logaddexp(0, margin) - right * margin).sum()

    found = fit_temperature(odds, right, 0.0)
    assert loss(found) <= min(loss(t) for t in np.geomspace(0.1, 500, 200)) + 1e-6


def test_fit_calibration_separates():
    fitted = fit_calibration([-3.0, -2.0, 2.0, 5.0], [0, 0, 0.5, 1], [0, 0, 1, 1], fitted_on="x")
    assert fitted.threshold == 0.0
    assert fitted.fitted_on == "x"


def test_error_is_the_weighted_gap():
    told = [0.95, 0.95, 0.95, 0.95, 0.15]
    happened = [True, True, True, False, False]
    assert expected_calibration_error(told, happened) == pytest.approx((4 * 0.2 + 0.15) / 5)


def test_manifest_round_trip():
    calibration = Calibration(-0.5, 4.0, "dev")
    assert Calibration.from_manifest({"calibration": calibration.to_dict()}) == calibration
    assert Calibration.from_manifest({}) == Calibration()
    with pytest.raises(ModelError, match="damaged"):
        Calibration.from_manifest({"calibration": {"threshold": "high"}})
