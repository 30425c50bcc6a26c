import csv
import gzip
import io
import json
import os
import re
import shlex
import shutil
import sqlite3
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from haystack import Document

from indexing.checkpoint import Checkpoint, CheckpointFile, read_checkpoints
from indexing.job import run_job
from indexing.state import state_folder
from qa_system.config import EncoderSettings, StoreSettings, load_settings
from qa_system.errors import (
    ConfigError,
    DataError,
    EncoderMismatchError,
    JobError,
    StoreMismatchError,
    TooManyRejectsError,
)
from qa_system.retrievers.encoders import load_encoder
from qa_system.review_ids import stable_review_id
from qa_system.stores import open_store

ROWS = [
    ("r1", "B00", "Works well on a plane.", "5"),
    ("r2", "B00", "The zip broke.", "1"),
    ("r3", "B01", "Light and cheap.", "4"),
    ("r4", "B01", "Too loud for my desk.", "2"),
    ("r5", "B02", "No complaints so far.", "5"),
]


@pytest.fixture
def source(tmp_path):
    return write(tmp_path / "reviews.csv", ROWS)


@pytest.fixture(scope="module")
def encoders(tmp_path_factory):
    """Two encoders that sum a number for each token: the same text, the same vector, always."""
    onnx = pytest.importorskip("onnx")
    from onnx import TensorProto, helper, numpy_helper

    from qa_system.config.shipped import resource

    folders = []
    for seed in (1, 2):
        folder = tmp_path_factory.mktemp("encoder")
        table = np.random.default_rng(seed).integers(-8, 8, (30522, 4)).astype(np.float32)
        graph = helper.make_graph(
            [
                helper.make_node("Gather", ["table", "input_ids"], ["tokens"]),
                helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
                helper.make_node("Unsqueeze", ["mask", "last"], ["mask3"]),
                helper.make_node("Mul", ["tokens", "mask3"], ["masked"]),
                helper.make_node("ReduceSum", ["masked", "middle"], ["sum"], keepdims=0),
            ],
            "tiny",
            [
                helper.make_tensor_value_info(name, TensorProto.INT64, ["n", "length"])
                for name in ("input_ids", "attention_mask")
            ],
            [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["n", 4])],
            [
                numpy_helper.from_array(table, "table"),
                numpy_helper.from_array(np.array([2]), "last"),
                numpy_helper.from_array(np.array([1]), "middle"),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
        model.ir_version = 9
        onnx.save(model, folder / "model.onnx")
        (folder / "tokenizer.json").write_bytes(
            (resource("models") / "encoder" / "tokenizer.json").read_bytes()
        )
        manifest = {
            "task": "encoder",
            "precision": "fp32",
            "dimension": 4,
            "max_seq_length": 16,
            "similarity": "dot_product",
        }
        (folder / "model.json").write_text(json.dumps(manifest))
        folders.append(str(folder))
    return folders


def write(path, rows, header=("review_id", "item_id", "text", "stars")):
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([header, *rows])
    return path


def index(tmp_path, source, *, stdin=None, **keys):
    sources = source if isinstance(source, list) else [source]
    given = {
        "indexing.sources": [str(each) for each in sources],
        "indexing.embed": False,
        "store.path": str(tmp_path / "store"),
    }
    for key, value in keys.items():
        given[key.replace("__", ".") if "__" in key else f"indexing.{key}"] = value
    return run_job(load_settings(overrides=given, environ={}), stdin=stdin)


def stored(tmp_path):
    with open_store(StoreSettings(path=str(tmp_path / "store"))) as store:
        assert store.verify() == []
        return {each.id: (each.content, each.meta) for each in store.filter_documents()}


def texts(tmp_path):
    return {key: content for key, (content, _) in stored(tmp_path).items()}


OUTCOMES = ("written", "updated", "unchanged", "duplicates", "rejected")


def outcomes(report):
    """How many rows were read, and what came of each."""
    counted = tuple(getattr(report.counts, name) for name in OUTCOMES)
    assert report.counts.read == sum(counted)
    return counted


def counts(report):
    """Rows read, stored, left as they were, set aside; where no id comes twice."""
    written, updated, unchanged, duplicates, rejected = outcomes(report)
    assert not duplicates
    return report.counts.read, written + updated, unchanged, rejected


def test_a_run_stores_every_review_and_another_changes_nothing(tmp_path, source):
    report = index(tmp_path, source)
    assert counts(report) == (5, 5, 0, 0)
    assert report.rejects_file is None
    first = stored(tmp_path)
    assert set(first) == {"r1", "r2", "r3", "r4", "r5"}
    content, meta = first["r1"]
    assert content == "Works well on a plane."
    assert meta.pop("content_hash")
    assert meta == {"review_id": "r1", "item_id": "B00", "stars": 5}
    again = index(tmp_path, source, batch_size=2)
    assert counts(again) == (5, 0, 5, 0)
    assert again.resumed == 0
    assert stored(tmp_path) == stored(tmp_path)
    assert {key: each[0] for key, each in first.items()} == texts(tmp_path)


def test_what_changed_is_replaced_and_what_is_missing_deleted_if_told(tmp_path, source):
    index(tmp_path, source)
    rows = [
        ("r1", "B00", "Works well on a train.", "5"),
        ("r2", "B00", "The zip broke.", "2"),
        ROWS[2],
        ("r6", "B02", "New.", "3"),
    ]
    write(source, rows)
    assert outcomes(index(tmp_path, source)) == (1, 2, 1, 0, 0)
    found = stored(tmp_path)
    assert set(found) == {"r1", "r2", "r3", "r4", "r5", "r6"}
    assert found["r1"][0] == "Works well on a train."
    assert found["r2"][1]["stars"] == 2
    report = index(tmp_path, source, delete_missing=True, batch_size=2)
    assert counts(report) == (4, 0, 4, 0)
    assert report.counts.deleted == 2
    assert set(stored(tmp_path)) == {"r1", "r2", "r3", "r6"}


def test_a_review_whose_row_went_bad_is_not_deleted(tmp_path, source):
    index(tmp_path, source)
    write(source, [ROWS[0], ("r2", "B00", "", "1"), ROWS[2]])
    report = index(tmp_path, source, delete_missing=True)
    assert report.counts.deleted == 2
    assert texts(tmp_path)["r2"] == "The zip broke."


def test_an_empty_source_does_not_empty_the_store(tmp_path, source):
    index(tmp_path, source)
    write(source, [])
    for delete_missing in (True, False):
        with pytest.raises(JobError, match=r"held no rows.*the store is as it was"):
            index(tmp_path, source, delete_missing=delete_missing)
    write(source, [("r1", "B00", "", "5"), ("r2", "", "x", "5")])
    for delete_missing in (True, False):
        with pytest.raises(JobError, match="2 rows read, and none accepted: 1 missing item, 1"):
            index(tmp_path, source, delete_missing=delete_missing)
    assert len(stored(tmp_path)) == 5


@pytest.mark.parametrize("batch_size", [1, 2, 100])
def test_the_last_row_of_an_id_counts(tmp_path, batch_size):
    index(tmp_path, write(tmp_path / "a.csv", [ROWS[0], ROWS[2], ROWS[3]]))
    rows = [
        ROWS[0],
        ROWS[1],
        ROWS[0],
        ("r2", "B00", "Another text.", "1"),
        (*ROWS[2][:3], "1"),
        ROWS[2],
        (*ROWS[3][:3], "1"),
        ("r7", "B00", "", "5"),
        ("r7", "B00", "The row before was bad.", "5"),
        ("r7", "", "So is the row after.", "5"),
    ]
    source = write(tmp_path / "a.csv", rows)
    report = index(tmp_path, source, batch_size=batch_size)
    # New are r2 and r7; r4 has another metadata; r1 and r3 end as they were.
    assert outcomes(report) == (2, 1, 2, 3, 2)
    assert report.counts.passages == 3
    assert report.counts.reasons == {"missing item": 1, "missing text": 1}
    found = stored(tmp_path)
    assert found["r2"][0] == "Another text."
    assert found["r7"][0] == "The row before was bad."
    assert found["r3"][1]["stars"] == int(ROWS[2][3])
    assert found["r4"][1]["stars"] == 1
    assert outcomes(index(tmp_path, source, batch_size=batch_size)) == (0, 0, 5, 3, 2)
    assert stored(tmp_path) == found


SAID = ("item_id", "text", "title", "author", "date", "stars", "votes")
GOOD = ("lamp", "Good", "", "", "", "5", "0")


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_reviews_without_an_id_are_told_apart(tmp_path, batch_size):
    rows = [
        GOOD,
        (*GOOD[:5], "1", "0"),
        GOOD,
        (*GOOD[:5], "1", "0"),
        (*GOOD[:5], "1", "7"),
        ("lamp", "Good", "Dim", "", "", "5", "0"),
        ("lamp", "Good", "", "Ann", "", "5", "0"),
        ("lamp", "Good", "", "Ann", "2024-02-01", "5", "0"),
        ("mug", *GOOD[1:]),
        ("lamp", "", "", "", "", "5", "0"),
    ]
    source = write(tmp_path / "a.csv", rows, SAID)
    report = index(tmp_path, source, batch_size=batch_size)
    assert outcomes(report) == (7, 0, 0, 2, 1)
    found = stored(tmp_path)
    expected = {
        stable_review_id("lamp", "Good"): {"stars": 5, "votes": 0},
        stable_review_id("lamp", "Good", occurrence=1): {"stars": 1, "votes": 0},
        stable_review_id("lamp", "Good", occurrence=2): {"stars": 1, "votes": 7},
        stable_review_id("lamp", "Good", "Dim"): {"stars": 5, "votes": 0, "title": "Dim"},
        stable_review_id("lamp", "Good", None, "Ann"): {"stars": 5, "votes": 0, "author": "Ann"},
        stable_review_id("lamp", "Good", None, "Ann", "2024-02-01"): {
            "stars": 5,
            "votes": 0,
            "author": "Ann",
            "date": "2024-02-01",
        },
        stable_review_id("mug", "Good"): {"stars": 5, "votes": 0},
    }
    own = ("review_id", "item_id", "content_hash")
    assert {
        name: {key: value for key, value in meta.items() if key not in own}
        for name, (_, meta) in found.items()
    } == expected
    assert outcomes(index(tmp_path, source, batch_size=batch_size)) == (0, 0, 7, 2, 1)
    assert stored(tmp_path) == found
    # Some of them are changed: their ids stay.
    rows[6] = (*rows[6][:5], "2", "0")
    write(source, rows, SAID)
    assert outcomes(index(tmp_path, source, batch_size=batch_size)) == (0, 1, 6, 2, 1)


def as_by_0_1(tmp_path):
    """Make the store of a test what version 0.1 would have left: it noted nothing."""
    with sqlite3.connect(tmp_path / "store" / "store.sqlite3") as db:
        db.execute("DELETE FROM store WHERE key = 'notes'")
    db.close()


def test_a_store_of_version_0_1_keeps_its_ids(tmp_path):
    header = ("item_id", "text", "title", "author", "reviewId")
    rows = [("100.0", "Good", "Dim", "Ann", "7"), ("100.0", "Fine", "", "Ann", "8")]
    source = write(tmp_path / "a.csv", rows, header)
    index(tmp_path, write(tmp_path / "old.csv", [("x", "100.0", "y", "5")]))
    with open_store(StoreSettings(path=str(tmp_path / "store"))) as store:
        store.delete_documents(["x"])
        # What version 0.1 wrote of the two rows.
        store.write_documents(
            [
                Document(
                    id=stable_review_id(item, text),
                    content=text,
                    meta={
                        "review_id": stable_review_id(item, text),
                        "item_id": item,
                        "author": author,
                        "content_hash": "of then",
                    },
                )
                for item, text, _, author, _ in rows
            ]
        )
    as_by_0_1(tmp_path)
    for expected in ((0, 2, 0, 0, 0), (0, 0, 2, 0, 0)):
        assert outcomes(index(tmp_path, source)) == expected
    assert set(stored(tmp_path)) == {stable_review_id("100.0", text) for text in ("Good", "Fine")}
    with open_store(StoreSettings(path=str(tmp_path / "store"))) as store:
        assert store.notes()["recipe"] == 1
    # Another store has no past: an id is recognised, and 100.0 is a whole number.
    shutil.rmtree(tmp_path / "store")
    index(tmp_path, source)
    assert {name: meta["item_id"] for name, (_, meta) in stored(tmp_path).items()} == {
        "7": "100",
        "8": "100",
    }


def test_a_store_of_a_newer_version_is_refused(tmp_path, source):
    index(tmp_path, source)
    with open_store(StoreSettings(path=str(tmp_path / "store"))) as store:
        store.note({"recipe": 3})
    with pytest.raises(StoreMismatchError, match="recipe 3"):
        index(tmp_path, source)


def test_types_are_kept_with_the_store(tmp_path, caplog):
    header = ("review_id", "item_id", "text", "zip")
    first = write(tmp_path / "a.csv", [("r1", "i", "t", "01067"), ("r2", "i", "t", "")], header)
    second = write(tmp_path / "b.csv", [("r3", "i", "t", "10115")], header)
    assert index(tmp_path, first).types == {"zip": "text"}
    assert index(tmp_path, second).types == {"zip": "text"}
    assert stored(tmp_path)["r3"][1]["zip"] == "10115"
    assert "declared" not in caplog.text
    report = index(tmp_path, second, types={"zip": "number"})
    assert report.to_dict()["types"] == {"zip": "number"}
    assert "zip is declared a number, and was a text in this store" in caplog.text
    assert stored(tmp_path)["r3"][1]["zip"] == 10115


def test_values_that_do_not_fit_are_counted(tmp_path, caplog):
    rows = [
        ("r1", "i", "t", "5"),
        ("r2", "i", "t", "x"),
        ("r3", "i", "t", "y"),
        ("r4", "i", "", "z"),
    ]
    source = write(tmp_path / "a.csv", rows)
    report = index(tmp_path, source, batch_size=1)
    assert outcomes(report) == (3, 0, 0, 0, 1)
    assert report.counts.nulls == report.to_dict()["nulls"] == {"stars": 2}
    assert caplog.text.count("stars is 'x', not a rating of 5: it is left out") == 1
    assert "stars" not in stored(tmp_path)["r2"][1]
    report = index(tmp_path, source, misfits="reject")
    assert outcomes(report) == (0, 0, 1, 0, 3)
    assert report.counts.reasons == {"wrong type": 2, "missing text": 1}


def test_types_and_counts_survive_a_stop(tmp_path):
    rows = [("r1", "i", "t", "5"), ("r2", "i", "t", "x"), ("", "", "", ""), ("r3", "i", "t", "y")]
    source = write(tmp_path / "a.csv", rows, ("review_id", "item_id", "text", "size"))
    keys = {"types": {"size": "number"}, "batch_size": 1}
    with pytest.raises(TooManyRejectsError):
        index(tmp_path, source, max_rejects=0, **keys)
    report = index(tmp_path, source, **keys)
    assert report.resumed == 2
    assert report.counts.nulls == {"size": 2}
    assert outcomes(report) == (3, 0, 0, 0, 1)


def test_another_mapping_than_the_last_jobs_is_told(tmp_path, caplog):
    header = ("review_id", "asin", "body", "summary")
    source = write(tmp_path / "a.csv", [("r1", "i", "the text", "the title")], header)
    index(tmp_path, source)
    index(tmp_path, source)
    assert "the last job" not in caplog.text
    assert stored(tmp_path)["r1"][0] == "the title\nthe text"
    report = index(tmp_path, source, columns={"text": "summary"})
    assert "text is taken from 'summary' now, and was from 'body' in the last job" in caplog.text
    assert outcomes(report) == (0, 1, 0, 0, 0)
    assert stored(tmp_path)["r1"][0] == "the title"


def test_the_same_review_posted_to_variants_is_marked(tmp_path):
    header = ("review_id", "item_id", "text", "author", "date")
    rows = [
        ("r1", "red", "Too dim for reading, sadly.", "", ""),
        ("r2", "blue", "too dim for READING  sadly", "", ""),
        ("r3", "red", "Too dim for reading, sadly!", "", ""),
        ("r4", "green", "Too dim for reading, sadly!", "Ann", ""),
        ("r5", "green", "Good", "Ann", "2024-02-01"),
        ("r6", "red", "Good", "Ann", "2024-02-01"),
        ("r7", "blue", "Good", "Ann", "2024-02-02"),
        ("r8", "blue", "Good", "", ""),
        ("r9", "green", "Too dim for reading, sadly.", "", ""),
    ]
    source = write(tmp_path / "a.csv", rows, header)
    for size in (1, 100):
        index(tmp_path, source, batch_size=size)
        marks = {name: meta.get("copy_of") for name, (_, meta) in stored(tmp_path).items()}
        assert {name: mark for name, mark in marks.items() if mark is not None} == {
            "r2": "r1",
            "r6": "r5",
            "r9": "r1",
        }
        with open_store(StoreSettings(path=str(tmp_path / "store"))) as store:
            unmarked = {"field": "meta.copy_of", "operator": "==", "value": None}
            assert store.count_documents_by_filter(unmarked) == 6
        shutil.rmtree(tmp_path / "store")


def test_one_product_needs_no_column(tmp_path):
    source = write(tmp_path / "a.csv", [("Good.", "5"), ("Fine.", "4")], ("text", "stars"))
    with pytest.raises(ConfigError) as told:
        index(tmp_path, source)
    command = f"qa-index run --store {tmp_path / 'store'} --source {source} --no-embed"
    assert str(told.value).endswith(f"{command} --item NAME")
    report = index(tmp_path, source, item="lamp")
    assert outcomes(report) == (2, 0, 0, 0, 0)
    assert {meta["item_id"] for _, meta in stored(tmp_path).values()} == {"lamp"}
    other = write(tmp_path / "b.csv", [("lamp", "Good.")], ("item_id", "text"))
    with pytest.raises(ConfigError, match="keeps the names item_id"):
        index(tmp_path, other, item="lamp")
    with pytest.raises(ConfigError, match=r"columns\.item_id"):
        index(tmp_path, other, item="lamp", columns={"item_id": "x"})


def test_columns_that_are_not_known_come_with_the_whole_command(tmp_path):
    rows = [("A-1", "Works well on a plane.", "yes"), ("A-2", "The zip broke.", "no")]
    source = write(tmp_path / "a b.csv", rows, ("my thing no.", "opinion, free", "happy"))
    with pytest.raises(ConfigError) as told:
        index(tmp_path, source, types={"happy": "boolean"})
    command = str(told.value).partition("--item NAME): ")[2]
    assert shlex.split(command) == [
        *("qa-index", "run", "--store", str(tmp_path / "store"), "--source", str(source)),
        *("--set", 'indexing.types={"happy":"boolean"}', "--no-embed"),
        *("--column", "text=opinion, free", "--item", "NAME"),
    ]


def test_the_reject_file_is_golden(tmp_path):
    source = tmp_path / "a.jsonl"
    source.write_bytes(b'{"item_id": "B00", "text": "ok"}\n{"item_id": "B00"}\n[1]\n')
    report = index(tmp_path, source, rejects=str(tmp_path / "out" / "bad.jsonl"))
    assert Path(report.rejects_file).read_text() == (
        f'{{"file":"{source}","line":2,"reason":"missing text","detail":"text is empty",'
        '"review_id":null,"row":"{\\"item_id\\": \\"B00\\"}"}\n'
        f'{{"file":"{source}","line":3,"reason":"malformed","detail":"a list where an object '
        'is needed","review_id":null,"row":"[1]"}\n'
    )
    assert report.to_dict()["rejects_file"] == str(tmp_path / "out" / "bad.jsonl")
    source.write_bytes(b'{"item_id": "B00", "text": "ok"}\n')
    index(tmp_path, source, rejects=str(tmp_path / "out" / "bad.jsonl"))
    assert not (tmp_path / "out" / "bad.jsonl").exists()


@pytest.mark.parametrize(
    "before",
    [
        b"5\n",
        b"[1, 2]\n",
        b'"text"\n',
        b"null\n",
        b"no JSON\n",
        b"\xff\xfe\n",
        b"\n",
        b"{}\n",
        b'{"file": "a.py", "line": 1, "reason": "unused import"}\n',
        b'{"file":"a","line":1,"reason":"b","detail":"c","review_id":null,"row":"d","more":1}\n',
        b"[" * 100_000,
    ],
)
def test_a_file_that_is_no_reject_file_is_not_overwritten(tmp_path, source, before):
    other = tmp_path / "other"
    other.write_bytes(before)
    with pytest.raises(ConfigError, match="no reject file"):
        index(tmp_path, source, rejects=str(other))
    assert other.read_bytes() == before
    assert not (tmp_path / "store").exists()


def test_a_reject_file_that_is_a_source_or_no_file(tmp_path, source):
    before = source.read_bytes()
    with pytest.raises(ConfigError, match="no reject file"):
        index(tmp_path, source, rejects=str(source))
    assert source.read_bytes() == before
    (tmp_path / "empty.csv").touch()
    (tmp_path / "link").symlink_to(source)
    os.mkfifo(tmp_path / "pipe")
    bad = tmp_path / "bad.jsonl"
    index(tmp_path, write(tmp_path / "b.csv", [ROWS[0], ("r9", "", "", "")]), rejects=str(bad))
    for place, sources, message in (
        (tmp_path, [source], "no regular file"),
        (tmp_path / "pipe", [source], "no regular file"),
        ("/dev/null", [source], "no regular file"),
        (tmp_path / "link", [source], "no reject file"),
        (bad, [source, bad], "no column|one of the sources"),
        (source / "below", [source], "Not a directory"),
    ):
        with pytest.raises(ConfigError, match=message):
            index(tmp_path, sources, rejects=str(place))
    assert source.read_bytes() == before
    index(tmp_path, source, rejects=str(tmp_path / "empty.csv"))
    assert (tmp_path / "empty.csv").exists()


@pytest.mark.parametrize("suffix", [".sqlite", ".lock", ".rejects.jsonl"])
def test_what_a_job_keeps_is_a_folder(tmp_path, source, suffix):
    index(tmp_path, source)
    (state,) = (tmp_path / "store" / "jobs").glob("*.sqlite")
    place = state.with_suffix(suffix)
    if place.exists():
        place.unlink()
    place.mkdir()
    (place / "kept").touch()
    assert isinstance(read_checkpoints(state.parent), dict)
    with pytest.raises((JobError, ConfigError), match=re.escape(str(place.with_suffix("")))):
        index(tmp_path, source)
    assert (place / "kept").exists()


def test_too_many_rejects_stop_the_job_which_goes_on_when_more_are_allowed(tmp_path):
    rows = [
        *ROWS[:4],
        ("b1", "B00", "", "1"),
        ("b2", "", "x", "1"),
        ("b3", "B00", "", "1"),
        ROWS[4],
    ]
    source = write(tmp_path / "a.csv", rows)
    for _ in range(2):
        with pytest.raises(TooManyRejectsError, match="max_rejects is 1") as error:
            index(tmp_path, source, max_rejects=1, batch_size=2)
        rejects = Path(error.value.where).read_bytes().splitlines()
        assert len(rejects) == 2
        assert set(stored(tmp_path)) == {"r1", "r2", "r3", "r4"}
    report = index(tmp_path, source, max_rejects=3, batch_size=3)
    assert report.resumed == 4
    assert counts(report) == (8, 5, 0, 3)
    rejects = [json.loads(line) for line in Path(report.rejects_file).read_bytes().splitlines()]
    assert [each["line"] for each in rejects] == [6, 7, 8]
    assert len(stored(tmp_path)) == 5


def test_a_changed_source_starts_anew(tmp_path):
    source = tmp_path / "a.csv.gz"
    rows = [(f"r{n}", "B00", f"text {n} " * 50, "1") for n in range(400)]
    whole = gzip.compress(write(tmp_path / "a.csv", rows).read_bytes())
    source.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="cannot be read on"):
        index(tmp_path, source, batch_size=10)
    before = len(stored(tmp_path))
    assert 10 <= before < 400
    source.write_bytes(whole)
    report = index(tmp_path, source, batch_size=10)
    assert report.resumed == 0
    assert counts(report) == (400, 400 - before, before, 0)


