"""The embedded store: what it keeps, what it refuses, and how it says so."""

# ruff: noqa: DTZ001 - naive dates are metadata like any other

import resource
import sqlite3
from datetime import UTC, date, datetime

import numpy as np
import pytest
from haystack import Pipeline
from haystack.dataclasses import ByteStream, Document, SparseEmbedding
from haystack.document_stores.types import DuplicatePolicy
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_system.config import StoreSettings
from qa_system.errors import (
    EmbeddingError,
    EncoderMismatchError,
    InvalidArgumentError,
    QASystemError,
    StoreError,
    StoreMismatchError,
    StoreNotFoundError,
)
from qa_system.records import EncoderIdentity
from qa_system.retrievers.bm25 import BM25Retriever
from qa_system.stores import open_store
from qa_system.stores.documents import DocumentTypeError, MetadataError
from qa_system.stores.faiss import DuplicateIdError, FAISSDocumentStore


@pytest.fixture
def store(tmp_path):
    with FAISSDocumentStore(tmp_path / "store") as store:
        yield store


def review(name, text="The battery lasts.", item="B00", embedding=None, **meta):
    meta = {"review_id": name, "item_id": item, "content_hash": f"hash of {text}", **meta}
    return Document(id=name, content=text, meta=meta, embedding=embedding)


class Encoder:
    def __init__(self, name="first", dimension=2, fail_after=None):
        self.identity = EncoderIdentity(name, dimension, "dot_product", f"weights of {name}")
        self.fail_after = fail_after
        self.encoded = 0

    def encode_passages(self, texts):
        if self.fail_after is not None and self.encoded >= self.fail_after:
            raise RuntimeError("the power went out")
        self.encoded += len(texts)
        rows = [[len(text), len(self.identity.name)] for text in texts]
        return np.resize(np.array(rows, np.float32), (len(texts), self.identity.dimension))


# --- what it keeps


def test_constructing_touches_nothing(tmp_path):
    store = FAISSDocumentStore(tmp_path / "store")
    assert store.count_documents() == 0
    assert (
        store.filter_documents() == store.search_bm25("x") == store.search_by_embedding([1]) == []
    )
    assert store.status().documents == 0
    assert store.verify() == []
    store.delete_documents(["x"])
    store.delete_all_documents()
    store.close()
    assert not (tmp_path / "store").exists()


def test_every_kind_of_document_comes_back_as_it_was(store):
    documents = [
        Document(id="plain", content="text"),
        Document(id="nothing"),
        Document(id="blob", blob=ByteStream(b"\x00\xff", {"page": 3}, "image/png")),
        Document(id="sparse", sparse_embedding=SparseEmbedding([1, 7], [0.5, 0.25])),
        Document(id="narrow", embedding=[0.5, -0.25]),
        Document(id="wide", embedding=[0.1, 1 / 3]),
        Document(
            id="meta",
            meta={
                "when": datetime(2024, 2, 29, 12, 30, tzinfo=UTC),
                "day": date(2024, 2, 29),
                "many": [1, "2", 3.5, None, True, {"deep": [datetime(2020, 1, 1)]}],
                "big": 2**63 - 1,
                "text that looks like a date": "2024-02-29",
                'Ünïcode "quoted"': "\u2028\x00",
                "": {},
            },
        ),
    ]
    assert store.write_documents(documents) == len(documents)
    store.close()
    assert store.filter_documents() == documents
    assert store.verify() == []


metas = st.dictionaries(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=4),
    st.recursive(
        st.one_of(
            st.none(),
            st.booleans(),
            st.integers(-(2**63), 2**64 - 1),
            st.floats(allow_nan=False, allow_infinity=False),
            st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
            st.datetimes(timezones=st.sampled_from([None, UTC])),
            st.dates(),
        ),
        lambda inner: st.one_of(
            st.lists(inner, max_size=3), st.dictionaries(st.text("abc", max_size=2), inner)
        ),
        max_leaves=6,
    ),
    max_size=4,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(metas, min_size=1, max_size=5), st.integers(1, 4), st.data())
def test_documents_round_trip(tmp_path_factory, all_metas, dimension, data):
    numbers = st.floats(-1e38, 1e38, allow_nan=False)
    vectors = st.one_of(st.none(), st.lists(numbers, min_size=dimension, max_size=dimension))
    documents = [
        Document(id=str(n), meta=meta, embedding=data.draw(vectors))
        for n, meta in enumerate(all_metas)
    ]
    with FAISSDocumentStore(tmp_path_factory.mktemp("store")) as store:
        store.write_documents(documents)
        assert store.filter_documents() == documents


