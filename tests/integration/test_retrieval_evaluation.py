"""Retrieval is evaluated on real stores, by the pipeline that users run."""

from contextlib import contextmanager
from dataclasses import replace
from statistics import fmean

import pytest

from eval.datasets import load_dataset
from eval.tasks.candidates import temporary_index
from eval.tasks.retriever import baselines_of, evaluate_retriever, headline_of
from qa_system.config import load_settings
from qa_system.errors import EvaluationError
from qa_system.labels import gold_texts
from qa_system.pipelines import retrieve
from qa_system.records import AnswerSpan, Label, Review
from qa_system.stores import open_store

TEXTS = {
    "r1": ("lamp", "The strap is wide and the colour is blue."),
    "r2": ("lamp", "I like the battery. It lasts for days and days."),
    "r3": ("lamp", "Nothing to say."),
    "r4": ("lamp", "The battery died in May."),
    "r5": ("chair", "The battery of the chair is strong."),
}
REVIEWS = [Review(name, item, text) for name, (item, text) in TEXTS.items()]


def label(number, question, review_id, answer=None, split="test", item="lamp"):
    text = TEXTS[review_id][1]
    spans = ()
    if answer is not None:
        start = text.index(answer)
        spans = (AnswerSpan(answer, start, start + len(answer)),)
    return Label(f"q{number}", question, item, review_id, text, spans, split=split)


LABELS = [
    label(1, "How is the strap?", "r1", "wide"),
    label(2, "How long does the battery last?", "r2", "days"),
    label(3, "Is it heavy?", "r3"),
    label(4, "What of the battery in May?", "r1", "blue"),
]


def settings(**overrides):
    return load_settings(overrides={"retriever.mode": "bm25", **overrides}, environ={})


@contextmanager
def store_of(reviews, run):
    with temporary_index(reviews, run, embed=False) as placed, open_store(placed.store) as opened:
        yield opened


@pytest.fixture(scope="module")
def store():
    with store_of(REVIEWS, settings()) as opened:
        yield opened


class TestScopes:
    def test_item(self, store):
        found = evaluate_retriever(LABELS, store, settings(), scope="item", ks=[1, 3])
        assert [row.output["ranked"][0] for row in found.rows] == ["r1", "r2", "r4"]
        assert all(
            row.output["candidates"] == 4 and set(row.output["ranked"]) <= set(TEXTS)
            for row in found.rows
        )
        # The third question's gold review shares "the" with it, and comes third.
        rank = found.rows[2].output["ranked"].index("r1") + 1
        assert found.metrics["recall@1"] == pytest.approx(2 / 3)
        assert found.metrics["mrr"] == pytest.approx((1 + 1 + 1 / rank) / 3)
        assert found.metrics["map"] == found.metrics["mrr"]
        assert found.metrics["recall@3"] == found.metrics["hit_rate@3"]
        assert found.counts == {
            "questions": 4,
            "answerable": 3,
            "unanswerable": 1,
            "failed": 0,
            "gold_missing": 0,
            "candidates_median": 4,
            "candidates_max": 4,
            "depth": 10,
        }

    def test_item_split(self, store):
        labels = [*LABELS, label(5, "Battery?", "r4", "died", split="train")]
        found = evaluate_retriever(labels, store, settings(), scope="item-split", ks=[1])
        assert [row.output["candidates"] for row in found.rows] == [3, 3, 3, 1]
        assert "r4" not in found.rows[0].output["ranked"]
        assert found.rows[3].output["ranked"] == ["r4"]

    def test_open(self, store):
        found = evaluate_retriever(LABELS, store, settings(), scope="open", ks=[1])
        assert {row.output["candidates"] for row in found.rows} == {5}
        assert "r5" in found.rows[1].output["ranked"]

    @pytest.mark.parametrize("scope", ["item", "item-split"])
    def test_labels_without_items_need_the_open_scope(self, store, scope):
        labels = [label(1, "Strap?", "r1", "wide", item=None)] * 2
        with pytest.raises(EvaluationError, match=r"2 labels name none.*--scope open"):
            evaluate_retriever(labels, store, settings(), scope=scope, ks=[1])


