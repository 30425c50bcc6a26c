"""Whatever happens to a derived file, the store follows the next write and answers as a fresh one.

Damage is done by hand, as a kill, a full disk or a careless copy leaves it; the ledger is whole.
"""

import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tantivy
from haystack.dataclasses import Document

from qa_system.stores.embedded import folder
from qa_system.stores.embedded.derived import ann, lexical_index
from qa_system.stores.embedded.derived.lexical import (
    DamagedIndexError,
    LexicalView,
    reporting_damage,
)
from qa_system.stores.embedded.derived.vectors import VectorFiles
from qa_system.stores.embedded.folder import StoreFolder
from qa_system.stores.embedded.lock import WriterLock
from qa_system.stores.faiss import FAISSDocumentStore
from store_health import (
    answers,
    answers_of_fresh_store,
    assert_same_answers,
    restamp,
    restamp_lexical,
)

WORKER = Path(__file__).with_name("store_worker.py")
DIMENSION = 8
DRAW = random.Random(7)
WORDS = [f"word{n}" for n in range(60)]
QUESTIONS = [" ".join(DRAW.choices(WORDS, k=DRAW.randint(1, 3))) for _ in range(50)]
EMBEDDINGS = np.random.default_rng(7).standard_normal((50, DIMENSION)).astype("f4")
NEW = "zanzibar"


def made_up(name, new=""):
    draw = random.Random(name)
    vector = np.random.default_rng(draw.randrange(2**32)).standard_normal(DIMENSION).astype("f4")
    text = " ".join([*draw.choices(WORDS, k=draw.randint(5, 30)), new])
    return Document(id=name, content=text, embedding=vector.tolist())


FIRST = [made_up(f"first{n}") for n in range(120)]
SECOND = [made_up(f"second{n}") for n in range(40)]
GONE = [document.id for document in FIRST[::10]]
LAST = [made_up(f"last{n}", NEW) for n in range(5)]


def open_store(path):
    return FAISSDocumentStore(path, similarity="cosine", index="hnsw")