# --- duplicate policies


@pytest.mark.parametrize("policy", [DuplicatePolicy.NONE, DuplicatePolicy.FAIL])
def test_a_duplicate_in_the_batch_fails_it_all(store, policy):
    with pytest.raises(DuplicateIdError, match="'a'"):
        store.write_documents([review("a"), review("b"), review("a", "again")], policy)
    assert store.count_documents() == 0
    assert store.search_bm25("battery") == []


def test_skip_keeps_the_earlier_overwrite_the_later(store):
    batch = [review("a", "one"), review("b"), review("a", "two")]
    assert store.write_documents(batch, DuplicatePolicy.SKIP) == 2
    assert {d.id: d.content for d in store.filter_documents()}["a"] == "one"
    assert store.write_documents(batch, DuplicatePolicy.SKIP) == 0
    assert store.write_documents(batch, DuplicatePolicy.OVERWRITE) == 3
    assert {d.id: d.content for d in store.filter_documents()}["a"] == "two"
    assert store.count_documents() == 2
    assert store.verify() == []


# --- what it refuses


@pytest.mark.parametrize(
    ("embedding", "told"),
    [
        ([1.0, 2.0, 3.0], "3 numbers instead of 2"),
        ([], "0 numbers instead of 2"),
        ([1.0, float("nan")], "NaN"),
        ([1.0, float("inf")], "NaN"),
        ([1.0, 1e300], "32-bit"),
        (["a", "b"], "32-bit"),
    ],
)
def test_a_bad_embedding_is_refused_before_anything_is_written(store, embedding, told):
    store.write_documents([review("first", embedding=[1.0, 2.0])])
    with pytest.raises(EmbeddingError, match=told) as caught:
        store.write_documents(
            [review("good", embedding=[1.0, 2.0]), review("bad", embedding=embedding)]
        )
    assert "'bad'" in str(caught.value)
    assert store.count_documents() == 1


@pytest.mark.parametrize(
    "value", [{1, 2}, float("nan"), [1, {"x": float("inf")}], object(), 2**70, b"bytes", {1: 2}]
)
def test_metadata_that_json_cannot_hold_is_named(store, value):
    with pytest.raises(MetadataError, match="odd") as caught:
        store.write_documents([review("good"), review("bad", odd=value)])
    assert "'bad'" in str(caught.value)
    assert store.count_documents() == 0


def test_text_that_utf8_cannot_hold_is_named(store):
    with pytest.raises(InvalidArgumentError, match="'bad'"):
        store.write_documents([review("bad", "half a pair: \ud83d")])
    with pytest.raises(DocumentTypeError, match="bad"):
        store.write_documents([review("bad \ud83d", "whole")])


@pytest.mark.parametrize("documents", ["text", {"a": 1}, [1], [None], (Document(id="a"), "b")])
def test_what_is_no_list_of_documents(store, documents):
    with pytest.raises(ValueError) as caught:
        store.write_documents(documents)
    assert isinstance(caught.value, QASystemError)


def test_top_k_is_at_least_one(store):
    with pytest.raises(InvalidArgumentError, match="top_k"):
        store.search_bm25("x", 0)


# --- settings and YAML


def test_settings_that_contradict_the_store(tmp_path):
    with FAISSDocumentStore(tmp_path, similarity="cosine") as store:
        store.write_documents([review("a", embedding=[1.0, 2.0])])
    with pytest.raises(StoreMismatchError, match="'cosine'"):
        FAISSDocumentStore(tmp_path).count_documents()
    with pytest.raises(StoreMismatchError, match="embedding_dim 2"):
        FAISSDocumentStore(tmp_path, 3, "cosine").search_bm25("x")
    assert FAISSDocumentStore(tmp_path, 2, "cosine").count_documents() == 1


def test_open_store(tmp_path):
    settings = StoreSettings(path=str(tmp_path / "store"))
    with pytest.raises(StoreNotFoundError, match="qa-index run"):
        open_store(settings)
    with open_store(settings, create=True, similarity="l2") as store:
        store.write_documents([review("a")])
        assert store.status().similarity == "l2"
    with open_store(settings, similarity="cosine") as store:
        assert store.status().similarity == "l2"
    with pytest.raises(StoreMismatchError):
        open_store(settings.model_copy(update={"similarity": "cosine"})).count_documents()


