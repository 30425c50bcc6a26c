"""The files of sentences in the embedded store: appended to, copied, damaged, erased."""

import logging
import multiprocessing
import stat
from contextlib import closing
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from qa_system.errors import EmbeddingError, StoreError
from qa_system.records import EncoderIdentity
from qa_system.stores.embedded import folder
from qa_system.stores.embedded.sentences import files, search
from qa_system.stores.embedded.sentences.view import ranges
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.stores.sentences import columns_of
from qa_system.stores.writes import Sentences
from qa_system.texts.sentences import sentences

DIMENSION = 6
WORDS = ["bass", "red", "loud", "cord", "hat"]


def embedding_of(text, dimension=DIMENSION):
    seed = sum(place * ord(letter) for place, letter in enumerate(text, 1))
    return np.random.default_rng(seed).standard_normal(dimension).astype(np.float32)


def review(name, text, item="B0"):
    own = {"review_id": name, "item_id": item}
    return Document(id=name, content=text, meta=own, embedding=embedding_of(text).tolist())


def divided(text):
    spans = sentences(text)
    rows = [embedding_of(text[start:end]) for start, end in spans]
    return Sentences(spans, np.stack(rows) if rows else np.zeros((0, DIMENSION), np.float32))


def write(store, *documents):
    made = {one.id: divided(one.content) for one in documents}
    store.replace(list(documents), [], sentences=made)


def numbered(count, first=0):
    return [review(f"r{n}", f"Number {n} is red. It is loud.") for n in range(first, first + count)]


def of_item(item):
    return {"field": "meta.item_id", "operator": "==", "value": item}


def answers(store, query="loud red", filters=None):
    """Return every sentence that is found, with its score."""
    ranking = store.search_sentences(
        query, embedding_of(query), top_k=10_000, filters=filters, bm25_weight=0.5
    )
    return {
        (document.id, one.start, one.end): one.score
        for document, each in zip(ranking.documents, ranking.sentences, strict=True)
        for one in each
    }


def sentence_files(path):
    return sorted(found.name for found in path.glob("sentences-*"))


class Encoder:
    """As `embedding_of`."""

    def __init__(self, name="other", dimension=DIMENSION, fail_after=None):
        self.identity = EncoderIdentity(name, dimension, "cosine", f"weights of {name}")
        self.left = fail_after

    def encode_passages(self, texts):
        if self.left is not None:
            self.left -= len(texts)
            if self.left < 0:
                raise RuntimeError("the power went out")
        return np.stack([embedding_of(text, self.identity.dimension) for text in texts])


@pytest.fixture
def few_are_worn(monkeypatch):
    """Copies what is alive as soon as a quarter is dead, however little there is."""
    monkeypatch.setattr(files, "FEWEST_DEAD", 0)
    monkeypatch.setattr(folder, "FORGOTTEN_AT", 1)


# --- what is written


def test_a_store_without_sentences_has_no_files(tmp_path):
    with FAISSDocumentStore(tmp_path) as store:
        store.write_documents(numbered(3))
        assert len(answers(store)) == 6
    assert sentence_files(tmp_path) == []


def test_writes_append(tmp_path):
    path = tmp_path / "sentences-0-0.records"
    with FAISSDocumentStore(tmp_path) as store:
        write(store, *numbered(3))
        before = path.read_bytes()
        assert len(before) == 6 * (16 + DIMENSION)
        write(store, *numbered(2, first=3))
        after = path.read_bytes()
    assert after.startswith(before)
    assert len(after) == 10 * (16 + DIMENSION)


def test_metadata_that_changes_copies_no_sentence(tmp_path):
    path = tmp_path / "sentences-0-0.records"
    with FAISSDocumentStore(tmp_path) as store:
        write(store, *numbered(3))
        before, found = path.read_bytes(), answers(store)
        store.update_by_filter(of_item("B0"), {"item_id": "B1"})
        assert path.read_bytes() == before
        assert answers(store, filters=of_item("B1")) == found