@pytest.fixture(autouse=True, scope="module")
def small_indexes():
    """An approximate index for a hundred vectors, so that there is one to damage."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ann.FEWEST, "hnsw", 50)
        yield


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    """Closed stores with two segments and an approximate index, by whether documents are deleted.

    Where none is, an index that follows has the same statistics as a fresh one, hence its scores.
    """
    paths = {
        False: tmp_path_factory.mktemp("plain") / "s",
        True: tmp_path_factory.mktemp("d") / "s",
    }
    for is_thinned, path in paths.items():
        with open_store(path) as store:
            for documents in (FIRST, SECOND):
                store.write_documents(documents)
                store.search_bm25("word1")
            if is_thinned:
                store.delete_documents(GONE)
        assert {"ann.faiss", "ann.json", "lexical-0", "vectors-0-0.f32"} <= {
            each.name for each in path.iterdir()
        }
    return paths


@pytest.fixture(scope="module")
def fresh(tmp_path_factory):
    """The answers of fresh stores of what `bases` hold after one more write."""
    every = [*FIRST, *SECOND, *LAST]
    return {
        is_thinned: answers_of_fresh_store(
            tmp_path_factory.mktemp("fresh") / "store",
            [each for each in every if not (is_thinned and each.id in GONE)],
            "cosine",
            QUESTIONS,
            EMBEDDINGS,
        )
        for is_thinned in (False, True)
    }


@pytest.fixture
def path(bases, tmp_path):
    return Path(shutil.copytree(bases[False], tmp_path / "store"))


@pytest.fixture
def searched(monkeypatch):
    """The generation of every lexical index that is searched."""
    generations = []
    search = LexicalView.search

    def recorded(view, *arguments):
        generations.append(view.generation)
        return search(view, *arguments)

    monkeypatch.setattr(LexicalView, "search", recorded)
    return generations


@pytest.fixture
def settled(monkeypatch):
    """An entry for each time that a search waited for the indexes."""
    times = []
    settle = StoreFolder.settle

    def recorded(folder):
        times.append(folder)
        settle(folder)

    monkeypatch.setattr(StoreFolder, "settle", recorded)
    return times


def only(folder, pattern):
    """Return the largest file of a kind."""
    return max(folder.glob(pattern), key=lambda path: path.stat().st_size)


def gone(path):
    path.unlink()


def emptied(path):
    path.write_bytes(b"")


def halved(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def scribbled(path):
    path.write_bytes(b"\x00{" + path.read_bytes()[2:])


def a_folder(path):
    path.unlink()
    path.mkdir()


LEXICAL_FILES = ["meta.json", ".managed.json"] + [
    f"*.{suffix}" for suffix in ("idx", "term", "pos", "store", "fast", "fieldnorm", "del")
]
DAMAGED = [
    *((f"lexical-0/{name}", how) for name in LEXICAL_FILES for how in (gone, halved)),
    *((f"lexical-0/{name}", emptied) for name in ("meta.json", "*.idx", "*.del")),
    *((name, how) for name in ("lexical.json", "vectors-0.json") for how in (gone, halved)),
    *(
        (name, how)
        for name in ("vectors-0-0.f32", "vectors-0-0.rows")
        for how in (gone, emptied, halved, a_folder)
    ),
    *(("ann.faiss", how) for how in (gone, emptied, halved, scribbled)),
    *(("ann.json", how) for how in (gone, halved)),
]


def named(case):
    return case if isinstance(case, str) else case.__name__


def lexical_folders(path):
    return sorted(each.name for each in path.iterdir() if each.name.split("-")[0] == "lexical")


def check_healing(path, expected, searched):
    """Write, search and close: answers are as in a fresh store, and no file is left over."""
    with open_store(path) as store:
        store.write_documents(LAST)
        assert_same_answers(answers(store, QUESTIONS, EMBEDDINGS), expected)
        assert set(searched) == {store.status().generation}
        assert store.verify() == []
    assert len(lexical_folders(path)) == 1
    assert json.loads((path / "ann.json").read_bytes())["count"] >= len(FIRST)
    with open_store(path) as store:
        assert_same_answers(answers(store, QUESTIONS[:5], []), expected[:5])
        assert store.verify() == []


@pytest.mark.parametrize(("name", "how"), DAMAGED, ids=named)
def test_a_damaged_file(bases, fresh, tmp_path, searched, name, how):
    is_thinned = name.endswith(".del")
    path = Path(shutil.copytree(bases[is_thinned], tmp_path / "store"))
    how(only(path, name))
    check_healing(path, fresh[is_thinned], searched)


@pytest.mark.parametrize("how", [gone, halved])
def test_an_approximate_index_is_built_anew_though_nobody_has_searched_it(path, how):
    how(path / "ann.faiss")
    with open_store(path) as store:
        store.write_documents(LAST)
    stamp = json.loads((path / "ann.json").read_bytes())
    assert (path / "ann.faiss").stat().st_size == stamp["files"]["ann.faiss"][0]
    assert stamp["count"] == len(FIRST) + len(SECOND) + len(LAST)


@pytest.mark.parametrize("name", ["lexical.json", "vectors-0.json", "ann.json"])
@pytest.mark.parametrize(
    "change",
    [
        {"generation": "one", "count": "ten"},
        {"generation": 10**6, "count": -3},
        {"last_row": None, "space": None, "files": None},
        {"epoch": "../..", "store_id": 7},
        {"epoch": 77, "opstamp": 10**12},
    ],
    ids=lambda change: ",".join(change),
)
def test_a_stamp_that_says_nonsense(path, fresh, searched, name, change):
    restamp(path / name, **change)
    check_healing(path, fresh[False], searched)


@pytest.mark.parametrize("is_managed", [True, False])
def test_what_a_killed_commit_leaves(bases, fresh, tmp_path, is_managed):
    """All that a commit writes, but for the `meta.json` that makes it count.

    tantivy knows most of it by `.managed.json`; it may be killed before it writes that. One write
    is one commit, whose files have the same names each time.
    """
    path, ahead = (Path(shutil.copytree(bases[False], tmp_path / name)) for name in ("s", "ahead"))
    with open_store(ahead) as store:
        store.replace(LAST, GONE)
        store.search_bm25("word1")
        left = [each for each in (ahead / "lexical-0").iterdir() if each.name != "meta.json"]
        suffixes = {each.suffix for each in left if not (path / "lexical-0" / each.name).exists()}
        assert {".del", ".idx", ".term", ".pos", ".store", ".fast", ".fieldnorm"} <= suffixes
        for each in left:
            if is_managed or each.name != ".managed.json":
                shutil.copy(each, path / "lexical-0")
    with open_store(path) as store:
        store.replace(LAST, GONE)
        found = answers(store, [*GONE, *WORDS], [], top_k=200)
        documents = store.filter_documents()
        expected = answers_of_fresh_store(
            tmp_path / "fresh", documents, "cosine", [*GONE, *WORDS], [], top_k=200
        )
        assert [{name for name, _ in hits} for hits in found] == (
            [{name for name, _ in hits} for hits in expected]
        )
        assert store.verify() == []
    assert lexical_folders(path) == ["lexical-0" if is_managed else "lexical-1"]


STRANGERS = [
    "vectors-0-0 (copy).f32",
    "vectors-0-0.f32.bak",
    "vectors-0-00.rows",
    "vectors-backup.tar",
    "vectors-.json",
    "vectors-0-1-2.f32",
    "lexical-old/notes.txt",
    "lexical-00/meta.json",
    "lexical.json.bak",
    "ann.faiss~",
]


def test_files_of_odd_names_are_ignored_and_left_alone(path, fresh, searched):
    for name in STRANGERS:
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(f"mine: {name}")
    (path / "lexical.json").unlink()
    (path / "vectors-0.json").unlink()
    with open_store(path) as store:
        store.write_documents(LAST)
        assert_same_answers(answers(store, QUESTIONS, EMBEDDINGS), fresh[False])
        assert store.verify() == []
    assert [name for name in STRANGERS if (path / name).read_text() != f"mine: {name}"] == []
    assert (path / "lexical-1").is_dir()
    assert not (path / "lexical-0").exists()
    assert not (path / "vectors-0-0.f32").exists()


def test_a_folder_of_an_older_epoch_keeps_what_is_not_the_index(path):
    (path / "lexical-0" / "notes.txt").write_text("mine")
    (path / "lexical.json").unlink()
    with open_store(path) as store:
        store.write_documents(LAST)
        assert store.verify() == []
    assert [each.name for each in (path / "lexical-0").iterdir()] == ["notes.txt"]


def test_a_store_without_checksums_is_searched_as_it_is_and_built_anew_by_a_write(
    path, fresh, searched, caplog
):
    (path / "lexical-0").rename(path / "lexical")
    for name in ("lexical.json", "vectors-0.json", "ann.json"):
        stamp = json.loads((path / name).read_bytes())
        gone = {"files", "crc32", "documents"} | ({"epoch"} if name == "lexical.json" else set())
        (path / name).write_text(
            json.dumps({key: value for key, value in stamp.items() if key not in gone})
        )
    before = {each: each.read_bytes() for each in path.rglob("*") if each.is_file()}
    with open_store(path) as store:
        assert len(answers(store, QUESTIONS, EMBEDDINGS)) == 2 * len(QUESTIONS)
    assert {each: each.read_bytes() for each in before} == before
    searched.clear()
    check_healing(path, fresh[False], searched)
    assert lexical_folders(path) == ["lexical-0"]
    assert "damaged" not in caplog.text


def test_an_index_that_holds_what_was_deleted_is_never_given_the_new_generation(path, monkeypatch):
    """It is counted before its stamp is written: no reader takes it for one that followed."""
    ghosts = lexical_index.open_index(path / "lexical-0").writer(64_000_000, 1)
    ghost = tantivy.Document()
    ghost.add_unsigned("row", 999)
    ghosts.add_document(ghost)
    opstamp = ghosts.commit()
    ghosts.wait_merging_threads()
    restamp_lexical(path, opstamp)
    stamps = []
    write_stamp = lexical_index.write_stamp
    monkeypatch.setattr(
        lexical_index,
        "write_stamp",
        lambda path, stamp: (stamps.append(stamp["epoch"]), write_stamp(path, stamp)),
    )
    with open_store(path) as store:
        store.write_documents(LAST)
        assert len(store.search_bm25(NEW)) == len(LAST)
        assert store.verify() == []
    assert set(stamps) == {1}


# --- damage that shows while the store is open


def flipped(path):
    """Damage that tantivy does not look for when it opens a file, but meets in a search."""
    data = bytearray(path.read_bytes())
    end = len(data) - 150  # the footer says that the file is whole
    data[:end] = bytes(byte ^ 0xFF for byte in data[:end])
    path.write_bytes(data)


def test_damage_that_a_search_meets(path, fresh, capfd, monkeypatch):
    """A panic of Rust's is no exception like others; the index is built anew, and answers."""
    flipped(only(path / "lexical-0", "*.idx"))
    with monkeypatch.context() as patch:
        patch.setattr(lexical_index, "damage", lambda *_: None)  # it comes after the opening
        with open_store(path) as store:
            found = answers(store, QUESTIONS, [])
            assert len(found) == len(QUESTIONS)
            store.write_documents(LAST)
            assert_same_answers(answers(store, QUESTIONS, EMBEDDINGS), fresh[False])
            assert store.verify() == []
    assert lexical_folders(path) == ["lexical-1"]
    assert "panicked" in capfd.readouterr().err