def test_serialisation_covers_every_argument(tmp_path):
    given = {
        "path": str(tmp_path / "x"),
        "embedding_dim": 7,
        "similarity": "l2",
        "index": "hnsw",
        "gpu": True,
        "group": "shoppers",
    }
    dumped = FAISSDocumentStore(**given).to_dict()
    assert dumped["init_parameters"] == given
    assert FAISSDocumentStore.from_dict(dumped).to_dict() == dumped


def test_a_pipeline_around_the_store_goes_through_yaml(tmp_path):
    store = FAISSDocumentStore(tmp_path / "store")
    store.write_documents([review("a")])
    pipeline = Pipeline()
    pipeline.add_component("retriever", BM25Retriever(store))
    store.close()
    again = Pipeline.loads(pipeline.dumps(), allowed_modules=["qa_system.*"])
    found = again.run({"retriever": {"query": "battery"}})["retriever"]["documents"]
    assert [document.id for document in found] == ["a"]


# --- encoders


def test_a_bound_store_refuses_another_encoder(store):
    first, other = Encoder("first").identity, Encoder("other").identity
    store.check_encoder(first)
    assert store.encoder is None
    store.bind_encoder(first)
    store.bind_encoder(first)
    assert store.encoder == first
    for refuse in (store.bind_encoder, store.check_encoder):
        with pytest.raises(EncoderMismatchError) as caught:
            refuse(other)
        for part in ("'first'", "'other'", "qa-index reembed --store", "--encoder-model other"):
            assert part in str(caught.value)
    with pytest.raises(EmbeddingError, match="'a'"):
        store.write_documents([review("a")])
    store.write_documents([review("a", embedding=[1.0, 2.0])])


def test_an_unbound_store_with_embeddings_of_another_dimension(store):
    store.write_documents([review("a", embedding=[1.0, 2.0, 3.0])])
    with pytest.raises(EncoderMismatchError, match="3 numbers"):
        store.bind_encoder(Encoder().identity)


def test_documents_without_embedding_are_never_near(store):
    store.write_documents([review("a"), review("b", embedding=[1.0, 2.0])])
    assert [hit.id for hit in store.search_by_embedding([1.0, 2.0])] == ["b"]
    only = {"field": "embedding", "operator": "==", "value": None}
    assert [document.id for document in store.filter_documents(only)] == ["a"]


def test_update_embeddings_swaps_at_the_end(store):
    store.write_documents([review(str(n), "x" * (n + 1), embedding=[1.0, 0, 0]) for n in range(9)])
    store.write_documents([Document(id="empty")])
    seen, batches = [], []

    class Watched(Encoder):
        def encode_passages(self, texts):
            seen.append(len(store.search_by_embedding([1.0, 0.0, 0.0], 20)))
            return super().encode_passages(texts)

    encoder = Watched("new", dimension=2)
    assert store.update_embeddings(encoder, batch_size=4, on_progress=batches.append) == 9
    assert (seen, batches) == ([9, 9, 9], [4, 4, 1])
    assert store.encoder == encoder.identity
    hits = store.search_by_embedding([1.0, 0.0], 20)
    assert [(hit.id, hit.score) for hit in hits[:2]] == [("8", 9.0), ("7", 8.0)]
    assert len(hits) == 9
    assert store.verify() == []
    assert store.status().embedding_dim == 2


def test_update_embeddings_goes_on_where_it_was_stopped(store, tmp_path):
    store.write_documents(
        [review(str(n), f"Battery {n} lasts.", embedding=[1.0, 0.0]) for n in range(10)]
    )
    with pytest.raises(RuntimeError):
        store.update_embeddings(Encoder("new", 2, fail_after=4), batch_size=2)
    assert store.encoder is None
    assert len(store.search_by_embedding([1.0, 0.0], 20)) == 10
    store.delete_documents(["0", "9"])
    store.write_documents([review("new", embedding=[1.0, 0.0])])
    store.close()
    same = Encoder("new", 2)
    assert store.update_embeddings(same) == 10 - 4 - 1 + 1
    assert len(store.search_by_embedding([1.0, 0.0], 20)) == 9
    with pytest.raises(RuntimeError):
        store.update_embeddings(Encoder("third", 5, fail_after=2), batch_size=2)
    other = Encoder("fourth", 3)
    assert store.update_embeddings(other) == other.encoded == 9
    assert store.verify() == []
    store.close()
    assert len(list((tmp_path / "store").glob("*.f32"))) == 1


