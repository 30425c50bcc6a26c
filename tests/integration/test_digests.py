"""Digests in both stores: kept, found stale, erased with the reviews that they quote."""

import json
import sqlite3
from contextlib import closing

import pytest
from haystack.dataclasses import Document

from indexing.digests import digest_items, drop_orphans, item_ids
from qa_system.answering import digests as shown
from qa_system.digests.records import Aspect, Digest
from qa_system.errors import DataError, DigestNotFoundError, StoreError, UnknownItemError
from qa_system.opinions import Quote
from qa_system.stores.digests import iter_stale
from qa_system.stores.elastic.versions import erasure

ZIP = "The zip sticks."


@pytest.fixture
def impatient(monkeypatch):
    """What a server still keeps of deleted documents is waited for in `test_forget.py`."""
    monkeypatch.setattr(erasure, "EXPUNGE_WAIT", 0.0)


def reviews(item, number, text=ZIP, start=0):
    return [
        Document(
            id=f"{item}-{at}",
            content=text,
            meta={"review_id": f"{item}-{at}", "item_id": item, "content_hash": f"{text}{at}"},
        )
        for at in range(start, start + number)
    ]


def digest_of(store, item, **fields):
    versions = store.reviews_of_items([item]).get(item, {})
    quote = Quote(f"{item}-0", "text", "zip sticks", 4, 14, ZIP, {"stars": 2, "on": [None, "é"]})
    aspect = Aspect("zip", 0, 1, 1, 1 / max(len(versions), 1), (quote,))
    given = {"aspects": (aspect,), "generation": store.generation, "versions": versions}
    return Digest(**{"item_id": item, "reviews": len(versions), **given, **fields})


def test_a_digest_comes_back_as_it_was(store, make_store):
    store.write_documents(reviews("bag", 3))
    assert (store.get_digest("bag"), store.count_digests(), store.verify()) == (None, 0, [])
    digest = digest_of(store, "bag")
    store.write_digest(digest)
    store.write_digest(Digest("ключ " + "x" * 600, 1, None, (), {"r": ""}))
    assert store.get_digest("bag") == digest
    assert store.get_digest("ключ " + "x" * 600).versions == {"r": ""}
    assert {each.item_id for each in store.iter_digests()} == {"bag", "ключ " + "x" * 600}
    assert store.count_digests() == store.status().digests == 2
    later = digest_of(store, "bag", aspects=())
    store.write_digest(later)
    assert (store.get_digest("bag"), store.count_digests()) == (later, 2)
    store.close()
    assert make_store(similarity="cosine").get_digest("bag") == later


def test_digests_are_no_documents_and_begin_no_generation(store):
    store.write_documents(reviews("bag", 2))
    before = store.generation
    store.write_digest(digest_of(store, "bag"))
    assert store.generation == before
    assert store.count_documents() == 2
    assert store.delete_digests(["bag", "mug"]) == 1
    assert store.get_digest("bag") is None
    assert store.delete_digests([]) == store.delete_digests(["bag"]) == 0


def test_what_tells_a_review_s_version(store):
    store.write_documents(
        [
            *reviews("bag", 1),
            Document(id="d1", content="No hash.", meta={"item_id": "bag"}),
            Document(id="d2", content="No hash.", meta={"item_id": "mug", "review_id": "r2"}),
            Document(id="d3", content="No item."),
        ]
    )
    found = store.reviews_of_items(["bag", "mug", "hat"])
    assert found == {
        "bag": {"bag-0": f"{ZIP}0", "d1": found["mug"]["r2"]},
        "mug": {"r2": found["bag"]["d1"]},
    }
    assert store.reviews_of_items([]) == {}


@pytest.mark.parametrize(
    ("change", "is_stale"),
    [
        (lambda store: store.write_documents(reviews("bag", 3, start=20)), False),
        (lambda store: store.write_documents(reviews("bag", 4, start=20)), True),
        (lambda store: store.delete_documents(["bag-19"]), True),
        (lambda store: store.replace(reviews("bag", 1, "Now it is fine."), []), True),
        (lambda store: store.replace(reviews("bag", 20), []), False),
        (lambda store: store.write_documents(reviews("mug", 9)), False),
        (lambda store: store.delete_by_filter({}), True),
    ],
    ids=["+15 %", "+20 %", "-5 %", "one of 20 changed", "rewritten", "another item", "all gone"],
)
def test_a_digest_is_stale_when_its_reviews_changed(store, change, is_stale):
    store.write_documents(reviews("bag", 20))
    store.write_digest(digest_of(store, "bag"))
    change(store)
    assert list(iter_stale(store)) == (["bag"] if is_stale else [])


def test_one_of_21_reviews_may_change(store):
    store.write_documents(reviews("bag", 21))
    store.write_digest(digest_of(store, "bag"))
    store.delete_documents(["bag-20"])
    assert list(iter_stale(store)) == []


