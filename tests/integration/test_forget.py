"""A review that is forgotten is in no file any more: not its text, its id, its author."""

import json
import sqlite3
from contextlib import closing
from dataclasses import replace

import numpy as np
import pytest
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from typer.testing import CliRunner

from indexing.cli import app
from indexing.cli.forget import erase_from_jobs
from qa_system.digests.records import Aspect, Digest
from qa_system.errors import JobError, StoreLockedError
from qa_system.opinions import Quote
from qa_system.records import AnswerSpan, Label
from qa_system.stores.embedded.derived import ann
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.stores.writes import Forgotten, Passages
from store_operations import Encoder

ENCODER = Encoder("encoder", 8)
SECRETS = ("quidnunc", "review-of-ann", "Ann-Zyzzyva")
"""A word of the text, the id and the author."""
TEXT = "I am the quidnunc of Elm Street 5. The lamp is bright enough to read by."


def vector(text):
    return ENCODER.encode(text).tolist()


def secret_document(text=TEXT):
    meta = {"review_id": "review-of-ann", "item_id": "lamp", "author": "Ann-Zyzzyva"}
    return Document(id="review-of-ann", content=text, meta=meta, embedding=vector(text))


def others(count):
    return [
        Document(
            id=f"r{number}",
            content=f"Lamp number {number} is dim.",
            meta={"review_id": f"r{number}", "item_id": "lamp"},
            embedding=vector(f"Lamp number {number} is dim."),
        )
        for number in range(count)
    ]


def secret_label():
    span = (AnswerSpan("bright", 46, 52),)
    return Label("q1", "Is it bright?", "lamp", "review-of-ann", TEXT, span, split="test")


def held(folder, *secrets):
    """The secrets that any file of a folder holds, and the files that hold the vector."""
    found = set()
    for path in folder.rglob("*"):
        found |= {path.name} if any(secret in path.name for secret in secrets) else set()
        if path.is_file():
            content = path.read_bytes()
            found |= {secret for secret in secrets if secret.encode() in content}
            if np.float32(vector(TEXT)).tobytes() in content:
                found.add("vector")
    return found


@pytest.fixture
def filled(tmp_path, monkeypatch):
    """A closed store with an approximate index; the review is there, and labelled.

    SQLite has a free page with an earlier version of it, as some builds leave it.
    """
    monkeypatch.setattr(ann, "FEWEST", dict.fromkeys(ann.FEWEST, 50))
    path = tmp_path / "store"
    with FAISSDocumentStore(path, index="hnsw") as store:
        store.write_documents([*others(100), secret_document(f"Earlier: {TEXT}")])
        store.write_documents([secret_document()], DuplicatePolicy.OVERWRITE)
        store.write_labels([secret_label(), Label("q2", "Is it dim?", "lamp", "r1", "Dim.", ())])
    with closing(sqlite3.connect(path / "store.sqlite3")) as connection:
        connection.execute("PRAGMA secure_delete = OFF")
        connection.execute("CREATE TABLE earlier AS SELECT meta, content FROM documents")
        connection.execute("DROP TABLE earlier")
    return path


def test_no_file_holds_what_was_forgotten(filled):
    assert held(filled, *SECRETS) == {*SECRETS, "vector"}
    with FAISSDocumentStore(filled, index="hnsw") as store:
        assert len(store.search_bm25("quidnunc")) == 1
        assert store.forget(["review-of-ann"]) == Forgotten(documents=1, labels=1)
        assert held(filled, *SECRETS) == set()
        assert store.search_bm25("quidnunc") == []
        assert store.count_documents() == 100
        assert [label.question_id for label in store.get_labels_aggregated()] == ["q2"]
        assert len(store.search_bm25("lamp dim", top_k=200)) == 100
        assert len(store.search_by_embedding(vector(TEXT), top_k=200)) == 100
        assert store.verify() == []
    assert held(filled, *SECRETS) == set()
    assert (filled / "ann.faiss").exists()


def test_no_file_holds_a_digest_that_quoted_it(tmp_path):
    quote = Quote("review-of-ann", "text", TEXT[:13], 0, 13, TEXT, {"author": "Ann-Zyzzyva"})
    digest = Digest("lamp", 3, 1, (Aspect("quidnunc", 1, 0, 1, 0.3, (quote,)),), {"r0": ""})
    with FAISSDocumentStore(tmp_path / "store") as store:
        store.write_documents([*others(2), secret_document()])
        for each in (digest, replace(digest, generation=2)):
            store.write_digest(each)
        assert store.forget(["review-of-ann"]) == Forgotten(documents=1, labels=0, digests=1)
        assert held(tmp_path, *SECRETS) == set()
    assert held(tmp_path, *SECRETS) == set()


