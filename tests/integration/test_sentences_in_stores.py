"""The sentences of reviews, in the embedded store and on a server: the same finds and scores."""

from contextlib import closing

import numpy as np
import pytest
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy

from qa_system.errors import EmbeddingError, InvalidArgumentError, QASystemError
from qa_system.records import EncoderIdentity
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.stores.writes import Passages, Sentences
from qa_system.texts.sentences import sentences

BASS = "The bass is loud. It is red. Bass and treble are fine."
RED = "Red like a rose. The cord is short."
X, Y, Z = np.eye(4, dtype=np.float32)[:3]
VECTORS = {
    "The bass is loud.": X,
    "It is red.": Y,
    "Bass and treble are fine.": Z,
    "Red like a rose.": Y,
    "The cord is short.": -X,
}


def review(name, text, item="B0", embedding=None, **meta):
    own = {"review_id": name, "item_id": item, "content_hash": f"hash of {name}"}
    return Document(id=name, content=text, meta={**meta, **own}, embedding=embedding)


def divided(text, embed=VECTORS.get):
    spans = sentences(text)
    rows = [embed(text[start:end]) for start, end in spans]
    return Sentences(spans, np.stack(rows) if rows else np.zeros((0, 4), np.float32))


def write(store, *documents, embed=VECTORS.get):
    store.replace(
        list(documents), [], sentences={one.id: divided(one.content, embed) for one in documents}
    )


def of_item(item):
    return {"field": "meta.item_id", "operator": "==", "value": item}


def found(store, query, embedding=None, **options):
    """Return (review, its sentences' texts and scores) of each document that was found."""
    ranking = store.search_sentences(query, embedding, **options)
    return [
        (
            document.id,
            [(document.content[one.start : one.end], round(one.score, 3)) for one in each],
        )
        for document, each in zip(ranking.documents, ranking.sentences, strict=True)
    ]


def both(store):
    write(store, review("r1", BASS, embedding=X.tolist()), review("r2", RED, embedding=Y.tolist()))


# The words of "Is the bass red?" are bass and red; 2 of 5 sentences have each, so that each is
# half of the question.
GOLDEN = [
    (
        "r1",
        [("It is red.", 0.75), ("The bass is loud.", 0.25), ("Bass and treble are fine.", 0.25)],
    ),
    ("r2", [("Red like a rose.", 0.75), ("The cord is short.", 0.0)]),
]


def test_scores_are_those_by_hand(store):
    both(store)
    assert sorted(found(store, "Is the bass red?", Y)) == GOLDEN


def test_words_alone_and_meaning_alone(store):
    both(store)
    by_words = dict(found(store, "How loud is it?"))
    assert by_words["r1"][0] == ("The bass is loud.", 1.0)
    assert {score for _, score in by_words["r2"]} == {0.0}
    by_meaning = dict(found(store, "How loud is it?", -2 * X, bm25_weight=0.0))
    assert by_meaning["r2"][0] == ("The cord is short.", 1.0)
    assert by_meaning["r1"][-1] == ("The bass is loud.", -1.0)


def test_documents_are_whole_and_ranked_by_their_best_sentence(store):
    both(store)
    ranking = store.search_sentences("loud bass", X)
    assert [document.id for document in ranking.documents] == ["r1", "r2"]
    assert [document.content for document in ranking.documents] == [BASS, RED]
    assert ranking.documents[0].score == pytest.approx(ranking.sentences[0][0].score)
    best = ranking.sentences[0][0]
    assert (best.start, best.end, best.before, best.after) == (0, 17, 0, 28)
    assert (ranking.reviews, ranking.is_whole) == (2, True)
    assert ranking.documents[0].meta["item_id"] == "B0"


def test_top_k_bounds_sentences_and_reviews(store):
    both(store)
    assert found(store, "bass", X, top_k=1) == [("r1", [("The bass is loud.", 1.0)])]
    # The two best sentences are of r1; the second review comes with its best.
    assert [(name, len(each)) for name, each in found(store, "bass", X + Z, top_k=2)] == [
        ("r1", 2),
        ("r2", 1),
    ]


def test_considered_counts_reviews_with_a_relevant_sentence(store):
    both(store)
    counted = [
        store.search_sentences("bass", X, relevant=relevant).considered
        for relevant in (0.0, 0.5, 1.1)
    ]
    assert counted == [2, 1, 0]


