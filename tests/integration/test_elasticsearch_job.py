"""The indexing job on a real Elasticsearch server: bad documents, bad days, rebuilds."""

import csv
import json
import os
import random
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from typer.testing import CliRunner

from indexing.checkpoint import CheckpointFile, read_checkpoints
from indexing.cli import app
from indexing.job import run_job
from indexing.rebuild import roll_back
from indexing.state import job_name, state_folder
from qa_system.config import ElasticsearchSettings, StoreSettings, load_settings
from qa_system.errors import (
    ConfigError,
    JobError,
    QASystemError,
    StoreError,
    StoreNotFoundError,
    StoreUnavailableError,
    TooManyRejectsError,
)
from qa_system.records import EncoderIdentity
from qa_system.stores import open_store

ROOT = Path(__file__).parents[2]
KILLS = 8
HEADER = ("review_id", "item_id", "text", "stars")


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([HEADER, *rows])
    return path


def made_up(count, words="works well"):
    return [
        (f"r{n}", f"B{n // 10}", f"Review {n} says it {words}.", n % 5 + 1) for n in range(count)
    ]


class Job:
    """A job's settings; a test changes some of them from run to run."""

    def __init__(self, folder, url, index):
        self.settings = {
            "store.type": "elasticsearch",
            "store.url": url,
            "store.index": index,
            "store.replicas": 0,
            "indexing.embed": False,
            "indexing.state": str(folder / "state"),
        }

    def load(self, source, **keys):
        given = {f"indexing.{key}": value for key, value in keys.items() if "__" not in key}
        given |= {key.replace("__", "."): value for key, value in keys.items() if "__" in key}
        overrides = {**self.settings, "indexing.sources": [str(source)], **given}
        return load_settings(overrides=overrides, environ={})

    def run(self, source, *, rebuild=False, **keys):
        return run_job(self.load(source, **keys), rebuild=rebuild)

    @property
    def state(self):
        return Path(self.settings["indexing.state"])

    def open(self):
        return open_store(self.load("none").store)

    def contents(self):
        with self.open() as store:
            assert store.verify() == []
            return {each.id: (each.content, each.meta) for each in store.filter_documents()}

    def flags(self):
        return [
            part for key, value in self.settings.items() for part in ("--set", f"{key}={value}")
        ]

    def refresh_interval(self):
        with self.open() as store:
            index = store.status().index
            found = store._at.client.indices.get_settings(index=index, flat_settings=True)
            return found[index]["settings"]["index.refresh_interval"]


@pytest.fixture
def job(tmp_path, elastic_store, elasticsearch_url):
    return Job(tmp_path, elasticsearch_url, elastic_store().index)


class TinyEncoder:
    """Two numbers a text, the same for the same text; one is NaN where the text says BENT."""

    identity = EncoderIdentity("tiny", 2, "dot_product", "0" * 64)
    truncated_passages = 0

    def encode_passages(self, texts, titles=None):
        rows = [(len(text), np.nan if "BENT" in text else 1.0) for text in texts]
        return np.array(rows, np.float32).reshape(-1, 2)


@pytest.fixture
def tiny_encoder(monkeypatch):
    encoder = TinyEncoder()
    monkeypatch.setattr("qa_system.retrievers.encoders.load_encoder", lambda _: encoder)
    return encoder


def qa_index(*arguments, code=0):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    if isinstance(result.exception, QASystemError):
        raise result.exception
    assert result.exit_code == code, result.output
    return result


def counts(report):
    """Rows read, stored, left as they were, set aside; reviews deleted."""
    found = report.counts
    stored = found.written + found.updated
    assert found.read == stored + found.unchanged + found.duplicates + found.rejected
    return found.read, stored, found.unchanged, found.rejected, found.deleted