def test_the_files_are_private(tmp_path):
    with FAISSDocumentStore(tmp_path / "store") as store:
        write(store, *numbered(1))
    found = sentence_files(tmp_path / "store")
    modes = {stat.S_IMODE((tmp_path / "store" / name).stat().st_mode) for name in found}
    assert (len(found), modes) == (2, {0o600})


def test_a_link_is_not_followed(tmp_path):
    target = tmp_path / "target"
    target.write_text("precious")
    with FAISSDocumentStore(tmp_path / "store") as store:
        store.write_documents(numbered(1))
        # The next epoch is told by the names that are there: this one is taken for the first.
        for end in ("records", "terms"):
            (tmp_path / "store" / f"sentences-0-0.{end}").symlink_to(target)
        write(store, *numbered(2, first=1))
        assert store.status().sentences == 2
    assert target.read_text() == "precious"


def test_what_a_crash_left_goes_with_the_next_write(tmp_path):
    with FAISSDocumentStore(tmp_path) as store:
        write(store, *numbered(3))
        expected = answers(store)
    for name in sentence_files(tmp_path):
        with (tmp_path / name).open("ab") as file:
            file.write(b"what was not committed" * 100)
    with FAISSDocumentStore(tmp_path) as store:
        assert answers(store) == expected
        assert store.verify() == []
        write(store, *numbered(1, first=3))
        assert (tmp_path / "sentences-0-0.records").stat().st_size == 8 * (16 + DIMENSION)
        assert store.verify() == []


def append_and_fail(store):
    columns = columns_of(0, "Red.", [(0, 4)], np.ones((1, DIMENSION), np.float32))
    with store._writing() as transaction:
        store._folder.sentences.append(transaction, [columns])
        raise RuntimeError


def test_a_write_that_fails_leaves_no_sentence(tmp_path):
    with FAISSDocumentStore(tmp_path) as store:
        write(store, *numbered(2))
        expected = answers(store)
        with pytest.raises(RuntimeError):
            append_and_fail(store)
        assert answers(store) == expected
        assert store.verify() == []
        write(store, *numbered(2, first=2))
        assert store.status().sentences == 4
        assert store.verify() == []


def test_a_full_disk_is_told(tmp_path, monkeypatch):
    with FAISSDocumentStore(tmp_path) as store:
        write(store, *numbered(2))
        expected = answers(store)

        def full(*_):
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patched:
            patched.setattr(files, "append_to", full)
            with pytest.raises(StoreError, match="No space left on device"):
                write(store, *numbered(2, first=2))
        assert answers(store) == expected
        assert store.count_documents() == 2


def test_sentences_that_get_embeddings_later(tmp_path):
    text = "It is red. It is loud."
    with FAISSDocumentStore(tmp_path) as store:
        document = Document(id="r0", content=text)
        store.replace([document], [], sentences={"r0": Sentences(sentences(text))})
        assert store.status().sentences == 1
        write(store, *numbered(2, first=1))
        found = store.search_sentences("red", embedding_of("red"), bm25_weight=1.0)
        assert {each.id for each in found.documents} == {"r0", "r1", "r2"}
        assert store.status().sentences == 3
        assert store.verify() == []


# --- what is deleted


def test_dead_sentences_are_copied_away_when_a_writer_closes(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "FEWEST_DEAD", 0)
    with FAISSDocumentStore(tmp_path) as store:
        write(store, *numbered(8))
        store.delete_documents(["r0", "r1"])
    assert "sentences-0-0.records" in sentence_files(tmp_path)  # a quarter: not yet
    with FAISSDocumentStore(tmp_path) as store:
        store.delete_documents(["r5"])
        expected = answers(store)
    assert sentence_files(tmp_path) == ["sentences-0-1.records", "sentences-0-1.terms"]
    with FAISSDocumentStore(tmp_path) as store:
        assert answers(store) == expected
        assert store.status().sentences == 5
        assert store.verify() == []


