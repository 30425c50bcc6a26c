"""Sentences on a server: what the embedded store finds, older indexes, damage, too much."""

import base64
import logging
from contextlib import closing

import numpy as np
import pytest
from haystack.dataclasses import Document

from qa_system.errors import EmbeddingError, StoreMismatchError
from qa_system.records import EncoderIdentity
from qa_system.stores.elastic.mapping import mappings
from qa_system.stores.elastic.sentences import search
from qa_system.stores.elastic.versions import aliases
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.stores.writes import Passages, Sentences
from qa_system.texts.sentences import sentences

WORDS = ["bass", "loud", "red", "cord", "short", "case", "light", "price", "hinge", "zipper"]
DIMENSION = 6
QUESTIONS = ["Is the bass loud?", "red cord", "How is it?", "zipper zipper hinge", "unheard of"]


def of_item(item):
    return {"field": "meta.item_id", "operator": "==", "value": item}


def made_up(count, seed=0):
    """Reviews of every kind that a store may hold, with their passages and sentences."""
    rng = np.random.default_rng(seed)

    def vectors(number):
        return rng.standard_normal((number, DIMENSION)).astype(np.float32)

    documents, passages, divided = [], {}, {}
    for number in range(count):
        name, kind = f"r{number}", number % 6
        text = ". ".join(
            f"The {' '.join(rng.choice(WORDS, 3))} is {rng.choice(WORDS)}"
            for _ in range(rng.integers(1, 6))
        )
        embedding = vectors(1)[0].tolist()
        if kind == 1:
            passages[name] = Passages([(0, 8), (4, len(text))], vectors(2))
            embedding = None
        if kind == 2:
            embedding = None
        spans = sentences(text)
        if kind == 3:
            divided[name] = Sentences(spans)
        elif kind != 4 and number % 5:
            divided[name] = Sentences(spans, vectors(len(spans)))
        meta = {"item_id": f"B{number % 2}", "review_id": name}
        documents.append(Document(id=name, content=text, meta=meta, embedding=embedding))
    documents.append(Document(id="none", content=None, meta={"item_id": "B0"}))
    # The same text by many: the scores are equal.
    documents += [
        Document(id=f"same{n}", content="It is red.", meta={"item_id": "B0"}) for n in range(9)
    ]
    return documents, passages, divided


@pytest.fixture(params=["cosine", "dot_product", "l2"])
def both(request, elastic_store, tmp_path):
    similarity = request.param
    with (
        closing(FAISSDocumentStore(tmp_path / "store", similarity=similarity)) as ours,
        closing(elastic_store(similarity=similarity, shards=2)) as theirs,
    ):
        documents, passages, divided = made_up(60)
        for store in (ours, theirs):
            store.replace(documents, [], passages, divided)
        yield ours, theirs


def test_ids_order_and_scores_are_the_embedded_stores(both):
    ours, theirs = both
    rng = np.random.default_rng(1)
    for filters in (None, of_item("B0"), of_item("B1"), of_item("B2")):
        for question in QUESTIONS:
            embedding = rng.standard_normal(DIMENSION)
            for given, weight in (
                (embedding, 0.5),
                (embedding, 0.0),
                (embedding, 1.0),
                (None, 0.5),
            ):
                wanted, found = (
                    store.search_sentences(question, given, 7, filters, weight, 0.4)
                    for store in (ours, theirs)
                )
                assert [each.id for each in found.documents] == [
                    each.id for each in wanted.documents
                ]
                assert [each.meta for each in found.documents] == [
                    each.meta for each in wanted.documents
                ]
                assert (found.reviews, found.considered, found.is_whole) == (
                    wanted.reviews,
                    wanted.considered,
                    True,
                )
                for left, right in zip(found.sentences, wanted.sentences, strict=True):
                    assert [(one.start, one.end, one.before, one.after) for one in left] == [
                        (one.start, one.end, one.before, one.after) for one in right
                    ]
                    assert [one.score for one in left] == pytest.approx(
                        [one.score for one in right], abs=1e-5
                    )


def test_the_status_and_the_sources_of_documents(both):
    ours, theirs = both
    assert theirs.status().sentences == ours.status().sentences > 0
    assert theirs.verify() == []
    # Other searches read the source, which does not have them.
    hits = theirs._at.client.search(index=theirs.index, size=100)["hits"]["hits"]
    kept = [each["_source"]["sentences"] for each in hits if "sentences" in each["_source"]]
    assert kept
    assert all(list(each) == ["count"] for each in kept)


# --- what something else has changed


