"""A test that cannot find anything says so."""

import logging

import numpy as np
import pytest

from eval.runs.paired import Resampling, compare_pairs
from eval.runs.run import Scores


def compared(resamples, clusters=40, systems=4):
    """The smallest adjusted p of differences that are as large as can be."""
    names = [f"s{number}" for number in range(systems)]
    scores = {
        name: Scores(("mrr",), np.full((clusters, 1), float(number)))
        for number, name in enumerate(names)
    }
    pairs = [(a, b) for at, a in enumerate(names) for b in names[:at]]
    found = compare_pairs(
        pairs, scores, ["mrr"], Resampling([*map(str, range(clusters))], resamples)
    )
    return min(each["p_holm"] for each in found)


def test_too_few_resamples_are_warned_of(caplog):
    with caplog.at_level(logging.WARNING):
        assert compared(100) == pytest.approx(6 / 101)
    [warning] = caplog.messages
    assert "100 resamples and 6 comparisons" in warning
    assert "smallest p that can be reached is 0.059" in warning
    assert "--resamples 119 or more" in warning


def test_as_many_as_were_named_are_enough(caplog):
    with caplog.at_level(logging.WARNING):
        assert compared(119) <= 0.05
        assert compared(118) > 0.05
    assert len(caplog.messages) == 1


def test_few_clusters_are_tested_exactly_whatever_the_resamples(caplog):
    with caplog.at_level(logging.WARNING):
        assert compared(100, clusters=12) == pytest.approx(6 * 2 / 2**12)
    assert caplog.messages == []