def test_a_writer_that_stays_open_copies_too(tmp_path, few_are_worn):
    with FAISSDocumentStore(tmp_path) as store:
        write(store, *numbered(8))
        for _ in range(5):
            write(store, *numbered(8))
            assert (tmp_path / sentence_files(tmp_path)[0]).stat().st_size == 16 * (16 + DIMENSION)
            assert len(sentence_files(tmp_path)) == 2
        assert store.verify() == []


def test_the_files_go_with_all_documents(tmp_path):
    with FAISSDocumentStore(tmp_path) as store:
        write(store, *numbered(3))
        store.delete_all_documents()
        assert sentence_files(tmp_path) == []
        write(store, *numbered(1))
        assert store.status().sentences == 1
        assert store.verify() == []


def test_what_is_forgotten_is_in_no_file(tmp_path):
    marked = Sentences([(0, 12)], np.arange(1, DIMENSION + 1, dtype=np.float32)[None])
    steps = np.rint(np.arange(1, DIMENSION + 1) * 127 / DIMENSION).astype(np.int8).tobytes()
    with FAISSDocumentStore(tmp_path) as store:
        store.replace([review("secret", "Precious me.")], [], sentences={"secret": marked})
        write(store, *numbered(2))
        expected = {key: score for key, score in answers(store).items() if key[0] != "secret"}
        assert any(steps in path.read_bytes() for path in tmp_path.glob("sentences-*"))
        store.forget(["secret"])
        assert answers(store).keys() == expected.keys()
        assert store.status().sentences == 2
        assert store.verify() == []
    assert not any(steps in path.read_bytes() for path in tmp_path.glob("sentences-*"))
    assert len(sentence_files(tmp_path)) == 2


def test_a_store_is_made_again_where_only_its_ledger_was_deleted(tmp_path):
    with FAISSDocumentStore(tmp_path) as store:
        write(store, *numbered(3))
    (tmp_path / "store.sqlite3").unlink()
    with FAISSDocumentStore(tmp_path) as store:
        write(store, *numbered(1))
        assert len(answers(store)) == 2
        assert store.verify() == []
    assert sentence_files(tmp_path) == ["sentences-0-1.records", "sentences-0-1.terms"]


# --- a re-embedding


def test_a_re_embedding_goes_on_with_its_own_files(tmp_path):
    with FAISSDocumentStore(tmp_path, similarity="cosine") as store:
        write(store, *numbered(10))
        expected = answers(store)
        with pytest.raises(RuntimeError):
            store.update_embeddings(Encoder("new", 4, fail_after=12), batch_size=2)
        assert answers(store) == expected
        assert {name.rsplit("-", 1)[0] for name in sentence_files(tmp_path)} == {
            "sentences-0",
            "sentences-1",
        }
        store.delete_documents(["r0", "r9"])
        write(store, *numbered(1, first=10))
        assert store.verify() == []
    with FAISSDocumentStore(tmp_path, similarity="cosine") as store:
        assert store.update_embeddings(Encoder("new", 4)) == 6
        assert store.status().sentences == 9
        assert store.verify() == []
    assert sentence_files(tmp_path) == ["sentences-1-0.records", "sentences-1-0.terms"]


# --- damage


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def replace_by_link(path):
    other = path.parent.parent / path.name
    path.rename(other)
    path.symlink_to(other)


DAMAGE = [flip, truncate, lambda path: path.unlink(), replace_by_link]


@pytest.mark.parametrize("end", ["records", "terms"])
@pytest.mark.parametrize("damage", DAMAGE, ids=["flip", "truncate", "delete", "link"])
def test_a_damaged_file_is_told_and_questions_go_on(tmp_path, caplog, damage, end):
    path = tmp_path / "store"
    with FAISSDocumentStore(path, similarity="cosine") as store:
        write(store, *numbered(4))
        expected = answers(store)
    with FAISSDocumentStore(tmp_path / "undivided", similarity="cosine") as store:
        store.write_documents(numbered(4))
        undivided = answers(store)
    damage(path / f"sentences-0-0.{end}")
    with FAISSDocumentStore(path, similarity="cosine") as store, caplog.at_level(logging.WARNING):
        assert answers(store) == pytest.approx(undivided, abs=1e-5)
        assert answers(store).keys() == expected.keys()
        [told] = store.verify()
        assert told.startswith(f"sentences-0-0.{end} ")
        assert "qa-index reembed" in told
    assert caplog.text.count("cannot be used") == 1
    with FAISSDocumentStore(path, similarity="cosine") as store:
        write(store, *numbered(1, first=4))
        assert store.status().sentences == 1
        assert store.verify() == []
        assert len(answers(store)) == 10
        store.update_embeddings(Encoder())
        assert store.status().sentences == 5
        assert {key: score for key, score in answers(store).items() if key[0] != "r4"}.keys() == (
            expected.keys()
        )
        assert store.verify() == []


