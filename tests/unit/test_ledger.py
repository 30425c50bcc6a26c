"""The ledger: generations, snapshots, and files that cannot be written."""

import os

import pytest
from haystack.dataclasses import Document

from qa_system.stores.documents import encode_documents
from qa_system.stores.embedded.ledger.database import Ledger
from qa_system.stores.embedded.ledger.state import Stored
from qa_system.stores.faiss import FAISSDocumentStore


def rows_of(*names):
    return encode_documents([Document(id=name, content=f"text {name}") for name in names])


@pytest.fixture
def ledger(tmp_path):
    ledger = Ledger(tmp_path, "cosine")
    ledger.create()
    yield ledger
    ledger.close()


def write(ledger, *names):
    with ledger.transaction() as transaction:
        transaction.insert(map(Stored, rows_of(*names)))


def test_every_write_is_a_generation(ledger):
    write(ledger, "a", "b")
    with ledger.transaction() as transaction:
        transaction.delete([1])
    with ledger.transaction():
        pass
    with ledger.snapshot() as snapshot:
        assert snapshot.state.generation == 2
        assert snapshot.state.similarity == "cosine"
        assert snapshot.rows().tolist() == [2]
        assert snapshot.tombstones(0).tolist() == [1]
        assert snapshot.tombstones(2).tolist() == []
        assert snapshot.last_row() == 2


def test_a_row_number_is_never_given_twice(ledger):
    write(ledger, "a", "b")
    with ledger.transaction() as transaction:
        transaction.delete([2])
    write(ledger, "b")
    with ledger.transaction() as transaction:
        transaction.clear()
    write(ledger, "c")
    with ledger.snapshot() as snapshot:
        assert snapshot.rows().tolist() == [4]
        assert snapshot.state.history == 4


def test_a_snapshot_does_not_move(ledger):
    write(ledger, "a")
    with ledger.snapshot() as before:
        write(ledger, "b")
        assert before.rows().tolist() == [1]
        with ledger.snapshot() as after:
            assert after.rows().tolist() == [1, 2]
        assert before.count() == 1


def test_a_failed_write_leaves_nothing(ledger):
    write(ledger, "a")
    with pytest.raises(TypeError), ledger.transaction() as transaction:
        transaction.insert(Stored(row, None, 1 // 2) for row in rows_of("b"))
    with ledger.snapshot() as snapshot:
        assert (snapshot.count(), snapshot.state.generation) == (1, 1)


def test_a_ledger_that_is_not_there_reads_as_empty(tmp_path):
    ledger = Ledger(tmp_path / "nowhere", "l2")
    with ledger.snapshot() as snapshot:
        assert (snapshot.count(), snapshot.state.similarity) == (0, "l2")
    assert not ledger.exists()


def test_a_read_only_store_answers_and_refuses_writes(tmp_path):
    """As on a read-only volume; a superuser, whom permissions don't stop, becomes nobody."""
    path = tmp_path / "store"
    with FAISSDocumentStore(path) as store:
        store.write_documents([Document(id="a", content="good battery", embedding=[1.0, 2.0])])
        store.search_bm25("battery")  # and all that is imported late, which nobody may not read
        assert store.search_by_embedding([1.0, 0.0])
    for each in [path, *path.rglob("*")]:
        each.chmod(0o555 if each.is_dir() else 0o444)
    for folder in (tmp_path, *tmp_path.parents):
        if "pytest-" in str(folder):
            folder.chmod(folder.stat().st_mode | 0o055)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            code = 2 + _read_only_errors(path)
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    for each in [path, path / "lexical-0"]:
        each.chmod(0o755)
    assert os.waitstatus_to_exitcode(status) == 2


def _read_only_errors(path):
    from qa_system.errors import StoreError

    store = FAISSDocumentStore(path)
    errors = store.count_documents() != 1
    errors += [hit.id for hit in store.search_bm25("batteries")] != ["a"]
    errors += [hit.id for hit in store.search_by_embedding([1.0, 0.0])] != ["a"]
    errors += store.verify() != []
    try:
        store.delete_documents(["a"])
        errors += 1
    except StoreError as error:
        errors += "permissions" not in str(error)
    return errors