def test_what_a_damaged_file_left_is_named_and_can_be_deleted(tmp_path):
    source = tmp_path / "a.csv.gz"
    plain = "asin,body\n" + "".join(f"B00,lamp number {n} is good\n" for n in range(200))
    good = gzip.compress(plain.encode())
    bad = bytearray(gzip.compress(plain.replace("lamp number 7 is good", "a rotten one").encode()))
    bad[-8:] = good[-8:]
    source.write_bytes(bad)
    with pytest.raises(DataError, match=r"starts anew.*may be wrong; --delete-missing"):
        index(tmp_path, source, batch_size=10)
    source.write_bytes(good)
    report = index(tmp_path, source, batch_size=10)
    assert report.resumed == 0
    assert len(stored(tmp_path)) == 201
    assert index(tmp_path, source, batch_size=10, delete_missing=True).counts.deleted == 1
    assert len(stored(tmp_path)) == 200


def test_a_date_without_a_day_is_found_by_date(tmp_path):
    dates = ["May 2012", "2013", "2012-05-03", "June 2014", ""]
    lines = "".join(f"r{n},B00,good,{each}\n" for n, each in enumerate(dates))
    (tmp_path / "a.csv").write_text(f"review_id,asin,body,date\n{lines}")
    index(tmp_path, tmp_path / "a.csv")
    with open_store(StoreSettings(path=str(tmp_path / "store"))) as store:
        for operator, value, wanted in (
            (">=", "2012-01-01", {"r0", "r1", "r2", "r3"}),
            ("<", "2012-05-03", {"r0"}),
            (">", "2013-06-01", {"r3"}),
            ("==", "2013-01-01", {"r1"}),
        ):
            filters = {"field": "meta.date", "operator": operator, "value": value}
            assert {each.id for each in store.filter_documents(filters)} == wanted


