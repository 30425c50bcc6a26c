"""Ties: the score of a ranking is the mean over all orders of documents with equal scores."""

import itertools
from math import log2
from statistics import fmean

import pytest
from haystack import Document
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics import metrics_of, score_all
from eval.metrics.ranking import (
    average_precision,
    hit_at_k,
    ndcg_at_k,
    recall_at_k,
    reciprocal_rank,
)
from qa_system.metrics import first_relevant, mean_reciprocal
from qa_system.records import AnswerSpan, Label
from qa_system.retrievers.joiner import HybridJoiner
from qa_system.ties import best_documents, fetch_through_tie, through_tie, tie_breaker

METRICS = (recall_at_k, hit_at_k, ndcg_at_k, reciprocal_rank, average_precision)
LABEL = Label("q", "How is it?", None, "0", "Good.", (AnswerSpan("Good", 0, 4),))


class TestByHand:
    """d1 first, then d2, d3 and d4 with one score, of which d3 and d4 are gold, then d5."""

    RANKED = ("d1", "d2", "d3", "d4", "d5")
    SCORES = (3.0, 2.0, 2.0, 2.0, 1.0)
    GOLD = frozenset({"d3", "d4"})

    def at(self, metric, k):
        return metric(self.RANKED, self.GOLD, k, self.SCORES)

    def test_recall_and_hit(self):
        assert [self.at(recall_at_k, k) for k in (1, 2, 3, 4)] == pytest.approx(
            [0, 1 / 3, 2 / 3, 1]
        )
        # Of the first two of the tie both are gold in 1 of 3 cases, one in 2 of 3.
        assert [self.at(hit_at_k, k) for k in (1, 2, 3)] == pytest.approx([0, 2 / 3, 1])

    def test_reciprocal_rank(self):
        assert self.at(reciprocal_rank, 5) == pytest.approx(2 / 3 * 1 / 2 + 1 / 3 * 1 / 3)
        assert self.at(reciprocal_rank, 2) == pytest.approx(2 / 3 * 1 / 2)

    def test_average_precision(self):
        # The gold ones are at 2 and 3, 2 and 4, or 3 and 4.
        orders = [1 / 2 + 2 / 3, 1 / 2 + 2 / 4, 1 / 3 + 2 / 4]
        assert self.at(average_precision, 5) == pytest.approx(fmean(orders) / 2)

    def test_ndcg(self):
        gained = 2 / 3 * (1 / log2(3) + 1 / log2(4))
        assert self.at(ndcg_at_k, 3) == pytest.approx(gained / (1 + 1 / log2(3)))


@st.composite
def rankings(draw):
    """A ranking of up to six documents, their scores, the gold ones, and a cut-off."""
    scores = sorted(draw(st.lists(st.sampled_from([0.0, 0.5, 2.0]), min_size=1, max_size=6)))
    names = [f"d{number}" for number in range(len(scores))]
    gold = draw(st.sets(st.sampled_from([*names, "missing"]), min_size=1))
    return names, scores[::-1], gold, draw(st.integers(1, 7))


def orders_of(names, scores):
    """Every order in which documents with equal scores can be ranked."""
    groups = [
        [name for name, _ in group]
        for _, group in itertools.groupby(zip(names, scores, strict=True), lambda pair: pair[1])
    ]
    for chosen in itertools.product(*map(itertools.permutations, groups)):
        yield list(itertools.chain.from_iterable(chosen))


@settings(max_examples=150, deadline=None)
@given(rankings())
def test_a_metric_is_its_mean_over_all_orders_of_ties(case):
    names, scores, gold, k = case
    for metric in METRICS:
        expected = fmean(metric(order, gold, k) for order in orders_of(names, scores))
        assert metric(names, gold, k, scores) == pytest.approx(expected), metric


@settings(max_examples=150, deadline=None)
@given(rankings(), st.randoms(use_true_random=False))
def test_the_order_inside_ties_changes_nothing(case, random):
    names, scores, gold, k = case
    order = random.choice(list(itertools.islice(orders_of(names, scores), 200)))
    for metric in METRICS:
        assert metric(order, gold, k, scores) == metric(names, gold, k, scores)


@settings(max_examples=150, deadline=None)
@given(rankings())
def test_the_first_relevant_text_has_the_ranks_of_all_orders(case):
    names, scores, gold, _ = case
    orders = list(orders_of(names, scores))
    ranks = first_relevant(scores, [name in gold for name in names])
    assert mean_reciprocal(ranks) == pytest.approx(
        fmean(reciprocal_rank(order, gold) for order in orders)
    )
    assert ranks.get(1, 0.0) == pytest.approx(fmean(order[0] in gold for order in orders))


@pytest.mark.parametrize(
    "scores", [None, [None] * 3, [1.0, None, 1.0], [1.0, 1.0, 2.0], [1.0, 1.0]]
)
def test_scores_that_do_not_tell_the_order_make_no_ties(scores):
    assert reciprocal_rank(["d1", "d2", "d3"], {"d2"}, 3, scores) == 1 / 2


def test_a_ranking_without_scores_or_ties_is_scored_as_it_is():
    output = {"ranked": ["d1", "d2"], "gold": ["d2"], "answer_rank": 2}
    scores = score_all(metrics_of("retriever", [1]), LABEL, output)
    assert scores["mrr"] == 1 / 2
    assert scores["answer_recall@1"] == 0