def review(name, text, embedding, item="B0"):
    meta = {"item_id": item, "review_id": name}
    return Document(id=name, content=text, meta=meta, embedding=embedding)


def divided(text, *rows):
    return Sentences(sentences(text), np.array(rows, np.float32))


LOUD, RED = "It is loud. Why not.", "It is red. So what."


def fill(store):
    store.replace(
        [review("r1", LOUD, [1.0, 0.0]), review("r2", RED, [0.0, 1.0])],
        [],
        sentences={"r1": divided(LOUD, [1, 0], [-1, 0]), "r2": divided(RED, [0, 1], [0, -1])},
    )


def by_meaning(store, embedding):
    found = store.search_sentences("?", embedding, bm25_weight=0.0)
    return {
        document.id: [round(one.score, 2) for one in each]
        for document, each in zip(found.documents, found.sentences, strict=True)
    }


def packed(store, name):
    [hit] = store._at.client.search(
        index=store.index, query={"ids": {"values": [name]}}, docvalue_fields=["sentences.packed"]
    )["hits"]["hits"]
    return hit["_source"], bytearray(base64.b64decode(hit["fields"]["sentences.packed"][0]))


def put(store, name, source, value):
    kept = {"count": source["sentences"]["count"], "packed": base64.b64encode(value).decode()}
    document = {**source, "sentences": kept}
    store._at.client.index(index=store.index, id=name, document=document, refresh=True)


def other_version(value):
    value[0] = 9
    return value


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value[:-1],
        lambda value: value[: len(value) // 2],
        lambda value: value[:-1] + bytes([value[-1] ^ 1]),
        other_version,
        lambda value: b"",
        lambda value: bytes(100),
    ],
)
def test_a_damaged_value_is_set_aside_and_told(elastic_store, caplog, change):
    store = elastic_store(similarity="cosine")
    fill(store)
    assert by_meaning(store, [1, 0]) == {"r1": [1.0, -1.0], "r2": [0.0, 0.0]}
    source, value = packed(store, "r1")
    put(store, "r1", source, bytes(change(value)))
    # As a review without sentences: both have the cosine of the whole one.
    with caplog.at_level(logging.WARNING):
        assert by_meaning(store, [1, 0]) == {"r1": [1.0, 1.0], "r2": [0.0, 0.0]}
        assert by_meaning(store, [1, 0])["r1"] == [1.0, 1.0]
    assert [each.message.count("1 review cannot be used ('r1'") for each in caplog.records] == [1]
    assert store.verify() == ["the sentences of 1 document are not as they were written"]
    fill(store)
    assert store.verify() == []


def test_sentences_of_another_dimension_are_set_aside(elastic_store):
    store, other = elastic_store(similarity="cosine"), elastic_store("other", similarity="cosine")
    fill(store)
    other.replace(
        [review("r1", LOUD, [1.0, 0.0, 0.0])],
        [],
        sentences={"r1": divided(LOUD, [1, 0, 0], [1, 0, 0])},
    )
    source, _ = packed(store, "r1")
    put(store, "r1", source, packed(other, "r1")[1])
    assert by_meaning(store, [1, 0])["r1"] == [1.0, 1.0]
    assert len(store.verify()) == 1


def test_a_changed_mapping_is_refused(elastic_store):
    store = elastic_store()
    properties = mappings("dot_product", "flat", 2, None, promoted=True)
    properties["properties"]["sentences"] = {"properties": {"packed": {"type": "keyword"}}}
    aliases.create(
        store._at.client,
        f"{store.index}-v1",
        "here",
        properties,
        {"number_of_replicas": 0},
        store.index,
    )
    with pytest.raises(StoreMismatchError, match="sentences"):
        store.search_sentences("loud")


# --- an index that was made before there were sentences


@pytest.fixture
def older(elastic_store):
    store = elastic_store(similarity="cosine")
    mapping = mappings("cosine", "flat", 2, None, promoted=True)
    del mapping["properties"]["sentences"], mapping["_source"]
    settings = {"number_of_replicas": 0}
    client = store._at.client
    aliases.create(client, f"{store.index}-v1", "here", mapping, settings, store.index)
    return store


def test_an_index_without_the_field_is_read_and_written(older):
    older.write_documents([review("r1", LOUD, [1.0, 0.0])])
    assert by_meaning(older, [1, 0]) == {"r1": [1.0, 1.0]}
    assert older.status().sentences == 0
    assert older.verify() == []
    fill(older)
    assert by_meaning(older, [1, 0]) == {"r1": [1.0, -1.0], "r2": [0.0, 0.0]}
    assert older.status().sentences == 2
    assert older.update_by_filter(of_item("B0"), {"stars": 5}) == 2
    assert by_meaning(older, [1, 0]) == {"r1": [1.0, -1.0], "r2": [0.0, 0.0]}
    assert older.verify() == []


