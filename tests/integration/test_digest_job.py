"""`qa-index digest` and `qa digest` as a user runs them, also when the job is killed."""

import csv
import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from haystack.dataclasses import Document
from typer.testing import CliRunner

import indexing.cli
import qa_system.cli
from indexing.digests import catalogue_of, digest_items, item_ids
from qa_system.config import load_settings
from qa_system.digests.records import Digest
from qa_system.errors import ClosedError, DigestNotFoundError, UnknownItemError
from qa_system.stores.faiss import FAISSDocumentStore
from qa_system.system import QASystem

ITEM = "ereader-lumen-6"


def sample_documents(sample, copies=1):
    """The sample's reviews, whose items there are so often."""
    rows = {}
    for split in ("train", "dev", "test"):
        with (sample / f"{split}.csv").open(newline="") as lines:
            rows |= {row["review_id"]: row for row in csv.DictReader(lines)}
    for copy in range(copies):
        end = f"-{copy}" if copy else ""
        for name, row in rows.items():
            meta = {"review_id": name + end, "item_id": row["item_id"] + end}
            yield Document(id=name + end, content=row["review"], meta=meta)


def filled(path, sample, copies=1):
    with FAISSDocumentStore(path) as store:
        store.write_documents(list(sample_documents(sample, copies)))
    return path


@pytest.fixture(scope="module")
def digested(tmp_path_factory, sample):
    path = filled(tmp_path_factory.mktemp("digests") / "store", sample)
    run("digest", "--all", "--store", path)
    return path


def run(*arguments, app=indexing.cli.app, code=0):
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == code, result.output
    return result


def shown_as_json(item, store):
    return json.loads(run("digest", item, "--store", store, "--json", app=qa_system.cli.app).stdout)


def test_every_item_has_a_digest(digested):
    with FAISSDocumentStore(digested) as store:
        digests = {each.item_id: each for each in store.iter_digests()}
        assert set(digests) == set(item_ids(store))
        assert len(digests) == 14
        assert store.verify() == []
        for digest in digests.values():
            assert 3 <= len(digest.aspects) <= 10
            assert digest.generation == store.generation
            supports = [aspect.support for aspect in digest.aspects]
            assert supports == sorted(supports, reverse=True)
            assert min(supports) >= 2
    # What several of the reader's customers write of.
    assert {"page", "screen", "light"} < {each.label for each in digests[ITEM].aspects}


def test_what_is_fresh_is_left_alone(digested):
    found = json.loads(run("digest", "--all", "--store", digested, "--json").stdout)
    assert (found["made"], found["fresh"], found["removed"]) == (0, 14, 0)
    again = ("digest", "--item", ITEM, "--anew", "--store", digested)
    assert "1 digest made" in run(*again).stdout
    status = json.loads(run("status", "--store", digested, "--json").stdout)
    assert (status["digests"], status["stale_digests"]) == (14, 0)


def test_stale_digests_are_made_anew_and_orphans_removed(tmp_path, sample):
    path = filled(tmp_path / "store", sample)
    run("digest", "--all", "--store", path)
    with FAISSDocumentStore(path) as store:
        store.delete_by_filter(
            {"field": "meta.item_id", "operator": "==", "value": "tent-fjellvik-2"}
        )
        digest = store.get_digest(ITEM)
        quoted = {quote.review_id for aspect in digest.aspects for quote in aspect.quotes}
        unquoted = sorted({*store.reviews_of_items([ITEM])[ITEM]} - quoted)
        store.delete_documents(unquoted[:1])
    shown = run("status", "--store", path).stdout
    assert re.search(r"^digests +14$", shown, re.MULTILINE)
    assert re.search(r"^stale digests +2$", shown, re.MULTILINE)
    shown = run("digest", ITEM, "--store", path, app=qa_system.cli.app)
    assert "have changed since" in shown.stderr
    shown = run("digest", "--all", "--store", path).stdout
    assert "1 digest made" in shown
    assert "12 up to date, 1 removed" in shown
    assert re.search(r"^stale digests +0$", run("status", "--store", path).stdout, re.MULTILINE)
    assert "1 digests" in run("forget", next(iter(digest_reviews(path))), "--store", path).stdout


