import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from eval.runs import significance
from eval.runs.significance import (
    bootstrap_means,
    bootstrap_p_values,
    holm,
    intervals,
    permutation_p_values,
)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


def column(values):
    return np.array(values, dtype=float)[:, None]


def alone(values):
    """Clusters of one question: the usual bootstrap, the usual test."""
    return list(range(len(values)))


def clustered(rng, clusters, spread, within=1.0, most=8):
    """Questions of items that differ, so that an item's questions are right and wrong together."""
    sizes = rng.integers(1, most + 1, clusters)
    members = np.repeat(np.arange(clusters), sizes)
    scores = rng.normal(0, spread, clusters)[members] + rng.normal(0, within, len(members))
    return scores, members.tolist()


# The bootstrap


def test_two_clusters_by_hand():
    # Drawn: aa, ab or ba, bb; their means: 0/4, 1/3, 2/2.
    means = bootstrap_means(column([0, 0, 1]), ["a", "a", "b"], resamples=40_000)
    values, times = np.unique(means, return_counts=True)
    assert values == pytest.approx([0, 1 / 3, 1])
    assert times / 40_000 == pytest.approx([1 / 4, 1 / 2, 1 / 4], abs=0.01)


def test_clusters_of_one_question_are_the_bootstrap_of_scipy(rng):
    scores = rng.beta(0.4, 0.3, 80)
    ours = intervals(bootstrap_means(column(scores), alone(scores), resamples=20_000))
    theirs = stats.bootstrap(
        (scores,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    assert ours[0] == pytest.approx([theirs.low, theirs.high], abs=0.004)


def test_a_question_counted_several_times_tells_no_more(rng):
    scores, clusters = rng.random((30, 2)), list(range(30))
    once = bootstrap_means(scores, clusters, resamples=200)
    thrice = bootstrap_means(
        np.repeat(scores, 3, axis=0), np.repeat(clusters, 3).tolist(), resamples=200
    )
    assert thrice == pytest.approx(once)


def test_questions_that_do_not_count_are_in_no_mean(rng):
    scores, counted = rng.random(50), rng.random(50) < 0.6
    clusters = rng.integers(0, 12, 50).tolist()
    parts = bootstrap_means(np.column_stack([scores * counted, counted]), clusters, resamples=500)
    means = bootstrap_means(column(np.where(counted, scores, np.nan)), clusters, resamples=500)
    assert means[:, 0] == pytest.approx(parts[:, 0] / parts[:, 1])


def test_resamples_that_draw_no_question_are_left_out():
    scores = column([1.0, 0.0, *[np.nan] * 8])
    means = bootstrap_means(scores, alone(scores), resamples=2_000)
    assert np.isnan(means).mean() == pytest.approx((8 / 10) ** 10, abs=0.03)
    assert intervals(means).tolist() == [[0.0, 1.0]]


def test_all_columns_share_their_draws(rng):
    scores, clusters = rng.random((40, 3)), rng.integers(0, 15, 40).tolist()
    together = bootstrap_means(scores, clusters, resamples=300)
    for at in range(3):
        apart = bootstrap_means(scores[:, [at]], clusters, resamples=300)
        assert apart[:, 0] == pytest.approx(together[:, at])


def test_the_seed_decides_and_the_chunks_do_not(rng, monkeypatch):
    scores, clusters = rng.random((40, 2)), rng.integers(0, 15, 40).tolist()

    def both(seed):
        return (
            bootstrap_means(scores, clusters, resamples=300, seed=seed),
            permutation_p_values(scores - 0.4, clusters, resamples=300, seed=seed),
        )

    means, p_values = both(5)
    assert (means != both(6)[0]).any()
    monkeypatch.setattr(significance, "CELLS", 100)
    in_chunks, p_in_chunks = both(5)
    assert in_chunks == pytest.approx(means)
    assert p_in_chunks == pytest.approx(p_values)


@pytest.mark.parametrize("scores", [[0.2, 0.7], [np.nan, np.nan]])
def test_one_cluster_says_nothing_of_luck(scores):
    means = bootstrap_means(column(scores), ["a", "a"], resamples=10)
    assert np.isnan(means).all()
    assert np.isnan(intervals(means)).all()
    assert np.isnan(bootstrap_p_values(means, [0.45])).all()


def test_memory_stays_bounded(rng):
    scores, clusters = rng.random((5_000, 40)), rng.integers(0, 2_000, 5_000).tolist()
    tracemalloc.start()
    try:
        bootstrap_means(scores, clusters)
        permutation_p_values(scores - 0.5, clusters)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * 2**20  # every draw at once would take 160 MiB


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say(rng):
    hits, naive_hits, runs = 0, 0, 1_500
    for _ in range(runs):
        scores, clusters = clustered(rng, clusters=60, spread=1.0)
        for members in (clusters, alone(scores)):
            means = bootstrap_means(column(scores), members, resamples=400)
            low, high = intervals(means)[0]
            if members is clusters:
                hits += low <= 0 <= high
            else:
                naive_hits += low <= 0 <= high
    assert hits / runs == pytest.approx(0.95, abs=0.02)
    assert naive_hits / runs < 0.8


# The tests of a difference


def test_the_paired_bootstrap_by_hand():
    # Strayed by 2 or more from the difference observed, 2: two of four; and that one itself.
    means = column([0.0, 1.0, 2.0, 4.5])
    assert bootstrap_p_values(means, [2.0]) == pytest.approx([(2 + 1) / 5])


def test_no_difference_is_no_news():
    zeros = np.zeros((30, 1))
    means = bootstrap_means(zeros, alone(zeros), resamples=50)
    assert bootstrap_p_values(means, [0.0]).tolist() == [1.0]
    assert permutation_p_values(zeros, alone(zeros), resamples=50).tolist() == [1.0]


def flipped_by_hand(differences, clusters):
    sums = {}
    for difference, cluster in zip(differences, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + difference
    observed = abs(sum(sums.values()))
    totals = [
        abs(sum(sign * part for sign, part in zip(signs, sums.values(), strict=True)))
        for signs in itertools.product((1, -1), repeat=len(sums))
    ]
    return np.mean([total >= observed - 1e-9 for total in totals])


@given(
    st.lists(
        st.tuples(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 1.0]), st.sampled_from("abcdefg")),
        min_size=1,
        max_size=20,
    )
)
def test_few_clusters_are_tested_exactly(cases):
    differences, clusters = zip(*cases, strict=True)
    found = permutation_p_values(column(differences), clusters)
    assert found[0] == pytest.approx(flipped_by_hand(differences, clusters))


def test_questions_that_count_for_one_system_only_are_in_no_test():
    differences = [0.5, np.nan, -0.2, 1.0, np.nan]
    found = permutation_p_values(column(differences), ["a", "a", "b", "c", "d"])
    assert found[0] == pytest.approx(flipped_by_hand([0.5, -0.2, 1.0], ["a", "b", "c"]))
    assert np.isnan(permutation_p_values(column([np.nan, np.nan]), ["a", "b"])).all()


def scipy_permutation_p(differences, resamples):
    return stats.permutation_test(
        (differences, np.zeros_like(differences)),
        lambda a, b, axis: np.mean(a - b, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=resamples,
        rng=np.random.default_rng(3),
    ).pvalue


def test_clusters_of_one_question_are_the_permutation_test_of_scipy(rng):
    few = rng.normal(0.3, 1, 11)
    exact = scipy_permutation_p(few, np.inf)
    assert permutation_p_values(column(few), alone(few)) == pytest.approx([exact])
    many = rng.normal(0, 1, 60)
    many += 0.2 - many.mean()
    drawn = scipy_permutation_p(many, 20_000)
    assert 0.01 < drawn < 0.5
    found = permutation_p_values(column(many), alone(many), resamples=20_000)
    assert found == pytest.approx([drawn], abs=0.015)


def test_draws_come_close_to_trying_everything(rng):
    differences = rng.normal(0.4, 1, 13)
    exact = flipped_by_hand(differences, alone(differences))
    found = permutation_p_values(column(differences), alone(differences), resamples=40_000)
    assert found == pytest.approx([exact], abs=0.01)


def test_a_p_value_is_never_zero():
    apart = np.ones((50, 1))
    means = bootstrap_means(apart, alone(apart), resamples=99)
    assert bootstrap_p_values(means, [1.0]).tolist() == [0.01]
    assert permutation_p_values(apart, alone(apart), resamples=99).tolist() == [0.01]


@pytest.mark.slow
def test_of_systems_that_are_alike_one_in_twenty_seems_different(rng):
    runs = 1_500
    rejected = {"bootstrap": 0, "permutation": 0, "permutation, unclustered": 0}
    for _ in range(runs):
        differences, clusters = clustered(rng, clusters=60, spread=0.7)
        means = bootstrap_means(column(differences), clusters, resamples=400)
        p_values = {
            "bootstrap": bootstrap_p_values(means, [differences.mean()]),
            "permutation": permutation_p_values(column(differences), clusters, resamples=400),
            "permutation, unclustered": permutation_p_values(
                column(differences), alone(differences), resamples=400
            ),
        }
        for name, (p_value,) in p_values.items():
            rejected[name] += p_value <= 0.05
    assert rejected["bootstrap"] / runs == pytest.approx(0.05, abs=0.02)
    assert rejected["permutation"] / runs == pytest.approx(0.05, abs=0.02)
    assert rejected["permutation, unclustered"] / runs > 0.12


def test_a_difference_that_is_there_is_found(rng):
    differences, clusters = clustered(rng, clusters=150, spread=0.3)
    differences += 0.5
    means = bootstrap_means(column(differences), clusters)
    assert bootstrap_p_values(means, [differences.mean()])[0] < 0.001
    assert permutation_p_values(column(differences), clusters)[0] < 0.001
    assert intervals(means)[0, 0] > 0


# Several comparisons


def test_holm_by_hand():
    # Ascending: 4 x .005, 3 x .01, 2 x .03, 1 x .04; none below the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]).tolist() == [1.0, 1.0]
    assert holm([]).tolist() == []
    assert holm([np.nan, 0.03, 0.02]) == pytest.approx([np.nan, 0.04, 0.04], nan_ok=True)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_by_bonferroni(p_values):
    # A hypothesis falls if every set of hypotheses around it falls: that is what Holm shortens.
    everyone = range(len(p_values))
    sets = [
        chosen
        for size in range(1, len(p_values) + 1)
        for chosen in itertools.combinations(everyone, size)
    ]
    closed = [
        max(
            min(1.0, len(chosen) * min(p_values[each] for each in chosen))
            for chosen in sets
            if at in chosen
        )
        for at in everyone
    ]
    assert holm(p_values) == pytest.approx(closed)