def test_a_question_that_no_index_can_answer_is_an_error(path, monkeypatch):
    """Not a store that builds one index after another."""

    def panic(*_):
        with reporting_damage(path):
            raise ValueError("panicked")

    monkeypatch.setattr(LexicalView, "search", panic)
    with open_store(path) as store, pytest.raises(DamagedIndexError, match="panicked"):
        store.search_bm25("word1")
    monkeypatch.undo()
    with open_store(path) as store:
        assert store.search_bm25("word1")
        assert store.verify() == []


def test_damage_that_only_a_search_meets_where_another_process_may_mend(path, fresh, monkeypatch):
    monkeypatch.setattr("qa_system.stores.embedded.search.SETTLE_WAIT", 0.05)
    with open_store(path) as store:
        store.write_documents(LAST)
    (path / "ann.json").unlink()
    flipped(only(path / "lexical-0", "*.idx"))
    other = WriterLock(path)
    other.acquire(0)
    with open_store(path) as reader:
        assert_same_answers(answers(reader, QUESTIONS, EMBEDDINGS), fresh[False])
    other.release()


def test_files_that_vanish_under_an_open_store(path, fresh, searched):
    with open_store(path) as store:
        store.write_documents(LAST[:2])
        store.search_bm25(NEW)
        searched.clear()
        shutil.rmtree(path / "lexical-0")
        for each in path.glob("vectors-*"):
            each.unlink()
        store.write_documents(LAST[2:])
        assert_same_answers(answers(store, QUESTIONS, EMBEDDINGS), fresh[False])
        assert set(searched) == {store.status().generation}
        assert store.verify() == []


