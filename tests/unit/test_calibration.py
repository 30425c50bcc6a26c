import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from qa_system.errors import ModelError
from qa_system.models.locate import ModelLocation, read_manifest
from qa_system.readers.calibration import (
    Calibration,
    Sigmoid,
    calibration_of,
    expected_calibration_error,
    fit_calibration,
    fit_sigmoid,
    fit_threshold,
    keep_calibration,
)


def test_probability_is_the_sigmoid_of_the_scaled_margin():
    probability = Sigmoid(center=1.0, temperature=2.0)
    assert probability(1.0) == 0.5
    assert probability(3.0) == pytest.approx(1 / (1 + math.exp(-1)))
    assert probability(1e6) == 1.0
    assert probability(-math.inf) == 0.0


question = st.tuples(
    st.integers(-20, 20).map(float), st.integers(0, 4).map(lambda n: n / 4), st.booleans()
)


@given(st.lists(question, min_size=1, max_size=30))
def test_threshold_is_as_good_as_any(questions):
    odds, f1, abstaining = (np.array(column) for column in zip(*questions, strict=True))

    def total(threshold):
        return np.where(odds >= threshold, f1, abstaining.astype(float)).sum()

    found = fit_threshold(odds, f1, abstaining)
    assert total(found) == pytest.approx(max(total(t) for t in [*(odds - 0.5), odds.max() + 1]))


def test_threshold_lies_beyond_the_ends_where_that_is_best():
    assert fit_threshold([1.0, 2.0], [1, 1], [0, 0]) == 0.0
    assert fit_threshold([1.0, 2.0], [0, 0], [1, 1]) == 3.0


def test_sigmoid_is_recovered_from_outcomes_that_follow_it():
    generator = np.random.default_rng(0)
    odds = generator.normal(1, 10, 50_000)
    right = generator.random(50_000) < 1 / (1 + np.exp(-(odds - 2) / 5))
    fitted = fit_sigmoid(odds, right)
    assert fitted.center == pytest.approx(2, abs=0.2)
    assert fitted.temperature == pytest.approx(5, rel=0.05)


@given(
    st.lists(
        st.tuples(
            st.floats(-20, 20),
            st.sampled_from([0.0, 0.0, 0.4, 1.0, 1.0]),
            st.sampled_from([0.5, 1.0, 2.0]),
        ),
        min_size=3,
        max_size=40,
    ).filter(lambda rows: len({round(odds, 3) for odds, _, _ in rows}) > 2)
)
def test_sigmoid_is_the_likeliest_that_scipy_finds(rows):
    odds, right, weight = (np.array(column) for column in zip(*rows, strict=True))
    share = weight * len(rows) / weight.sum()
    yes, no = share @ right, share @ (1 - right)
    target = right * (yes + 1) / (yes + 2) + (1 - right) / (no + 2)

    def loss(slope, intercept):
        margin = slope * odds + intercept
        return (share * (np.logaddexp(0, margin) - target * margin)).sum()

    fitted = fit_sigmoid(odds, right, weight)
    oracle = minimize(lambda x: loss(*x), np.zeros(2))
    if 1e-2 < oracle.x[0] < 10:  # else the temperature nears its bound, or has too few digits
        found = loss(1 / fitted.temperature, -fitted.center / fitted.temperature)
        assert found <= oracle.fun + 1e-2


def test_fit_calibration_separates():
    fitted = fit_calibration([-3.0, -2.0, 2.0, 5.0], [0, 0, 0.5, 1], [0, 0, 1, 1], fitted_on="x")
    assert fitted.threshold == 0.0
    assert fitted.fitted_on == "x"