# --- more than is looked into


@pytest.fixture
def many(elastic_store):
    """400 reviews of three sentences, one of which is marked."""
    rng = np.random.default_rng(7)
    store = elastic_store(similarity="cosine")
    documents, kept = [], {}
    for number in range(400):
        text = f"It is fine. The marked place {number}. Good."
        rows = rng.standard_normal((3, 4)).astype(np.float32)
        documents.append(review(f"r{number}", text, rows[1].tolist(), f"B{number % 2}"))
        if number % 4:
            kept[f"r{number}"] = Sentences(sentences(text), rows)
    store.replace(documents, [], sentences=kept)
    return store, documents


@pytest.mark.parametrize("limit", ["MOST_SENTENCES", "MOST_DIVIDED", "WINDOW"])
def test_candidates_where_it_is_too_much(many, monkeypatch, limit):
    store, documents = many
    monkeypatch.setattr(search, limit, 90)
    monkeypatch.setattr(search, "CANDIDATES", 20)
    for number in (0, 1, 2, 399):
        ranking = store.search_sentences(
            f"marked place {number}", documents[number].embedding, relevant=0.9
        )
        assert ranking.documents[0].id == f"r{number}"
        assert ranking.documents[0].content[slice(*span(ranking))] == f"The marked place {number}."
        assert (ranking.reviews, ranking.is_whole) == (400, False)
        assert ranking.considered >= 1
        assert 20 <= len(ranking.documents) <= 40


def span(ranking):
    best = ranking.sentences[0][0]
    return best.start, best.end


def test_candidates_are_of_the_selection_and_within_the_bound(many, monkeypatch):
    store, documents = many
    monkeypatch.setattr(search, "MOST_SENTENCES", 30)
    whole = store.search_sentences("marked place 3", documents[3].embedding, filters=of_item("B1"))
    assert (whole.reviews, whole.is_whole) == (200, False)
    assert {each.meta["item_id"] for each in whole.documents} == {"B1"}
    assert len(whole.documents) <= 30
    few = {"field": "id", "operator": "in", "value": ["r1", "r2", "r3"]}
    assert store.search_sentences("place", filters=few).is_whole


def test_one_long_review_is_read_whatever_the_bound(elastic_store, monkeypatch):
    monkeypatch.setattr(search, "MOST_SENTENCES", 10)
    store = elastic_store()
    text = " ".join(f"This is page{n}." for n in range(50))
    store.replace([review("r1", text, None)], [], sentences={"r1": Sentences(sentences(text))})
    ranking = store.search_sentences("page37", top_k=1)
    assert text[slice(*span(ranking))] == "This is page37."
    assert not ranking.is_whole


# --- versions


class Encoder:
    def __init__(self, dimension=3, fails_at=None):
        self.identity = EncoderIdentity(f"by {dimension}", dimension, "cosine", "weights")
        self.fails_at = fails_at

    def encode_passages(self, texts):
        if self.fails_at is not None:
            self.fails_at -= 1
            if self.fails_at < 0:
                raise EmbeddingError("the encoder has failed")
        return np.eye(self.identity.dimension, dtype=np.float32)[[len(each) % 3 for each in texts]]


def test_a_reader_finds_the_sentences_of_a_promoted_version(elastic_store):
    store = elastic_store(similarity=None)
    fill(store)
    reader = elastic_store(similarity=None)
    assert by_meaning(reader, [1, 0])["r1"] == [1.0, -1.0]
    assert store.update_embeddings(Encoder()) == 2
    # Its sentences have 11 and 8 characters.
    assert by_meaning(reader, [0, 0, 1])["r1"] == [1.0, 1.0]
    with pytest.raises(EmbeddingError):
        reader.search_sentences("?", [1, 0])
    assert store.rollback()
    assert by_meaning(reader, [1, 0])["r1"] == [1.0, -1.0]


def test_an_interrupted_re_embedding_is_resumed_with_sentences(elastic_store):
    store = elastic_store(similarity=None)
    fill(store)
    with pytest.raises(EmbeddingError):
        store.update_embeddings(Encoder(fails_at=1), batch_size=1, sentences=False)
    begun = store.versions()[-1]
    # The one that was done has no sentences: it is done again.
    assert store.update_embeddings(Encoder(), batch_size=1) == 2
    assert store.status().index == begun
    assert store.status().sentences == 2
