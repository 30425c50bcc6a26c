"""The store on a real Elasticsearch server: what it keeps, finds, refuses and survives."""

# ruff: noqa: DTZ001 - naive dates are what is compared

import itertools
import json
import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone

import numpy as np
import pytest
from haystack.dataclasses import ByteStream, Document
from haystack.document_stores.types import DuplicatePolicy
from hypothesis import given, settings
from hypothesis import strategies as st

from eval.datasets import load_dataset
from qa_system import pipelines
from qa_system.config import EncoderSettings, load_settings
from qa_system.errors import (
    ConfigError,
    DataError,
    EmbeddingError,
    EncoderMismatchError,
    InvalidArgumentError,
    StoreError,
    StoreMismatchError,
    StoreNotFoundError,
    StoreUnavailableError,
)
from qa_system.records import AnswerSpan, EncoderIdentity, Label
from qa_system.retrievers.bm25 import BM25Retriever
from qa_system.retrievers.encoders import load_encoder
from qa_system.stores import open_store
from qa_system.stores.elastic.mapping import TERMS
from qa_system.stores.elasticsearch import ElasticsearchReviewStore
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.stores.filters import InvalidFilterError
from qa_system.stores.writes import DocumentsRejectedError, DuplicateIdError, Passages
from qa_system.system import QASystem
from qa_system.ties import tie_breaker


def of_item(item_id):
    return {"field": "meta.item_id", "operator": "==", "value": item_id}


def ids(documents):
    return [document.id for document in documents]


# --- filters: what the embedded store selects

WORDS = ["", "x", "B00", "5", "true", "2024-02-29", "2024-02-29T00:00:00+02:00", "Ünïcode"]
NUMBERS = [0, 1, -1, 5, 5.0, 4.5, 2**53, 2**53 + 1, 2.0**53, 2**63 - 1, -(2**63), 1e300, 0.1]
DATES = [
    date(2024, 2, 29),
    datetime(2024, 2, 29),
    datetime(2024, 2, 29, tzinfo=UTC),
    datetime(2024, 2, 29, 2, tzinfo=timezone(timedelta(hours=2))),
    datetime(1969, 7, 20, 20, 17, 40),
]
LISTS = [[], ["x"], [1, True], [1.0, 1], ["x", None], {"b": 1}, {"b": {"c": "x"}}, {}]
VALUES = [None, True, False, *WORDS, *NUMBERS, *DATES, *LISTS]


def assorted_documents():
    """Every value in a field of its own kind, and all of them in one field."""
    documents = []
    for number, value in enumerate(VALUES):
        meta = {"any": value, "item_id": f"B{number % 3}", "deep": {"any": value}}
        for kind, values in (("number", NUMBERS), ("word", WORDS), ("date", DATES)):
            if any(value is each for each in values):
                meta[kind] = value
        content = None if number % 7 == 0 else f"text {number % 5}"
        documents.append(Document(id=f"d{number:02}", content=content, meta=meta))
    picture = ByteStream(data=b"picture", meta={"of": "it"}, mime_type="image/png")
    documents[1] = replace(documents[1], embedding=[1.0, 0.0])
    documents[2] = replace(documents[2], blob=picture)
    return documents


@pytest.fixture(scope="module")
def both(lasting_elastic_store, tmp_path_factory):
    documents = assorted_documents()
    ours = FAISSDocumentStore(tmp_path_factory.mktemp("filters") / "store")
    theirs = lasting_elastic_store("filters")
    assert ours.write_documents(documents) == theirs.write_documents(documents) == len(VALUES)
    yield ours, theirs
    ours.close()