def test_a_store_whose_sentences_are_damaged_can_forget(tmp_path):
    with FAISSDocumentStore(tmp_path) as store:
        write(store, *numbered(4))
    flip(tmp_path / "sentences-0-0.records")
    with FAISSDocumentStore(tmp_path) as store:
        store.forget(["r1"])
        assert len(answers(store)) == 6
        assert store.status().sentences == 0
        assert store.verify() == []
        write(store, *numbered(1))
        assert store.status().sentences == 1


# --- many


def test_what_is_too_much_is_looked_for_by_the_indexes(tmp_path, monkeypatch):
    texts = {f"r{n}": f"Page {n} is here. The marked place {n}." for n in range(60)}
    with FAISSDocumentStore(tmp_path) as store:
        write(store, *(review(name, text, f"B{len(name)}") for name, text in texts.items()))
        monkeypatch.setattr(search, "CANDIDATES", 5)
        whole = store.search_sentences("marked place 17")
        assert whole.is_whole
        for bound, most in (("MOST_SENTENCES", 100), ("MOST_SENTENCES", 10)):
            with monkeypatch.context() as patched:
                patched.setattr(search, bound, most)
                found = store.search_sentences("marked place 17", embedding_of("place"))
                assert (found.is_whole, found.reviews) == (False, 60)
                assert found.considered <= 10
                found = store.search_sentences("marked place 17")
                assert (found.is_whole, found.documents[0].id) == (False, "r17")
                some = store.search_sentences("marked place 7", filters=of_item("B2"))
                assert (some.is_whole, some.reviews) == (most == 100, 10)
        store.write_documents(list(map(review, texts, texts.values())), DuplicatePolicy.OVERWRITE)
        assert store.search_sentences("marked place 17").is_whole
        monkeypatch.setattr(search, "MOST_DIVIDED", 10)
        found = store.search_sentences("marked place 17")
        assert (found.is_whole, found.documents[0].id) == (False, "r17")


# --- readers beside a writer


def read(path, stop, results):
    """Ask for every sentence until told to stop; say how often, and what was wrong."""
    wrong, times = [], 0
    with closing(FAISSDocumentStore(path)) as store:
        while not stop.is_set():
            try:
                found = answers(store)
            except Exception as error:  # noqa: BLE001 - told to the test
                wrong.append(repr(error))
                break
            # Each write has all reviews, in one version, of three sentences each.
            reviews = {name for name, *_ in found}
            if reviews and (len(reviews) != 20 or len(found) != 60):
                wrong.append(f"{len(reviews)} reviews, {len(found)} sentences")
            times += 1
    results.put((times, wrong))


def test_readers_of_other_processes_beside_a_writer(tmp_path, few_are_worn):
    """The writer appends, copies into new files and removes the old ones, all the time."""
    context = multiprocessing.get_context("spawn")
    stop, results = context.Event(), context.Queue()
    versions = 0
    with FAISSDocumentStore(tmp_path) as store:

        def write_version(version):
            text = f"Version {version} is here. It is red. It is loud."
            write(store, *(review(f"r{n}", text) for n in range(20)))

        write_version(0)
        readers = [context.Process(target=read, args=(tmp_path, stop, results)) for _ in range(2)]
        for reader in readers:
            reader.start()
        while versions < 40:
            versions += 1
            write_version(versions)
        epochs = sentence_files(tmp_path)
        stop.set()
        told = [results.get(timeout=60) for _ in readers]
        for reader in readers:
            reader.join(60)
    assert [wrong for _, wrong in told] == [[], []]
    assert epochs != ["sentences-0-0.records", "sentences-0-0.terms"]