def test_nothing_to_retrieve(store):
    with pytest.raises(EvaluationError, match="none of the questions has an answer"):
        evaluate_retriever(LABELS[2:3], store, settings(), scope="item", ks=[1])


def test_the_answers_words_are_counted_apart(store):
    labels = [label(1, "Is the battery good?", "r5", "strong", item="lamp")]
    found = evaluate_retriever(labels, store, settings(), scope="item", ks=[3])
    assert found.metrics["answer_recall@3"] == 0
    labels = [label(1, "How long is the battery good?", "r3", "to", item="lamp")]
    found = evaluate_retriever(labels, store, settings(), scope="item", ks=[1, 4])
    assert found.rows[0].output["answer_rank"] == found.rows[0].output["ranked"].index("r3") + 1


def test_a_gold_review_that_is_not_there_is_a_miss_and_counted(store):
    labels = [*LABELS[:1], label(2, "Is the chair strong?", "r5", "strong", item="lamp")]
    found = evaluate_retriever(labels, store, settings(), scope="item", ks=[5])
    beside = baselines_of(labels, found, [5])
    assert found.counts["gold_missing"] == 1
    assert found.metrics["recall@5"] == 1 / 2
    assert beside["oracle"].metrics["recall@5"] == 1 / 2
    assert beside["random"].metrics["recall@5"] == 1 / 2


def test_baselines(store):
    found = evaluate_retriever(LABELS, store, settings(), scope="item", ks=[1, 3])
    beside = baselines_of(LABELS, found, [1, 3])
    assert beside["oracle"].metrics["recall@1"] == beside["oracle"].metrics["mrr"] == 1
    assert beside["random"].metrics["recall@3"] == 3 / 4
    assert beside["random"].metrics["mrr"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4)


def test_every_baseline_has_the_same_columns(store):
    found = evaluate_retriever(LABELS, store, settings(), scope="item", ks=[1, 3])
    for system in baselines_of(LABELS, found, [1, 3]).values():
        assert set(system.scores.metrics) == set(found.scores.metrics)
        curve = system.details["recall_at"]
        assert curve["gold"][2] == pytest.approx(system.metrics["recall@3"])
        assert curve["answer"][2] == pytest.approx(system.metrics["answer_recall@3"])
    curve = found.details["recall_at"]
    assert curve["k"] == list(range(1, 11))
    assert [curve["gold"][k - 1] for k in (1, 3)] == [
        found.metrics["recall@1"],
        found.metrics["recall@3"],
    ]
    assert set(headline_of([1, 3])) <= set(found.scores.metrics)


def test_a_question_that_fails_scores_nothing_and_says_why(store):
    labels = [*LABELS, label(5, "half a character: \ud800", "r4", "died")]
    found = evaluate_retriever(labels, store, settings(), scope="item", ks=[1])
    assert found.counts["failed"] == 1
    assert "half a character" in found.rows[-1].error
    assert found.rows[-1].scores["mrr"] == 0
    assert found.metrics["recall@1"] == pytest.approx(2 / 4)
    with pytest.raises(EvaluationError, match="failed on every question"):
        evaluate_retriever(labels[-1:], store, settings(), scope="item", ks=[1])


def test_other_reviews_with_the_answer_are_gold_where_labels_were_aggregated(store):
    other = label(6, "How is the battery?", "r4", "died")
    joined = replace(label(5, "How is the battery?", "r2", "days"), others=(other,))
    found = evaluate_retriever([joined], store, settings(), scope="item-split", ks=[1, 2])
    assert found.rows[0].output["gold"] == ["r2", "r4"]
    assert found.rows[0].output["candidates"] == 2
    assert found.metrics["recall@1"] == 1 / 2
    assert found.metrics["hit_rate@1"] == found.metrics["recall@2"] == 1


def test_the_depth_reaches_the_largest_k(store):
    run = settings(**{"retriever.top_k": 1})
    found = evaluate_retriever(LABELS, store, run, scope="open", ks=[4])
    assert found.counts["depth"] == 4
    assert max(len(row.output["ranked"]) for row in found.rows) == 4