equalities = st.builds(
    lambda field, operator, value: {"field": field, "operator": operator, "value": value},
    st.sampled_from(["meta.any", "any", "meta.deep.any", "meta.word", "meta.number", "meta.date"]),
    st.sampled_from(["==", "!="]),
    st.sampled_from(VALUES),
)
memberships = st.builds(
    lambda field, operator, value: {"field": field, "operator": operator, "value": value},
    st.sampled_from(["meta.any", "meta.deep.any", "meta.item_id", "id", "content"]),
    st.sampled_from(["in", "not in"]),
    st.lists(st.sampled_from([*VALUES, "B1", "d03", "d17", "text 3"]), max_size=4),
)
orderings = st.one_of(
    st.builds(
        lambda operator, value: {"field": "meta.number", "operator": operator, "value": value},
        st.sampled_from([">", ">=", "<", "<="]),
        st.one_of(
            st.sampled_from([*NUMBERS, True, 2**63, -(2**70), 2**53 + 0.5]),
            st.floats(allow_nan=False),
            st.integers(-(2**64), 2**64),
        ),
    ),
    st.builds(
        lambda operator, value: {"field": "meta.date", "operator": operator, "value": value},
        st.sampled_from([">", ">=", "<", "<="]),
        st.one_of(
            st.sampled_from(DATES),
            st.datetimes(
                datetime(1950, 1, 1),
                datetime(2050, 1, 1),
                timezones=st.sampled_from([None, UTC, timezone(timedelta(hours=-5))]),
            ),
        ),
    ),
)
others = st.sampled_from(
    [
        {"field": "content", "operator": "==", "value": "text 1"},
        {"field": "content", "operator": "!=", "value": None},
        {"field": "embedding", "operator": "!=", "value": None},
        {"field": "blob", "operator": "==", "value": None},
        {"field": "meta.missing.deep", "operator": "==", "value": None},
        {"field": "score", "operator": "==", "value": None},
    ]
)
filters = st.recursive(
    st.one_of(equalities, memberships, orderings, others),
    lambda parts: st.builds(
        lambda operator, conditions: {"operator": operator, "conditions": conditions},
        st.sampled_from(["AND", "OR", "NOT"]),
        st.lists(parts, max_size=3),
    ),
    max_leaves=5,
)


@given(filters)
@settings(max_examples=200)
def test_filters_select_the_same_documents(both, chosen):
    ours, theirs = both
    selected = ids(ours.filter_documents(chosen))
    assert ids(theirs.filter_documents(chosen)) == selected
    assert theirs.count_documents_by_filter(chosen) == len(selected)


def test_documents_come_back_as_they_were(both):
    ours, theirs = both
    assert theirs.filter_documents() == ours.filter_documents() == assorted_documents()


@pytest.mark.parametrize(
    "bad",
    [
        {"field": "meta.number", "operator": "~", "value": 1},
        {"field": "meta.number", "operator": ">", "value": "many"},
        {"field": "meta.number", "operator": ">", "value": [1]},
        {"field": "meta.number", "operator": "in", "value": 1},
        {"field": "meta.date", "operator": ">", "value": "29 February"},
        {"operator": "AND", "conditions": [{"field": "meta.a"}]},
        {"field": "embedding", "operator": "==", "value": 1},
        "meta.number > 1",
    ],
)
def test_what_is_wrong_with_a_filter_is_said_alike(both, bad):
    messages = []
    for store in both:
        with pytest.raises(InvalidFilterError) as caught:
            store.filter_documents(bad)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_metadata_is_told_alike(both):
    ours, theirs = both
    for field in ("word", "number", "item_id", "deep.any"):
        for store in both:
            store.get_metadata_field_min_max(field)
    assert theirs.get_metadata_field_min_max("meta.number") == ours.get_metadata_field_min_max(
        "number"
    )
    assert theirs.get_metadata_field_unique_values(
        "item_id"
    ) == ours.get_metadata_field_unique_values("item_id")
    assert theirs.count_items() == ours.count_items() == 3
    assert theirs.has_item("B1")
    assert not theirs.has_item("B9")


# --- searching: what the embedded store finds


@pytest.mark.parametrize("similarity", ["dot_product", "cosine", "l2"])
@pytest.mark.parametrize("index_options", ["flat", "int8_hnsw"])
def test_the_same_vectors_score_alike(elastic_store, tmp_path, similarity, index_options):
    generator = np.random.default_rng(13)
    vectors = generator.normal(size=(600, 32)).astype(np.float32)
    documents = [
        Document(id=f"r{n}", content=f"review {n}", meta={"item_id": f"B{n % 12}"}, embedding=row)
        for n, row in enumerate(vectors.tolist())
    ]
    queries = generator.normal(size=(20, 32)).astype(np.float32)
    theirs = elastic_store(similarity=similarity, index_options=index_options)
    with FAISSDocumentStore(tmp_path / "store", similarity=similarity) as ours:
        for store in (ours, theirs):
            store.write_documents(documents)
        for number, query in enumerate(queries):
            chosen = of_item(f"B{number % 12}")
            expected = ours.search_by_embedding(query, 10, chosen)
            found = theirs.search_by_embedding(query, 10, chosen)
            assert ids(found) == ids(expected)
            np.testing.assert_allclose(
                [hit.score for hit in found], [hit.score for hit in expected], rtol=1e-4, atol=1e-4
            )
        if index_options == "flat":
            for found, expected in zip(
                theirs.search_by_embeddings(queries, 5),
                ours.search_by_embeddings(queries, 5),
                strict=True,
            ):
                assert ids(found) == ids(expected)
    with pytest.raises(EmbeddingError, match="31 numbers"):
        theirs.search_by_embedding(queries[0, :31])
    with pytest.raises(StoreError, match="10,000 documents at most"):
        theirs.search_by_embedding(queries[0], 10_001)