# --- as a brute-force search finds them

TEXTS = st.lists(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(
        lambda words: " ".join(words).capitalize() + "."
    ),
    max_size=3,
).map(" ".join)
NAMES = st.sampled_from([f"r{n}" for n in range(6)])
ITEMS = st.sampled_from(["B0", "B1"])
REVIEWS = st.lists(st.tuples(NAMES, TEXTS, ITEMS), min_size=1, max_size=4)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("replace"), REVIEWS),
        st.tuples(st.just("write"), REVIEWS),
        st.tuples(st.just("delete"), st.lists(NAMES, min_size=1, max_size=3)),
        st.tuples(st.just("move"), ITEMS),
        st.tuples(st.just("forget"), st.lists(NAMES, min_size=1, max_size=2)),
        st.tuples(st.just("embed"), st.just(None)),
        st.tuples(st.just("clear"), st.just(None)),
        st.tuples(st.just("reopen"), st.just(None)),
    ),
    max_size=8,
)


def expected_of(live, query, item):
    """Return the score of each sentence of the live reviews of an item, by other code."""
    found = {}
    embedding = embedding_of(query)
    words = list(dict.fromkeys(query.split()))
    for name, (text, of, is_divided) in live.items():
        if of != item:
            continue
        for start, end in sentences(text):
            sentence = text[start:end]
            meant = embedding_of(sentence if is_divided else text)
            cosine = meant @ embedding / np.linalg.norm(meant) / np.linalg.norm(embedding)
            found[name, start, end] = (set(sentence.lower().strip(".").split()), float(cosine))
    weights = {}
    for word in words:
        having = sum(word in each for each, _ in found.values())
        weights[word] = np.log1p(len(found) / having) if having else None
    rarest = max((weight for weight in weights.values() if weight is not None), default=0.0)
    weights = {word: rarest if weight is None else weight for word, weight in weights.items()}
    total = sum(weights.values()) or 1.0
    return {
        key: 0.5 * sum(weights[w] for w in words if w in each) / total + 0.5 * cosine
        for key, (each, cosine) in found.items()
    }


def unique(reviews):
    return {name: (text, item) for name, text, item in reviews}


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(operations=OPERATIONS)
def test_every_sentence_of_the_live_reviews_is_found(tmp_path_factory, few_are_worn, operations):
    path, live = tmp_path_factory.mktemp("store"), {}
    store = FAISSDocumentStore(path, similarity="cosine")
    try:
        for kind, given_ in operations:
            match kind:
                case "replace":
                    write(store, *(review(n, *rest) for n, rest in unique(given_).items()))
                    live |= {n: (*rest, True) for n, rest in unique(given_).items()}
                case "write":
                    documents = [review(n, *rest) for n, rest in unique(given_).items()]
                    store.write_documents(documents, DuplicatePolicy.OVERWRITE)
                    live |= {n: (*rest, False) for n, rest in unique(given_).items()}
                case "delete":
                    store.delete_documents(given_)
                    live = {n: one for n, one in live.items() if n not in given_}
                case "move":
                    other = "B1" if given_ == "B0" else "B0"
                    store.update_by_filter(of_item(given_), {"item_id": other})
                    live = {n: (one[0], other, one[2]) for n, one in live.items()}
                case "forget":
                    store.forget(given_)
                    live = {n: one for n, one in live.items() if n not in given_}
                case "embed":
                    store.update_embeddings(Encoder(), batch_size=2)
                    live = {n: (*one[:2], True) for n, one in live.items()}
                case "clear":
                    store.delete_all_documents()
                    live = {}
                case "reopen":
                    store.close()
                    store = FAISSDocumentStore(path, similarity="cosine")
            for item in ("B0", "B1"):
                expected = expected_of(live, "loud red", item)
                assert answers(store, "loud red", of_item(item)) == pytest.approx(
                    expected, abs=0.01
                )
        assert store.status().sentences == sum(divided for *_, divided in live.values())
        assert store.verify() == []
        assert len(sentence_files(path)) in (0, 2)
    finally:
        store.close()