def test_passages_are_ranked_as_their_reviews():
    run = settings(**{"indexing.passages.max_words": 4, "indexing.passages.overlap_words": 1})
    with store_of(REVIEWS, run) as store:
        assert store.count_documents() == len(REVIEWS)
        assert any("passage_end" in each.meta for each in store.search_bm25(LABELS[0].question))
        found = evaluate_retriever(LABELS, store, run, scope="item", ks=[1])
    for row in found.rows:
        assert len(set(row.output["ranked"])) == len(row.output["ranked"])
        assert set(row.output["ranked"]) <= set(TEXTS)
        assert row.output["candidates"] == 4


def test_unanswerable_questions_are_never_hits(sample):
    data = load_dataset(sample)
    labels = data.labels_of("dev")
    with store_of(data.reviews, settings()) as store:
        found = evaluate_retriever(labels, store, settings(), scope="item", ks=[1, 3, 100])
    answerable = {label.question_id for label in labels if gold_texts(label)}
    assert {row.question_id for row in found.rows} == answerable
    assert found.counts["unanswerable"] == len(labels) - len(answerable) > 0
    assert found.metrics["recall@100"] == 1
    beside = baselines_of(labels, found, [1, 3])
    assert beside["random"].metrics["recall@3"] == pytest.approx(
        fmean(min(3, row.output["candidates"]) / row.output["candidates"] for row in found.rows)
    )
    assert found.metrics["recall@3"] > beside["random"].metrics["recall@3"]


@pytest.mark.data
@pytest.mark.slow
def test_electronics_is_better_than_chance(qa_data):
    data = load_dataset(qa_data / "subjqa" / "electronics")
    with store_of(data.reviews, settings()) as store:
        labels = data.labels_of("test")
        found = evaluate_retriever(labels, store, settings(), scope="item", ks=[1, 3, 5])
    beside = baselines_of(labels, found, [1, 3, 5])
    assert found.counts["answerable"] == 238
    assert beside["random"].metrics["recall@3"] == pytest.approx(0.6132, abs=1e-4)
    assert found.metrics["recall@3"] > 0.66
    assert beside["oracle"].metrics["mrr"] == 1


def test_a_review_that_cannot_be_indexed_is_named_and_left_out(caplog):
    bad = Review("r" * 600, "lamp", "It is bright.")
    with store_of([*REVIEWS, bad], settings()) as opened:
        assert opened.count_documents() == len(REVIEWS)
        asked = replace(LABELS[0], question_id="bad", review_id=bad.id, context=bad.text)
        found = evaluate_retriever([*LABELS, asked], opened, settings(), scope="item", ks=[1])
    assert found.counts["gold_missing"] == 1
    assert "1 of 6 reviews cannot be indexed" in caplog.text
    assert "600 bytes" in caplog.text
    with (
        pytest.raises(EvaluationError, match="none of the 1 reviews can be indexed") as error,
        store_of([bad], settings()),
    ):
        pass
    assert "rejects" not in str(error.value)


@pytest.mark.parametrize("holders", [("r0",), ("r0", "r1")], ids=["one", "two equal"])
def test_a_hybrid_returns_the_only_reviews_that_have_the_word(holders):
    """The word stands beyond what the encoder reads, so that only BM25 can find it."""
    pasta = "We had dinner with pasta and sang until late. " * 60
    texts = dict.fromkeys(holders, f"{pasta} KX9931 was its name.")
    texts |= {f"s{number}": f"The battery of number {number} is good." for number in range(30)}
    reviews = [Review(name, "lamp", text) for name, text in texts.items()]
    run = settings(**{"retriever.mode": "hybrid", "retriever.top_k": 5})
    with temporary_index(reviews, run, embed=True) as placed, open_store(placed.store) as opened:
        best = retrieve(opened, run).run({"query": "KX9931"})["retriever"]["documents"]
    assert set(holders) <= {document.id for document in best}