def test_a_checkpoint_is_void_if_the_store_is_another(tmp_path):
    rows = [*ROWS, ("b", "", "", "")]
    source = write(tmp_path / "a.csv", rows)
    for _ in range(2):
        with pytest.raises(TooManyRejectsError):
            index(tmp_path, source, max_rejects=0, batch_size=5, state=str(tmp_path / "state"))
        shutil.rmtree(tmp_path / "store")
    report = index(tmp_path, source, state=str(tmp_path / "state"))
    assert report.resumed == 0
    assert counts(report) == (6, 5, 0, 1)
    assert len(stored(tmp_path)) == 5


def test_a_damaged_checkpoint_costs_nothing_but_time(tmp_path, source):
    index(tmp_path, source)
    (state,) = (tmp_path / "store" / "jobs").glob("*.sqlite")
    state.write_bytes(b"no database at all" * 1000)
    assert read_checkpoints(state.parent) == {}
    assert counts(index(tmp_path, source)) == (5, 0, 5, 0)
    with sqlite3.connect(state) as db:
        db.execute("UPDATE progress SET checkpoint = '{}'")
    db.close()
    assert counts(index(tmp_path, source)) == (5, 0, 5, 0)


@pytest.mark.parametrize("rows", [20, 2_000])
@pytest.mark.parametrize("share", [0.3, 0.5, 0.8])
def test_a_checkpoint_that_is_damaged_in_its_middle_is_made_anew(tmp_path, rows, share):
    good = [(f"r{n}", "B00", f"text {n} is good", "1") for n in range(rows)]
    source = write(tmp_path / "a.csv", [*good, ("b", "", "", "")])
    for limit in (0, None):  # a run that has not ended, and one that has
        with nullcontext() if limit is None else pytest.raises(TooManyRejectsError):
            index(tmp_path, source, max_rejects=limit, batch_size=rows)
        (state,) = (tmp_path / "store" / "jobs").glob("*.sqlite")
        damaged = bytearray(state.read_bytes())
        at = int(len(damaged) * share) // 4096 * 4096
        damaged[at : at + 2_000] = b"\xa5" * 2_000
        state.write_bytes(damaged)
        assert counts(index(tmp_path, source)) == (rows + 1, 0, rows, 1)


