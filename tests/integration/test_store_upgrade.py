"""A store made by version 0.1.0: read as it is, upgraded by a write, whole at any kill."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest
from haystack.dataclasses import Document

from indexing.job import run_job
from qa_system.config import StoreSettings, load_settings
from qa_system.stores import open_store

FIXTURES = Path(__file__).parent.parent / "fixtures" / "v0_1_0"
ROWS = [json.loads(line) for line in (FIXTURES / "reviews.jsonl").read_text().splitlines()]
TEXTS = {row["review_id"]: row["text"] for row in ROWS}
LONG = [row["review_id"] for row in ROWS if len(row["text"].split()) > 12]


@pytest.fixture
def old(tmp_path):
    with tarfile.open(FIXTURES / "store.tar.gz") as tar:
        tar.extractall(tmp_path, filter="data")
    return tmp_path / "store"


def contents(path):
    with open_store(StoreSettings(path=str(path))) as store:
        return {document.id: document for document in store.filter_documents()}


def write_one(path):
    with open_store(StoreSettings(path=str(path))) as store:
        vector = [1.0] + [0.0] * 383
        store.write_documents([Document(id="new", content="New.", embedding=vector)])


def test_it_is_read_as_it_is(old):
    before = {path: path.read_bytes() for path in old.rglob("*") if path.is_file()}
    old.chmod(0o500)
    try:
        with open_store(StoreSettings(path=str(old))) as store:
            assert store.verify() == []
            assert store.count_documents() == 47
            best = store.search_bm25("Does the strap break?", top_k=1)[0]
            assert (best.meta["review_id"], "strap" in best.content) == ("long-1", True)
            near = store.search_by_embedding([0.0] * 383 + [1.0], top_k=1)[0]
            assert near.id == "kinds"
            assert [label.question_id for label in store.get_labels_aggregated()] == ["q1", "q2"]
    finally:
        old.chmod(0o700)
    after = {path: path.read_bytes() for path in before}
    assert after == before


def test_the_first_write_makes_reviews_whole(old, caplog):
    caplog.set_level("INFO")
    before = contents(old)
    write_one(old)
    after = contents(old)
    assert set(after) == {*TEXTS, "kinds", "new"}
    known = {name: text for name, text in TEXTS.items() if name != "victim"}
    assert {name: after[name].content for name in known} == known
    # Version 0.1.0 had let another review take the place of its first passage.
    lost = after["victim"].content
    assert len(lost.rstrip()) == len(TEXTS["victim"].rstrip())
    assert all(mine in (" ", theirs) for mine, theirs in zip(lost, TEXTS["victim"], strict=False))
    assert after["kinds"] == before["kinds"]
    own = {"content_hash", "passage_start"}
    for name in LONG:
        theirs = before[f"{name}#1"].meta
        kept = {key: value for key, value in after[name].meta.items() if key not in own}
        assert kept == {key: value for key, value in theirs.items() if key not in own}
    assert "4 reviews that were kept as passages are whole again" in caplog.text
    assert "of 1 reviews not every character was kept" in caplog.text


def test_what_was_embedded_is_found_by_the_same_vectors(old):
    before = [each for each in contents(old).values() if each.embedding is not None]
    write_one(old)
    with open_store(StoreSettings(path=str(old))) as store:
        assert store.verify() == []
        assert store.status().embedded == store.count_documents()
        for each in before:
            hit = store.search_by_embedding(each.embedding, top_k=1)[0]
            assert hit.score == pytest.approx(1.0, abs=1e-5)
            if "passage_start" in each.meta:
                start, end = hit.meta["passage_start"], hit.meta["passage_end"]
                assert hit.content[start:end] == each.content or hit.meta["review_id"] == "victim"
        assert [label.question_id for label in store.get_labels_aggregated()] == ["q1", "q2"]


def test_the_next_job_writes_only_what_was_not_known(old, tmp_path):
    source = tmp_path / "rows.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    over = {
        "store.path": str(old),
        "indexing.sources": [str(source)],
        "indexing.passages.max_words": 12,
        "indexing.passages.overlap_words": 3,
    }
    write_one(old)
    counts = run_job(load_settings(None, over, environ={})).counts
    assert (counts.updated, counts.unchanged) == (1, len(ROWS) - 1)
    assert {name: contents(old)[name].content for name in TEXTS} == TEXTS


UPGRADE = """
import sys
from haystack.dataclasses import Document
from qa_system.stores import joining, open_store
from qa_system.stores.embedded.ledger import upgrade
from qa_system.config import StoreSettings
print("ready", flush=True)
slow, join = float(sys.argv[2]), joining.join
def slowly(passages):
    import time
    time.sleep(slow)
    return join(passages)
upgrade.join = slowly
with open_store(StoreSettings(path=sys.argv[1])) as store:
    store.write_documents([Document(id="new", content="New.", embedding=[1.0] + [0.0] * 383)])
    print("written", flush=True)
"""


@pytest.mark.slow
def test_killed_at_any_moment_it_is_of_the_old_format_or_the_new(old, tmp_path, root):
    moments = random.Random(3)
    whole = tmp_path / "whole"
    shutil.copytree(old, whole)
    write_one(whole)
    expected, before = contents(whole), contents(old)
    for turn in range(6):
        path = tmp_path / f"turn{turn}"
        shutil.copytree(old, path)
        child = subprocess.Popen(
            [sys.executable, "-c", UPGRADE, str(path), "0.05"],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        assert child.stdout.readline() == "ready\n"
        time.sleep(moments.uniform(0.0, 0.35))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
        found = contents(path)
        assert found in (before, expected, {k: v for k, v in expected.items() if k != "new"})
        if "new" not in found:
            write_one(path)
        assert contents(path) == expected
        with open_store(StoreSettings(path=str(path))) as store:
            assert store.verify() == []


def test_a_document_of_the_reviews_own_name_stays(tmp_path, old):
    """Another program may have written it: nothing is joined over it, and nothing is lost."""
    import sqlite3

    with sqlite3.connect(old / "store.sqlite3") as ledger:
        ledger.execute("UPDATE documents SET id = 'long-1' WHERE id = 'short-0'")
    before = contents(old)
    write_one(old)
    after = contents(old)
    assert after["long-1"] == before["long-1"]
    assert {name for name in before if name.startswith("long-1")} == {
        name for name in after if name.startswith("long-1")
    }


def test_ids_that_look_like_passages_are_as_good_as_any(tmp_path):
    text = "The strap broke after a week. " * 10
    rows = {
        "a": {"review_id": "r1", "item_id": "A", "text": text},
        "b": {"review_id": "r1#0", "item_id": "B", "text": "Another customer."},
    }
    for order in ("ab", "ba"):
        for name in order:
            source = tmp_path / f"{name}.jsonl"
            source.write_text(json.dumps(rows[name]))
            over = {
                "store.path": str(tmp_path / order),
                "indexing.sources": [str(source)],
                "indexing.passages.max_words": 20,
                "indexing.passages.overlap_words": 5,
            }
            run_job(load_settings(None, over, environ={}))
        found = contents(tmp_path / order)
        assert {name: document.content for name, document in found.items()} == {
            "r1": text,
            "r1#0": "Another customer.",
        }