@given(
    places=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4)), max_size=8).map(
        lambda steps: [
            (sum(gap + length for gap, length in steps[:n]) + steps[n][0], steps[n][1])
            for n in range(len(steps))
        ]
    )
)
def test_stretches_are_the_numbers_in_them(places):
    firsts, counts = np.array(places, np.int64).reshape(-1, 2).T
    expected = [n for first, count in places for n in range(first, first + count)]
    assert all(one[0] + one[1] <= other[0] for one, other in pairwise(places))
    assert np.arange(100)[ranges(firsts, counts)].tolist() == expected


@pytest.mark.parametrize("width", [8, 16])
def test_embeddings_of_zeros_have_a_dimension_and_no_sentences_have_none(
    tmp_path: Path, width: int
) -> None:
    with FAISSDocumentStore(tmp_path / "store") as store:
        blank = Document(id="blank", content=" ")
        store.replace([blank], [], sentences={"blank": Sentences([], np.zeros((0, 16)))})
        zeros = Document(id="zeros", content="Loud. Big.")
        spans = [(0, 5), (6, 10)]
        store.replace([zeros], [], sentences={"zeros": Sentences(spans, np.zeros((2, width)))})
        with pytest.raises(EmbeddingError):
            store.write_documents([Document(id="other", content="Red.", embedding=[1.0] * 3)])
        found = store.search_sentences("loud?", np.ones(width))
        assert [document.id for document in found.documents] == ["zeros"]
        assert store.verify() == []


def test_two_dimensions_in_one_write_are_refused(tmp_path: Path) -> None:
    with FAISSDocumentStore(tmp_path / "store") as store:
        documents = [Document(id=name, content="Loud.") for name in "ab"]
        written = {
            "a": Sentences([(0, 5)], np.ones((1, 3))),
            "b": Sentences([(0, 5)], np.ones((1, 4))),
        }
        with pytest.raises(EmbeddingError):
            store.replace(documents, [], sentences=written)
        assert store.count_documents() == 0


def test_a_review_that_left_the_item_meanwhile_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_item = {"field": "meta.item_id", "operator": "==", "value": "A"}
    with FAISSDocumentStore(tmp_path / "store") as store:
        documents = [
            Document(id=f"r{number}", content="It is loud.", meta={"item_id": "A"})
            for number in range(4)
        ]
        store.replace(documents, [], sentences={one.id: Sentences([(0, 11)]) for one in documents})
        found_first = search.SentenceSearch._candidates

        def candidates(self: Any, *given: Any) -> list[str]:
            ids = found_first(self, *given)
            one = {"field": "id", "operator": "==", "value": "r3"}
            store.update_by_filter(one, {"item_id": "B"})
            return ids

        monkeypatch.setattr(search, "MOST_SENTENCES", 1)
        monkeypatch.setattr(search.SentenceSearch, "_candidates", candidates)
        found = store.search_sentences("loud?", filters=of_item)
        assert {document.id for document in found.documents} == {"r0", "r1", "r2"}
        assert not found.is_whole


def test_a_write_that_drops_damaged_sentences_tells(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "store"
    with FAISSDocumentStore(place) as store:
        documents = [Document(id=name, content="It is loud.") for name in "ab"]
        store.replace(documents, [], sentences={name: Sentences([(0, 11)]) for name in "ab"})
    next(place.glob("sentences-*.terms")).unlink()
    with FAISSDocumentStore(place) as store:
        document = Document(id="c", content="It is loud.")
        store.replace([document], [], sentences={"c": Sentences([(0, 11)])})
        assert store.status().sentences == 1
    assert "the sentences of 2 documents" in caplog.text
    assert f"qa-index reembed --store {place}" in caplog.text