def test_an_answer_is_right_less_often_than_there_is_one():
    generator = np.random.default_rng(1)
    odds = generator.normal(0, 5, 20_000)
    answerable = generator.random(20_000) < 1 / (1 + np.exp(-odds / 5))
    f1 = np.where(answerable, 0.5, 0.9)  # of a question without an answer it counts for nothing
    fitted = fit_calibration(odds, f1, answerable)
    told = np.array([fitted.right(each) for each in odds])
    assert told.mean() == pytest.approx(0.5 * answerable.mean(), abs=0.01)
    assert expected_calibration_error(told, 0.5 * answerable) < 0.05
    assert fitted.answerable.center == pytest.approx(0, abs=0.2)


def test_error_is_the_weighted_gap():
    told = [0.95, 0.95, 0.95, 0.95, 0.15]
    happened = [True, True, True, False, False]
    assert expected_calibration_error(told, happened) == pytest.approx((4 * 0.2 + 0.15) / 5)


def test_manifest_round_trip():
    calibration = Calibration(-0.5, Sigmoid(3.0, 4.0), Sigmoid(-1.0, 4.5), "dev")
    assert Calibration.from_manifest({"calibration": calibration.to_dict()}) == calibration
    assert Calibration.from_manifest({}) == Calibration()
    told = calibration.to_dict()
    for change in (
        {"threshold": "nan"},
        {"threshold": None},
        {"right": {"center": 0.0, "temperature": 0.0}},
        {"right": {"center": 0.0, "temperature": "1"}},
        {"answerable": {"center": float("inf"), "temperature": 1.0}},
        {"answerable": {"temperature": 1.0}},
    ):
        with pytest.raises(ModelError, match="damaged"):
            Calibration.from_manifest({"calibration": {**told, **change}})


def test_a_calibration_is_kept_in_the_manifest_of_an_export(tmp_path):
    (tmp_path / "model.json").write_text('{"task": "reader", "calibration": null}')
    fitted = Calibration(1.5, Sigmoid(0.5, 2.0), fitted_on="x")
    export = ModelLocation("mine", tmp_path, "onnx")
    keep_calibration(fitted, export)
    assert read_manifest(tmp_path)["task"] == "reader"
    assert calibration_of(export) == fitted
    assert [path.name for path in tmp_path.iterdir()] == ["model.json"]


def test_a_calibration_is_kept_in_the_record_of_a_checkpoint(tmp_path):
    checkpoint = ModelLocation("mine", tmp_path, "torch")
    assert calibration_of(checkpoint) == Calibration()
    keep_calibration(Calibration(1.5), checkpoint)
    assert calibration_of(checkpoint) == Calibration(1.5)
    (tmp_path / "training.json").write_text("{")
    with pytest.raises(ModelError, match="record of its training"):
        calibration_of(checkpoint)


def test_what_was_fitted_on_sentences_is_kept_apart(tmp_path):
    location = ModelLocation("mine", tmp_path, "torch")
    whole = Calibration(threshold=-0.5, fitted_on="reviews")
    keep_calibration(whole, location)
    assert calibration_of(location, of_sentences=True) == whole
    moved = whole.moved(0.75)
    assert moved.threshold == 0.25
    keep_calibration(moved, location, of_sentences=True)
    assert calibration_of(location) == whole
    assert calibration_of(location, of_sentences=True) == moved


@given(st.lists(st.integers(-20, 20).map(float), min_size=1, max_size=30), st.floats(0, 1))
def test_equal_caution_comes_as_near_as_any_threshold(odds, share):
    from eval.tasks.calibration import equally_cautious

    def away(threshold):
        return abs(np.mean(np.array(odds) < threshold) - share)

    found = equally_cautious(odds, [1.0] * len(odds), share)
    assert away(found) == pytest.approx(min(away(t + 0.5) for t in [*odds, min(odds) - 1]))


def test_equal_caution_counts_questions_without_any_answer():
    from eval.tasks.calibration import equally_cautious

    assert equally_cautious([-math.inf, 1.0, 3.0], [1, 1, 1], 2 / 3) == 2.0
    assert equally_cautious([-math.inf, 1.0, 3.0], [1, 1, 1], 0.0) == 0.0
    assert equally_cautious([-math.inf], [1], 0.5) == 0.0