@given(st.lists(st.integers(0, 4), max_size=30), st.integers(1, 12))
def test_what_is_fetched_ends_where_a_tie_ends(scores, top_k):
    hits = sorted(scores, reverse=True)
    asked = []

    def fetch(wanted):
        asked.append(wanted)
        return hits[:wanted]

    found = fetch_through_tie(fetch, float, top_k)
    assert found == [score for score in hits if score >= hits[min(top_k, len(hits)) - 1]]
    assert len(found) == through_tie(hits, top_k)
    if len(set(hits[top_k - 1 : top_k + 1])) != 1:
        assert asked == [top_k + 1], "without a tie one more is enough"


def test_a_tie_that_reaches_further_than_can_be_fetched_is_cut_there():
    assert len(fetch_through_tie(lambda wanted: [1.0] * wanted, float, 2, most=7)) == 7


def documents(**scores):
    return [Document(id=name, content="", score=score) for name, score in scores.items()]


@given(st.permutations(range(8)), st.integers(1, 8))
def test_equal_scores_are_ordered_by_the_hash_whatever_the_order_before(order, top_k):
    found = [Document(id=str(name), content="", score=float(name % 2)) for name in order]
    best = best_documents(found, top_k)
    assert [each.id for each in best] == sorted(
        map(str, range(8)), key=lambda name: (-(int(name) % 2), tie_breaker(name))
    )[:top_k]
    whole = best_documents(found, top_k, whole_ties=True)
    assert whole[:top_k] == best
    assert len(whole) == (4 if top_k <= 4 else 8)


def test_the_hash_stays_what_it_is():
    """The order that users see must not change with a version of Python or of this project."""
    assert tie_breaker("r1").hex() == "83dd8a0c5b69bd30"


def scored(joiner, **rankings):
    found = joiner.run(**rankings, whole_ties=True)["documents"]
    return {document.id: document.score for document in found}


def test_ranks_of_a_tie_are_worth_their_mean():
    bm25, dense = documents(a=2.0, b=1.0, c=1.0), documents(b=0.5)
    joiner = HybridJoiner("reciprocal_rank_fusion", top_k=1)
    shared = (61 / 62 + 61 / 63) / 4
    assert scored(joiner, bm25=bm25, dense=dense) == {"b": pytest.approx(shared + 1 / 2)}
    joiner = HybridJoiner("reciprocal_rank_fusion", top_k=3)
    assert scored(joiner, bm25=bm25, dense=dense) == {
        "b": pytest.approx(shared + 1 / 2),
        "a": pytest.approx(1 / 2),
        "c": pytest.approx(shared),
    }


@pytest.mark.parametrize("join", ["weighted_sum", "reciprocal_rank_fusion"])
@given(order=st.permutations(range(6)))
def test_a_join_does_not_depend_on_the_order_of_equals(join, order):
    bm25 = best_documents([*documents(**{f"d{name}": 1.0 for name in order})], None)
    shuffled = documents(**{f"d{name}": 1.0 for name in order})
    dense = documents(d1=0.9, d4=0.3)
    joiner = HybridJoiner(join, top_k=3)
    assert scored(joiner, bm25=shuffled, dense=dense) == scored(joiner, bm25=bm25, dense=dense)
    assert joiner.run(shuffled, dense) == joiner.run(bm25, dense)


@given(st.floats(0.1, 40), st.floats(0.1, 40), st.floats(-1, 1), st.floats(0.01, 1))
def test_the_bests_of_two_rankings_of_two_are_a_tie(low, more, least, nearer):
    bm25 = documents(a=low + more, b=low)
    dense = documents(b=least + nearer, a=least)
    assert scored(HybridJoiner(), bm25=bm25, dense=dense) == {"a": 0.5, "b": 0.5}


def test_the_only_hits_of_bm25_count_fully():
    """Where BM25 leaves documents out, its scale begins at what those score: 0."""
    dense = documents(c=0.9, d=0.7, e=0.5)
    one, two = documents(a=7.0), documents(a=7.0, b=3.5)
    assert scored(HybridJoiner(), bm25=one, dense=dense)["a"] == 0.5
    assert scored(HybridJoiner(), bm25=documents(a=7.0, b=7.0), dense=dense)["b"] == 0.5
    assert scored(HybridJoiner(), bm25=two, dense=dense) == {
        "a": 0.5, "b": 0.25, "c": 0.5, "d": pytest.approx(0.25), "e": 0.0
    }  # fmt: skip


def test_equal_scores_of_all_candidates_say_nothing():
    equal, ranked = documents(a=7.0, b=7.0), documents(a=0.9, b=0.4)
    assert scored(HybridJoiner(), bm25=equal, dense=ranked) == {"a": 0.5, "b": 0.0}
    assert scored(HybridJoiner(), bm25=ranked, dense=equal) == {"a": 0.5, "b": 0.0}


def test_a_tie_at_the_end_of_the_dense_ranking_does_not_move_the_scale_of_bm25():
    bm25, dense = documents(a=8.0, b=4.0), documents(a=0.9, b=0.4)
    longer = [*dense, *documents(c=0.4)]
    joiner = HybridJoiner(top_k=1)
    found = scored(joiner, bm25=bm25, dense=longer)
    assert found == {"a": 1.0}
    assert joiner.run(bm25, longer, top_k=3)["documents"][1].score == 0.0
