"""Who may read and write a store's files, by what the file system says of them."""

import grp
import json
import os
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from typer.testing import CliRunner

from indexing.checkpoint import Checkpoint, CheckpointFile
from indexing.cli import app
from qa_system.config import Settings, StoreSettings, load_settings
from qa_system.doctor import examine
from qa_system.errors import StoreError
from qa_system.stores.embedded.derived import ann
from qa_system.stores.faiss import FAISSDocumentStore

OVERWRITE = DuplicatePolicy.OVERWRITE
VECTORS = np.random.default_rng(1).standard_normal((80, 4)).astype("f4")


def documents(start, end):
    return [
        Document(id=str(n), content=f"word{n} review", embedding=VECTORS[n].tolist())
        for n in range(start, end)
    ]


def modes(folder):
    """Return the mode of the folder and of everything in it."""
    paths = [folder, *folder.rglob("*")]
    return {path.relative_to(folder): stat.S_IMODE(path.stat().st_mode) for path in paths}


def expected(folder, *, file, directory):
    return {
        path.relative_to(folder): directory if path.is_dir() else file
        for path in [folder, *folder.rglob("*")]
    }


@pytest.fixture(params=[0o022, 0o000, 0o077], ids=oct)
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def fill(path, monkeypatch, **options):
    """Write, search and delete; look at the files while the store is open, then when it is not."""
    monkeypatch.setitem(ann.FEWEST, "hnsw", 10)
    store = FAISSDocumentStore(path, index="hnsw", **options)
    for start in range(0, 80, 20):
        store.write_documents(documents(start, start + 20))
        assert store.search_bm25("review")
    store.delete_documents(["3"])
    assert store.search_bm25("review")
    yield store
    store.close()
    yield store


EVERY = {"store.sqlite3", "writer.lock", "lexical.json", "vectors-0.json", "vectors-0-0.f32"}
OPEN = {*EVERY, "store.sqlite3-wal", "store.sqlite3-shm", "writer.json"}
CLOSED = {*EVERY, "ann.faiss", "ann.json"}


def test_a_store_is_its_owners_alone(tmp_path, monkeypatch, umask):
    path = tmp_path / "store"
    for _, names in zip(fill(path, monkeypatch), (OPEN, CLOSED), strict=True):
        found = modes(path)
        assert names <= {str(each) for each in found}
        segments = {each for each in found if each.parent.name == "lexical-0"}
        assert segments
        # What tantivy writes on its own threads is behind the folder's mode until it is told.
        outer = {each: mode for each, mode in found.items() if each not in segments}
        wanted = expected(path, file=0o600, directory=0o700)
        assert outer == {each: wanted[each] for each in outer}
    assert modes(path) == wanted


def test_a_store_that_is_shared_with_a_group(tmp_path, monkeypatch, umask):
    group = grp.getgrall()[3]
    path = tmp_path / "store"
    for _ in fill(path, monkeypatch, group=group.gr_name):
        found = {each: mode for each, mode in modes(path).items() if len(each.parts) < 2}
        wanted = expected(path, file=0o660, directory=0o2770)
        assert found == {each: wanted[each] for each in found}
    assert modes(path) == wanted
    assert {each.stat().st_gid for each in [path, *path.rglob("*")]} == {group.gr_gid}


