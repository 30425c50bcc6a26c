"""Labels in a real store: kept, joined, found again, whatever happens meanwhile."""

import json
import os
import signal
import sqlite3
import sys
import time
import tracemalloc

import pytest
from haystack.dataclasses import Document

from eval import cli
from eval.datasets import load_dataset
from qa_system.errors import DataError, StoreLockedError
from qa_system.labels import UNLOCATED, aggregate
from qa_system.records import AnswerSpan, Label
from qa_system.stores.faiss import FAISSDocumentStore

GOOD = AnswerSpan("Good", 0, 4)


@pytest.fixture
def store(tmp_path):
    with FAISSDocumentStore(tmp_path / "store") as store:
        yield store


def label(question_id="q1", *answers, **fields):
    given = {"question": "How is it?", "item_id": "B00", "review_id": "r1", "split": "test"}
    return Label(question_id, answers=answers, context="Good.", **given | fields)


def everything():
    return [
        label("q1", GOOD, annotations=((GOOD,), ()), meta={"z": [1.5, None], "é": {"b": True}}),
        label("q2", item_id=None, split=None, meta={UNLOCATED: ["god"]}),
        label("q1", review_id="r2"),
        label("q1", split="train", item_id="B01"),
    ]


# --- what it keeps


def test_labels_come_back_as_they_were(tmp_path):
    labels = everything()
    with FAISSDocumentStore(tmp_path / "store") as store:
        assert store.write_labels(iter(labels)) == 4
        assert store.get_labels_aggregated(by_item=False) == labels
    with FAISSDocumentStore(tmp_path / "store") as store:
        assert store.get_labels_aggregated(by_item=False) == labels
        assert store.get_labels_aggregated() == list(aggregate(labels))
        assert store.count_labels() == store.status().labels == 4


def test_a_store_without_labels_has_none(store, tmp_path):
    assert store.get_labels_aggregated() == []
    assert (store.count_labels(), store.delete_labels(), store.status().labels) == (0, 0, 0)
    assert not (tmp_path / "store").exists()
    # As every store is that was made before there were labels: there is no such table.
    store.write_documents([Document(id="r1", content="Good.")])
    assert store.get_labels_aggregated() == []
    assert (store.count_labels(), store.delete_labels(), store.status().labels) == (0, 0, 0)
    with sqlite3.connect(tmp_path / "store" / "store.sqlite3") as connection:
        tables = connection.execute("SELECT name FROM sqlite_schema").fetchall()
    assert "labels" not in {name for (name,) in tables}
    assert store.write_labels(everything()) == 4


def test_writing_again_duplicates_nothing(store):
    labels = everything()
    assert store.write_labels(labels + labels[:2]) == 4
    assert store.write_labels(labels) == 0
    other_order = label(
        "q1", GOOD, annotations=((GOOD,), ()), meta={"é": {"b": True}, "z": [1.5, None]}
    )
    assert other_order == labels[0]
    assert store.write_labels([other_order]) == 0
    assert store.write_labels([label("q1", GOOD, meta={"z": 2})]) == 1
    assert store.count_labels() == 5


def test_labels_take_the_place_of_others(store):
    first, second, third = everything()[:3]
    assert store.replace_labels([first, second], [third]) == 2
    assert store.replace_labels([third], [second, label("q9")]) == 1
    assert store.get_labels_aggregated(by_item=False) == [first, third]
    with pytest.raises(DataError):
        store.replace_labels([label("q9", meta={"x": float("inf")})], [first])
    assert store.replace_labels([first], [first, third]) == 1
    assert store.get_labels_aggregated() == [first]


def test_annotators_and_questions_are_joined(store):
    said, abstaining = label("q1", GOOD, meta={"who": ["a"]}), label("q1", meta={"who": ["b"]})
    elsewhere = label("q2", review_id="r2")
    store.write_labels([abstaining])
    store.write_labels([elsewhere, said])
    joined, other = store.get_labels_aggregated(by_item=False)
    assert (joined.answers, joined.annotations) == ((GOOD,), ((), (GOOD,)))
    assert joined.meta == {"who": ["b", "a"]}
    assert other == elsewhere
    [asked] = store.get_labels_aggregated()
    assert (asked.question_id, asked.others) == ("q1", (elsewhere,))


def test_split_and_item_choose(store):
    labels = everything()
    store.write_labels(labels)
    assert store.get_labels_aggregated("train") == labels[3:]
    assert store.get_labels_aggregated(item_id="B00", by_item=False) == [labels[0], labels[2]]
    assert store.get_labels_aggregated("train", "B00") == []
    assert store.get_labels_aggregated("' OR 1 --") == []
    assert [store.count_labels("test"), store.count_labels("test", "B00")] == [2, 2]
    assert store.delete_labels("test") == 2
    assert store.get_labels_aggregated() == [labels[1], labels[3]]
    assert (store.delete_labels(), store.count_labels()) == (2, 0)