# --- an index that cannot be built anew either


@pytest.mark.parametrize("name", ["lexical index", "vectors"])
def test_an_index_that_cannot_be_written_stops_neither_search_nor_the_other(
    path, fresh, searched, settled, caplog, name
):
    """A folder stands where the stamp is to be written: not even a superuser can write it."""
    stamp = "lexical.json" if name == "lexical index" else "vectors-0.json"
    (path / stamp).unlink()
    (path / f"{stamp}.new").mkdir()
    with open_store(path) as store:
        for document in LAST:
            store.write_documents([document])
            searches = len(searched)
            settled.clear()
            assert document.id in {hit.id for hit in store.search_bm25(NEW)}
            assert store.search_by_embedding(document.embedding, 1)[0].id == document.id
            assert searched[searches:] == [store.status().generation]
            assert len(settled) <= 2  # once for each search: it does not wait in vain
        assert_same_answers(answers(store, QUESTIONS, EMBEDDINGS), fresh[False])
        generations = (store.status().lexical_generation, store.status().vectors_generation)
        generation = store.status().generation
        assert generations == ((-1, generation) if name == "lexical index" else (generation, -1))
        assert len(lexical_folders(path)) == 1
        assert len(list(path.glob("*.f32"))) == 1
        told = [line for line in caplog.messages if f"the {name} in" in line and "follow" in line]
        assert len(told) == 1
        (path / f"{stamp}.new").rmdir()
        store.write_documents([made_up("after")])
        assert len(store.search_bm25(NEW)) == len(LAST)
        assert store.verify() == []


def test_a_disk_that_is_full_while_the_index_is_built_anew(tmp_path, searched, settled, caplog):
    """A limit on the size of files stands in for the disk's end: tantivy meets the same error."""
    path = tmp_path / "store"
    texts = [" ".join(f"w{n}x{k}" for k in range(40)) for n in range(1_500)]
    with FAISSDocumentStore(path) as store:
        store.write_documents([Document(id=str(n), content=text) for n, text in enumerate(texts)])
    (path / "lexical.json").unlink()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    with FAISSDocumentStore(path) as store:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
        try:
            for turn in range(3):
                settled.clear()
                assert [hit.id for hit in store.search_bm25(f"w{turn}x1")] == [str(turn)]
                # It has the index built anew, then one in memory, and waits for nothing later.
                assert len(settled) == (2 if turn == 0 else 0)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert len([line for line in caplog.messages if "cannot follow" in line]) == 1
        assert lexical_folders(path) == ["lexical-0"]
        assert store.status().lexical_generation == -1
        store.write_documents([Document(id="new", content=NEW)])
        assert [hit.id for hit in store.search_bm25(NEW)] == ["new"]
        assert [hit.id for hit in store.search_bm25("w7x1")] == ["7"]
        assert store.verify() == []
    assert lexical_folders(path) == ["lexical-1"]