def test_a_full_disk_a_folder_and_damage_have_remedies_of_their_own(tmp_path):
    with CheckpointFile(tmp_path, "full") as state:
        state.begin(Checkpoint("x"))
        (pages,) = state._db.execute("PRAGMA page_count").fetchone()
        state._db.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(JobError, match=r"is full.* Make room"):
            state.attempt({f"r{n}": "x" * 100 for n in range(1_000)})
    (tmp_path / "folder.sqlite").mkdir()
    with pytest.raises(JobError, match="A folder is in its place") as error:
        CheckpointFile(tmp_path, "folder")
    assert "Make room" not in str(error.value)
    with CheckpointFile(tmp_path, "damaged") as state:
        state.begin(Checkpoint("x"))
        state._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with state.path.open("r+b") as file:
            file.seek(4096)
            file.write(b"\xa5" * (state.path.stat().st_size - 4096))
        state._db.execute("PRAGMA shrink_memory")
        with pytest.raises(JobError, match=r"malformed.* Run the same command again"):
            state.attempt({"r": None})
    with CheckpointFile(tmp_path, "damaged") as state:
        assert state.load() is None


def test_a_state_folder_that_cannot_be_made(tmp_path, source):
    with pytest.raises(JobError, match="--state FOLDER"):
        index(tmp_path, source, state=str(source))