def test_an_index_that_is_not_asked_for_any_more_is_removed(filled):
    with FAISSDocumentStore(filled, index="flat") as store:
        store.forget(["review-of-ann"])
    assert held(filled, *SECRETS) == set()
    assert not (filled / "ann.faiss").exists()


def test_what_was_deleted_before_is_forgotten_with_the_next(filled):
    """So a command that was killed after it had deleted is run again with the same ids."""
    with FAISSDocumentStore(filled, index="hnsw") as store:
        store.delete_documents(["review-of-ann"])
        store.delete_labels(split="test")
    assert held(filled, *SECRETS) == {*SECRETS, "vector"}
    with FAISSDocumentStore(filled, index="hnsw") as store:
        assert store.forget(["review-of-ann"]) == Forgotten(documents=0, labels=0)
    assert held(filled, *SECRETS) == set()


def test_a_review_in_passages_is_forgotten_with_a_reembedding_that_was_begun(tmp_path):
    path, text = tmp_path / "store", f"{TEXT} Its foot is heavy."
    spans = [(0, len(TEXT)), (len(TEXT) + 1, len(text))]
    vectors = ENCODER.encode_passages([text[start:end] for start, end in spans])
    secret = replace(secret_document(text), embedding=None)
    with FAISSDocumentStore(path) as store:
        store.replace([secret, *others(5)], [], {secret.id: Passages(spans, vectors)})

        def stop(_done):
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            store.update_embeddings(Encoder("another", 4), batch_size=2, on_progress=stop)
        assert held(path, *SECRETS) == {*SECRETS, "vector"}
        store.forget(["review-of-ann"])
        assert held(path, *SECRETS) == set()
        store.update_embeddings(Encoder("another", 4))
        assert store.verify() == []


@pytest.mark.slow
def test_somebody_who_reads_an_earlier_generation_is_told_of(filled):
    with FAISSDocumentStore(filled) as store, FAISSDocumentStore(filled) as other:
        reads = pytest.raises(StoreLockedError, match="reads an earlier generation")
        with other._folder.reading(), reads:
            store.forget(["review-of-ann"])
        store.forget(["review-of-ann"])
    assert held(filled, *SECRETS) == set()


def test_there_is_nothing_to_forget_where_there_is_no_store(tmp_path):
    with FAISSDocumentStore(tmp_path / "store") as store:
        assert store.forget(["review-of-ann"]) == Forgotten(documents=0, labels=0)
    assert not (tmp_path / "store").exists()


def run(*arguments):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def indexed(tmp_path):
    """A store that a job has filled, with rejects: one of the same review, one of another."""
    source, store = tmp_path / "reviews.jsonl", tmp_path / "store"
    rows = [
        {"review_id": "review-of-ann", "item_id": "lamp", "text": TEXT, "author": "Ann-Zyzzyva"},
        {"review_id": "r1", "item_id": "lamp", "text": "It is dim."},
        {"review_id": "review-of-ann", "item_id": "", "text": TEXT},
        {"review_id": "r2", "item_id": "", "text": "Nobody knows of which."},
    ]
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    run("run", "--source", source, "--store", store, "--no-embed")
    source.unlink()
    return store


def test_the_command_reaches_what_jobs_remember(indexed):
    assert held(indexed, *SECRETS) == set(SECRETS)
    result = run("forget", "review-of-ann", "nobody", "--store", indexed, "--json")
    found = json.loads(result.stdout)
    assert (found["documents"], found["rejects"], found["not_found"]) == (1, 1, ["nobody"])
    assert found["checkpoints"] == 1
    assert list(found["remaining_rejects"].values()) == [1]
    assert "brings it back" in result.stderr
    assert held(indexed, *SECRETS) == set()
    assert "1 document, sound" in run("verify", "--store", indexed).output


def copy(name, of="review-of-ann"):
    meta = {"review_id": name, "item_id": f"lamp-{name}", "copy_of": of}
    return Document(id=name, content="The same.", meta=meta)