def test_the_sample_from_end_to_end(job, sample):
    job.settings["indexing.embed"] = True
    flags = [*job.flags(), "--json"]
    report = json.loads(qa_index("run", "--source", sample, *flags).stdout)
    total = report["read"]
    assert (report["written"], report["rejected"], report["version"]) == (total, 0, None)
    assert report["store"].startswith(job.settings["store.url"])
    assert report["writing"]["documents"] == total
    assert report["writing"]["documents_per_second"] > 0
    assert report["writing"]["share_retried"] == 0
    again = json.loads(qa_index("run", "--source", sample, *flags).stdout)
    assert (again["written"], again["unchanged"]) == (0, total)
    status = json.loads(qa_index("status", *flags).stdout)
    assert (status["documents"], status["embedded"]) == (total, total)
    assert [each["finished"] for each in status["jobs"].values()] == [True]
    verdict = json.loads(qa_index("verify", *flags).stdout)
    assert (verdict["documents"], verdict["faults"]) == (total, [])


def test_every_command_finds_a_store_by_its_address(job, tmp_path):
    config = tmp_path / "qa.yaml"
    config.write_text(
        f"store: {{path: {tmp_path / 'folder'}, index: flat}}\n"
        f"indexing: {{embed: false, state: {job.state}}}\n"
    )
    address = f"{job.settings['store.url']}/{job.settings['store.index']}"
    flags = ("--config", config, "--store", address, "--set", "store.replicas=0", "--json")
    source = write(tmp_path / "a.csv", made_up(30))
    for more in ((), ("--rebuild",)):
        report = json.loads(qa_index("run", "--source", source, *flags, *more).stdout)
        assert (report["store"], report["written"]) == (address, 30)
    assert json.loads(qa_index("rollback", *flags).stdout)["store"] == address
    assert json.loads(qa_index("status", *flags).stdout)["documents"] == 30
    verified = json.loads(qa_index("verify", *flags).stdout)
    assert verified == {"store": address, "documents": 30, "faults": []}
    assert not (tmp_path / "folder").exists()


def test_what_changed_is_replaced_and_what_is_missing_deleted_if_told(job, tmp_path):
    rows = made_up(300)
    source = write(tmp_path / "a.csv", rows)
    assert counts(job.run(source, batch_size=70)) == (300, 300, 0, 0, 0)
    first = job.contents()
    assert counts(job.run(source)) == (300, 0, 300, 0, 0)
    changed = [(*rows[0][:2], "The zip broke.", 1), *rows[1:200], ("new", "B99", "New.", 3)]
    write(source, changed)
    assert counts(job.run(source)) == (201, 2, 199, 0, 0)
    assert len(job.contents()) == 301
    assert counts(job.run(source, delete_missing=True, batch_size=30)) == (201, 0, 201, 0, 100)
    found = job.contents()
    assert set(found) == {row[0] for row in changed}
    assert found["r0"][0] == "The zip broke."
    assert found["r1"] == first["r1"]
    assert job.refresh_interval() == "1s"
    write(source, [])
    with pytest.raises(JobError, match="held no rows"):
        job.run(source, delete_missing=True)


@pytest.mark.slow
def test_bad_documents_are_set_aside_by_id_and_reason_and_no_others(job, tmp_path, tiny_encoder):
    bad = dict.fromkeys(("r77", "r3333", "r4444", "r9999"), ("text", "BENT"))
    good = {
        "r78": ("split", 5),
        "r3334": ("brand", "x" * 40_000),
        "r9998": ("note", {"x": "é" * 33_000}),
    }
    odd = bad | good
    source = tmp_path / "a.jsonl"
    with source.open("w") as out:
        for n in range(10_000):
            row = {"review_id": f"r{n}", "item_id": f"B{n // 10}", "text": f"good {n}"}
            key, value = odd.get(f"r{n}", ("stars", 5))
            out.write(json.dumps({**row, key: value}) + "\n")
    report = job.run(source, embed=True)
    assert counts(report) == (10_000, 9_996, 0, 4, 0)
    assert report.counts.reasons == {"refused by the store": 4}
    assert report.counts.passages == 9_996
    lines = [json.loads(line) for line in Path(report.rejects_file).read_bytes().splitlines()]
    assert {each["review_id"] for each in lines} == set(bad)
    for each in lines:
        assert each["line"] == int(each["review_id"][1:]) + 1
        assert "NaN" in each["detail"]
    with job.open() as store:
        assert store.count_documents() == 9_996
        assert not store.documents_of_reviews(list(bad))
    with pytest.raises(TooManyRejectsError, match="max_rejects is 3"):
        job.run(source, embed=True, max_rejects=3)
    again = job.run(source, embed=True, max_rejects=4)
    assert counts(again) == (10_000, 0, 9_996, 4, 0)