def test_a_job_runs_once_at_a_time(tmp_path, source):
    index(tmp_path, source)
    (state,) = (tmp_path / "store" / "jobs").glob("*.sqlite")
    with (
        CheckpointFile(state.parent, state.stem),
        pytest.raises(JobError, match="running already"),
    ):
        index(tmp_path, source)


def test_standard_input(tmp_path, source):
    def stdin():
        return io.BufferedReader(io.BytesIO(source.read_bytes()))

    assert counts(index(tmp_path, "-", stdin=stdin())) == (5, 5, 0, 0)
    assert counts(index(tmp_path, "-", stdin=stdin())) == (5, 0, 5, 0)


def test_several_sources_are_one_run(tmp_path, source):
    other = tmp_path / "b.jsonl"
    other.write_text('{"review_id": "r9", "item_id": "B09", "text": "From the other file."}\n')
    report = index(tmp_path, [source, other], delete_missing=True)
    assert counts(report) == (6, 6, 0, 0)
    assert index(tmp_path, [other, source], delete_missing=True).counts.deleted == 0


def test_documents_of_other_programs_are_not_missing(tmp_path):
    with open_store(StoreSettings(path=str(tmp_path / "store")), create=True) as store:
        store.write_documents([Document(id="other", content="By another program.")])
    source = write(tmp_path / "a.csv", ROWS)
    report = index(tmp_path, source, embed=False, delete_missing=True)
    assert report.counts.deleted == 0
    assert "other" in stored(tmp_path)
    write(source, ROWS[1:])
    report = index(tmp_path, source, embed=False, delete_missing=True)
    assert report.counts.deleted == 1
    assert {"other"} == set(stored(tmp_path)) - {row[0] for row in ROWS[1:]}


