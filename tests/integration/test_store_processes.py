"""One writer and many readers, over processes and threads."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy

from qa_system.errors import StoreLockedError
from qa_system.stores.embedded.derived.vectors import VectorFiles
from qa_system.stores.faiss import FAISSDocumentStore
from store_operations import Encoder

WORKER = Path(__file__).with_name("store_worker.py")


class Worker:
    """A process of `store_worker.py` that runs one action."""

    def __init__(self, root, path, action, seed=0):
        self.process = subprocess.Popen(
            [sys.executable, str(WORKER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root)},
        )
        assert self.hear() == {"ready": True}
        command = {"path": str(path), "action": action, "seed": seed}
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        self.child = self.hear()["pid"]

    def hear(self):
        return json.loads(self.process.stdout.readline())

    def go_on(self):
        """Take what it says, so that it never waits to be heard."""
        threading.Thread(target=self.process.stdout.read, daemon=True).start()

    def kill(self):
        os.kill(self.child, signal.SIGKILL)

    def close(self):
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


@pytest.fixture
def start(root):
    workers = []

    def start(*arguments):
        workers.append(Worker(root, *arguments))
        return workers[-1]

    yield start
    for worker in workers:
        worker.close()


def review(name, text="the battery lasts long"):
    return Document(id=name, content=text, meta={"item_id": "B00"}, embedding=[0.5] * 8)


@pytest.mark.slow
def test_a_second_writer_is_told_who_the_first_is(start, tmp_path):
    holder = start(tmp_path, "hold")
    assert holder.hear() == {"done": "hold"}
    with FAISSDocumentStore(tmp_path) as store:
        assert store.count_documents() == 1
        with pytest.raises(StoreLockedError, match=rf"process {holder.child} on .* since 20"):
            store.write_documents([review("mine")])
        assert len(store.search_bm25("review")) == 1
        holder.kill()
        assert holder.hear() == {"ended": True}
        assert store.write_documents([review("mine")]) == 1
        assert store.verify() == []


def test_a_second_store_in_the_same_process_is_a_second_writer(tmp_path):
    with FAISSDocumentStore(tmp_path) as first, FAISSDocumentStore(tmp_path) as second:
        first.write_documents([review("a")])
        with pytest.raises(StoreLockedError, match=f"process {os.getpid()} on"):
            second.write_documents([review("b")])
        assert [hit.id for hit in second.search_bm25("battery")] == ["a"]
        first.close()
        second.write_documents([review("b")])
        assert {hit.id for hit in first.search_bm25("battery")} == {"a", "b"}


def test_a_reader_sees_each_generation_on_its_next_query(tmp_path):
    with FAISSDocumentStore(tmp_path) as writer, FAISSDocumentStore(tmp_path) as reader:
        assert reader.search_bm25("battery") == []
        for count in range(1, 6):
            writer.write_documents([review(str(count))])
            assert len(reader.search_bm25("battery")) == count
            assert len(reader.search_by_embedding([1.0] * 8)) == count
        writer.delete_documents(["2"])
        assert {hit.id for hit in reader.search_bm25("battery")} == {"1", "3", "4", "5"}
        assert {hit.id for hit in reader.search_by_embedding([1.0] * 8)} == {"1", "3", "4", "5"}
        assert reader.verify() == []


@pytest.mark.slow
def test_readers_go_on_while_another_process_writes(start, tmp_path):
    with FAISSDocumentStore(tmp_path) as store:
        store.write_documents([review("first", "a review")])
    reader = start(tmp_path, "read")
    writer = start(tmp_path, "write")
    writer.go_on()
    until = time.monotonic() + 4
    seen = []
    while time.monotonic() < until:
        message = reader.hear()
        assert "error" not in message, message
        seen.append(message)
    writer.kill()
    reader.kill()
    for column in ("count", "dense"):
        counts = [message[column] for message in seen]
        assert counts == sorted(counts)
        assert counts[-1] > counts[0]


@pytest.mark.slow
def test_threads_share_a_store(tmp_path):
    with FAISSDocumentStore(tmp_path) as store:
        store.write_documents([review(f"kept{n}") for n in range(50)])
        errors, done = [], threading.Event()

        def ask():
            try:
                while not done.is_set():
                    assert len(store.search_bm25("battery", top_k=20)) == 20
                    assert len(store.search_by_embedding([1.0] * 8, top_k=20)) == 20
                    only = {"field": "id", "operator": "==", "value": "kept7"}
                    assert [hit.id for hit in store.search_bm25("x", filters=only)] == ["kept7"]
            except Exception as error:  # noqa: BLE001 - told below
                errors.append(error)

        def write(name):
            try:
                for turn in range(15):
                    batch = [review(f"{name}{turn}-{n}") for n in range(20)]
                    store.write_documents(batch)
                    again = [review(document.id, "other words") for document in batch[:10]]
                    store.write_documents(again, DuplicatePolicy.OVERWRITE)
                    store.delete_documents([document.id for document in batch[5:15]])
            except Exception as error:  # noqa: BLE001 - told below
                errors.append(error)

        readers = [threading.Thread(target=ask) for _ in range(3)]
        writers = [threading.Thread(target=write, args=(name,)) for name in "ab"]
        for thread in readers + writers:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        for thread in readers:
            thread.join()
        assert errors == []
        assert store.count_documents() == 50 + 2 * 15 * 10
        assert store.verify() == []


@pytest.mark.parametrize("turn", range(5))
def test_a_forked_child_reads_and_does_not_hold_the_lock(tmp_path, turn):
    """Even if it is forked while another thread commits to the lexical index."""
    with FAISSDocumentStore(tmp_path) as store:
        store.write_documents([review("a")])
        time.sleep(turn * 0.005)
        child = os.fork()
        if child == 0:
            code = 1
            try:
                assert store.count_documents() == 1
                assert len(store.search_by_embedding([1.0] * 8)) == 1
                assert len(store.search_bm25("battery")) == 1
                try:
                    store.write_documents([review("b")])
                except StoreLockedError:
                    code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
        assert store.write_documents([review("b")]) == 1
        assert store.verify() == []


def test_vectors_of_a_reembedding_are_written_while_nothing_follows(tmp_path, monkeypatch):
    """What follows an older generation would remove them."""
    waited = []
    with FAISSDocumentStore(tmp_path) as store:
        store.write_documents([review("a")])
        write_space = VectorFiles.write_space

        def write_and_follow(vectors, snapshot, space, dimension):
            follower = threading.Thread(target=store._folder.settle)
            follower.start()
            follower.join(0.2)
            waited.append(follower.is_alive())
            write_space(vectors, snapshot, space, dimension)

        monkeypatch.setattr(VectorFiles, "write_space", write_and_follow)
        store.update_embeddings(Encoder("another", 4))
        monkeypatch.undo()
        assert len(store.search_by_embedding([1.0] * 4)) == 1
        assert store.verify() == []
    assert waited
    assert all(waited)
