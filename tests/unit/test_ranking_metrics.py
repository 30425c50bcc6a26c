import itertools
import math
import random
import re
import string
from collections import Counter
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.metrics import expect_all, metrics_of, score_all
from eval.metrics.ranking import (
    average_precision,
    hit_at_k,
    hit_rate_at_random,
    ndcg_at_k,
    recall_at_k,
    recall_at_random,
    reciprocal_rank,
    reciprocal_rank_at_random,
)
from qa_system.errors import EvaluationError
from qa_system.metrics import exact_match, f1, first_hit_at_random, normalize_answer
from qa_system.records import AnswerSpan, Label


class Official:
    """The rules of the SQuAD 2.0 evaluation script, put down independently of ours."""

    @staticmethod
    def normalize(s):
        s = "".join(c for c in s.lower() if c not in set(string.punctuation))
        s = re.compile(r"\b(a|an|the)\b", re.UNICODE).sub(" ", s)
        return " ".join(s.split())

    @classmethod
    def exact(cls, gold, predicted):
        return int(cls.normalize(gold) == cls.normalize(predicted))

    @classmethod
    def f1(cls, gold, predicted):
        gold_tokens = cls.normalize(gold).split() if gold else []
        tokens = cls.normalize(predicted).split() if predicted else []
        common = Counter(gold_tokens) & Counter(tokens)
        same = sum(common.values())
        if len(gold_tokens) == 0 or len(tokens) == 0:
            return int(gold_tokens == tokens)
        if same == 0:
            return 0
        precision, recall = 1.0 * same / len(tokens), 1.0 * same / len(gold_tokens)
        return (2 * precision * recall) / (precision + recall)

    @classmethod
    def best(cls, score, golds, predicted):
        golds = [gold for gold in golds if cls.normalize(gold)]
        if not golds:
            golds = [""]
        return max(score(gold, predicted) for gold in golds)


VOCABULARY = [
    *("the", "a", "An", "good", "Good!", "THE", "screen", "isn't", "a.b", ".", ""),
    *("l'écran", "naïve", "e\u0301", "ﬁne", "İ", "ß", "“", "—", "\u00a0", "١٢"),
]
WORDS = st.sampled_from(VOCABULARY)
PHRASE = st.lists(WORDS, max_size=6).map(" ".join)
ANSWER = PHRASE | st.text(max_size=15)


@settings(max_examples=500, deadline=None)
@given(ANSWER, st.lists(ANSWER, max_size=3))
def test_em_and_f1_equal_the_official_rules(prediction, references):
    check_against_the_official_rules(prediction, references)


def test_em_and_f1_equal_the_official_rules_on_many_pairs():
    rng = random.Random(13)
    letters = [chr(rng.randrange(1, 0x3000)) for _ in range(200)]

    def phrase():
        words = rng.choices(VOCABULARY, k=rng.randrange(6))
        if rng.random() < 0.3:
            words.append("".join(rng.choices(letters, k=rng.randrange(1, 8))))
        return " ".join(words)

    for _ in range(10_000):
        check_against_the_official_rules(phrase(), [phrase() for _ in range(rng.randrange(4))])


def check_against_the_official_rules(prediction, references):
    assert normalize_answer(prediction) == Official.normalize(prediction)
    assert exact_match(prediction, references) == Official.best(
        Official.exact, references, prediction
    )
    assert f1(prediction, references) == Official.best(Official.f1, references, prediction)


@pytest.mark.parametrize(
    ("prediction", "references", "em", "f"),
    [
        ("The cat.", ["cat"], 1, 1),
        ("black cat", ["the cat", "dog"], 0, 2 / 3),
        ("good good screen", ["good screen"], 0, 0.8),
        ("", [], 1, 1),
        ("", ["..."], 1, 1),
        ("the", [], 1, 1),
        ("x", [], 0, 0),
        ("", ["x"], 0, 0),
        ("x", ["", "x"], 1, 1),
    ],
)
def test_em_and_f1_by_hand(prediction, references, em, f):
    assert exact_match(prediction, references) == em
    assert f1(prediction, references) == pytest.approx(f)


