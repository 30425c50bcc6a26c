"""Points compared with labelled ones: by hand, and with scipy's assignment beside ours."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.metrics.points import (
    Match,
    best_assignment,
    count_errors,
    jaccard,
    matches,
    point_f1,
    repeated,
)

IDS = st.frozensets(st.sampled_from("abcdefg"), min_size=1)
GAINS = st.integers(1, 6).flatmap(
    lambda columns: st.lists(
        st.lists(st.integers(0, 4).map(lambda n: n / 4), min_size=columns, max_size=columns),
        min_size=1,
        max_size=6,
    )
)


def total(gains, pairs):
    return sum(gains[row][column] for row, column in pairs)


@given(GAINS)
def test_the_assignment_is_scipys(gains):
    optimize = pytest.importorskip("scipy.optimize")
    pairs = best_assignment(gains)
    theirs = optimize.linear_sum_assignment(np.array(gains), maximize=True)
    assert total(gains, pairs) == pytest.approx(total(gains, zip(*theirs, strict=True)))
    assert len(pairs) == min(len(gains), len(gains[0]))
    assert len({row for row, _ in pairs}) == len({column for _, column in pairs}) == len(pairs)


@given(GAINS.filter(lambda gains: len(gains) <= 4 and len(gains[0]) <= 4))
def test_no_other_assignment_is_better(gains):
    rows, columns = range(len(gains)), range(len(gains[0]))
    if len(rows) <= len(columns):
        ways = [list(zip(rows, each, strict=True)) for each in permutations(columns, len(rows))]
    else:
        ways = [list(zip(each, columns, strict=True)) for each in permutations(rows, len(columns))]
    assert total(gains, best_assignment(gains)) == pytest.approx(
        max(total(gains, way) for way in ways)
    )


def test_matches_by_hand():
    gold = [{"a", "b", "c", "d"}, {"e", "f"}, {"g"}]
    # The first is half of the first gold point, the second a third of the second one.
    points = [{"a", "b"}, {"e", "x"}, {"g"}]
    assert matches(points, gold) == [Match(0, 0, 0.5), Match(2, 2, 1.0)]
    assert point_f1(points, gold) == pytest.approx(2 * 2 / 6)
    assert count_errors(points, [2, 2, 3], gold) == [0.5, 1.0, 2.0]


def test_a_point_is_one_labelled_point_only():
    # Key points may share comments; both are like the one point, and one of them gets it.
    gold = [{"a", "b"}, {"a", "b", "c"}]
    assert matches([{"a", "b"}], gold) == [Match(0, 0, 1.0)]
    assert point_f1([{"a", "b"}], gold) == pytest.approx(2 / 3)


def test_the_sum_counts_in_an_assignment():
    # The first is more like the first labelled point (2/3), and leaves it to the second.
    points = [{"a", "b"}, {"a", "c"}]
    gold = [{"a", "b", "c"}, {"b"}]
    assert [(one, other) for one, other, _ in matches(points, gold)] == [(0, 1), (1, 0)]


@pytest.mark.parametrize(
    ("points", "gold", "f1"),
    [([], [], 1.0), ([{"a"}], [], 0.0), ([], [{"a"}], 0.0), ([{"a"}], [{"a"}], 1.0)],
)
def test_points_of_nothing(points, gold, f1):
    assert point_f1(points, gold) == f1


@given(st.lists(IDS, max_size=5), st.lists(IDS, max_size=5))
def test_f1_is_between_0_and_1_and_symmetric(points, gold):
    found = point_f1(points, gold)
    assert 0 <= found <= 1
    assert point_f1(points, points) == 1
    assert found == pytest.approx(point_f1(gold, points))


def test_jaccard_of_nothing():
    assert jaccard([], []) == 0.0


@pytest.mark.parametrize(
    ("texts", "again"),
    [
        ([], 0),
        (["It runs small.", "It does not run small."], 0),
        (["It runs small.", "it RUNS small"], 1),
        (["a b c d e", "a b c d", "a b c"], 1),  # 4 of 5; 3 of 5 and 3 of 4 are too few
        (["!!!", "???"], 1),
    ],
)
def test_what_is_shown_again(texts, again):
    assert repeated(texts) == again
