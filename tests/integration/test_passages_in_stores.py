"""A review in passages is one document of its own id, in the embedded store and on a server."""

import numpy as np
import pytest
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy

from qa_system.errors import StoreError
from qa_system.records import EncoderIdentity
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.stores.writes import Passages

TEXT = "The light is bright. The strap broke soon. It was cheap, the café said."
SPANS = [(0, 20), (15, 42), (43, 71)]
LIGHT, STRAP, PRICE = SPANS
VECTORS = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]], np.float32)
OTHER = [0.0, 0.0, 0.0, 1.0]
PASSAGE_IDS = ["r1#0", "r1#1", "r1#2"]


def review(name="r1", item="B0", text=TEXT, embedding=None, **meta):
    own = {"review_id": name, "item_id": item, "content_hash": f"hash of {name}"}
    return Document(id=name, content=text, meta={**meta, **own}, embedding=embedding)


def split(*names):
    return {name: Passages(SPANS, VECTORS) for name in names}


def of_item(item):
    return {"field": "meta.item_id", "operator": "==", "value": item}


def found(documents):
    """Which reviews, and which of their passages."""
    return [
        (each.id, (each.meta.get("passage_start"), each.meta.get("passage_end")))
        for each in documents
    ]


NONE = (None, None)


@pytest.mark.parametrize("is_split_first", [True, False])
@pytest.mark.parametrize(
    ("name", "other"),
    [
        *(("r1", passage) for passage in PASSAGE_IDS),
        ("r1#0", "r1"),
        ("#", "##0"),
        ("é \U0001f4a1", "é \U0001f4a1#0"),
        ("a/b?c", "a/b?c#1"),
    ],
)
def test_a_passage_takes_no_id(store, name, other, is_split_first):
    documents = [review(name), review(other, "B1", "Another customer.", OTHER)]
    for each in documents if is_split_first else reversed(documents):
        store.replace([each], [], split(name))
    assert store.count_documents() == 2
    assert {each.id: each.content for each in store.filter_documents()} == {
        name: TEXT,
        other: "Another customer.",
    }
    assert sorted(store.iter_ids()) == sorted([(name, name), (other, other)])
    assert store.documents_of_reviews([name, other, "none"]) == {
        each: {each: f"hash of {each}"} for each in (name, other)
    }
    assert found(store.search_by_embedding(VECTORS[1], 5, of_item("B0"))) == [(name, STRAP)]
    assert found(store.search_by_embedding(VECTORS[1], 5))[0] == (name, STRAP)
    assert found(store.search_by_embedding(OTHER, 5, of_item("B1"))) == [(other, NONE)]
    assert found(store.search_bm25("customer", 5)) == [(other, NONE)]
    store.delete_documents([other])
    assert found(store.search_by_embedding(OTHER, 5)) == [(name, LIGHT)]
    store.delete_documents([name])
    assert store.count_documents() == 0
    assert store.search_by_embedding(VECTORS[1], 5) == []


def test_it_is_read_whole_and_says_what_matched_where_it_is_found(store):
    given = review(stars=5)
    store.replace([given, review("r2", "B0", "Bright.", OTHER)], [], split("r1"))
    assert store.filter_documents(of_item("B0"))[0] == given
    assert store.status().embedded == 2
    assert store.verify() == []
    has_embedding = {"field": "embedding", "operator": "!=", "value": None}
    assert store.count_documents_by_filter(has_embedding) == 2
    for question, passage in (("bright light?", LIGHT), ("Why cheap?", PRICE), ("zip", LIGHT)):
        hits = store.search_bm25(question, 5, of_item("B0"))
        assert dict(found(hits)) == {"r1": passage, "r2": NONE}
        whole = next(each for each in hits if each.id == "r1")
        assert (whole.content, whole.embedding, whole.meta["stars"]) == (TEXT, None, 5)
    for vector, passage in zip(VECTORS, SPANS, strict=True):
        first, second = store.search_by_embedding(vector, 5)
        assert found([first, second]) == [("r1", passage), ("r2", NONE)]
        assert [first.score, second.score] == pytest.approx([1.0, 0.0], abs=1e-5)
        assert (first.content, first.embedding) == (TEXT, None)
    rows = store.search_by_embeddings(VECTORS, 1, of_item("B0"))
    assert [found(row) for row in rows] == [[("r1", passage)] for passage in SPANS]
    assert store.search_by_embeddings(VECTORS, 1, of_item("B9")) == [[], [], []]