def test_an_approximate_index_that_cannot_be_written_is_told_of(path, fresh, caplog):
    (path / "ann.json").unlink()
    (path / "ann.faiss").unlink()
    (path / "ann.faiss").mkdir()
    with open_store(path) as store:
        store.write_documents(LAST)
    assert "hnsw index cannot be written" in caplog.text
    with open_store(path) as store:
        assert_same_answers(answers(store, QUESTIONS, EMBEDDINGS), fresh[False])
        assert store.verify() == []


@pytest.mark.parametrize("has_files", [True, False])
def test_a_reader_whose_writer_is_stuck(path, fresh, searched, settled, monkeypatch, has_files):
    """Another process holds the lock and does nothing: the reader waits once, and never stale."""
    monkeypatch.setattr("qa_system.stores.embedded.search.SETTLE_WAIT", 0.05)
    stale = {each.name: each.read_bytes() for each in path.glob("*.json")}
    stale_index = shutil.copytree(path / "lexical-0", path.parent / "stale")
    with open_store(path) as store:
        store.write_documents(LAST)
    shutil.rmtree(path / "lexical-0")
    if has_files:
        shutil.copytree(stale_index, path / "lexical-0")
        for name, content in stale.items():
            (path / name).write_bytes(content)
    other = WriterLock(path)
    other.acquire(0)
    with open_store(path) as reader:
        assert len(reader.search_bm25(NEW)) == len(LAST)
        settled.clear()
        assert_same_answers(answers(reader, QUESTIONS, EMBEDDINGS), fresh[False])
        assert set(searched) == {reader.status().generation}
        assert len(settled) <= len(QUESTIONS) + len(EMBEDDINGS)
    other.release()


def test_a_ledger_that_was_restored_is_searched_alone(path, monkeypatch):
    """The files are ahead of it for ever, as long as nobody may write."""
    monkeypatch.setattr("qa_system.stores.embedded.search.SETTLE_WAIT", 0.05)
    backup = (path / "store.sqlite3").read_bytes()
    with open_store(path) as store:
        store.delete_all_documents()
        store.write_documents(LAST)
        assert len(store.search_bm25(NEW)) == len(LAST)
    (path / "store.sqlite3").write_bytes(backup)
    other = WriterLock(path)
    other.acquire(0)
    with open_store(path) as reader:
        assert reader.search_bm25(NEW) == []
        assert reader.search_by_embedding(FIRST[3].embedding, 1)[0].id == FIRST[3].id
        other.release()
        assert reader.search_bm25(NEW) == []
        assert reader.verify() == []


# --- killed while an index is built anew


