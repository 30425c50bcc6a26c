import math

import pytest

from qa_system.errors import DataError
from qa_system.readers.calibration import Calibration
from qa_system.training.reader.evaluate import Read, calibrate, measure


def test_scores_are_taken_at_the_best_threshold():
    reads = [Read(4.0, 1.0, 1.0, True), Read(1.0, 0.0, 0.5, True), Read(0.0, 0.0, 0.0, False)]
    found = measure([reads])
    assert found["threshold"] == 0.5
    assert found["em"] == pytest.approx((1 + 0 + 1) / 3)
    assert found["f1"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert found["forced_f1"] == 0.75


def test_each_source_counts_as_much_as_the_next():
    one = [Read(1.0, 1.0, 1.0, True)]
    many = [Read(1.0, 0.0, 0.0, True)] * 9
    assert measure([one, many])["f1"] == 0.5


def test_there_is_nothing_to_measure_without_an_answer():
    with pytest.raises(DataError, match="has an answer"):
        measure([[Read(1.0, 0.0, 0.0, False)]])


def test_a_text_without_a_span_says_nothing_of_confidence():
    reads = [Read(2.0, 1.0, 1.0, True), Read(1.0, 0.0, 0.0, False)]
    no_span = Read(-math.inf, 0.0, 0.0, True)
    fitted, errors = calibrate([reads], "dev")
    assert calibrate([[*reads, no_span]], "dev")[0].right == fitted.right
    assert errors
    assert calibrate([[no_span]], "dev") == (Calibration(), {})
    assert measure([[no_span, reads[1]]])["f1"] == 0.5
