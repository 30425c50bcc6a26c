"""Kill a writer, sixty times: what was acknowledged is there, once, and every index agrees."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tantivy
from haystack.dataclasses import Document

from qa_system.stores.analysis import ANALYZER
from qa_system.stores.faiss import FAISSDocumentStore
from store_health import assert_healed, restamp_lexical

WORKER = Path(__file__).with_name("store_worker.py")


@pytest.fixture(scope="module")
def worker(root):
    process = subprocess.Popen(
        [sys.executable, str(WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert json.loads(process.stdout.readline()) == {"ready": True}
    yield process
    process.stdin.close()
    process.wait(timeout=30)


def run_and_kill(worker, path, action, seed, known, seconds):
    """Run a writer, kill it, and give the messages that it had sent."""
    command = {"path": str(path), "action": action, "seed": seed, "known": known}
    worker.stdin.write(json.dumps(command) + "\n")
    worker.stdin.flush()
    child = json.loads(worker.stdout.readline())["pid"]
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    messages = []
    while True:
        message = json.loads(worker.stdout.readline())
        if "ended" in message:
            return messages
        messages.append(message)


class Model:
    """What must be in the store: document id -> version."""

    def __init__(self):
        self.versions = {}
        self.open_intent = None

    def follow(self, messages):
        assert not [message for message in messages if "error" in message], messages
        self.open_intent = None
        for message in messages:
            if "intent" in message:
                self.open_intent = message
            else:
                self.versions = self.after(self.open_intent)
                self.open_intent = None
        return len(messages)

    def after(self, intent):
        if intent["intent"] == "write":
            return {**self.versions, **dict.fromkeys(intent["names"], intent["version"])}
        if intent["intent"] == "delete":
            gone = set(intent["names"])
            return {name: v for name, v in self.versions.items() if name not in gone}
        return self.versions

    def settle(self, found):
        """Accept the write that was cut short if it is there wholly, or not at all."""
        if found != self.versions and self.open_intent is not None:
            self.versions = self.after(self.open_intent)
        assert found == self.versions


def check(path, model, seed):
    with FAISSDocumentStore(path) as store:
        documents = store.filter_documents()
        found = {document.id: document.meta["version"] for document in documents}
        assert len(found) == len(documents) == store.count_documents()
        model.settle(found)
        assert store.verify() == []
        if not found:
            return
        name = random.Random(seed).choice(sorted(found))
        best = store.search_bm25(f"unique{name} version{found[name]}", top_k=3)[0]
        assert (best.id, best.meta["version"]) == (name, found[name])
        item = {"field": "meta.item_id", "operator": "==", "value": best.meta["item_id"]}
        matching = sum(document.meta["item_id"] == best.meta["item_id"] for document in documents)
        dimension = store.status().embedding_dim
        near = store.search_by_embedding([1.0] * dimension, top_k=10, filters=item)
        assert len(near) == min(10, matching)


def check_healing(path, model, fresh_path, seed):
    """Ask for documents by their own words, and for one that was never there."""
    draw = random.Random(seed)
    names = [*sorted(model.versions), "never"]
    questions = [
        " ".join(f"unique{name}" for name in draw.choices(names, k=draw.randint(1, 10)))
        for _ in range(50)
    ]
    with FAISSDocumentStore(path) as store:
        vectors = np.random.default_rng(seed).standard_normal((50, store.status().embedding_dim))
        assert_healed(store, fresh_path, questions, vectors.astype("f4"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("first", "action", "rounds"),
    [("write", "write", 25), ("write", "change", 25), ("write", "embed", 12)],
)
def test_a_killed_writer_loses_nothing(worker, tmp_path, first, action, rounds):
    moments = random.Random(f"{first} {action}")
    path, model, done = tmp_path / "store", Model(), 0
    for turn in range(rounds):
        known = sorted(model.versions)
        chosen = first if turn == 0 or not known else action
        # Mostly in the midst of the writing, sometimes while the store is being made or opened.
        seconds = moments.choice([0.02, 0.1, 0.3, 0.5]) * moments.uniform(0.5, 1.0)
        if turn == 0:
            seconds = 0.5
        done += model.follow(run_and_kill(worker, path, chosen, turn, known, seconds))
        check(path, model, turn)
        if turn in (rounds // 2, rounds - 1):
            check_healing(path, model, tmp_path / f"fresh{turn}", turn)
    assert done > rounds


@pytest.mark.slow
def test_a_store_killed_while_it_is_made_can_be_made_again(worker, tmp_path):
    moments = random.Random(5)
    for turn in range(8):
        path, model = tmp_path / f"store{turn}", Model()
        messages = run_and_kill(worker, path, "write", turn, [], moments.uniform(0.0, 0.03))
        model.follow(messages)
        check(path, model, turn)


def test_a_lexical_index_with_documents_that_are_no_more_is_built_anew(tmp_path, caplog):
    """As a kill was seen to leave one: of the right generation, some deletions missing."""
    with FAISSDocumentStore(tmp_path) as store:
        store.write_documents([Document(id="a", content="a lamp", embedding=[1.0])])
    index = tantivy.Index.open(str(tmp_path / "lexical-0"))
    plain = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).build()
    index.register_tokenizer(ANALYZER, plain)
    writer = index.writer(64_000_000, 1)
    ghost = tantivy.Document()
    ghost.add_unsigned("row", 99)
    writer.add_document(ghost)
    opstamp = writer.commit()
    writer.wait_merging_threads()
    restamp_lexical(tmp_path, opstamp)
    with FAISSDocumentStore(tmp_path) as store:
        store.write_documents([Document(id="b", content="a chair", embedding=[1.0])])
        assert store.verify() == []
        assert [found.id for found in store.search_bm25("chair", top_k=5)] == ["b"]
    assert "is not what its stamp says" in caplog.text