def test_an_encoder_that_gives_nonsense(store):
    store.write_documents([review("a", embedding=[1.0, 0.0])])
    bad = Encoder()
    bad.encode_passages = lambda texts: np.full((1, 2), np.nan)
    with pytest.raises(EmbeddingError, match="not finite"):
        store.update_embeddings(bad)
    assert len(store.search_by_embedding([1.0, 0.0])) == 1


# --- the indexing job


def test_what_the_indexing_job_asks(store):
    store.write_documents([review("r1"), review("r2", item="B01"), review("r2#1", item="B01")])
    store.delete_documents(["r2#1"])
    split = review("r2#1", "more", item="B01")
    split.meta["review_id"] = "r2"
    store.write_documents([split])
    assert store.documents_of_reviews(["r1", "r2", "r3"]) == {
        "r1": {"r1": "hash of The battery lasts."},
        "r2": {"r2": "hash of The battery lasts.", "r2#1": "hash of more"},
    }
    assert sorted(store.iter_ids()) == [("r1", "r1"), ("r2", "r2"), ("r2#1", "r2")]
    assert (store.count_items(), store.has_item("B01"), store.has_item("B02")) == (2, True, False)
    store.replace([review("r2", "changed", item="B01")], stale_ids=["r2#1", "unknown"])
    assert sorted(store.iter_ids()) == [("r1", "r1"), ("r2", "r2")]
    store.replace([], stale_ids=["r1"])
    assert store.count_documents() == 1
    with pytest.raises(MetadataError):
        store.replace([review("r9", odd=object())], stale_ids=["r2"])
    assert store.count_documents() == 1


def test_update_by_filter_keeps_everything_else(store):
    kept = datetime(2024, 2, 29)
    store.write_documents([review(str(n), embedding=[0.1, n], on=kept) for n in range(5)])
    some = {"field": "id", "operator": "in", "value": ["1", "3"]}
    assert store.update_by_filter(some, {"seen": True, "stars": None}) == 2
    found = {document.id: document for document in store.filter_documents()}
    assert found["1"].meta["seen"] is True
    assert found["1"].meta["on"] == kept
    assert found["1"].embedding == [0.1, 1.0]
    assert "seen" not in found["2"].meta
    assert len(store.search_by_embedding([0.0, 1.0], 10)) == 5
    assert store.verify() == []


def test_metadata_that_mixes_types(store):
    store.write_documents(
        [
            Document(id="a", meta={"n": 1, "on": date(2024, 1, 1), "list": [1]}),
            Document(id="b", meta={"n": 2.5, "on": date(2023, 1, 1), "mixed": 1, "deep": {"x": 3}}),
            Document(id="c", meta={"n": None, "mixed": "one", "flag": True}),
        ]
    )
    assert store.get_metadata_fields_info() == {
        "n": {"type": "float"},
        "on": {"type": "date"},
        "list": {"type": "keyword"},
        "mixed": {"type": "keyword"},
        "deep": {"type": "keyword"},
        "flag": {"type": "boolean"},
    }
    assert store.get_metadata_field_min_max("on") == {
        "min": date(2023, 1, 1),
        "max": date(2024, 1, 1),
    }
    assert store.get_metadata_field_min_max("mixed") == {"min": None, "max": None}
    assert store.get_metadata_field_unique_values("deep.x") == ([3], 1)


# --- the store's errors


def test_a_file_that_is_no_database(tmp_path):
    (tmp_path / "store.sqlite3").write_bytes(b"this is no database" * 1000)
    with pytest.raises(StoreError, match=r"damaged|not a store") as caught:
        FAISSDocumentStore(tmp_path).count_documents()
    assert str(tmp_path) in str(caught.value)


def test_a_store_of_a_newer_version(store, tmp_path):
    store.write_documents([review("a")])
    store.close()
    connection = sqlite3.connect(tmp_path / "store" / "store.sqlite3")
    connection.execute("UPDATE store SET value = 99 WHERE key = 'format'")
    connection.commit()
    connection.close()
    with pytest.raises(StoreMismatchError, match="99"):
        store.count_documents()