class TestByHand:
    RANKED = ("d3", "d1", "d7", "d2", "d9")
    GOLD = frozenset({"d1", "d2", "d8"})

    def test_recall(self):
        assert [recall_at_k(self.RANKED, self.GOLD, k) for k in (1, 2, 4, 9)] == [
            0,
            1 / 3,
            2 / 3,
            2 / 3,
        ]

    def test_hit(self):
        assert [hit_at_k(self.RANKED, self.GOLD, k) for k in (1, 2)] == [0, 1]

    def test_reciprocal_rank(self):
        assert reciprocal_rank(self.RANKED, self.GOLD) == 1 / 2
        assert reciprocal_rank(self.RANKED, {"x"}) == 0

    def test_average_precision(self):
        assert average_precision(self.RANKED, self.GOLD) == pytest.approx((1 / 2 + 2 / 4) / 3)

    def test_ndcg(self):
        gained = 1 / math.log2(3) + 1 / math.log2(5)
        ideal = 1 + 1 / math.log2(3) + 1 / 2
        assert ndcg_at_k(self.RANKED, self.GOLD, 5) == pytest.approx(gained / ideal)

    def test_a_repeated_id_counts_once(self):
        assert average_precision(["d1", "d1", "d1"], {"d1"}) == 1
        assert recall_at_k(["d1", "d1"], {"d1", "d2"}, 2) == 0.5
        assert ndcg_at_k(["d1", "d1"], {"d1"}, 2) == 1

    @pytest.mark.parametrize("metric", [reciprocal_rank, average_precision])
    def test_no_gold_is_an_error(self, metric):
        with pytest.raises(EvaluationError):
            metric(self.RANKED, ())


IDS = [f"d{number:02}" for number in range(12)]
RUN = st.lists(st.sampled_from(IDS), unique=True, max_size=12)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.tuples(RUN, st.sets(st.sampled_from(IDS), min_size=1)), min_size=1, max_size=5),
    st.integers(1, 12),
)
def test_ranking_metrics_equal_ir_measures(runs, k):
    ir_measures = pytest.importorskip("ir_measures")
    from ir_measures import AP, RR, R, Success, nDCG

    qrels = {str(n): dict.fromkeys(gold, 1) for n, (_, gold) in enumerate(runs)}
    run = {
        str(n): {document: -float(rank) for rank, document in enumerate(ranked)}
        for n, (ranked, _) in enumerate(runs)
    }
    theirs = ir_measures.calc_aggregate([R @ k, Success @ k, RR, AP, nDCG @ k], qrels, run)
    ours = {
        R @ k: fmean(recall_at_k(ranked, gold, k) for ranked, gold in runs),
        Success @ k: fmean(hit_at_k(ranked, gold, k) for ranked, gold in runs),
        RR: fmean(reciprocal_rank(ranked, gold) for ranked, gold in runs),
        AP: fmean(average_precision(ranked, gold) for ranked, gold in runs),
        nDCG @ k: fmean(ndcg_at_k(ranked, gold, k) for ranked, gold in runs),
    }
    for measure, value in ours.items():
        assert value == pytest.approx(theirs[measure], abs=1e-6), measure


LABEL = Label("q", "How is it?", None, "0", "Good.", (AnswerSpan("Good", 0, 4),))


@pytest.mark.parametrize(("candidates", "relevant"), [(1, 1), (4, 1), (5, 2), (5, 5), (6, 3)])
@pytest.mark.parametrize("depth", [2, 6])
def test_what_is_expected_at_random_is_the_mean_over_all_orders(candidates, relevant, depth):
    """Of every metric of retrievers that says what to expect, defined by us or not."""
    ks = [k for k in (1, 2, 3) if k <= depth]  # no more is retrieved than the depth
    metrics = metrics_of("retriever", ks)
    gold = [str(number) for number in range(relevant)]
    sizes = {
        "candidates": candidates,
        "gold_candidates": relevant,
        "answer_candidates": relevant,
    }

    def scores(order):
        ranked = list(order[:depth])
        ranks = [rank for rank, each in enumerate(ranked, 1) if each in gold]
        output = {"ranked": ranked, "gold": gold, "answer_rank": min(ranks, default=None)}
        return score_all(metrics, LABEL, {**output, **sizes}, depth=depth)

    orders = list(itertools.permutations(map(str, range(candidates))))
    scored = list(map(scores, orders))
    expected = expect_all(metrics, LABEL, sizes, depth=depth)
    assert len(expected) == 4 * len(ks) + 2
    for name, value in expected.items():
        assert value == pytest.approx(fmean(each[name] for each in scored)), name


@pytest.mark.parametrize("candidates", [0, 3])
def test_nothing_relevant_is_never_found(candidates):
    sizes = {"candidates": candidates, "gold_candidates": 0, "answer_candidates": 0}
    expected = expect_all(metrics_of("retriever", [1]), LABEL, sizes, depth=5)
    assert set(expected.values()) == {0.0}


def test_many_candidates_are_no_trouble():
    sizes = 20_000, 5_000
    assert hit_rate_at_random(*sizes, 1) == recall_at_random(*sizes, 1) * 5_000
    assert hit_rate_at_random(*sizes, 10) == pytest.approx(1 - 0.75**10, abs=1e-3)
    assert reciprocal_rank_at_random(*sizes, 10) == pytest.approx(
        sum(0.25 * 0.75 ** (r - 1) / r for r in range(1, 11)), abs=1e-3
    )
    assert len(first_hit_at_random(3, 1, 10)) == 3