def test_filters_select_the_reviews(store):
    write(store, review("r1", BASS), review("r2", RED, "B1"), review("r3", RED, "B1"))
    ranking = store.search_sentences("red", Y, filters=of_item("B1"))
    assert [document.id for document in ranking.documents] != []
    assert {document.id for document in ranking.documents} == {"r2", "r3"}
    assert ranking.reviews == 2
    nothing = store.search_sentences("red", Y, filters=of_item("B2"))
    assert (list(nothing.documents), list(nothing.sentences)) == ([], [])
    assert (nothing.reviews, nothing.considered, nothing.is_whole) == (0, 0, True)


def test_an_empty_store(store):
    ranking = store.search_sentences("red", [1.0, 2.0])
    assert (list(ranking.documents), ranking.reviews, ranking.is_whole) == ([], 0, True)


def test_a_document_without_sentences_is_divided_and_has_its_own_cosine(store):
    both(store)
    store.write_documents([review("r3", "Red hat. Green hat.", embedding=[0.0, 3.0, 4.0, 0.0])])
    by_meaning = dict(found(store, "hat", Y, bm25_weight=0.0))
    assert by_meaning["r3"] == [("Red hat.", 0.6), ("Green hat.", 0.6)]
    assert store.search_sentences("hat", Y).reviews == 3


def test_a_document_in_passages_without_sentences_has_that_of_its_best(store):
    text = "Red hat. Green hat."
    store.replace(
        [review("r1", text)], [], {"r1": Passages([(0, 8), (9, 19)], np.stack([X, (Y + Z)]))}
    )
    assert found(store, "hat", Y, bm25_weight=0.0) == [
        ("r1", [("Red hat.", 0.707), ("Green hat.", 0.707)])
    ]


def test_sentences_without_embeddings(store):
    text = "Red hat. Green hat."
    store.replace([review("r1", text)], [], sentences={"r1": Sentences([(0, 8), (9, 19)])})
    assert found(store, "red") == [("r1", [("Red hat.", 1.0), ("Green hat.", 0.0)])]


def test_a_document_without_text(store):
    store.replace([review("r1", None)], [], sentences={"r1": Sentences([])})
    store.write_documents([review("r2", None)])
    write(store, review("r3", ""), review("r4", RED))
    ranking = store.search_sentences("red")
    assert [document.id for document in ranking.documents] == ["r4"]
    assert ranking.reviews == 4


def test_an_overwrite_takes_the_old_sentences_away(store):
    both(store)
    write(store, review("r1", "It is red.", embedding=Y.tolist()))
    assert dict(found(store, "red", Y))["r1"] == [("It is red.", 1.0)]
    store.write_documents([review("r1", RED, embedding=X.tolist())], DuplicatePolicy.OVERWRITE)
    # Divided now: both its sentences have the cosine of the document.
    assert dict(found(store, "red", X, bm25_weight=0.0))["r1"] == [
        ("Red like a rose.", 1.0),
        ("The cord is short.", 1.0),
    ]
    assert store.status().sentences == 1


def test_a_document_that_is_skipped_keeps_its_sentences(store):
    both(store)
    store.write_documents([review("r1", RED, embedding=X.tolist())], DuplicatePolicy.SKIP)
    assert sorted(found(store, "Is the bass red?", Y)) == GOLDEN


def test_metadata_that_changes_leaves_the_sentences(store):
    both(store)
    assert store.update_by_filter(of_item("B0"), {"item_id": "B1"}) == 2
    assert sorted(found(store, "Is the bass red?", Y, filters=of_item("B1"))) == GOLDEN
    assert store.search_sentences("red", filters=of_item("B0")).reviews == 0
    assert store.status().sentences == 2


def test_what_is_deleted_is_not_found(store):
    both(store)
    store.delete_documents(["r1"])
    assert [name for name, _ in found(store, "bass red", Y)] == ["r2"]
    assert store.status().sentences == 1
    store.replace([], ["r2"])
    assert found(store, "bass red", Y) == []
    both(store)
    store.delete_all_documents()
    assert found(store, "bass red", Y) == []
    assert store.status().sentences == 0
    both(store)
    assert sorted(found(store, "Is the bass red?", Y)) == GOLDEN


def test_what_is_forgotten_is_not_found(store):
    both(store)
    store.forget(["r1"])
    ranking = store.search_sentences("Is the bass red?", Y)
    assert [document.id for document in ranking.documents] == ["r2"]
    assert store.verify() == []