def digest_reviews(path):
    with FAISSDocumentStore(path) as store:
        return store.get_digest(ITEM).versions


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_that_is_ended_loses_one_item_at_most(tmp_path, sample, number):
    copies = 3
    store = filled(tmp_path / "store", sample, copies)
    command = [sys.executable, "-m", "indexing.cli", "digest", "--all", "--store", str(store)]
    job = subprocess.Popen(
        [*command, "--set", "judge.threads=1"],
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with FAISSDocumentStore(store) as reading:
        while reading.count_digests() < 3:
            assert job.poll() is None, job.stderr.read()
            time.sleep(0.01)
        job.send_signal(number)
        _, told = job.communicate(timeout=60)
        assert job.returncode in (-number, 128 + number)
        assert ("go on" in told) == (number == signal.SIGTERM)
        kept = {each.item_id: each for each in reading.iter_digests()}
        assert 3 <= len(kept) < 14 * copies
        assert reading.verify() == []
    found = json.loads(run("digest", "--all", "--store", store, "--json").stdout)
    assert (found["made"], found["fresh"]) == (14 * copies - len(kept), len(kept))
    run("digest", *(f"--item={each}" for each in kept), "--anew", "--store", store)
    with FAISSDocumentStore(store) as reading:
        assert {each: reading.get_digest(each) for each in kept} == kept


class Meanwhile:
    """A digester during whose work, or before whose digest is written, a review is erased."""

    def __init__(self, store, erase):
        self.store, self.erase = store, erase
        self.made = 0

    def digest(self, item, documents, generation):
        self.made += 1
        if self.made == 1:
            self.erase()
        versions = {document.id: "" for document in documents}
        return Digest(item, len(documents), generation, (), versions)


def test_what_was_erased_meanwhile_is_in_no_digest(tmp_path, sample):
    with FAISSDocumentStore(filled(tmp_path / "store", sample)) as store:
        gone = next(iter(store.reviews_of_items([ITEM])[ITEM]))
        digester = Meanwhile(store, lambda: store.forget([gone]))
        assert digest_items(store, digester, [ITEM], place="here").made == 1
        assert digester.made == 2
        assert gone not in store.get_digest(ITEM).versions
        assert store.get_digest(ITEM).reviews == 12


def test_what_was_erased_before_the_write_is_in_no_digest(tmp_path, sample, monkeypatch):
    with FAISSDocumentStore(filled(tmp_path / "store", sample)) as store:
        gone = next(iter(store.reviews_of_items([ITEM])[ITEM]))
        write = store.write_digest

        def forgets_first(digest):
            store.forget([gone])
            write(digest)

        monkeypatch.setattr(store, "write_digest", forgets_first)
        digester = Meanwhile(store, lambda: None)
        digest_items(store, digester, [ITEM], place="here")
        assert digester.made == 2
        assert gone not in store.get_digest(ITEM).versions


def test_a_digest_for_people_and_for_machines(digested):
    shown = run("digest", ITEM, "--store", digested, app=qa_system.cli.app).stdout
    lines = shown.splitlines()
    assert lines[0] == f"{ITEM}  13 reviews"
    assert max(map(len, lines)) <= 80
    assert re.search(r"^  page +[+.-]+ +\d+ for, \d+ against, of 4$", shown, re.MULTILINE)
    found = json.loads(
        run("digest", ITEM, "--store", digested, "--json", app=qa_system.cli.app).stdout
    )
    assert list(found) == ["item_id", "reviews", "copies", "generation", "aspects"]
    assert list(found["aspects"][0]) == ["label", "for", "against", "support", "share", "quotes"]
    quote = found["aspects"][0]["quotes"][0]
    assert set(quote) >= {"review_id", "field", "text", "start", "end", "snippet", "meta"}
    with QASystem(load_settings(None, {"store.path": str(digested)})) as system:
        assert system.digest(ITEM).to_dict() == found


def test_what_has_no_digest_is_told(tmp_path, sample):
    path = filled(tmp_path / "store", sample)
    system = QASystem(load_settings(None, {"store.path": str(path)}))
    with pytest.raises(DigestNotFoundError, match="qa-index digest --item ereader-lumen-6"):
        system.digest(ITEM)
    with pytest.raises(UnknownItemError, match="no review of item 'hat'"):
        system.digest("hat")
    with pytest.raises(UnknownItemError, match="with their spaces"):
        system.digest(f" {ITEM}")
    system.close()
    with pytest.raises(ClosedError):
        system.digest(ITEM)
    result = CliRunner().invoke(indexing.cli.app, ["digest", "--item", "hat", "--store", str(path)])
    assert isinstance(result.exception, UnknownItemError)


@pytest.mark.parametrize("arguments", [[], ["--all", "--item", ITEM], ["--all", "--min-reviews=0"]])
def test_bad_usage(tmp_path, arguments):
    result = CliRunner().invoke(indexing.cli.app, ["digest", *arguments, "--store", str(tmp_path)])
    assert result.exit_code == 2


def test_items_with_few_reviews(tmp_path):
    path = tmp_path / "store"
    with FAISSDocumentStore(path) as store:
        meta = {"item_id": "mug"}
        texts = ["The handle is hot.", "The handle broke."]
        store.write_documents([Document(content=each, meta=meta) for each in texts])
        store.write_documents([Document(content="No item.")])
    run("digest", "--all", "--store", path)
    shown = run("digest", "mug", "--store", path, app=qa_system.cli.app).stdout
    assert "too few reviews" in shown
    run("digest", "--all", "--anew", "--min-reviews", "2", "--store", path)
    found = json.loads(
        run("digest", "mug", "--store", path, "--json", app=qa_system.cli.app).stdout
    )
    assert [(each["label"], each["support"]) for each in found["aspects"]] == [("handle", 2)]


def test_a_catalogue_is_learnt_from_items_far_apart(tmp_path, sample, monkeypatch):
    monkeypatch.setattr("indexing.digests.SAMPLED", 30)
    with FAISSDocumentStore(filled(tmp_path / "store", sample)) as store:
        items = item_ids(store)
        found = catalogue_of(store, items)
        assert found.reviews == 30
        # Of the first item and of the one in the middle, of 13 and 14 reviews.
        assert found.having["strap"] >= 4
        assert found.having["jacket"] >= 3
        monkeypatch.setattr("indexing.digests.SAMPLED", 5_000)
        assert catalogue_of(store, items).reviews == store.count_documents() == 184
        assert catalogue_of(store, []).reviews == 0