@pytest.mark.parametrize("similarity", ["dot_product", "cosine", "l2"])
@pytest.mark.parametrize("index_options", ["flat", "hnsw", "int8_hnsw"])
def test_a_review_with_very_many_near_passages_is_one_result(
    elastic_store, similarity, index_options
):
    generator = np.random.default_rng(13)
    query = generator.normal(size=64).astype(np.float32)
    documents, passages, vectors = [], {}, {}
    for n in range(200):
        count = 400 if n in (50, 61) else n % 4 + 1
        vectors[f"r{n}"] = own = generator.normal(size=(count, 64))
        if count == 400:
            own[:] = query + 0.1 * own
        spans = [(5 * number, 5 * number + 4) for number in range(count)]
        is_whole = n % 4 == 0
        documents.append(
            Document(
                id=f"r{n}",
                content="word " * count,
                meta={"item_id": f"B{n % 2}"},
                embedding=own[0].tolist() if is_whole else None,
            )
        )
        if not is_whole:
            passages[f"r{n}"] = Passages(spans, own.astype(np.float32))
    store = elastic_store(similarity=similarity, index_options=index_options)
    store.replace(documents, [], passages)
    scores = {name: _similarities(own, query, similarity) for name, own in vectors.items()}
    best = {name: own.max() for name, own in scores.items()}
    # Which passage of a review is the nearest, int8_hnsw tells by bytes.
    tolerance = 0.1 * np.ptp([*best.values()]) if index_options == "int8_hnsw" else 1e-3
    for item in (None, "B0", "B1"):
        chosen = [name for name in best if item in (None, f"B{int(name[1:]) % 2}")]
        for top_k in (1, 10, 200):
            expected = sorted(chosen, key=best.get, reverse=True)[:top_k]
            hits = store.search_by_embedding(query, top_k, item and of_item(item))
            assert len({hit.id for hit in hits}) == len(hits) == len(expected)
            assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
            if index_options != "int8_hnsw":
                assert ids(hits) == expected
            elif top_k > 1:
                assert {*ids(hits[:2])} == {*expected[:2]}
            for hit in hits:
                passage = hit.meta.get("passage_start", 0) // 5
                assert scores[hit.id][passage] == pytest.approx(hit.score, rel=1e-4, abs=1e-4)
                assert hit.score == pytest.approx(best[hit.id], abs=tolerance)


def _similarities(vectors, query, similarity):
    if similarity == "l2":
        return -np.square(vectors - query).sum(axis=1)
    products = vectors @ query
    if similarity == "dot_product":
        return products
    return products / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)


def test_words_rank_as_in_the_embedded_store(elastic_store, tmp_path, sample):
    data = load_dataset(sample)
    documents = [
        Document(id=one.id, content=one.text, meta={"item_id": one.item_id}) for one in data.reviews
    ]
    theirs = elastic_store()
    with FAISSDocumentStore(tmp_path / "store") as ours:
        for store in (ours, theirs):
            store.write_documents(documents)
        for label in data.labels:
            chosen = of_item(label.item_id)
            expected, found = (
                {each.id: each.score for each in store.search_bm25(label.question, 100, chosen)}
                for store in (ours, theirs)
            )
            assert found == pytest.approx(expected, abs=1e-4)
            assert [*found] == [*expected]


