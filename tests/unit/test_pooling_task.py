"""What ways to make vectors are measured by, against numbers by hand and scikit-learn."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_mutual_info_score, silhouette_score

from eval.metrics.ranking import recall_at_k, reciprocal_rank
from eval.tasks.embeddings.pooling import KS, Clustering, Retrieval, _ranked, measure
from qa_system.errors import EvaluationError
from qa_system.records import AnswerSpan, Label, Review


def label(question, item, review, answered=True):
    answers = (AnswerSpan("good", 0, 4),) if answered else ()
    return Label(f"{question} {item} {review}", question, item, review, "good", answers)


REVIEWS = [Review(f"r{at}", "A" if at < 3 else "B", f"text {at}") for at in range(5)]
LABELS = [
    label("Is it good?", "A", "r0"),
    label("Is it good?", "A", "r1"),
    label("Is it big?", "B", "r4"),
    label("Is it red?", "B", "r3", answered=False),
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.booleans()), min_size=1, max_size=12))
def test_a_ranking_is_scored_as_everywhere(drawn):
    gold = np.array([hit for _, hit in drawn])
    gold[0] = True
    scores = np.array([score for score, _ in drawn], np.float32)
    order = np.argsort(-scores, kind="stable")
    ranked, wanted = [str(at) for at in order], {str(at) for at in np.flatnonzero(gold)}
    sorted_scores = scores[order].tolist()
    expected = [recall_at_k(ranked, wanted, k, sorted_scores) for k in KS]
    expected.append(reciprocal_rank(ranked, wanted, None, sorted_scores))
    assert _ranked(scores, gold) == pytest.approx(expected)


def test_a_question_is_asked_once_of_its_items_reviews():
    task = Retrieval.of(LABELS, REVIEWS, resamples=100)
    assert task.questions == ("Is it good?", "Is it big?")
    assert [pool.tolist() for pool in task.candidates] == [[0, 1, 2], [3, 4]]
    assert [gold.tolist() for gold in task.gold] == [[True, True, False], [False, True]]
    assert task.counts() == {"questions": 2, "items": 2, "reviews": 5}
    open_ = Retrieval.of(LABELS, REVIEWS, scope="open")
    assert [pool.tolist() for pool in open_.candidates] == [[0, 1, 2, 3, 4]] * 2
    with pytest.raises(EvaluationError, match="none of the questions has an answer"):
        Retrieval.of(LABELS[3:], REVIEWS)


def test_vectors_by_hand():
    task = Retrieval.of(LABELS, REVIEWS, resamples=200)
    questions = np.array([[1, 0], [0, 1]], np.float32)
    good = np.array([[3, 1], [2, 1], [0, 1], [1, 0], [0, 2]], np.float32)
    bad = np.array([[0, 1], [1, 2], [5, 0], [0, 9], [1, 0]], np.float32)
    report = measure(task, [("good", questions, good), ("bad", questions, bad)], "bad")
    assert report["best"] == "good"
    assert report["rows"]["good"]["metrics"] == {
        "recall@1": 0.75,
        "recall@3": 1,
        "recall@10": 1,
        "mrr": 1,
    }
    # "bad" ranks r2, r1, r0 for the first question, r3, r4 for the second.
    assert report["rows"]["bad"]["metrics"]["mrr"] == 0.5
    assert report["rows"]["good"]["difference"] == 0.5
    assert report["rows"]["good"]["intervals"]["mrr"] == [1, 1]
    assert "difference" not in report["rows"]["bad"]
    # Lengths count only where they are asked to.
    long = good * np.array([[1], [1], [1], [9], [1]], np.float32)
    [row] = measure(task, [("long", questions, long)], "long")["rows"].values()
    assert row["metrics"] == report["rows"]["good"]["metrics"]


def test_groups_against_scikit_learn():
    draw = np.random.default_rng(5)
    reviews = [Review(f"r{at}", f"item-{at % 3}", f"text {at}") for at in range(60)]
    vectors = draw.normal(scale=0.1, size=(60, 4)).astype("f4")
    vectors[np.arange(60), np.arange(60) % 3] += 1
    mixed = draw.normal(size=(60, 4)).astype("f4")
    none = np.empty((0, 4), "f4")
    task = Clustering.of(reviews, "item", resamples=200)
    variants = [("apart", none, vectors), ("mixed", none, mixed)]
    report = measure(task, variants, "mixed", normalize=False)
    apart, together = report["rows"]["apart"], report["rows"]["mixed"]
    assert apart["metrics"]["ami"] == apart["metrics"]["nmi"] == pytest.approx(1)
    assert apart["intervals"]["ami"] == pytest.approx([1, 1])
    assert apart["metrics"]["silhouette"] == pytest.approx(silhouette_score(vectors, task.groups))
    low, high = together["intervals"]["ami"]
    assert low < together["metrics"]["ami"] < high < 0.4
    assert low < adjusted_mutual_info_score([0, 1] * 30, [0, 0, 1, 1] * 15) < high  # by chance
    assert report["best"] == "apart"
    assert report["counts"] == {"reviews": 60, "groups": 3}


@pytest.mark.parametrize("field", ["rating", "colour"])
def test_a_field_that_is_no_grouping(field):
    reviews = [Review(f"r{at}", "A", "text", {"colour": at}) for at in range(9)]
    with pytest.raises(EvaluationError, match="which is no grouping"):
        Clustering.of(reviews, field)