LONG = "One two three. Four five six seven. Eight nine. Ten eleven twelve thirteen fourteen."


def test_long_reviews_are_found_by_their_passages_and_kept_whole(tmp_path):
    source = write(tmp_path / "a.csv", [("r1", "B00", LONG, "5"), ROWS[1]])
    report = index(tmp_path, source, passages__max_words=None)
    assert report.counts.passages == 2
    keys = {"indexing__passages__max_words": 8, "indexing__passages__overlap_words": 3}
    report = index(tmp_path, source, **keys)
    assert counts(report) == (2, 1, 1, 0)
    assert report.counts.passages == 3
    found = stored(tmp_path)
    assert set(found) == {"r1", "r2"}
    content, meta = found["r1"]
    assert content == LONG
    assert (meta["review_id"], meta["item_id"], meta["stars"]) == ("r1", "B00", 5)
    assert not any(key.startswith("passage") for _, meta in found.values() for key in meta)
    with open_store(StoreSettings(path=str(tmp_path / "store"))) as store:
        for words in ("two three", "nine ten", "thirteen"):
            best = store.search_bm25(words, top_k=1)[0]
            part = best.content[best.meta["passage_start"] : best.meta["passage_end"]]
            assert (best.id, best.content) == ("r1", LONG)
            assert set(words.split()) <= set(part.lower().replace(".", "").split())
    assert counts(index(tmp_path, source, **keys)) == (2, 0, 2, 0)
    # Other settings cut elsewhere, even where the number of passages stays the same.
    keys["indexing__passages__overlap_words"] = 2
    assert counts(index(tmp_path, source, **keys)) == (2, 1, 1, 0)
    assert counts(index(tmp_path, source)) == (2, 1, 1, 0)
    assert set(stored(tmp_path)) == {"r1", "r2"}