def test_a_review_is_refused_whole(job, tmp_path, tiny_encoder):
    text = "One two three. Four five six BENT. Eight nine ten."
    source = write(tmp_path / "a.csv", [("r1", "B0", text, 1), ("r2", "B0", "Fine.", 1)])
    keys = {
        "embed": True,
        "indexing__passages__max_words": 4,
        "indexing__passages__overlap_words": 0,
    }
    for _ in range(2):
        report = job.run(source, **keys)
        assert report.counts.rejected == 1
        assert set(job.contents()) == {"r2"}


def test_long_reviews_are_kept_whole_through_a_rebuild(job, tmp_path, tiny_encoder):
    text = "One two three. Four five six seven. Eight nine ten."
    source = write(tmp_path / "a.csv", [("r1", "B0", text, 1), ("r1#0", "B1", "Fine.", 1)])
    keys = {"embed": True, "indexing__passages__overlap_words": 0}
    for rebuild, max_words, passages in ((False, 4, 4), (True, 4, 4), (True, 3, 5)):
        keys["indexing__passages__max_words"] = max_words
        report = job.run(source, rebuild=rebuild, **keys)
        assert counts(report) == (2, 2, 0, 0, 0)
        assert report.counts.passages == passages
        found = job.contents()
        assert {name: content for name, (content, _) in found.items()} == {
            "r1": text,
            "r1#0": "Fine.",
        }
        assert counts(job.run(source, **keys)) == (2, 0, 2, 0, 0)
    keys["indexing__passages__max_words"] = None
    assert counts(job.run(source, **keys)) == (2, 1, 1, 0, 0)
    with job.open() as store:
        assert all(each.embedding is not None for each in store.filter_documents())


def test_where_the_state_is_kept(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load_settings(
        overrides={
            "store.type": "elasticsearch",
            "store.url": "https://one.example:9200,https://two.example:9200",
            "indexing.sources": ["a.csv"],
        },
        environ={},
    )
    assert state_folder(settings) == Path(".qa-index/one.example-9200-reviews")
    assert job_name(settings) != job_name(settings, rebuild=True)


# --- the server's bad days


class Server:
    """A server of a test's own, which is killed and started again on the same data and port."""

    def __init__(self, folder):
        self._start = ROOT.parent / "shared" / "elasticsearch" / "start"
        if not self._start.is_file() or shutil.which("java") is None:
            pytest.skip("no Elasticsearch that a test may kill: ../shared/elasticsearch, and java")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._folder = folder
        self.url = f"http://127.0.0.1:{self._port}"
        self.start()

    def start(self):
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._start, "--until-eof", self._folder / "data", f"http.port={self._port}"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env={"ES_HEAP": "512m", **os.environ},
            )
        assert self._process.stdout.readline(), (self._folder / "server.log").read_text()[-2_000:]

    def kill(self):
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


@pytest.fixture
def server(tmp_path):
    memory = Path("/dev/shm")  # no power cut is meant: a killed process leaves what it has written
    parent = memory if os.access(memory, os.W_OK) else tmp_path
    with TemporaryDirectory(dir=parent, prefix="qa-elasticsearch-") as folder:
        server = Server(Path(folder))
        yield server
        server.kill()


def read_by_job(job):
    return max((each["read"] for each in read_checkpoints(job.state).values()), default=0)


def is_writing(job, after):
    """Whether the job has begun to write the batch that follows its checkpoint."""
    read = read_by_job(job)
    if read < after:
        return False
    (path,) = job.state.glob("*.sqlite")
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        query = "SELECT count(*) FROM attempt WHERE review_id = ?"
        return db.execute(query, (f"r{read}",)).fetchone()[0] > 0