def test_passages_without_embeddings(store):
    bare = {"r1": Passages(SPANS)}
    store.replace([review()], [], bare)
    assert store.status().embedded == 0
    assert found(store.search_bm25("cheap", 5)) == [("r1", PRICE)]
    assert store.search_by_embedding(VECTORS[0], 5) == []
    store.replace([review("r2", embedding=OTHER)], [])
    assert found(store.search_by_embedding(VECTORS[0], 5)) == [("r2", NONE)]


def test_whole_or_in_passages_it_is_overwritten(store):
    store.replace([review()], [], split("r1"))
    store.replace([review(embedding=OTHER)], [])
    assert store.count_documents() == store.status().embedded == 1
    [hit] = store.search_by_embedding(VECTORS[0], 5)
    assert (found([hit]), hit.score) == ([("r1", NONE)], pytest.approx(0.0, abs=1e-5))
    assert store.filter_documents()[0].embedding == OTHER
    store.replace([review()], ["r2"], {"r1": Passages(SPANS[:2], VECTORS[1:])})
    [hit] = store.search_by_embedding(VECTORS[2], 5)
    assert (found([hit]), hit.score) == ([("r1", STRAP)], pytest.approx(1.0, abs=1e-5))
    store.replace([review("r2", embedding=OTHER)], ["r1"])
    assert found(store.search_by_embedding(VECTORS[2], 5)) == [("r2", NONE)]


def test_other_metadata_leaves_passages_alone(store):
    store.replace([review(), review("r2", embedding=OTHER)], [], split("r1"))
    before = [store.search_by_embedding(vector, 1) for vector in VECTORS]
    assert store.update_by_filter(of_item("B0"), {"stars": 4, "item_id": "B1"}) == 2
    assert store.count_documents_by_filter(of_item("B0")) == 0
    after = [store.search_by_embedding(vector, 1, of_item("B1")) for vector in VECTORS]
    for [old], [new] in zip(before, after, strict=True):
        assert new.meta == old.meta | {"stars": 4, "item_id": "B1"}
        assert (new.content, new.score) == (old.content, pytest.approx(old.score))
    assert found(store.search_bm25("cheap", 1)) == [("r1", PRICE)]


def test_a_filter_deletes_it_with_its_passages(store):
    store.replace([review(), review("r2", "B1", embedding=OTHER)], [], split("r1"))
    assert store.delete_by_filter(of_item("B0")) == 1
    assert found(store.search_by_embedding(VECTORS[0], 5)) == [("r2", NONE)]
    assert store.count_items() == 1
    store.write_documents([review()], DuplicatePolicy.SKIP)
    assert found(store.search_by_embedding(VECTORS[0], 5)) == [("r2", NONE)]


@pytest.mark.parametrize("similarity", ["dot_product", "cosine", "l2"])
def test_a_review_is_as_near_as_its_nearest_passage(make_store, similarity):
    draw = np.random.default_rng(5)
    documents, passages, vectors = [], {}, {}
    for n in range(300):
        count = 1 if n % 3 else int(draw.integers(2, 9))
        vectors[f"r{n}"] = own = draw.normal(size=(count, 8)).astype(np.float32)
        text = "word " * count
        embedding = own[0].tolist() if count == 1 else None
        documents.append(review(f"r{n}", f"B{n % 7}", text, embedding))
        if count > 1:
            spans = [(5 * number, 5 * number + 4) for number in range(count)]
            passages[f"r{n}"] = Passages(spans, own)
    with make_store(similarity=similarity) as store:
        store.replace(documents, [], passages)
        store.delete_documents([f"r{n}" for n in range(0, 300, 10)])
        here = [f"r{n}" for n in range(300) if n % 10]
        for query in draw.normal(size=(6, 8)).astype(np.float32):
            scores = {name: similarities(vectors[name], query, similarity) for name in here}
            for item, top_k in ((None, 20), ("B3", 7), ("B3", 100)):
                chosen = [name for name in here if item in (None, f"B{int(name[1:]) % 7}")]
                best = sorted(chosen, key=lambda name: -scores[name].max())[:top_k]
                filters = None if item is None else of_item(item)
                hits = store.search_by_embedding(query, top_k, filters)
                assert found(hits) == [
                    (name, (start, start + 4) if name in passages else NONE)
                    for name in best
                    for start in [5 * int(scores[name].argmax())]
                ]
                np.testing.assert_allclose(
                    [hit.score for hit in hits],
                    [scores[name].max() for name in best],
                    rtol=1e-4,
                    atol=1e-4,
                )


