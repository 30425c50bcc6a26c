"""Reviews with equal scores: no order of the file changes a score, and users see one order."""

import random
from itertools import permutations
from statistics import fmean

import numpy as np
import pytest
from haystack import Document
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from eval.tasks.candidates import temporary_index
from eval.tasks.retriever import evaluate_retriever
from qa_system.config import load_settings
from qa_system.records import AnswerSpan, Label, Review
from qa_system.retrievers.bm25 import BM25Retriever
from qa_system.stores import FAISSDocumentStore, open_store
from qa_system.ties import tie_breaker

SAME = "The battery lasts for days."
NAMES = [f"r{number}" for number in range(8)]
QUESTION = "How long does the battery last?"


def label(name):
    return Label("q", QUESTION, "lamp", name, SAME, (AnswerSpan("days", 22, 26),), split="test")


def scores(order, gold="r0", ks=(1, 3), texts=None, **chosen):
    run = load_settings(overrides={"retriever.mode": "bm25", **chosen}, environ={})
    reviews = [Review(name, "lamp", (texts or {}).get(name, SAME)) for name in order]
    embed = run.retriever.mode != "bm25"
    with temporary_index(reviews, run, embed=embed) as placed, open_store(placed.store) as store:
        return evaluate_retriever([label(gold)], store, run, scope="item", ks=ks)


def test_equal_reviews_score_as_a_random_order_wherever_the_gold_one_stands():
    for order in (NAMES, NAMES[::-1]):
        found = scores(order)
        assert found.metrics["mrr"] == pytest.approx(fmean(1 / rank for rank in range(1, 9)))
        assert found.metrics["recall@1"] == pytest.approx(1 / 8)
        assert found.metrics["recall@3"] == pytest.approx(3 / 8)
        assert found.metrics["answer_recall@1"] == 1


def test_a_tie_is_whole_beyond_the_depth():
    chosen = {"retriever.top_k": 2}
    for order in (NAMES, NAMES[::-1]):
        found = scores(order, ks=(1, 2), **chosen)
        assert found.counts["depth"] == 2
        assert len(found.rows[0].output["ranked"]) == 8
        assert found.metrics["mrr"] == pytest.approx((1 + 1 / 2) / 8)
        assert found.metrics["map"] == found.metrics["mrr"]
        assert found.details["recall_at"]["gold"] == pytest.approx([1 / 8, 2 / 8])


@pytest.mark.parametrize(
    "chosen",
    [
        {"retriever.mode": "dense"},
        {"retriever.mode": "hybrid"},
        {"retriever.mode": "hybrid", "retriever.join": "reciprocal_rank_fusion"},
        {"ranker.type": "reader"},
    ],
    ids=["dense", "weighted_sum", "reciprocal_rank_fusion", "reader"],
)
def test_no_order_of_the_file_changes_a_score(chosen):
    texts = {"r5": "Nothing to say.", "r6": "Nothing to say.", "r7": "A strap, and a battery."}
    found = [
        scores(order, gold=gold, texts=texts, **{"retriever.top_k": 2, **chosen}).metrics
        for gold in ("r0", "r5")
        for order in (NAMES, NAMES[::-1], sorted(NAMES, key=tie_breaker))
    ]
    for of_gold in (found[:3], found[3:]):
        assert of_gold[0] == of_gold[1] == of_gold[2]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Five texts, each several times, in a store whose rows are in another order than the ids."""
    folder = tmp_path_factory.mktemp("tied")
    rng = random.Random(3)
    names = [f"d{number}" for number in range(40)]
    rng.shuffle(names)
    documents = [
        Document(
            id=name,
            content=f"{'battery ' * (1 + at % 3)}sound",
            meta={"half": at % 2},
            embedding=[float(at % 3), 1.0],
        )
        for at, name in enumerate(names)
    ]
    with FAISSDocumentStore(folder) as store:
        store.write_documents(documents)
        yield store


FILTERS = [None, {"field": "meta.half", "operator": "==", "value": 1}]


@pytest.mark.parametrize("filters", FILTERS, ids=["all", "half"])
@pytest.mark.parametrize("search", ["words", "unheard", "vectors"])
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(top_k=st.integers(1, 45))
def test_the_best_are_a_prefix_of_all_in_the_order_of_score_and_hash(
    stored, search, filters, top_k
):
    def find(wanted, *, whole_ties=False):
        if search == "vectors":
            return stored.search_by_embedding([1.0, 0.0], wanted, filters, whole_ties)
        query = "battery" if search == "words" else "nobody wrote this"
        return stored.search_bm25(query, wanted, filters, whole_ties)

    everything = [(hit.id, hit.score) for hit in find(50)]
    assert everything == sorted(everything, key=lambda hit: (-hit[1], tie_breaker(hit[0])))
    found = [(hit.id, hit.score) for hit in find(top_k)]
    assert found == everything[:top_k]
    whole = [(hit.id, hit.score) for hit in find(top_k, whole_ties=True)]
    least = everything[:top_k][-1][1] if everything else 0.0
    assert whole == [hit for hit in everything if hit[1] >= least]


@pytest.mark.parametrize("kind", ["flat", "hnsw", "ivf_flat"])
def test_equal_vectors_are_one_tie_in_every_index(tmp_path, kind):
    pytest.importorskip("faiss")
    rng = np.random.default_rng(5)
    matrix = rng.normal(size=(1_500, 33)).astype(np.float32)
    equal = rng.choice(1_500, 70, replace=False)
    matrix[equal] = 3 * matrix[0] / np.linalg.norm(matrix[0])
    documents = [
        Document(id=f"d{number}", content="x", embedding=row.tolist())
        for number, row in enumerate(matrix)
    ]
    with FAISSDocumentStore(tmp_path, similarity="cosine", index=kind) as store:
        store.write_documents(documents)
        store.build_index()
        found = store.search_by_embedding(matrix[equal[0]], 5, whole_ties=True)
        best = store.search_by_embedding(matrix[equal[0]], 5)
    expected = {f"d{number}" for number in [*equal, 0]}
    assert {hit.id for hit in found} == expected
    assert len({hit.score for hit in found}) == 1
    assert [hit.id for hit in best] == sorted(expected, key=tie_breaker)[:5]


def test_what_a_ranker_reads_is_cut_as_it_is_for_users():
    reviews = dict.fromkeys(NAMES, SAME)
    chosen = {"ranker.type": "reader", "ranker.candidates": 4, "retriever.top_k": 4}
    found = scores(NAMES, texts=reviews, ks=(1,), **chosen)
    assert found.rows[0].output["ranked"] == sorted(NAMES, key=tie_breaker)[:4]


def test_a_retriever_hands_on_what_it_is_told(stored):
    retriever = BM25Retriever(stored, top_k=1, whole_ties=True)
    assert len(retriever.run("battery")["documents"]) > 1
    assert len(retriever.run("battery", whole_ties=False)["documents"]) == 1
    assert BM25Retriever.from_dict(retriever.to_dict()).whole_ties


def test_every_order_of_a_small_file_gives_the_mean_over_orders():
    """Without ties a ranking would have one score; here each order of the file has the mean."""
    names = NAMES[:3]
    found = {round(scores(order, ks=(1, 2)).metrics["mrr"], 12) for order in permutations(names)}
    assert found == {round((1 + 1 / 2 + 1 / 3) / 3, 12)}
