"""BM25: scores as the formula says, whatever the filter; an index that mends itself."""

import math
from collections import Counter

import numpy as np
import pytest
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from hypothesis import given, settings
from hypothesis import strategies as st

from qa_system.stores.analysis import analyze
from qa_system.stores.embedded.derived import lexical
from qa_system.stores.embedded.lock import WriterLock
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.ties import tie_breaker

TEXTS = [
    "The battery lasts long, long enough for a flight.",
    "Batteries died after a week!",
    "Great sound, poor battery.",
    "I love the colour.",
    "",
]


def bm25(texts, query):
    """Lucene's BM25 as tantivy has it (Robertson and Zaragoza, 2009; k1 = 1.2, b = 0.75).

    A text's length is kept in one byte, exact up to 40 terms. Function words weigh a tenth.
    """
    terms = [analyze(text) for text in texts]
    mean = sum(map(len, terms)) / len(terms)
    scores = np.zeros(len(texts))
    for term in analyze(query):
        frequency = sum(term in document for document in terms)
        weight = 0.1 if term in ("the", "for", "a", "i", "after") else 1.0
        idf = math.log(1 + (len(terms) - frequency + 0.5) / (frequency + 0.5))
        for place, document in enumerate(terms):
            count = Counter(document)[term]
            saturated = count / (count + 1.2 * (1 - 0.75 + 0.75 * len(document) / mean))
            scores[place] += weight * idf * saturated * (1.2 + 1)
    return scores


def item(name):
    return {"field": "meta.item_id", "operator": "==", "value": name}


@pytest.fixture
def store(tmp_path):
    with FAISSDocumentStore(tmp_path) as store:
        store.write_documents(
            [
                Document(id=str(n), content=text, meta={"item_id": f"B{n % 2}", "n": n})
                for n, text in enumerate(TEXTS)
            ]
        )
        yield store


def scores_of(hits):
    return {int(hit.id): hit.score for hit in hits}


def test_analysis():
    assert analyze("Don't STOP the batteries' running, Ñandú café 2024-05") == (
        ["don", "t", "stop", "the", "batteri", "run", "ñandú", "café", "2024", "05"]
    )
    assert analyze("x" * 300) == []


@pytest.mark.parametrize(
    "query", ["battery", "long battery flights", "battery battery sound", "the", "a battery"]
)
def test_scores_are_the_formula(store, query):
    expected = bm25(TEXTS, query)
    hits = store.search_bm25(query)
    assert scores_of(hits) == pytest.approx(
        {place: score for place, score in enumerate(expected) if score > 0}, rel=1e-5
    )
    assert [hit.score for hit in hits] == sorted([hit.score for hit in hits], reverse=True)


@pytest.mark.parametrize("filter_size", ["few", "some", "many"])
def test_a_filter_changes_no_score_and_the_rest_follows(store, filter_size, monkeypatch):
    monkeypatch.setattr(lexical, "FEW_ROWS", 10 if filter_size == "few" else 0)
    monkeypatch.setattr(lexical, "SMALL_SET", 0 if filter_size == "many" else 10)
    expected = bm25(TEXTS, "battery sound")
    hits = store.search_bm25("battery sound", 10, item("B0"))
    assert [hit.id for hit in hits] == ["2", "0", "4"]
    assert scores_of(hits) == pytest.approx({n: expected[n] for n in (0, 2, 4)}, rel=1e-5)
    assert [hit.id for hit in store.search_bm25("battery sound", 2, item("B0"))] == ["2", "0"]
    rest = sorted(["0", "2", "4"], key=tie_breaker)
    assert [hit.id for hit in store.search_bm25("unheard of", 2, item("B0"))] == rest[:2]
    assert store.search_bm25("battery", 10, item("B9")) == []


@pytest.mark.parametrize("query", ["", "?!", "body:battery AND (", "row:1", 'battery^2 "', "~*"])
def test_a_question_has_no_syntax(store, query):
    assert {int(hit.id) for hit in store.search_bm25(query)} == (
        {place for place, score in enumerate(bm25(TEXTS, query)) if score > 0}
    )
    assert len(store.search_bm25(query, filters=item("B1"))) == 2


def test_documents_without_content_are_found_by_filter_only(store):
    store.write_documents([Document(id="9", meta={"item_id": "B1"})])
    assert "9" in {hit.id for hit in store.search_bm25("battery", filters=item("B1"))}
    assert "9" not in {hit.id for hit in store.search_bm25("battery")}


words = st.lists(
    st.sampled_from(["battery", "sound", "long", "red", "blue", "a", "the"]), max_size=6
)