def test_reviews_are_embedded_and_the_store_remembers_by_what(tmp_path, source, encoders):
    keys = {"embed": True, "encoder__model": encoders[0], "batch_size": 2}
    report = index(tmp_path, source, **keys)
    assert counts(report) == (5, 5, 0, 0)
    assert report.encoder.name == encoders[0]
    assert report.to_dict()["encoder"]["dimension"] == 4
    encoder = load_encoder(EncoderSettings(model=encoders[0]))
    with open_store(StoreSettings(path=str(tmp_path / "store"))) as store:
        assert store.encoder == encoder.identity
        for _, _, text, _ in ROWS:
            vector = encoder.encode_passages([text])[0]
            hit = next(
                each for each in store.search_by_embedding(vector, 5) if each.content == text
            )
            assert hit.score == pytest.approx(float(vector @ vector))
    assert counts(index(tmp_path, source, **keys)) == (5, 0, 5, 0)
    with pytest.raises(EncoderMismatchError, match="qa-index reembed"):
        index(tmp_path, source, embed=True, encoder__model=encoders[1])
    with pytest.raises(StoreMismatchError, match="--no-embed"):
        index(tmp_path, source)
    assert len(stored(tmp_path)) == 5


def test_reviews_without_embeddings_are_not_left_behind(tmp_path, source, encoders):
    index(tmp_path, source)
    with pytest.raises(StoreMismatchError, match="without embeddings"):
        index(tmp_path, source, embed=True, encoder__model=encoders[0])