def similarities(vectors, query, similarity):
    if similarity == "l2":
        return -np.square(vectors - query).sum(axis=1)
    products = vectors @ query
    if similarity == "dot_product":
        return products
    return products / np.linalg.norm(vectors, axis=1) / np.linalg.norm(query)


IDENTITY = EncoderIdentity("test:length", 3, "cosine", "aa" * 32)


class Encoder:
    identity = IDENTITY

    def encode_passages(self, texts):
        return np.array([[len(text), 1, "cheap" in text] for text in texts], np.float32)


def test_another_encoder_embeds_each_passage(store):
    abstaining = Document(id="abstaining", meta={"item_id": "B2"})
    given = [review(), review("r2", "B1", "Short.", OTHER), abstaining]
    store.replace(given, [], split("r1"))
    assert store.update_embeddings(Encoder(), batch_size=1) == 2
    assert store.encoder == IDENTITY
    assert store.status().embedded == 2
    assert store.verify() == []
    assert {each.id: each.content for each in store.filter_documents()} == {
        each.id: each.content for each in given
    }
    for span, query in (
        (LIGHT, [20.0, 1.0, 0.0]),
        (STRAP, [27.0, 1.0, 0.0]),
        (PRICE, [28.0, 1.0, 1.0]),
    ):
        [hit] = store.search_by_embedding(query, 5, of_item("B0"))
        assert (found([hit]), hit.score) == ([("r1", span)], pytest.approx(1.0, abs=1e-5))
    assert store.filter_documents(of_item("B1"))[0].embedding == [6.0, 1.0, 0.0]


BAD = {
    "another number of embeddings": (Passages(SPANS, VECTORS[:2]), "shape"),
    "another dimension": (Passages(SPANS, VECTORS[:, :3]), "shape"),
    "no number": (Passages(SPANS, VECTORS * np.nan), "NaN"),
    "out of the text": (Passages([(0, 20), (21, 99)], VECTORS[:2]), "stretches"),
    "out of order": (Passages([(21, 42), (0, 20)], VECTORS[:2]), "stretches"),
    "twice": (Passages([(0, 20), (0, 20)], VECTORS[:2]), "stretches"),
    "empty": (Passages([(0, 0), (1, 20)], VECTORS[:2]), "stretches"),
    "none": (Passages([], VECTORS[:0]), "stretches"),
    "no embeddings": (Passages(SPANS), "no embeddings"),
}


@pytest.mark.parametrize(("passages", "what"), BAD.values(), ids=BAD)
def test_passages_that_are_none_are_refused_with_their_review(store, passages, what):
    store.bind_encoder(EncoderIdentity("test:four", 4, "cosine", "aa" * 32))
    store.replace([review("good", embedding=OTHER)], [])
    bad = review("bad")
    if isinstance(store, FAISSDocumentStore):  # a write is a transaction there
        with pytest.raises(StoreError, match=what):
            store.replace([bad, review("new")], [], {"bad": passages, **split("new")})
        store.replace([review("new")], [], split("new"))
    else:
        report = store.replace([bad, review("new")], [], {"bad": passages, **split("new")})
        assert [each.id for each in report.rejected] == ["bad"]
        assert what in report.rejected[0].reason
        assert report.written == 1
    assert {name for name, _ in store.iter_ids()} == {"good", "new"}


@pytest.mark.parametrize("is_split_first", [True, False])
def test_passages_and_whole_reviews_have_embeddings_of_one_size(store, is_split_first):
    writes = [
        ([review("in passages")], split("in passages")),
        ([review("whole", embedding=[1.0, 2.0])], {}),
    ]
    first, second = writes if is_split_first else writes[::-1]
    store.replace(first[0], [], first[1])
    if isinstance(store, FAISSDocumentStore):
        with pytest.raises(StoreError, match=r"4|2"):
            store.replace(second[0], [], second[1])
    else:
        [rejected] = store.replace(second[0], [], second[1]).rejected
        assert rejected.id == second[0][0].id
    assert store.status().embedding_dim == (4 if is_split_first else 2)
    assert store.count_documents() == 1