@settings(max_examples=25, deadline=None)
@given(st.lists(words, min_size=1, max_size=12), words, st.integers(1, 15), st.integers(0, 3))
def test_filtered_is_the_unfiltered_ranking_filtered(tmp_path_factory, texts, query, top_k, kind):
    folder = tmp_path_factory.mktemp("store")
    with FAISSDocumentStore(folder) as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(lexical, "FEW_ROWS", 100 if kind == 0 else 0)
        patch.setattr(lexical, "SMALL_SET", 0 if kind == 2 else 100)
        store.write_documents(
            [
                Document(id=str(n), content=" ".join(text), meta={"item_id": f"B{n % 3}"})
                for n, text in enumerate(texts)
            ]
        )
        query = " ".join(query)
        every = scores_of(store.search_bm25(query, 100))
        expected = {n: every.get(n, 0.0) for n in range(0, len(texts), 3)}
        ranked = sorted(expected, key=lambda n: (-expected[n], n))[:top_k]
        hits = store.search_bm25(query, top_k, item("B0"))
        assert [hit.score for hit in hits] == pytest.approx([expected[n] for n in ranked], rel=1e-6)
        assert len({hit.id for hit in hits}) == min(top_k, len(expected))


def test_deleted_and_overwritten_documents_are_gone(store):
    store.delete_documents(["0"])
    changed = Document(id="1", content="a fine screen", meta={"item_id": "B1"})
    store.write_documents([changed], DuplicatePolicy.OVERWRITE)
    assert [hit.id for hit in store.search_bm25("batteries")] == ["2"]
    assert [hit.id for hit in store.search_bm25("screens")] == ["1"]
    store.delete_all_documents()
    assert store.search_bm25("batteries") == []
    store.write_documents([changed])
    assert [hit.id for hit in store.search_bm25("screens")] == ["1"]
    assert store.verify() == []


def largest(folder):
    return max(folder.iterdir(), key=lambda path: path.stat().st_size)


@pytest.mark.parametrize(
    "damage", ["missing", "truncated", "emptied", "meta", "stamp", "other store"]
)
def test_a_damaged_index_is_built_anew(store, tmp_path, damage, caplog):
    store.search_bm25("battery")
    store.close()
    folder = tmp_path / "lexical-0"
    if damage == "missing":
        for path in folder.iterdir():
            path.unlink()
    elif damage == "truncated":
        for path in folder.glob("*.*"):
            if path.name != ".managed.json" and path.suffix in (".idx", ".term", ".fast", ".store"):
                path.write_bytes(path.read_bytes()[:10])
    elif damage == "emptied":
        largest(folder).write_bytes(b"")
    elif damage == "meta":
        (folder / "meta.json").write_bytes(b"{")
    elif damage == "stamp":
        (tmp_path / "lexical.json").unlink()
    else:
        text = (tmp_path / "lexical.json").read_text()
        (tmp_path / "lexical.json").write_text(text.replace('"store_id":"', '"store_id":"0'))
    with FAISSDocumentStore(tmp_path) as again:
        assert len(again.search_bm25("battery")) == 3
        assert again.verify() == []
    assert "built anew" in caplog.text


def test_a_commit_without_its_stamp_is_not_added_twice(store, tmp_path):
    """The crash between tantivy's commit and the stamp, made by putting the old stamp back."""
    store.search_bm25("battery")
    store.close()
    stamp = (tmp_path / "lexical.json").read_bytes()
    store.write_documents([Document(id="new", content="battery battery")])
    store.delete_documents(["2"])
    store.close()
    (tmp_path / "lexical.json").write_bytes(stamp)
    with FAISSDocumentStore(tmp_path) as again:
        assert {hit.id for hit in again.search_bm25("battery")} == {"0", "1", "new"}
        assert again.verify() == []


def test_a_reader_that_may_not_mend_answers_from_the_ledger(store, tmp_path, monkeypatch):
    """The index is gone and a writer that does nothing holds the lock."""
    monkeypatch.setattr("qa_system.stores.embedded.search.SETTLE_WAIT", 0.05)
    monkeypatch.setattr("qa_system.stores.embedded.folder.SETTLE_WAIT", 0.05)
    store.search_bm25("battery")
    store.close()
    (tmp_path / "lexical.json").unlink()
    writer = WriterLock(tmp_path)
    writer.acquire(0)
    with FAISSDocumentStore(tmp_path) as reader:
        assert len(reader.search_bm25("battery", filters=item("B0"))) == 3
        assert len(reader.search_bm25("battery")) == 3
        assert "missing" in reader.verify()[0]
        writer.release()
        assert len(reader.search_bm25("battery")) == 3
        assert reader.verify() == []