def test_passages_longer_than_the_encoder_reads_are_counted(tmp_path, encoders):
    source = write(tmp_path / "a.csv", [("r1", "B00", LONG * 3, "5"), ROWS[1]])
    report = index(tmp_path, source, embed=True, encoder__model=encoders[0])
    assert report.counts.truncated == 1
    assert report.counts.passages == 2


def test_the_state_is_where_it_was_told_to_be(tmp_path, source):
    report = index(tmp_path, source, state=str(tmp_path / "elsewhere"))
    assert report.store == str(tmp_path / "store")
    assert list((tmp_path / "elsewhere").glob("reviews-csv-*.sqlite"))
    assert not (tmp_path / "store" / "jobs").exists()
    settings = load_settings(overrides={"store.path": "x"}, environ={})
    assert state_folder(settings) == Path("x/jobs")


@pytest.mark.parametrize(("passages", "warned"), [({"overlap_words": 5}, True), ({}, False)])
def test_an_overlap_of_nothing_is_warned_of(tmp_path, caplog, passages, warned):
    """The default, which configs/default.yaml writes out, is no reason for a warning."""
    usual = {"max_words": None, "overlap_words": 20}
    source = write(tmp_path / "a.csv", [("r1", "A", "Good.")], ("review_id", "item_id", "text"))
    index(tmp_path, source, passages={**usual, **passages})
    assert ("overlap_words has no effect" in caplog.text) == warned
