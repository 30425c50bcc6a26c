"""Where a store may be made: whatever a folder held before is there afterwards, byte for byte."""

import json
import os
import shutil
import signal
import sqlite3
from pathlib import Path

import pytest
from haystack.dataclasses import Document
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from indexing.cli import app
from qa_system.config import StoreSettings
from qa_system.errors import StoreError
from qa_system.records import Label
from qa_system.stores import open_store
from qa_system.stores.embedded.derived import ann
from qa_system.stores.embedded.layout import check_free
from qa_system.stores.embedded.ledger import database as ledger
from qa_system.stores.faiss import FAISSDocumentStore

DOCUMENT = Document(id="a", content="good battery", embedding=[1.0, 2.0])
LABEL = Label("q1", "How is the sound?", "B00", "r1", "Good sound.", ())


def tree(folder):
    """Return everything below a folder: bytes of files, targets of links, None for folders."""
    found = {}
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            path = Path(parent, name)
            if path.is_symlink():
                found[str(path)] = os.readlink(path)  # noqa: PTH115 - as it is, not as a Path
            else:
                found[str(path)] = None if path.is_dir() else path.read_bytes()
    return found


def fill(folder, files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name
        if content is None:
            path.mkdir(parents=True, exist_ok=True)
        else:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def write_documents(path):
    with FAISSDocumentStore(path) as store:
        store.write_documents([DOCUMENT])


def write_labels(path):
    with FAISSDocumentStore(path) as store:
        store.write_labels([LABEL])


def open_and_write(path):
    with open_store(StoreSettings(path=str(path)), create=True) as store:
        store.replace([DOCUMENT], [])


def use(path):
    """Write, search, verify and close, twice: everything that may write or sweep."""
    for _ in range(2):
        with FAISSDocumentStore(path) as store:
            store.delete_documents(["a"])
            store.write_documents([DOCUMENT])
            assert [hit.id for hit in store.search_bm25("battery")] == ["a"]
            assert [hit.id for hit in store.search_by_embedding([1.0, 0.0])] == ["a"]
            assert store.verify() == []


STRANGERS = {
    "notes": {"lexical/notes.txt": b"precious"},
    "a document": {"thesis.tex": b"\\documentclass"},
    "hidden": {".git/HEAD": b"ref: refs/heads/main"},
    "an empty folder": {"photos": None},
    "names of ours": {
        "writer.json": b'{"name": "Jane Austen"}',
        "lexical.json": b'{"run": "verb"}',
        "vectors-0.json": b"[[1, 2], [3, 4]]",
        "vectors-0-0.f32": b"mine",
        "ann.json": b'{"kind": "mine"}',
        "ann.faiss": b"mine",
        "jobs/cv.pdf": b"%PDF",
    },
    "a lexicon": {"lexical.json": b'{"run": "verb"}'},
    "an author": {"writer.json": b'{"name": "Jane Austen"}'},
    "a lock with words": {"writer.lock": b"do not lose the key"},
    "job applications": {"jobs/cv.pdf": b"%PDF"},
    "an index of one's own": {"lexical-0/meta.json": b"{}", "lexical-0/.managed.json": b"[]"},
    "a new database": {"store.sqlite3.new": b"stock: 7 lamps"},
    "a log": {"store.sqlite3-wal": b"what was written last"},
    "a folder of that name": {"store.sqlite3/stock.csv": b"lamp,7"},
    "no database": {"store.sqlite3": b"stock: 7 lamps"},
    "an empty database": {"store.sqlite3": b""},
}


@pytest.mark.parametrize("make", [write_documents, write_labels, open_and_write])
@pytest.mark.parametrize("name", STRANGERS)
def test_a_folder_that_holds_something_else_is_refused(tmp_path, name, make):
    folder = tmp_path / "mine"
    fill(folder, STRANGERS[name])
    before = tree(tmp_path)
    with pytest.raises(StoreError) as caught:
        make(folder)
    assert str(folder) in caught.value.where
    assert "ame another" in caught.value.remedy
    assert tree(tmp_path) == before


def test_a_database_of_another_program_is_left_alone(tmp_path):
    path = tmp_path / "store.sqlite3"
    connection = sqlite3.connect(path)
    connection.executescript("CREATE TABLE store (item TEXT); INSERT INTO store VALUES ('lamp')")
    connection.close()
    before = tree(tmp_path)
    for make in (write_documents, write_labels, open_and_write):
        with pytest.raises(StoreError):
            make(tmp_path)
    assert tree(tmp_path) == before


names = st.sampled_from(
    [
        *("notes.txt", "lexical", "lexical-0", "lexical-1", "lexical.json", "lexical.json.new"),
        *("vectors-0.json", "vectors-0-0.f32", "vectors-0-0.rows", "vectors-0-0 (copy).f32"),
        *("ann.json", "ann.faiss", "ann.faiss.new", "store.sqlite3.new", "store.sqlite3-wal"),
        *("store.sqlite3.new-wal", "writer.json", "writer.lock", "jobs", "meta.json", "Ünï.txt"),
    ]
)
contents = st.one_of(
    st.none(),
    st.binary(min_size=1, max_size=20),
    st.sampled_from([b"{}", b"[]", b'{"generation":1}', b'{"pid":1}', b"SQLite format"]),
)
folders = st.dictionaries(
    st.one_of(names, st.tuples(names, names).map("/".join)), contents, max_size=4
)


@settings(max_examples=60)
@given(folders)
def test_any_folder_is_refused_or_kept_as_it_was(tmp_path_factory, files):
    """Of whatever name: none of these is what a store leaves behind."""
    folder = tmp_path_factory.mktemp("place") / "mine"
    for name, content in sorted(files.items()):
        if not any(str(Path(name).parent) == other for other, held in files.items() if held):
            fill(folder, {name: content})
    before = tree(folder) if folder.exists() else {}
    try:
        check_free(folder)
    except StoreError:
        with pytest.raises(StoreError):
            write_documents(folder)
        assert tree(folder) == before
    else:
        use(folder)
        after = tree(folder)
        assert {path: after.get(path, "gone") for path in before} == before
        assert set(before.values()) <= {None}


def test_the_job_refuses_it_and_leaves_nothing_there(tmp_path):
    (tmp_path / "r.csv").write_text("review_id,item_id,text\nr1,B00,Good sound.\n")
    fill(tmp_path / "mine", {"lexical/notes.txt": b"precious"})
    before = tree(tmp_path)
    command = ["run", "--source", str(tmp_path / "r.csv"), "--store", str(tmp_path / "mine")]
    done = CliRunner().invoke(app, [*command, "--no-embed"])
    assert isinstance(done.exception, StoreError)
    for part in ("'lexical'", str(tmp_path / "mine"), "Name another folder"):
        assert part in str(done.exception)
    assert tree(tmp_path) == before


def test_state_and_rejects_may_be_put_into_a_new_store(tmp_path):
    (tmp_path / "r.csv").write_text("review_id,item_id,text\nr1,B00,\nr2,B00,Good sound.\n")
    store = tmp_path / "new"
    command = ["run", "--source", str(tmp_path / "r.csv"), "--store", str(store), "--no-embed"]
    places = ["--state", str(store / "state"), "--rejects", str(store / "rejects.jsonl")]
    for _ in range(2):
        done = CliRunner().invoke(app, [*command, *places])
        assert done.exit_code == 0, done.output
    with FAISSDocumentStore(store) as opened:
        assert opened.count_documents() == 1


# --- what a store has left does not stand in its way


def killed(work):
    """Run something in a child that kills itself."""
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


def kill(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("moment", ["before", "begun", "whole"])
def test_a_creation_that_was_killed(tmp_path, moment):
    path = tmp_path / "store"

    def work():
        lay_out = ledger._lay_out

        def lay_out_in_memory(connection, similarity):
            [(_, _, file)] = connection.execute("PRAGMA database_list")
            return kill() if file else lay_out(connection, similarity)

        if moment == "before":
            ledger.Ledger.create = kill
        elif moment == "begun":
            ledger._lay_out = lay_out_in_memory
        else:
            Path.replace = kill
        write_documents(path)

    killed(work)
    left = {each.name for each in path.iterdir()}
    assert {"writer.lock", "writer.json"} <= left
    assert ("store.sqlite3.new" in left) == (moment != "before")
    assert "store.sqlite3" not in left
    use(path)
    assert "store.sqlite3.new" not in {each.name for each in path.iterdir()}


def test_a_job_that_was_killed_before_its_first_write(tmp_path):
    """Its checkpoint is in the store's folder, and nothing else."""
    (tmp_path / "r.csv").write_text("review_id,item_id,text\nr1,B00,Good sound.\n")
    store = tmp_path / "store"
    command = ["run", "--source", str(tmp_path / "r.csv"), "--store", str(store), "--no-embed"]

    def work():
        ledger.Ledger.create = kill
        CliRunner().invoke(app, command)

    killed(work)
    assert list((store / "jobs").glob("*.sqlite"))
    assert not (store / "store.sqlite3").exists()
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    with FAISSDocumentStore(store) as opened:
        assert opened.count_documents() == 1


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_store_whose_ledger_was_deleted(tmp_path, monkeypatch, is_closed):
    """The derived files are ours by their stamps; a log with writes in it is left to its owner."""
    monkeypatch.setitem(ann.FEWEST, "hnsw", 2)
    path = tmp_path / "store"
    store = FAISSDocumentStore(path, index="hnsw")
    store.write_documents([Document(id=str(n), embedding=[n, 1.0]) for n in range(4)])
    if is_closed:
        store.close()
        assert (path / "ann.faiss").exists()
    else:
        store.search_bm25("x")
        shutil.copytree(path, tmp_path / "copy")
        store.close()
        path = tmp_path / "copy"
    (path / "store.sqlite3").unlink()
    if is_closed:
        use(path)
    else:
        before = tree(path)
        with pytest.raises(StoreError, match=r"store\.sqlite3-"):
            write_documents(path)
        assert tree(path) == before


# --- kinds of paths


@pytest.mark.parametrize("make", [write_documents, open_and_write])
def test_links(tmp_path, make):
    (tmp_path / "empty").mkdir()
    fill(tmp_path / "full", {"lexical/notes.txt": b"precious"})
    for name in ("empty", "full", "nowhere"):
        (tmp_path / f"to {name}").symlink_to(tmp_path / name)
    make(tmp_path / "to empty")
    assert (tmp_path / "to empty").is_symlink()
    assert (tmp_path / "empty" / "store.sqlite3").is_file()
    before = tree(tmp_path)
    with pytest.raises(StoreError, match="'lexical'"):
        make(tmp_path / "to full")
    with pytest.raises(StoreError, match="leads nowhere"):
        make(tmp_path / "to nowhere")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("name", ["writer.lock", "store.sqlite3", "lexical"])
def test_a_folder_that_holds_a_link(tmp_path, name):
    """What it leads to is not ours, even if it is empty."""
    fill(tmp_path, {"mine/notes": b"", "folder": None})
    (tmp_path / "folder" / name).symlink_to(tmp_path / "mine" / "notes")
    before = tree(tmp_path)
    with pytest.raises(StoreError):
        write_documents(tmp_path / "folder")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("make", [write_documents, open_and_write])
def test_a_file(tmp_path, make):
    (tmp_path / "file").write_text("mine")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="Name another folder"):
            make(path)
    assert tree(tmp_path) == {str(tmp_path / "file"): b"mine"}


def test_a_folder_without_permissions(tmp_path):
    """A superuser, whom permissions don't stop, becomes nobody."""
    folder = tmp_path / "closed"
    folder.mkdir(mode=0)
    for parent in (tmp_path, *tmp_path.parents):
        if "pytest-" in str(parent):
            parent.chmod(parent.stat().st_mode | 0o055)
    write_documents(tmp_path / "other")  # what is imported late, nobody may not read
    child = os.fork()
    if child == 0:
        code = 1
        try:
            if os.getuid() == 0:
                os.setuid(65534)
            code = 2
            for make in (write_documents, open_and_write):
                try:
                    make(folder)
                except StoreError as error:
                    code += "permissions" not in str(error)
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    folder.chmod(0o755)
    assert list(folder.iterdir()) == []


def test_links_and_folders_among_a_stores_files_are_not_swept(tmp_path):
    """A folder of an older epoch that a link leads to is somebody's."""
    path = tmp_path / "store"
    write_documents(path)
    shutil.copytree(path / "lexical-0", tmp_path / "backup")
    (path / "lexical-7").symlink_to(tmp_path / "backup")
    (path / "vectors-0-9.f32").mkdir()
    before = tree(tmp_path / "backup")
    (path / "lexical.json").unlink()
    (path / "vectors-0.json").unlink()
    use(path)
    assert tree(tmp_path / "backup") == before
    assert (path / "lexical-7").is_symlink()
    assert (path / "vectors-0-9.f32").is_dir()
    stamp = json.loads((path / "lexical.json").read_bytes())
    assert stamp["epoch"] == 8