@pytest.fixture
def public_folder():
    """A folder that everybody may write: pytest's own are closed to others."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def as_user(user, group, umask, work):
    """Return what some work comes to in a child that is another user."""
    receiver, sender = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([group])
            os.setgid(user)
            os.setuid(user)
            os.umask(umask)
            result = work()
        except BaseException as error:  # noqa: BLE001 - it is the parent's to judge
            result = repr(error)
        os.write(sender, json.dumps(result).encode())
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver) as file:
        result = json.load(file)
    os.waitpid(child, 0)
    return result


@pytest.mark.skipif(os.getuid() != 0, reason="only a superuser can become two other users")
def test_two_users_of_a_group_write_and_read_the_same_store(tmp_path, public_folder):
    group = grp.getgrall()[3]
    path = public_folder / "store"
    with FAISSDocumentStore(tmp_path) as store:  # what is imported late, they may not read
        store.write_documents(documents(0, 2))
        assert store.search_bm25("review")
        assert store.search_by_embedding(VECTORS[0].tolist())
        assert store.verify() == []

    def use(number):
        with FAISSDocumentStore(path, group=group.gr_name) as store:
            store.write_documents(documents(number, number + 1))
            return [sorted(hit.id for hit in store.search_bm25("review")), store.verify()]

    def read():
        with FAISSDocumentStore(path) as store:
            return len(store.search_bm25("review"))

    assert as_user(20_001, group.gr_gid, 0o022, lambda: use(0)) == [["0"], []]
    assert as_user(20_002, group.gr_gid, 0o077, lambda: use(1)) == [["0", "1"], []]
    assert as_user(20_001, group.gr_gid, 0o022, lambda: use(2)) == [["0", "1", "2"], []]
    assert as_user(20_002, group.gr_gid, 0o022, read) == 3
    told = as_user(20_003, 20_003, 0o022, read)
    assert "you may not use the store's folder" in told
    assert "store.group" in told


def test_a_store_that_is_there_keeps_its_modes(tmp_path, monkeypatch, caplog):
    path = tmp_path / "store"
    for _ in fill(path, monkeypatch):
        pass
    for each in [path, *path.rglob("*")]:
        each.chmod(0o755 if each.is_dir() else 0o644)
    with FAISSDocumentStore(path, group=grp.getgrall()[3].gr_name) as store:
        for _ in range(2):
            store.write_documents([Document(id="new", content="a new review")], OVERWRITE)
        assert store.verify() == []
    assert modes(path) == expected(path, file=0o644, directory=0o755)
    assert caplog.text.count("was not made for the group") == 1


def test_a_store_of_the_group_is_not_remarked_on(tmp_path, caplog):
    for number in range(2):
        with FAISSDocumentStore(tmp_path / "store", group=grp.getgrall()[3].gr_name) as store:
            store.write_documents(documents(number, number + 1))
            store.write_documents(documents(number + 5, number + 6))
    assert "group" not in caplog.text


def test_a_job_that_changes_nothing_remarks_on_the_group_as_well(tmp_path, caplog):
    (tmp_path / "r.csv").write_text("review_id,item_id,text\nr2,B00,Good sound.\n")
    command = ["run", "--source", tmp_path / "r.csv", "--store", tmp_path / "store", "--no-embed"]
    run(*command)
    run(*command, "--set", f"store.group={grp.getgrall()[3].gr_name}")
    assert "was not made for the group" in caplog.text
    with pytest.raises(StoreError, match="groupadd"):
        CliRunner().invoke(
            app, [*map(str, command), "--set", "store.group=nosuch"], catch_exceptions=False
        )


def test_a_group_that_is_not_there(tmp_path):
    with FAISSDocumentStore(tmp_path / "there") as store:
        store.write_documents(documents(0, 1))
    there = FAISSDocumentStore(tmp_path / "there", group="no such group")
    with pytest.raises(StoreError, match="groupadd"):
        there.write_documents(documents(1, 2))
    store = FAISSDocumentStore(tmp_path / "store", group="no such group")
    with pytest.raises(StoreError, match="groupadd"):
        store.write_documents(documents(0, 1))
    assert [each.name for each in tmp_path.iterdir()] == ["there"]


def test_a_job_makes_a_private_store(tmp_path):
    (tmp_path / "r.csv").write_text("review_id,item_id,text\nr1,B00,\nr2,B00,Good sound.\n")
    path = tmp_path / "store"
    command = ["run", "--source", str(tmp_path / "r.csv"), "--store", str(path), "--no-embed"]
    assert CliRunner().invoke(app, command).exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE((path / "jobs").stat().st_mode) == 0o700
    assert stat.S_IMODE((path / "store.sqlite3").stat().st_mode) == 0o600


def run(*arguments):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output
    return result


@pytest.mark.parametrize("elsewhere", [False, True])
def test_what_a_job_keeps_outside_a_store_is_private(tmp_path, umask, elsewhere):
    """Such as a server's jobs do, in a folder below the working one."""
    source, state, rejects = tmp_path / "r.csv", tmp_path / "state" / "es-9200-x", tmp_path / "r.j"
    source.write_text("review_id,item_id,text\nr1,B00,\nr2,B00,Good sound.\n")
    command = ["run", "--source", source, "--store", tmp_path / "store", "--no-embed"]
    command += ["--state", state, *(["--rejects", rejects] if elsewhere else [])]
    run(*command)
    assert modes(state) == expected(state, file=0o600, directory=0o700)
    assert {each.suffix for each in state.iterdir()} >= {".sqlite"}
    written = rejects if elsewhere else next(state.glob("*.rejects.jsonl"))
    assert stat.S_IMODE(written.stat().st_mode) == 0o600
    written.chmod(0o644)
    run(*command)
    assert "missing text" in written.read_text()
    assert stat.S_IMODE(written.stat().st_mode) == 0o644


def test_a_running_job_lets_the_group_see_how_far_it_is(tmp_path, umask):
    group = grp.getgrall()[3]
    path = tmp_path / "store"
    with FAISSDocumentStore(path, group=group.gr_name) as store:
        store.write_documents(documents(0, 1))
    with CheckpointFile(path / "jobs", "reviews-12345678") as state:
        state.begin(Checkpoint("fingerprint"))
        assert modes(path / "jobs") == expected(path / "jobs", file=0o660, directory=0o2770)
        assert {each.stat().st_gid for each in (path / "jobs").iterdir()} == {group.gr_gid}


def findings(path, **options):
    settings = Settings(store=StoreSettings(path=str(path), **options))
    return {finding.name: finding for finding in examine(settings)}


def test_doctor_tells_of_access_and_of_strangers(tmp_path):
    path = tmp_path / "store"
    with FAISSDocumentStore(path) as store:
        store.write_documents(documents(0, 3))
    found = findings(path)
    assert found["store access"].ok
    assert "store files" not in found
    assert (
        "not made for the group"
        in findings(path, group=grp.getgrall()[3].gr_name)["store access"].detail
    )
    (path / "store.sqlite3").chmod(0o644)
    for name in ("vectors-0-0 (copy).f32", "lexical-0/notes.txt", "vectors-0-00.rows"):
        (path / name).write_text("mine")
    found = findings(path)
    assert found["store access"].remedy == f"chmod -R go= {path}"
    for name in ("vectors-0-0 (copy).f32", "lexical-0/notes.txt", "vectors-0-00.rows"):
        assert name in found["store files"].detail
    assert "lexical.json" not in found["store files"].detail
    with FAISSDocumentStore(path) as store:
        assert store.verify() == []


def test_doctor_misses_a_store_that_somebody_names(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert findings(tmp_path / "nowhere")["store"].required
    [default] = [each for each in examine(load_settings()) if each.name == "store"]
    assert (default.ok, default.required) == (False, False)