def test_a_digest_that_quotes_a_deleted_review_is_not_shown(store):
    store.write_documents(reviews("bag", 40))
    store.write_digest(digest_of(store, "bag"))
    assert shown.digest_of(store, "bag", "here").item_id == "bag"
    store.delete_documents(["bag-39"])
    assert list(iter_stale(store)) == []
    assert shown.digest_of(store, "bag", "here").reviews == 40
    store.delete_documents(["bag-0"])
    with pytest.raises(DigestNotFoundError, match="quotes a deleted review"):
        shown.digest_of(store, "bag", "here")
    assert list(iter_stale(store)) == ["bag"]


def test_forgetting_a_review_drops_the_digest_of_its_item(store, impatient):
    for item in ("bag", "mug", "hat"):
        store.write_documents(reviews(item, 3))
        store.write_digest(digest_of(store, item))
    # Deleted before: only the digest still quotes it.
    store.delete_documents(["mug-0"])
    forgotten = store.forget(["bag-2", "mug-0"])
    assert (forgotten.documents, forgotten.digests) == (1, 2)
    assert [store.get_digest(item) is None for item in ("bag", "mug", "hat")] == [True, True, False]
    assert store.forget(["bag-2"]).digests == 0


def test_deleting_all_documents_deletes_their_digests(store):
    store.write_documents(reviews("bag", 3))
    store.write_digest(digest_of(store, "bag"))
    store.delete_all_documents()
    assert (store.get_digest("bag"), store.count_digests()) == (None, 0)
    store.delete_all_documents(recreate_index=True)


def test_verify_compares_quotes_with_their_reviews(store):
    store.write_documents(reviews("bag", 3) + reviews("mug", 3))
    wrong = Quote("bag-0", "text", "zip stinks", 4, 14, ZIP, {})
    store.write_digest(digest_of(store, "mug"))
    store.write_digest(digest_of(store, "bag", aspects=(Aspect("zip", 0, 1, 1, 0.3, (wrong,)),)))
    [error] = store.verify()
    assert error.startswith("1 digest not as written")
    # Of a review that changed since, nothing can be said.
    store.replace(reviews("bag", 1, "Now it is fine."), [])
    assert store.verify() == []
    store.write_digest(digest_of(store, "bag", aspects=(Aspect("zip", 2, 2, 3, 1.0, ()),)))
    assert len(store.verify()) == 1


class Plain:
    """A digester that finds no aspects."""

    def digest(self, item, documents, generation):
        versions = {each.meta["review_id"]: each.meta["content_hash"] for each in documents}
        return Digest(item, len(documents), generation, (), versions)


def test_the_job_makes_what_is_missing_or_stale(store):
    for item in ("bag", "mug", "hat"):
        store.write_documents(reviews(item, 5))
    assert item_ids(store) == ["bag", "hat", "mug"]
    done = digest_items(store, Plain(), item_ids(store), place="here")
    assert (done.made, done.fresh, store.count_digests()) == (3, 0, 3)
    store.write_documents(reviews("mug", 1, start=5))
    store.delete_by_filter({"field": "meta.item_id", "operator": "==", "value": "hat"})
    items = item_ids(store)
    done = digest_items(store, Plain(), items, place="here")
    assert (done.made, done.fresh, drop_orphans(store, items)) == (1, 1, 1)
    assert store.get_digest("mug").reviews == 6
    with pytest.raises(UnknownItemError, match="'hat'"):
        digest_items(store, Plain(), ["hat"], place="here")
    assert {each.item_id for each in store.iter_digests()} == {"bag", "mug"}


def test_what_is_not_json_is_refused(store):
    bad = Quote("bag-0", "text", "zip", 4, 7, ZIP, {"n": object()})
    with pytest.raises(DataError, match="item 'bag'"):
        store.write_digest(Digest("bag", 1, None, (Aspect("zip", 1, 0, 1, 1.0, (bad,)),)))
    assert store.count_digests() == 0


def test_a_damaged_digest_is_told(tmp_path):
    from qa_system.stores.faiss import FAISSDocumentStore

    with FAISSDocumentStore(tmp_path / "store") as store:
        store.write_documents(reviews("bag", 1))
        store.write_digest(digest_of(store, "bag"))
    with closing(sqlite3.connect(tmp_path / "store" / "store.sqlite3")) as connection:
        connection.execute("UPDATE digests SET digest = ?", (json.dumps({"item_id": "bag"}),))
        connection.commit()
    with FAISSDocumentStore(tmp_path / "store") as store, pytest.raises(StoreError, match="damage"):
        store.get_digest("bag")


def test_erasure_reaches_digests_from_an_earlier_version(elastic_store, impatient):
    """The review is in the version that a rollback would bring back."""
    store = elastic_store()
    store.write_documents(reviews("bag", 3))
    store.write_digest(digest_of(store, "bag", versions={}, aspects=()))
    built = store.new_version()
    built.write_documents(reviews("mug", 1))
    store.promote(built)
    assert store.get_digest("bag") is not None
    forgotten = store.forget(["bag-1"])
    assert (forgotten.documents, forgotten.digests) == (0, 1)
    assert store.get_digest("bag") is None