@pytest.mark.slow
def test_a_server_killed_three_times_during_a_run(tmp_path, server, tiny_encoder, caplog):
    job = Job(tmp_path, server.url, "reviews")
    job.settings["indexing.embed"] = True
    rows = 10_000
    source = write(tmp_path / "a.csv", made_up(rows))
    kills = []

    def kill():
        for share in (0.1, 0.4, 0.7):
            while not is_writing(job, share * rows):
                time.sleep(0.005)
            time.sleep(0.05)  # for some of the batch's 50 requests
            server.kill()
            kills.append(read_by_job(job))
            server.start()

    killer = threading.Thread(target=kill)
    killer.start()
    report = job.run(source, batch_size=2_000, store__bulk={"chunk_documents": 40})
    killer.join()
    assert len(kills) == 3
    assert kills[-1] < rows
    assert counts(report) == (rows, rows, 0, 0, 0)
    assert report.writing.retried > 0
    assert "waiting" in caplog.text
    with job.open() as store:
        assert store.count_documents() == rows
        assert {name for name, _ in store.iter_ids()} == {f"r{n}" for n in range(rows)}
    assert job.refresh_interval() == "1s"

    # A server that stays away is given up in time, and the job goes on when it is back.
    write(source, made_up(1_000, "is loud"))
    giving_up = {"batch_size": 100, "store__bulk": {"retry_for": 1.0}}

    def kill_for_good():
        while not 100 <= read_by_job(job) < 1_000:
            time.sleep(0.005)
        server.kill()

    killer = threading.Thread(target=kill_for_good)
    killer.start()
    began = time.monotonic()
    with pytest.raises(StoreUnavailableError, match="cannot be reached"):
        job.run(source, **giving_up)
    assert time.monotonic() - began < 30
    killer.join()
    server.start()
    report = job.run(source, **giving_up)
    assert 0 < report.resumed < 1_000
    assert counts(report) == (1_000, 1_000, 0, 0, 0)
    assert {text for text, _ in job.contents().values() if "loud" in text} == {
        row[2] for row in made_up(1_000, "is loud")
    }


# --- the job's bad days

# Haystack takes seconds to import: each job that is killed is forked from a process that has it.
DRIVER = """
import json, os, sys, haystack, elasticsearch
from indexing.job import run_job
from qa_system.config import load_settings
import qa_system.stores.elasticsearch
for line in sys.stdin:
    overrides, rebuild = json.loads(line)
    child = os.fork()
    if child == 0:
        run_job(load_settings(overrides=overrides, environ={}), rebuild=rebuild)
        os._exit(0)
    print(child, flush=True)
    _, status = os.waitpid(child, 0)
    print("killed" if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status), flush=True)
"""


class Victims:
    """Jobs in processes of their own, to be killed."""

    def __init__(self):
        self._driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )

    def run(self, settings, kill_when=None, *, rebuild=False):
        """Run a job until `kill_when` returns; tell whether it was killed before its end."""
        overrides = settings.model_dump(mode="json")
        self._driver.stdin.write(json.dumps([overrides, rebuild]) + "\n")
        self._driver.stdin.flush()
        child = int(self._driver.stdout.readline())
        if kill_when is not None:
            kill_when()
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        how = self._driver.stdout.readline().strip()
        assert how in ("killed", "0")
        return how == "killed"

    def close(self):
        self._driver.stdin.close()
        self._driver.wait(30)
        self._driver.stdout.close()


@pytest.fixture
def victims():
    victims = Victims()
    yield victims
    victims.close()


def outcome(job):
    (found,) = read_checkpoints(job.state).values()
    (rejects,) = job.state.glob("*.rejects.jsonl")
    del found["seconds"], found["running"]
    return found, [json.loads(line) for line in rejects.read_bytes().splitlines()]


