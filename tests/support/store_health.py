"""What "healed" means: a store answers as one that is built afresh from the same documents."""

import pytest
from haystack.document_stores.types import DuplicatePolicy

from qa_system.stores.embedded.checksums import Checker
from qa_system.stores.embedded.derived.segments import records_of
from qa_system.stores.embedded.stamps import read_stamp, write_stamp
from qa_system.stores.faiss import FAISSDocumentStore

TOP_K = 10


def restamp(path, **changes):
    """Change a stamp as a writer would, with its checksum; None takes a value away."""
    stamp = read_stamp(path) | changes
    write_stamp(path, {name: value for name, value in stamp.items() if value is not None})


def restamp_lexical(store, opstamp):
    """Write the stamp of an index that was not closed, which another program has committed to."""
    files = records_of(store / "lexical-0", {}, Checker())
    restamp(store / "lexical.json", opstamp=opstamp, closed=None, **files)


def answers(store, questions, embeddings, top_k=TOP_K):
    """Return the (id, score) pairs of each question by BM25, then of each embedding."""
    found = [store.search_bm25(question, top_k) for question in questions]
    found += [store.search_by_embedding(embedding, top_k) for embedding in embeddings]
    return [[(hit.id, hit.score) for hit in hits] for hits in found]


def answers_of_fresh_store(path, documents, similarity, questions, embeddings, top_k=TOP_K):
    """Return the answers of a store that is built from documents in a folder of its own."""
    with FAISSDocumentStore(path, similarity=similarity) as store:
        store.write_documents(documents, DuplicatePolicy.OVERWRITE)
        return answers(store, questions, embeddings, top_k)


def assert_same_answers(found, expected):
    """The scores are the same, and so are the documents above the last, where ties are cut."""
    assert len(found) == len(expected)
    for hits, fresh in zip(found, expected, strict=True):
        scores = [score for _, score in fresh]
        assert [score for _, score in hits] == pytest.approx(scores, rel=1e-5, abs=1e-6)
        last = scores[-1] + 1e-4 if len(scores) == TOP_K else float("-inf")
        for each, other in ((hits, fresh), (fresh, hits)):
            assert {name for name, score in each if score > last} <= {name for name, _ in other}


def assert_healed(store, fresh_path, questions, embeddings):
    """A store's answers are those of a store built afresh from what its ledger holds.

    BM25 counts deleted documents in its statistics until tantivy merges them away, so scores may
    differ: each question is to have at most `TOP_K` answers, whose ids are compared.
    """
    expected = answers_of_fresh_store(
        fresh_path, store.filter_documents(), store.status().similarity, questions, embeddings
    )
    found = answers(store, questions, embeddings)
    words = len(questions)
    for hits, fresh in zip(found[:words], expected[:words], strict=True):
        assert sorted(name for name, _ in hits) == sorted(name for name, _ in fresh)
    assert_same_answers(found[words:], expected[words:])
    assert store.verify() == []