def test_a_copy_does_not_name_what_was_forgotten(tmp_path, make_store):
    with make_store() as store:
        store.write_documents([*others(2), copy("c1"), copy("c2", of="r1")])
        assert store.forget(["review-of-ann"]).documents == 0
        named = {each.id: each.meta.get("copy_of") for each in store.filter_documents()}
        assert named == {"r0": None, "r1": None, "c1": None, "c2": "r1"}
    if isinstance(store, FAISSDocumentStore):
        assert held(tmp_path / "store", "review-of-ann") == set()


@pytest.mark.parametrize("forgotten", ["first", "second"])
def test_the_command_names_the_other_items_that_a_text_was_posted_to(tmp_path, forgotten):
    rows = [{"review_id": each, "item_id": each, "text": TEXT} for each in ("first", "second")]
    rows.append({"review_id": "third", "item_id": "third", "text": "Nobody has copied this."})
    source = tmp_path / "reviews.jsonl"
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    run("run", "--source", source, "--store", tmp_path / "store", "--no-embed")
    result = run("forget", forgotten, "--store", tmp_path / "store", "--json")
    left = ({"first", "second"} - {forgotten}).pop()
    assert json.loads(result.stdout)["same_text"] == [left]
    told = run("forget", forgotten, "--store", tmp_path / "store").stderr
    assert "same text" not in told


def test_jobs_that_ran_elsewhere_are_found_in_their_folder(tmp_path, monkeypatch):
    """As those of a server, whose files are where they were started."""
    source, store, state = tmp_path / "r.jsonl", tmp_path / "store", tmp_path / "state"
    rows = [{"review_id": "ann", "item_id": "lamp", "text": TEXT}]
    rows += [{"review_id": name, "item_id": "", "text": TEXT} for name in ("ann", "bob")]
    source.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    run("run", "--source", source, "--store", store, "--no-embed", "--state", state)
    assert f"no job in {store / 'jobs'}" in run("status", "--store", store).stdout
    assert f"3 rows read; in {state}" in run("status", "--store", store, "--state", state).stdout
    monkeypatch.chdir(tmp_path)
    found = json.loads(run("status", "--store", store, "--state", "state", "--json").stdout)
    assert (found["state"], len(found["jobs"])) == (str(state), 1)

    result = run("forget", "ann", "--store", store)
    assert f"of its jobs in {store / 'jobs'}: 0 checkpoints, 0 rejected rows" in result.stdout
    assert f"there is no folder {store / 'jobs'}" in result.stderr
    assert "--state" in result.stderr
    assert held(state, "quidnunc")
    result = run("forget", "ann", "bob", "--store", store, "--state", state)
    assert f"of its jobs in {state}: 1 checkpoints, 2 rejected rows" in result.stdout
    assert "there is no folder" not in result.stderr
    assert not held(state, "quidnunc")


def test_a_job_that_is_running_is_waited_for(indexed):
    from filelock import FileLock

    [checkpoint] = (indexed / "jobs").glob("*.sqlite")
    with FileLock(checkpoint.with_suffix(".lock")), pytest.raises(JobError, match="is running"):
        run("forget", "review-of-ann", "--store", indexed)
    assert held(indexed, *SECRETS) == set(SECRETS)


@pytest.mark.slow
def test_a_server_forgets_in_every_version(elastic_store, servers_folder):
    """It takes half a minute: so often do a shard's copies agree on what none of them needs."""
    with elastic_store() as store:
        store.write_documents([*others(20), secret_document()])
        store.write_labels([secret_label(), Label("q2", "Is it dim?", "lamp", "r1", "Dim.", ())])
        store.update_embeddings(Encoder("another", 4))
        assert len(store.versions()) == 2
        assert store.forget(["review-of-ann"]) == Forgotten(documents=1, labels=1, remaining=0)
        assert store.search_bm25("quidnunc") == []
        assert store.count_documents() == 20
        assert [label.question_id for label in store.get_labels_aggregated()] == ["q2"]
        store.rollback()
        assert store.count_documents() == 20
        indexes = list(servers_folder.glob("shared/data/**/indices"))
        if not indexes:
            pytest.skip("the server's files are not here")
        assert held(indexes[0], *SECRETS) == set()


def test_a_folder_in_the_place_of_a_job_s_lock(tmp_path):
    jobs = tmp_path / "jobs"
    jobs.mkdir()
    (jobs / "job.sqlite").write_bytes(b"")
    (jobs / "job.lock").mkdir()
    with pytest.raises(JobError, match="move it away"):
        erase_from_jobs(jobs, None, ["review-of-ann"], {})