def test_documents_do_not_notice(store):
    document = Document(id="r1", content="Good sound.", embedding=[1.0, 2.0])
    store.write_documents([document])
    before = store.status()
    store.write_labels(everything())
    after = store.status()
    assert (after.generation, after.documents) == (before.generation, before.documents)
    assert store.verify() == []
    assert [hit.id for hit in store.search_bm25("sound")] == ["r1"]
    assert store.search_bm25("how") == []
    store.delete_all_documents(recreate_index=True)
    assert (store.count_documents(), store.count_labels()) == (0, 4)


# --- what it refuses


@pytest.mark.parametrize(
    "bad",
    [
        label("q9", meta={"x": float("inf")}),
        label("q9", meta={"x": {1, 2}}),
        label("q9", AnswerSpan("Good", 0, 9)),
        aggregate([label("q1"), label("q2", review_id="r2")])[0],
    ],
)
def test_one_bad_label_and_none_is_written(store, bad):
    with pytest.raises(DataError, match="cannot be written"):
        store.write_labels([label("q0"), bad])
    assert store.count_labels() == 0
    assert store.write_labels([label("q0")]) == 1


def test_one_writer_at_a_time(store, tmp_path):
    store.write_labels([label()])
    with FAISSDocumentStore(tmp_path / "store") as second:
        assert second.count_labels() == 1
        with pytest.raises(StoreLockedError, match="is being written by process"):
            second.write_labels([label("q2")])


# --- how it bears what happens


def test_memory_does_not_grow_with_the_labels(store):
    text = "Good. " * 500

    def many(count):
        for number in range(count):
            yield Label(f"q{number}", "?", "B00", f"r{number}", f"{number} {text}", ())

    store.write_labels(many(10))
    tracemalloc.start()
    try:
        assert store.write_labels(many(3_000)) == 2_990
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 500_000  # of nine million characters


def test_a_killed_writer_leaves_whole_calls(tmp_path):
    path, size = tmp_path / "store", 40
    acknowledged = 0
    for turn in range(3):
        mouth, ear = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                store = FAISSDocumentStore(path)
                for call in range(1_000_000):
                    store.write_labels(label(f"{turn} {call} {n}") for n in range(size))
                    os.write(ear, b".")
            finally:
                os._exit(1)
        os.close(ear)
        first = os.read(mouth, 1)
        time.sleep(0.05 * (turn + 1))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        done = len(first)
        while more := os.read(mouth, 65_536):
            done += len(more)
        os.close(mouth)
        assert done
        acknowledged += done * size
        with FAISSDocumentStore(path) as store:
            kept = store.count_labels()
            assert acknowledged <= kept <= acknowledged + size
            assert kept % size == 0
            assert len(store.get_labels_aggregated(by_item=False)) == kept
            assert store.verify() == []
        acknowledged = kept


# --- as its users meet it


@pytest.fixture
def qa_eval(monkeypatch, capsys):
    def call(*args):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["qa-eval", *map(str, args)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return call


def test_a_data_set_goes_in_and_comes_out(qa_eval, sample, tmp_path):
    path = tmp_path / "store"
    code, _, said = qa_eval("labels", sample, "--store", path)
    assert code == 1
    assert "there is no store" in said
    with FAISSDocumentStore(path, similarity="cosine") as store:
        store.write_documents([Document(id="r1", content="Good.")])
    with pytest.raises(DataError, match=r"no labels .*qa-eval labels DATASET --store"):
        load_dataset(f"store:{path}")

    code, out, _ = qa_eval("labels", sample, "--store", path, "--split", "dev", "--json")
    assert code == 0
    report = json.loads(out)
    assert (report["given"], report["written"], report["labels"]) == (80, 80, 80)
    code, out, _ = qa_eval("labels", "bundled:sample", "--store", path)
    assert code == 0
    assert "394 labels read: 314 written, 80 were there" in out
    assert "394 labels (157 train, 80 dev, 157 test)" in out

    stored, given = load_dataset(f"store:{path}"), load_dataset(sample)
    by_id = {(one.split, one.question_id): one for one in given.labels}
    assert {(one.split, one.question_id): one for one in stored.labels} == by_id
    assert {(one.id, one.text) for one in stored.reviews} == {
        (one.id, one.text) for one in given.reviews
    }
    code, out, _ = qa_eval("explore", f"store:{path}", "--json")
    assert (code, json.loads(out)["counts"]["test"]["questions"]) == (0, 157)