def killed_in(path, owner, name, *, after):
    """Let a child write, and be killed where it calls a function: before, or when that is done."""
    child = os.fork()
    if child == 0:
        try:
            original = getattr(owner, name)

            def kill(*arguments, **options):
                if after:
                    original(*arguments, **options)
                os.kill(os.getpid(), signal.SIGKILL)

            setattr(owner, name, kill)
            store = open_store(path)
            store.write_documents(LAST)
            store.search_bm25(NEW)
        finally:
            os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (lexical_index, "make_index"),
        (lexical_index, "advance"),
        (lexical_index, "write_stamp"),
        (lexical_index, "remove_lexical"),
        (VectorFiles, "_append"),
        (VectorFiles, "_sweep"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_a_kill_while_an_index_is_built_anew(
    path, fresh, searched, monkeypatch, owner, name, after
):
    if owner is lexical_index:
        only(path / "lexical-0", "*.idx").unlink()
    else:
        (path / "vectors-0-0.rows").unlink()
    killed_in(path, owner, name, after=after)
    with open_store(path) as store:
        assert_same_answers(answers(store, QUESTIONS, EMBEDDINGS), fresh[False])
        assert set(searched) == {store.status().generation}
        assert store.verify() == []
        store.delete_documents(["last0"])
        assert len(store.search_bm25(NEW)) == len(LAST) - 1
        assert store.verify() == []
    assert len(lexical_folders(path)) == len(list(path.glob("*.f32"))) == 1


@pytest.mark.slow
def test_a_reader_sees_complete_answers_while_indexes_are_built_anew(root, tmp_path):
    """Another process searches for ever; this one damages, is killed and builds anew."""
    path = tmp_path / "store"
    with FAISSDocumentStore(path) as store:
        store.write_documents(
            [Document(id=str(n), content=f"a review {n}", embedding=[n] * 8) for n in range(300)]
        )
    reader = subprocess.Popen(
        [sys.executable, str(WORKER)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert json.loads(reader.stdout.readline()) == {"ready": True}
    reader.stdin.write(json.dumps({"path": str(path), "action": "read", "seed": 0}) + "\n")
    reader.stdin.flush()
    child = json.loads(reader.stdout.readline())["pid"]
    seen = [json.loads(reader.stdout.readline())]
    listening = threading.Thread(target=lambda: seen.extend(map(json.loads, reader.stdout)))
    listening.start()
    damages = ["lexical-*/meta.json", "lexical.json", "lexical-*/*.idx", "vectors-0.json", "*.rows"]
    try:
        for turn, pattern in enumerate(damages * 3):
            for damaged in path.glob(pattern):
                damaged.unlink()
            with FAISSDocumentStore(path) as store:
                store.write_documents(
                    [Document(id=f"new{turn}", content="a review", embedding=[1.0] * 8)]
                )
                assert len(store.search_bm25("review", 1_000)) == 301 + turn
    finally:
        os.kill(child, signal.SIGKILL)
        reader.stdin.close()
        listening.join()
        reader.stdout.close()
        reader.wait(timeout=30)
    assert [message for message in seen if "error" in message] == []
    counts = [message for message in seen if "count" in message]
    for column in ("count", "dense"):
        values = [message[column] for message in counts]
        assert values == sorted(values)
        assert 300 <= values[0] < values[-1] <= 300 + 3 * len(damages)


def test_verify_does_not_go_on_with_a_view_that_contradicts_the_ledger(tmp_path):
    with FAISSDocumentStore(tmp_path / "store") as store:
        store.write_documents(
            [Document(id=f"r{n}", content="Loud.", embedding=[1.0, float(n)]) for n in range(4)]
        )
        store.delete_documents(["r1"])
        store.search_by_embedding([1.0, 0.0])
        vectors = store._folder.vectors
        assert not vectors._view.live.all()
        vectors._view = replace(vectors._view, live=np.ones(len(vectors._view.rows), np.bool_))
        assert store.verify() == []
        assert [hit.id for hit in store.search_by_embedding([0.0, 1.0], 2)] == ["r3", "r2"]


def test_documents_cleared_while_tombstones_are_dropped_stay_out_of_the_indexes(
    tmp_path, monkeypatch
):
    path = tmp_path / "store"
    with FAISSDocumentStore(path) as store:
        store.write_documents(
            [Document(id=f"r{n}", content="Loud.", embedding=[1.0, n / 9]) for n in range(9)]
        )
        store.delete_documents(["r7", "r8"])
    (path / "vectors-0.json").unlink()  # vectors that are built anew need no tombstones
    monkeypatch.setattr(folder, "FORGOTTEN_AT", 1)
    with FAISSDocumentStore(path) as store:
        vectors, since, asked = store._folder.vectors, VectorFiles.since, []

        def clear_meanwhile(snapshot):
            asked.append(since(vectors, snapshot))
            if len(asked) == 1:
                assert snapshot.count_tombstones(0) == 2
                store.delete_all_documents()
            return asked[-1]

        monkeypatch.setattr(vectors, "since", clear_meanwhile)
        store.build_index()
        with store._folder.reading() as snapshot:
            assert snapshot.count_tombstones(0) == 0
            assert snapshot.state.history == snapshot.state.generation > asked[0]
        store.write_documents([Document(id="new", content="Loud, too.", embedding=[0.0, 1.0])])
        assert [hit.id for hit in store.search_by_embedding([1.0, 0.0], 2)] == ["new"]
        assert [hit.id for hit in store.search_bm25("loud", 2)] == ["new"]
        assert store.verify() == []