def test_the_store_is_opened_again(make_store):
    with closing(make_store(similarity="cosine")) as store:
        both(store)
    with closing(make_store(similarity="cosine")) as store:
        assert sorted(found(store, "Is the bass red?", Y)) == GOLDEN
        assert store.status().sentences == 2
        assert store.verify() == []


def test_equal_scores_are_in_the_order_of_the_ids_tie_breakers(store):
    documents = [review(f"r{n}", "Red.", embedding=Y.tolist()) for n in range(20)]
    write(store, *documents[10:], embed=lambda _: Y)
    first = [name for name, _ in found(store, "red", Y, top_k=5)]
    write(store, *documents[:10], embed=lambda _: Y)
    every = [name for name, _ in found(store, "red", Y, top_k=20)]
    assert len(first) == 5
    assert [name for name in every if name in first] == first
    assert sorted(every) == sorted(document.id for document in documents)


def test_one_question_finds_the_whole_item(store):
    texts = [f"Page {n} is here. Of kind {n % 7}. The marked place {n}." for n in range(300)]
    rng = np.random.default_rng(5)
    write(
        store,
        *(review(f"r{n}", text, f"B{n % 2}") for n, text in enumerate(texts)),
        embed=lambda _: rng.standard_normal(4).astype(np.float32),
    )
    for n in (0, 1, 150, 299):
        ranking = store.search_sentences(f"marked place {n}", top_k=3, filters=of_item(f"B{n % 2}"))
        assert ranking.documents[0].id == f"r{n}"
        assert ranking.sentences[0][0].score == pytest.approx(1.0)
        assert (ranking.reviews, ranking.is_whole) == (150, True)


class Encoder:
    """A text's embedding is that of the table; of a whole review, the third axis."""

    def __init__(self, name="other"):
        self.identity = EncoderIdentity(name, 4, "cosine", f"weights of {name}")

    def encode_passages(self, texts):
        return np.stack([VECTORS.get(text, Z) for text in texts])


def test_a_re_embedding_divides_what_was_not(store):
    store.write_documents([review("r1", BASS), review("r2", RED), review("r3", None)])
    assert store.status().sentences == 0
    assert store.update_embeddings(Encoder(), batch_size=1) == 2
    assert sorted(found(store, "Is the bass red?", Y)) == GOLDEN
    assert store.status().sentences == 2
    assert store.verify() == []


def test_a_re_embedding_without_sentences_leaves_none(store):
    both(store)
    assert store.update_embeddings(Encoder(), sentences=False) == 2
    assert store.status().sentences == 0
    assert dict(found(store, "red", Z, bm25_weight=0.0))["r2"] == [
        ("Red like a rose.", 1.0),
        ("The cord is short.", 1.0),
    ]


@pytest.mark.parametrize(
    "wrong",
    [
        Sentences([(0, 20), (10, 30)]),
        Sentences([(5, 5)]),
        Sentences([(0, 1_000)]),
        Sentences([(-1, 4)]),
        Sentences([(0, 17)], np.zeros((2, 4), np.float32)),
        Sentences([(0, 17)], np.zeros((1, 3), np.float32)),
        Sentences([(0, 17)], np.full((1, 4), np.nan, np.float32)),
    ],
)
def test_sentences_that_do_not_fit_are_refused(store, wrong):
    both(store)
    if isinstance(store, FAISSDocumentStore):
        with pytest.raises(QASystemError, match="r1"):
            store.replace([review("r1", BASS)], [], sentences={"r1": wrong})
    else:  # a server takes the others of the same write
        report = store.replace([review("r1", BASS)], [], sentences={"r1": wrong})
        assert [each.id for each in report.rejected] == ["r1"]
    assert sorted(found(store, "Is the bass red?", Y)) == GOLDEN


def test_arguments_that_are_none_are_refused(store):
    both(store)
    for options in ({"top_k": 0}, {"bm25_weight": 1.5}, {"bm25_weight": -0.1}):
        with pytest.raises(InvalidArgumentError):
            store.search_sentences("red", **options)
    for embedding in ([1.0, 2.0], [1.0, float("nan"), 0.0, 0.0]):
        with pytest.raises(EmbeddingError):
            store.search_sentences("red", embedding)


async def test_the_async_variant_finds_the_same(store):
    both(store)
    ranking = await store.search_sentences_async("Is the bass red?", Y, relevant=0.5)
    assert ranking == store.search_sentences("Is the bass red?", Y, relevant=0.5)
    assert ranking.considered == 2