def test_a_question_finds_the_same_whatever_words_it_has(elastic_store):
    store = elastic_store()
    assert store.search_bm25("sound") == []
    assert store.search_by_embedding([1.0]) == []
    store.write_documents(
        [
            Document(id="a", content="The sound is good.", meta={"item_id": "B0"}),
            Document(id="b", content="It is what it is.", meta={"item_id": "B0"}),
            Document(id="c", content=None, meta={"item_id": "B0"}),
        ]
    )
    rest = sorted("bc", key=tie_breaker)
    assert ids(store.search_bm25("sounds?")) == ["a"]
    assert ids(store.search_bm25("sound", filters=of_item("B0"))) == ["a", *rest]
    assert store.search_bm25("sound", filters=of_item("B0"))[2].score == 0
    assert store.search_bm25("?!") == []
    every = ids(store.search_bm25('AND ("[*', filters=of_item("B0")))
    assert every == sorted("abc", key=tie_breaker)
    assert ids(store.search_bm25("soumd")) == []
    with pytest.raises(InvalidArgumentError, match="top_k is 0"):
        store.search_bm25("sound", 0)


@pytest.mark.parametrize("shards", [1, 3])
def test_ties_are_whole_and_in_the_order_of_the_embedded_store(elastic_store, tmp_path, shards):
    names = [f"r{n}" for n in range(60)]
    documents = [
        Document(
            id=name,
            content="Good sound." if at % 3 else "Good, good sound.",
            meta={"item_id": "B0"},
            embedding=[1.0, float(at % 3)],
        )
        for at, name in enumerate(names)
    ]
    theirs = elastic_store(index_options="flat", shards=shards)
    with FAISSDocumentStore(tmp_path / "store") as ours:
        for store in (ours, theirs):
            store.write_documents(documents)
        for chosen, whole in itertools.product((None, of_item("B0")), (False, True)):
            for top_k in (1, 7, 20, 25):
                for question in ("good?", "unheard of"):
                    found = theirs.search_bm25(question, top_k, chosen, whole)
                    assert ids(found) == ids(ours.search_bm25(question, top_k, chosen, whole))
                found = theirs.search_by_embedding([0.0, 1.0], top_k, chosen, whole)
                expected = ours.search_by_embedding([0.0, 1.0], top_k, chosen, whole)
                assert ids(found) == ids(expected)
                assert len(found) == (20 * -(-top_k // 20) if whole else top_k)
    theirs.write_documents(documents[::-1], DuplicatePolicy.OVERWRITE)
    assert ids(theirs.search_bm25("good?", 7)) == ids(theirs.search_bm25("good?", 60))[:7]
    assert ids(theirs.search_bm25("unheard of", 60, of_item("B0"))) == sorted(
        names, key=tie_breaker
    )


# --- many, and bad ones among them


def test_25_000_documents_come_back(elastic_store):
    store = elastic_store()
    generator = np.random.default_rng(1)
    documents = [
        Document(id=f"r{n}", content=f"good number {n}", embedding=row)
        for n, row in enumerate(generator.normal(size=(25_000, 4)).astype(np.float32))
    ]
    report = store.write_bulk(documents)
    assert (report.written, report.rejected, report.retried) == (25_000, [], 0)
    assert report.requests >= 50
    found = store.filter_documents()
    assert ids(found) == ids(documents)
    assert [one.embedding for one in found] == [one.embedding for one in documents]
    assert len(list(store.iter_ids())) == store.count_documents() == 25_000
    assert len(set(ids(store.search_bm25("good", 12_345)))) == 12_345
    every = {"field": "id", "operator": "!=", "value": "r7"}
    assert store.delete_by_filter(every) == 24_999
    assert ids(store.filter_documents()) == ["r7"]


def test_bad_documents_in_a_bulk_are_named_and_no_others(elastic_store):
    store = elastic_store()
    documents = [
        Document(
            id=f"r{n}", content="good", meta={"item_id": "B0", "stars": n % 5}, embedding=[n, 1.0]
        )
        for n in range(10_000)
    ]
    documents[100].meta["stars"] = 2**64
    documents[2_222].meta["brand"] = "x" * 40_000  # as good as a short one
    documents[3_333] = replace(documents[3_333], embedding=[1.0, 2.0, 3.0])
    documents[4_444] = replace(documents[4_444], embedding=[float("nan"), 1.0])
    documents[5_555].meta["stars"] = "five"  # as good as 5
    documents[6_666].meta["odd"] = object()
    documents[7_777] = Document(id="i" * 600, content="good", embedding=[1.0, 1.0])
    report = store.write_bulk(documents)
    reasons = {one.id: one.reason for one in report.rejected}
    assert set(reasons) == {"r100", "r3333", "r4444", "r6666", "i" * 600}
    assert "18446744073709551616, which JSON cannot hold" in reasons["r100"]
    assert "3 numbers instead of 2" in reasons["r3333"]
    assert "NaN" in reasons["r4444"]
    assert "JSON cannot hold" in reasons["r6666"]
    assert "600 bytes" in reasons["i" * 600]
    assert all(len(reason) <= 401 for reason in reasons.values())
    assert report.written == store.count_documents() == 9_995
    replaced = store.replace(documents[99:101], ["r0"])
    assert [one.id for one in replaced.rejected] == ["r100"]
    assert (replaced.written, replaced.deleted) == (1, 1)
    assert store.count_documents() == 9_994
    with pytest.raises(DocumentsRejectedError, match="1 document rejected, 0 written"):
        store.write_documents([documents[100]])


def test_an_embedding_of_no_size_is_named_and_decides_nothing(elastic_store):
    store = elastic_store()
    sizes = {"none": 0, "too many": 4_097, "good": 4_096}
    documents = [Document(id=name, embedding=[1.0] * size) for name, size in sizes.items()]
    report = store.write_bulk(documents)
    assert {one.id: one.reason for one in report.rejected} == {
        name: f"the embedding has {sizes[name]:,} numbers, and 1 to 4096 can be"
        for name in ("none", "too many")
    }
    assert store.status().embedding_dim == 4_096
    assert ids(store.search_by_embedding([1.0] * 4_096, 1)) == ["good"]


def test_a_review_of_too_many_passages_is_named(elastic_store):
    store = elastic_store()
    documents = [Document(id=name, content="a " * 10_001) for name in ("most", "too many")]
    spans = [(2 * n, 2 * n + 1) for n in range(10_001)]
    passages = {"most": Passages(spans[:-1]), "too many": Passages(spans)}
    report = store.replace(documents, [], passages)
    assert [one.id for one in report.rejected] == ["too many"]
    assert "10000" in report.rejected[0].reason
    assert ids(store.search_bm25("a", 2)) == ["most"]


def test_duplicates(elastic_store):
    store = elastic_store()
    first, second = Document(id="a", content="first"), Document(id="a", content="second")
    with pytest.raises(DuplicateIdError, match="'a'"):
        store.write_documents([first, second])
    assert store.count_documents() == 0
    assert store.write_documents([first, second], DuplicatePolicy.SKIP) == 1
    assert store.filter_documents() == [first]
    assert store.write_documents([first, second], DuplicatePolicy.OVERWRITE) == 2
    assert store.filter_documents() == [second]
    assert store.write_documents([first], DuplicatePolicy.SKIP) == 0
    with pytest.raises(DuplicateIdError):
        store.write_documents([Document(id="b"), first], DuplicatePolicy.FAIL)
    assert ids(store.filter_documents()) == ["a"]


def test_loading_is_found_at_its_end(elastic_store):
    store, other = elastic_store(), elastic_store()
    with store.loading():
        for number in range(3):
            store.write_documents([Document(id=f"r{number}", content="good")])
        assert other.count_documents() == 0
    assert other.count_documents() == 3


# --- encoder, versions, labels

IDENTITY = EncoderIdentity("test:a", 2, "cosine", "aa" * 32)
OTHER = EncoderIdentity("test:b", 3, "cosine", "bb" * 32)


class Encoder:
    def __init__(self, identity):
        self.identity = identity

    def encode_passages(self, texts):
        return np.array(
            [[len(text), *[1] * (self.identity.dimension - 1)] for text in texts], np.float32
        )


def test_another_encoder_is_refused_until_all_is_embedded_anew(elastic_store):
    store = elastic_store()
    store.check_encoder(IDENTITY)
    assert store.encoder is None
    store.bind_encoder(IDENTITY)
    store.bind_encoder(IDENTITY)
    assert (store.encoder, store.status().similarity) == (IDENTITY, "cosine")
    with pytest.raises(DocumentsRejectedError, match="embedding is missing"):
        store.write_documents([Document(id="bare", content="x"), Document(id="textless")])
    store.delete_documents(["textless"])
    store.write_documents(
        [Document(id=f"r{n}", content="x" * (n + 1), embedding=[n, 1.0]) for n in range(5)]
    )
    for refused in (store.check_encoder, store.bind_encoder):
        with pytest.raises(EncoderMismatchError, match=r"'test:a' \(2 numbers.*'test:b'"):
            refused(OTHER)
    with pytest.raises(StoreMismatchError, match="similarity 'cosine'"):
        elastic_store(similarity="l2").count_documents()

    reader = elastic_store()
    assert reader.search_by_embedding([1.0, 1.0], 1)[0].id == "r1"
    assert store.update_embeddings(Encoder(OTHER), batch_size=2) == 5
    assert store.encoder == OTHER
    assert len(store.versions()) == 2
    assert store.filter_documents()[4].embedding == [5.0, 1.0, 1.0]
    assert reader.search_by_embedding([1.0, 1.0, 1.0], 1)[0].id == "r0"
    with pytest.raises(EmbeddingError, match="the store's have 3"):
        reader.search_by_embedding([1.0, 1.0])


def test_embeddings_before_their_encoder(elastic_store):
    store = elastic_store(similarity="cosine")
    store.write_documents([Document(id="a", embedding=[1.0, 1.0])])
    with pytest.raises(EncoderMismatchError, match="2 numbers each"):
        store.bind_encoder(OTHER)
    store.bind_encoder(IDENTITY)
    assert elastic_store().encoder == IDENTITY


def test_a_version_is_built_aside_promoted_and_rolled_back(elastic_store):
    store = elastic_store()
    meta = {"item_id": "B0"}
    store.write_documents([Document(id=f"old{n}", content="sound", meta=meta) for n in range(30)])
    stop, empty, failed, answered = threading.Event(), [], [], []

    def ask():
        reader = elastic_store()
        while not stop.is_set():
            try:
                hits = reader.search_bm25("sound", 50, of_item("B0"))
                assert len({hit.id[:3] for hit in hits}) == 1
                (answered if len(hits) in (30, 40) else empty).append(len(hits))
            except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                failed.append(error)

    readers = [threading.Thread(target=ask) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        built = store.new_version()
        with pytest.raises(StoreError, match="0 documents instead of 1"):
            store.promote(built)
        documents = [Document(id=f"new{n}", content="sound", meta=meta) for n in range(40)]
        with built.loading():
            built.write_documents(documents[:20])
        with pytest.raises(StoreError, match="20 documents instead of 40"):
            store.promote(built, expected=40)
        assert store.count_documents() == 30
        resumed = store.new_version(resume=True)
        assert resumed.status().index == built.status().index
        resumed.write_documents(documents, DuplicatePolicy.SKIP)
        store.promote(resumed, expected=40)
        assert store.count_documents() == 40
        former = store.rollback()
        assert former.endswith("-v1")
        assert store.count_documents() == 30
    finally:
        stop.set()
        for reader in readers:
            reader.join()
    assert (empty, failed) == ([], [])
    assert set(answered) >= {30}
    with pytest.raises(StoreNotFoundError, match="no earlier version"):
        store.rollback()
    third = store.new_version(resume=True)  # what was rolled back is nothing to go on with
    third.write_documents([Document(id="third", content="sound")])
    store.promote(third, expected=1)
    assert [name[-3:] for name in store.versions()] == ["-v1", "-v3"]
    assert ids(elastic_store().search_bm25("sound")) == ["third"]


def test_labels(elastic_store):
    store = elastic_store()
    good = AnswerSpan("Good", 0, 4)
    labels = [
        Label("q1", "How?", "B0", "r1", "Good.", (good,), split="test", meta={"z": [1.5, None]}),
        Label("q2", "How?", None, "r1", "Good.", (), split=None),
        Label("q1", "How?", "B0", "r2", "Good.", (), split="test"),
    ]
    assert (store.count_labels(), store.delete_labels(), store.get_labels_aggregated()) == (
        0,
        0,
        [],
    )
    assert store.write_labels(iter(labels)) == 3
    assert store.write_labels([*labels, *labels]) == 0
    assert store.get_labels_aggregated(by_item=False) == labels
    assert len(store.get_labels_aggregated()) == 2
    assert store.count_labels("test", "B0") == store.status().labels - 1 == 2
    with pytest.raises(DataError):
        store.write_labels([Label("q9", "?", "B0", "r1", "Good.", (), meta={"x": float("inf")})])
    assert store.replace_labels([labels[1]], labels[1:]) == 0
    assert store.get_labels_aggregated(by_item=False) == labels[:2]
    assert store.replace_labels(labels, []) == 1
    assert store.delete_labels("test") == 2
    assert store.get_labels_aggregated() == [labels[1]]
    assert store.count_documents() == 0


# --- reviews, settings, pipelines


def test_reviews_are_known_by_their_hashes(elastic_store):
    store = elastic_store()
    assert store.documents_of_reviews(["r1"]) == {}
    store.write_documents(
        [
            Document(id="r1#0", meta={"review_id": "r1", "content_hash": "a"}),
            Document(id="r1#1", meta={"review_id": "r1", "content_hash": "b"}),
            Document(id="r2", meta={"review_id": "r2"}),
            Document(id="alone"),
        ]
    )
    assert store.documents_of_reviews(["r1", "r2", "r3"]) == {
        "r1": {"r1#0": "a", "r1#1": "b"},
        "r2": {"r2": ""},
    }
    assert dict(store.iter_ids()) == {"r1#0": "r1", "r1#1": "r1", "r2": "r2", "alone": None}
    store.replace([Document(id="r1", meta={"review_id": "r1", "content_hash": "c"})], ["r1#0", "x"])
    assert store.documents_of_reviews(["r1"]) == {"r1": {"r1#1": "b", "r1": "c"}}
    store.delete_documents(["r1#1", "nowhere"])
    assert store.count_documents() == 3
    assert store.verify() == []


def test_settings_open_it_and_hold_no_secret(elastic_store, elasticsearch_url, monkeypatch):
    store = elastic_store()
    index = store.to_dict()["init_parameters"]["index"]
    overrides = {
        "store.type": "elasticsearch",
        "store.url": elasticsearch_url,
        "store.index": index,
        "store.replicas": 0,
        "retriever.mode": "bm25",
    }
    chosen = load_settings(overrides=overrides, environ={})
    with pytest.raises(StoreNotFoundError, match="there is no store"):
        open_store(chosen.store)
    with open_store(chosen.store, create=True, similarity="l2") as opened:
        text = "The light is bright enough for reading in bed."
        opened.write_documents([Document(id="r1", content=text, meta={"item_id": "lamp"})])
        assert opened.status().similarity == "l2"
        pipeline = pipelines.load(pipelines.retrieve(opened, chosen).dumps())
        inputs = {"query": "bright?", "filters": of_item("lamp")}
        assert ids(pipeline.run(inputs)["retriever"]["documents"]) == ["r1"]
    with QASystem(chosen) as system:
        assert system.ask("Is the light bright enough?", item_id="lamp").reviews_read == 1

    monkeypatch.setenv("MY_KEY", "c2VjcmV0")
    keyed = ElasticsearchReviewStore(elasticsearch_url, index, api_key_env="MY_KEY")
    assert keyed.count_documents() == 1
    assert "c2VjcmV0" not in json.dumps(BM25Retriever(keyed).to_dict())
    again = BM25Retriever.from_dict(BM25Retriever(keyed).to_dict())
    assert again.document_store.to_dict() == keyed.to_dict()
    keyed.close()


def test_both_stores_in_the_same_pipelines(elastic_store, tmp_path, sample):
    encoder = load_encoder(EncoderSettings())
    reviews = load_dataset(sample).reviews[:60]
    vectors = encoder.encode_passages([one.text for one in reviews])
    documents = [
        Document(id=one.id, content=one.text, meta={"item_id": one.item_id}, embedding=vector)
        for one, vector in zip(reviews, vectors.tolist(), strict=True)
    ]
    found = {}
    stores = (FAISSDocumentStore(tmp_path / "store", similarity="cosine"), elastic_store())
    for mode in ("dense", "hybrid"):
        chosen = load_settings(overrides={"retriever.mode": mode}, environ={})
        for store in stores:
            store.bind_encoder(encoder.identity)
            store.write_documents(documents, DuplicatePolicy.OVERWRITE)
            pipeline = pipelines.load(pipelines.retrieve(store, chosen).dumps())
            inputs = {"query": "How long does it last?", "filters": of_item(reviews[0].item_id)}
            hits = pipeline.run(inputs)["retriever"]["documents"]
            found[mode, type(store)] = [(hit.id, hit.score) for hit in hits]
    expected, dense = found["dense", FAISSDocumentStore], found["dense", ElasticsearchReviewStore]
    assert [name for name, _ in dense] == [name for name, _ in expected]
    scores = [score for _, score in expected]
    assert [score for _, score in dense] == pytest.approx(scores, abs=1e-4)
    assert {name for name, _ in found["hybrid", FAISSDocumentStore]} == {
        name for name, _ in found["hybrid", ElasticsearchReviewStore]
    }
    stores[0].close()


def test_what_is_wrong_with_the_settings_is_said_at_once(elasticsearch_url, monkeypatch):
    monkeypatch.delenv("MY_KEY", raising=False)
    for wrong, message in (
        ({"url": "localhost:9200"}, "not a server's address"),
        ({"url": "https://me:secret@localhost:9200"}, "holds a user or a password"),
        ({"similarity": "manhattan"}, "there is no similarity 'manhattan'"),
        ({"index_options": "tree"}, "flat, hnsw, int8_hnsw"),
        ({"bulk": {"size": 3}}, "bulk: .*size"),
    ):
        with pytest.raises(ConfigError, match=message) as caught:
            ElasticsearchReviewStore(**wrong)
        assert "secret" not in str(caught.value)
    for wrong, message in (
        ({"api_key_env": "MY_KEY"}, "MY_KEY is not set"),
        ({"username_env": "MY_KEY"}, "a user needs a password"),
    ):
        with pytest.raises(ConfigError, match=message):
            ElasticsearchReviewStore(elasticsearch_url, **wrong).count_documents()


def test_an_index_that_is_deleted_under_us_is_not_made_by_the_server(elastic_store):
    store = elastic_store()
    store.write_documents([Document(id="a", embedding=[1.0, 0.0])])
    client, version = store._at.client, store.status().index
    client.indices.delete(index=version)
    with pytest.raises(StoreNotFoundError, match="was deleted while it was written to"):
        store.write_documents([Document(id="b")], DuplicatePolicy.OVERWRITE)
    assert not client.indices.exists(index=store.index)
    assert store.write_documents([Document(id="b")]) == 1
    assert store.status().index == version


def test_an_index_of_somebody_else_is_left_alone(elastic_store, elasticsearch_url):
    store = elastic_store()
    name = store.to_dict()["init_parameters"]["index"]
    store._at.client.indices.create(index=name, mappings={"properties": {"a": {"type": "text"}}})
    with pytest.raises(StoreMismatchError, match="was not made by this store"):
        store.write_documents([Document(id="a")])
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        ElasticsearchReviewStore("http://127.0.0.1:9").count_documents()


def test_an_index_of_another_analysis_is_refused(elastic_store):
    store = elastic_store()
    store.write_documents([Document(id="a", content="Good.")])
    terms = {**TERMS, "meta": {"analysis": "another"}}
    store._at.client.indices.put_mapping(index=store.index, properties={"terms": terms})
    with pytest.raises(StoreMismatchError, match=r"'another'.*instead of .*'english-1'"):
        elastic_store().search_bm25("good")


def test_an_index_that_is_deleted_is_missed(elastic_store):
    store, other = elastic_store(), elastic_store()
    store.write_documents([Document(id="a")])
    assert other.count_documents() == 1
    store.delete_all_documents(recreate_index=True)
    with pytest.raises(StoreNotFoundError, match="no such index"):
        other.count_documents()


# --- what jobs note


def test_notes_stay_with_the_index_through_encoders_and_versions(elastic_store):
    store = elastic_store()
    assert store.notes() == {}
    store.note({"recipe": 2, "types": {"price": "number"}})
    store.note({"types": {"size": "text"}})
    expected = {"recipe": 2, "types": {"size": "text"}}
    store.bind_encoder(EncoderIdentity("tiny", 2, "dot_product", "0" * 64))
    assert store.notes() == expected
    store.write_documents([Document(id="r1", content="x", embedding=[1.0, 2.0])])
    with store.new_version(encoder=store.encoder) as built:
        assert built.notes() == {}
        built.note({"recipe": 2})
        built.write_documents([Document(id="r1", content="x", embedding=[1.0, 2.0])])
        store.promote(built, expected=1)
    assert store.notes() == {"recipe": 2}
    store.rollback()
    assert store.notes() == expected