def test_a_path_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(QASystemError, match="file"):
            FAISSDocumentStore(path).write_documents([review("a")])


def test_a_full_disk_keeps_the_store_whole(store):
    """A limit on the size of files stands in for the disk's end: SQLite meets the same error."""
    store.write_documents([review(str(n)) for n in range(50)])
    store.search_bm25("battery")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, before[1]))
    try:
        with pytest.raises(StoreError, match=r"disk|SQLite") as caught:
            store.write_documents([review(f"long{n}", "word " * 5_000) for n in range(100)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert caught.value.remedy
    assert store.count_documents() == 50
    assert store.write_documents([review("after")]) == 1
    assert len(store.search_bm25("battery", 100)) == 51
    assert store.verify() == []


def test_a_store_that_is_deleted_and_made_again_under_a_reader(tmp_path):
    import shutil

    with FAISSDocumentStore(tmp_path / "s") as writer, FAISSDocumentStore(tmp_path / "s") as reader:
        writer.write_documents([review("old", embedding=[1.0])])
        assert [hit.id for hit in reader.search_bm25("battery")] == ["old"]
        assert [hit.id for hit in reader.search_by_embedding([1.0])] == ["old"]
        writer.close()
        shutil.rmtree(tmp_path / "s")
        assert reader.count_documents() == 0
        writer.write_documents([review("new", embedding=[1.0])])
        assert [hit.id for hit in reader.search_bm25("battery")] == ["new"]
        assert [hit.id for hit in reader.search_by_embedding([1.0])] == ["new"]


def test_delete_all(store):
    store.bind_encoder(Encoder().identity)
    store.write_documents([review(str(n), embedding=[1.0, float(n)]) for n in range(20)])
    assert len(store.search_by_embedding([1.0, 0.0], 50)) == 20
    store.delete_all_documents()
    assert store.search_by_embedding([1.0, 0.0]) == store.search_bm25("battery") == []
    assert store.encoder == Encoder().identity
    store.delete_all_documents(recreate_index=True)
    assert store.encoder is None
    store.write_documents([review("a", embedding=[1.0, 2.0, 3.0])])
    assert [hit.id for hit in store.search_by_embedding([1.0, 0.0, 0.0])] == ["a"]
    assert store.verify() == []


def test_tombstones_are_forgotten(store, monkeypatch):
    monkeypatch.setattr("qa_system.stores.embedded.folder.FORGOTTEN_AT", 20)
    monkeypatch.setattr("qa_system.stores.embedded.derived.vectors.FEWEST_DEAD", 20)
    for turn in range(6):
        batch = [review(str(n), f"turn{turn}", embedding=[1.0, turn]) for n in range(30)]
        store.write_documents(batch, DuplicatePolicy.OVERWRITE)
        assert len(store.search_bm25(f"turn{turn}", 100)) == 30
        assert {hit.score for hit in store.search_by_embedding([0.0, 1.0], 100)} == {float(turn)}
        assert store.verify() == []
    store.close()
    connection = sqlite3.connect(store._path / "store.sqlite3")
    assert connection.execute("SELECT count(*) FROM tombstones").fetchone()[0] < 60
    connection.close()


def test_status(store, tmp_path):
    store.write_documents([review("a", embedding=[1.0, 2.0]), review("b", item="B01")])
    store.verify()
    status = store.status()
    assert status.path == str(tmp_path / "store")
    assert (status.documents, status.items, status.embedded) == (2, 2, 1)
    assert (status.embedding_dim, status.similarity, status.index) == (2, "dot_product", "auto")
    assert status.generation == status.lexical_generation == status.vectors_generation == 1
    assert status.encoder is None
    assert status.bytes_on_disk > 10_000


# --- what jobs note


def test_notes_are_kept_and_no_write_for_a_search(store, tmp_path):
    assert store.notes() == {}
    store.write_documents([review("r1")])
    generation = store.status().generation
    store.note({"recipe": 2, "types": {"price": "number"}})
    store.note({"types": {"größe": "text"}})
    store.close()
    with FAISSDocumentStore(tmp_path / "store") as again:
        assert again.notes() == {"recipe": 2, "types": {"größe": "text"}}
        assert again.status().generation == generation
        assert again.verify() == []