@pytest.mark.slow
def test_a_job_killed_at_several_instants_ends_as_if_nothing_had_been(
    job, tmp_path, victims, elastic_store
):
    rows = [
        (name, item, "" if n % 90 == 7 else text, "x" * 40_000 if n % 150 == 11 else stars)
        for n, (name, item, text, stars) in enumerate(made_up(1_000))
    ]
    source = write(tmp_path / "a.csv", rows + rows[60:90])
    keys = {"batch_size": 20, "store__bulk": {"chunk_documents": 5}}
    whole = Job(tmp_path / "whole", job.settings["store.url"], elastic_store("whole").index)
    began = time.monotonic()
    whole.run(source, **keys)
    seconds = time.monotonic() - began
    expected, chance, kills = whole.contents(), random.Random(13), 0
    settings = job.load(source, **keys)
    while kills < KILLS:
        # It is killed a little further on each time, whatever the speed of the machine.
        beyond = min(kills * len(rows) // KILLS, len(rows) - 40)
        pause = chance.uniform(0, seconds / 20)

        def further(beyond=beyond, pause=pause):
            while read_by_job(job) < beyond:
                time.sleep(0.002)
            time.sleep(pause)

        assert victims.run(settings, further)
        kills += 1
    victims.run(settings)
    assert job.contents() == expected
    assert outcome(job) == outcome(whole)
    assert counts(job.run(source, **keys))[1] == 0


@pytest.mark.slow
def test_status_lets_be_found_what_a_killed_job_has_written(job, tmp_path, victims):
    source = write(tmp_path / "a.csv", made_up(2_000))

    def half_way():
        while read_by_job(job) < 1_000:
            time.sleep(0.005)

    assert victims.run(job.load(source, batch_size=20), half_way)
    assert job.refresh_interval() == "-1"
    settings = job.load(source)
    with CheckpointFile(job.state, job_name(settings)):  # as if it were running
        status = json.loads(qa_index("status", *job.flags(), "--json").stdout)
        assert [each["running"] for each in status["jobs"].values()] == [True]
        assert job.refresh_interval() == "-1"
    status = json.loads(qa_index("status", *job.flags(), "--json").stdout)
    assert job.refresh_interval() == "1s"
    (state,) = status["jobs"].values()
    assert (state["finished"], state["running"]) == (False, False)
    assert 1_000 <= state["read"] <= status["documents"] < 2_000
    assert "not finished" in qa_index("status", *job.flags()).output
    assert counts(job.run(source)) == (2_000, 2_000, 0, 0, 0)


# --- rebuilds


@contextmanager
def readers(job, ask, count):
    """Readers that ask all the time; what goes wrong is in the list they share."""
    stop, wrong, answered = threading.Event(), [], [0] * count

    def read(number):
        with job.open() as store:
            while not stop.is_set():
                try:
                    error = ask(store, random.Random(answered[number]))
                except Exception as error:  # noqa: BLE001 - whatever it is, it is counted
                    error = repr(error)
                answered[number] += 1
                if error:
                    wrong.append(error)

    threads = [threading.Thread(target=read, args=[number]) for number in range(count)]
    for thread in threads:
        thread.start()
    try:
        yield wrong, answered
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@pytest.mark.slow
def test_nobody_notices_a_rebuild(job, tmp_path, tiny_encoder):
    source = write(tmp_path / "a.csv", made_up(4_000, "works well"))
    job.run(source, embed=True)

    def ask(store, chance):
        item = {"field": "meta.item_id", "operator": "==", "value": f"B{chance.randrange(300)}"}
        for hits in (
            store.search_bm25("is it loud, does it work well?", 10, item),
            store.search_by_embedding([1.0, 0.0], 10, item),
        ):
            if len(hits) != 10:
                return f"{len(hits)} hits"
            if len({"loud" in hit.content for hit in hits}) != 1:
                return "half old, half new"
        return None

    with readers(job, ask, 8) as (wrong, answered):
        write(source, made_up(3_000, "is loud"))
        report = job.run(source, rebuild=True, embed=True)
        before = sum(answered)
        time.sleep(1)
    assert wrong == []
    assert 8 < before < sum(answered)
    assert min(answered) > 1
    assert report.version.endswith("-v2")
    assert counts(report) == (3_000, 3_000, 0, 0, 0)
    with job.open() as store:
        assert (store.status().index, store.count_documents()) == (report.version, 3_000)
        assert store.search_bm25("loud", 1)[0].content.endswith("is loud.")


@pytest.mark.slow
def test_an_interrupted_rebuild_is_resumed_and_rolled_back(job, tmp_path, victims):
    source = write(tmp_path / "a.csv", made_up(1_000))
    job.run(source)
    old = job.contents()
    write(source, made_up(2_000, "is loud"))
    settings = job.load(source, batch_size=20)
    rebuild_state = job.state / f"{job_name(settings, rebuild=True)}.sqlite"

    def half_way():
        while read_checkpoints(job.state).get(rebuild_state.stem, {}).get("read", 0) < 1_000:
            time.sleep(0.005)

    assert victims.run(settings, half_way, rebuild=True)
    assert job.contents() == old
    with job.open() as store:
        first, second = store.versions()
        assert store.status().index == first
    report = job.run(source, rebuild=True, batch_size=20)
    assert 1_000 <= report.resumed < 2_000
    assert report.version == second
    assert counts(report) == (2_000, 2_000, 0, 0, 0)
    new = job.contents()
    assert len(new) == 2_000
    done = json.loads(qa_index("rollback", *job.flags(), "--json").stdout)
    assert (done["index"], done["former"]) == (first, second)
    assert job.contents() == old
    with pytest.raises(StoreNotFoundError, match="no earlier version"):
        qa_index("rollback", *job.flags())
    # A finished rebuild is not gone on with, and of the versions two are kept.
    third = job.run(source, rebuild=True)
    assert third.resumed == 0
    assert job.contents() == new
    with job.open() as store:
        assert store.versions() == [first, third.version]


def test_a_rebuild_whose_sources_changed_begins_another_version(job, tmp_path):
    rows = made_up(100)
    source = write(tmp_path / "a.csv", [*rows, ("bad", "", "", "")])
    with pytest.raises(TooManyRejectsError):
        job.run(source, rebuild=True, max_rejects=0, batch_size=10)
    with pytest.raises(StoreNotFoundError):
        job.open()
    write(source, rows[:50])
    report = job.run(source, rebuild=True)
    assert (report.resumed, report.version[-3:]) == (0, "-v2")
    assert set(job.contents()) == {row[0] for row in rows[:50]}
    with job.open() as store:
        assert store.versions() == [report.version]


def test_a_version_that_is_not_whole_is_not_read(job, tmp_path, monkeypatch):
    source = write(tmp_path / "a.csv", made_up(100))
    job.run(source)
    old = job.contents()
    write(source, [])
    with pytest.raises(JobError, match="held no rows"):
        job.run(source, rebuild=True)
    write(source, made_up(100, "is loud"))

    def lose_one(aliased, built, documents):
        built.delete_documents(["r7"])
        aliased.promote(built, expected=documents)

    monkeypatch.setattr("indexing.job.promote", lose_one)
    with pytest.raises(StoreError, match="99 documents instead of 100"):
        job.run(source, rebuild=True)
    assert job.contents() == old


def test_what_cannot_be_rebuilt_is_refused_by_name(tmp_path):
    source = write(tmp_path / "a.csv", made_up(3))
    store = tmp_path / "store"
    for arguments in (
        ("run", "--rebuild", "--source", source, "--store", store),
        ("rollback", "--set", f"store.path={store}"),
    ):
        with pytest.raises(ConfigError, match="embedded store has no versions") as caught:
            qa_index(*arguments)
        assert "qa-index run --store FOLDER" in str(caught.value)
        assert not store.exists()
    with pytest.raises(ConfigError, match="embedded store has no versions"):
        roll_back(StoreSettings())
    with pytest.raises(ConfigError, match=r"Set store\.index to 'reviews'"):
        roll_back(ElasticsearchSettings(type="elasticsearch", index="reviews-v2"))
