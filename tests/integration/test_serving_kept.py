"""What `qa serve` keeps of answers and questions, by two workers, and that it can be forgotten."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import ExitStack, closing
from pathlib import Path
from shutil import copytree
from threading import Event, Thread
from time import sleep
from typing import Any

import httpx
import pytest
import yaml

from indexing.job import run_job
from qa_system.config import AskedSettings, AuditSettings, load_settings
from qa_system.digests.records import Aspect, Digest
from qa_system.opinions import Quote
from qa_system.serving.kept.asked import AskedFile
from qa_system.serving.kept.audit import AuditFile
from qa_system.serving.schema import RECORD
from qa_system.stores import open_store
from serving import JACKET, ZIPPER, Serving, serving

SECRET, PAGE, LIMITED = "s" * 24, "p" * 24, "l" * 24
SHOP = "https://shop.example"
KEYS = [
    {"name": "shop", "env": "SHOP_KEY"},
    {"name": "page", "env": "PAGE_KEY", "origins": [SHOP]},
    {"name": "limited", "env": "LIMITED_KEY", "per_minute": 31},
]
FROM_PAGE = {"X-API-Key": PAGE, "Origin": SHOP}


class Keeping:
    """A service that keeps what it may, in one folder."""

    def __init__(self, server: Serving, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "serve.yaml"
        self.client = httpx.Client(
            base_url=server.address, timeout=60, headers={"X-API-Key": SECRET}
        )
        self.log = server.log

    def ask(self, request_id: str, **asked: Any) -> httpx.Response:
        headers = {"X-Request-ID": request_id}
        return self.client.post("/v1/ask", json={**ZIPPER, **asked}, headers=headers)

    def records(self, request_id: str) -> list[dict[str, Any]]:
        answers: list[dict[str, Any]] = self.client.get(f"/v1/answers/{request_id}").json()[
            "answers"
        ]
        return answers

    def replay(self, request_id: str) -> dict[str, Any]:
        [replayed] = self.client.post(f"/v1/answers/{request_id}:replay").json()["answers"]
        found: dict[str, Any] = replayed
        return found

    def held(self, *secrets: str) -> set[str]:
        """Those of some texts that any file holds."""
        files = [each for each in self.folder.rglob("*") if each.is_file()]
        return {
            secret for secret in secrets if any(secret.encode() in f.read_bytes() for f in files)
        }


@pytest.fixture(scope="module")
def keeping(sample_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Keeping]:
    folder = tmp_path_factory.mktemp("keeping")
    copytree(sample_store, folder / "store")
    tree = {
        "store": {"path": str(folder / "store")},
        "serving": {
            "workers": 2,
            "keys": KEYS,
            "feedback": str(folder / "feedback.sqlite3"),
            "audit": {"file": str(folder / "audit.sqlite3")},
            "asked": {"file": str(folder / "asked.sqlite3")},
        },
    }
    (folder / "serve.yaml").write_text(yaml.safe_dump(tree))
    log = tmp_path_factory.mktemp("log")
    keys = {"SHOP_KEY": SECRET, "PAGE_KEY": PAGE, "LIMITED_KEY": LIMITED}
    with serving(log, "--config", folder / "serve.yaml", **keys) as server:
        yield Keeping(server, folder)


def test_an_answer_is_explained_by_its_record(keeping: Keeping) -> None:
    answer = keeping.ask("first", filters={"field": "meta.stars", "operator": ">=", "value": 1})
    said = answer.json()
    [record] = keeping.records("first")
    assert set(record) == set(RECORD)
    for name in ("question", "item_id", "score", "threshold", "abstained", "generation"):
        assert record[name] == said[name]
    assert record["filters"] == {"field": "meta.stars", "operator": ">=", "value": 1}
    assert (record["key"], record["top_k"], record["mode"]) == ("shop", 3, "extract")
    assert len(record["evidence"]) == said["read"] > 0
    assert {each["review_id"] for each in said["answers"]} <= {
        each["review_id"] for each in record["evidence"]
    }
    assert set(record["models"]) >= {"bundled:encoder", "bundled:reader"}
    assert len(record["settings"]) == 24
    spans = [(each["review_id"], each["start"], each["end"]) for each in said["answers"]]
    assert [(e["review_id"], e["start"], e["end"]) for e in record["answers"]] == spans
    for secret in (SECRET, PAGE, said["answers"][0]["text"], said["answers"][0]["snippet"]):
        assert secret not in json.dumps(record, ensure_ascii=False)


def test_requests_that_are_named_alike_are_replayed_as_far_as_one_may_ask(keeping: Keeping) -> None:
    """A page may send one id with every request."""
    keeping.ask("alike", question="Is the hood big enough?")
    [record] = keeping.records("alike")
    batch = [{**record, "top_k": 1 + number % 2} for number in range(40)]
    for each in batch:
        del each["request_id"], each["at"]
    with closing(AuditFile(keeping.folder / "audit.sqlite3", AuditSettings())) as audit:
        audit.append("alike", batch, lambda _: True)
    found = keeping.client.get("/v1/answers/alike").json()
    assert (len(found["answers"]), found["older"]) == (32, True)
    limited = {"X-API-Key": LIMITED}
    address = "/v1/answers/alike:replay"
    assert keeping.client.post(address, headers=limited).status_code == 413
    replayed = keeping.client.post(address).json()
    assert (len(replayed["answers"]), replayed["older"]) == (32, True)
    assert [each["now"]["top_k"] for each in replayed["answers"]] == [1, 2] * 16
    assert all(
        each["then"] == record
        for each, record in zip(replayed["answers"], found["answers"], strict=True)
    )


def test_an_answer_from_the_cache_has_a_record_of_its_own(keeping: Keeping) -> None:
    hits = {keeping.ask(f"again{number}").headers["x-cache"]: number for number in range(8)}
    assert "hit" in hits  # of the two workers, each has a cache
    [kept] = keeping.records(f"again{hits['hit']}")
    [read] = keeping.records("again0")
    assert (kept["cached"], read["cached"]) == (True, False)
    volatile = {"cached", "request_id", "at"}
    assert all(kept[name] == read[name] for name in read.keys() - volatile)


def test_questions_that_are_asked_together_have_one_request(keeping: Keeping) -> None:
    questions = [ZIPPER, {**ZIPPER, "item_id": "nothing"}, {**ZIPPER, "question": "Is it warm?"}]
    found = keeping.client.post("/v1/ask:batch", json={"questions": questions})
    assert all(each["feedback"] for each in found.json()["answers"])
    records = keeping.records(found.json()["request_id"])
    assert [each["question"] for each in records] == ["How is the zipper?", "Is it warm?"]


def test_numbers_that_no_file_holds_are_refused(keeping: Keeping) -> None:
    said = {**ZIPPER, "request_id": "odd", "verdict": "up"}
    span = {"review_id": "r", "start": 0, "end": 4}
    for wrong in (
        {"generation": 2**70},
        {"shown": [{**span, "start": 2**80, "end": 2**80}]},
        {"correction": {**span, "end": 2**63}},
        {"correction": {**span, "start": 9}},
    ):
        body = json.dumps({**said, **wrong})
        refused = keeping.client.post("/v1/feedback", content=body)
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")
    largest = {"generation": 2**63 - 1, "correction": {**span, "end": 2**63 - 1}}
    assert keeping.client.post("/v1/feedback", json={**said, **largest}).status_code == 202


def test_files_that_others_hold_keep_nothing_else_waiting(keeping: Keeping) -> None:
    said = {**ZIPPER, "request_id": "held", "verdict": "up"}
    files = [keeping.folder / f"{name}.sqlite3" for name in ("feedback", "audit", "asked")]
    with ExitStack() as stack:
        for path in files:
            held = stack.enter_context(closing(sqlite3.connect(path, isolation_level=None)))
            held.execute("BEGIN IMMEDIATE")
        clients = stack.enter_context(ThreadPoolExecutor(90))

        def send(_: int) -> int:
            return httpx.post(
                keeping.client.base_url.join("/v1/feedback"),
                json=said, headers=keeping.client.headers, timeout=60,
            ).status_code  # fmt: skip

        sending = [clients.submit(send, number) for number in range(90)]
        # Two workers keep 32 of them waiting each; by then there is no room.
        done, _ = wait(sending, return_when=FIRST_COMPLETED, timeout=60)
        assert {each.result() for each in done} == {503}
        review = keeping.client.get(f"/v1/items/{JACKET}/reviews/nothing")
        ready = keeping.client.get("/health/ready")
        assert (review.status_code, ready.status_code) == (404, 200)
        assert {each.result() for each in sending} == {503}
    assert keeping.client.post("/v1/feedback", json=said).status_code == 202


def test_an_answer_is_given_before_it_is_kept_where_the_file_is_held(keeping: Keeping) -> None:
    path = keeping.folder / "audit.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as held:
        held.execute("BEGIN IMMEDIATE")
        assert keeping.ask("soon").status_code == 200
        held.execute("ROLLBACK")
    # It is kept still: the file was held for less time than a writer waits.
    for _ in range(100):
        found = keeping.client.get("/v1/answers/soon")
        if found.status_code == 200:
            return
        sleep(0.1)
    pytest.fail(found.text)


def test_only_a_secret_key_reads_what_is_kept(keeping: Keeping) -> None:
    keeping.ask("secret")
    for headers in ({}, FROM_PAGE, {"X-API-Key": "x" * 24}):
        for method, path in (("GET", "secret"), ("POST", "secret:replay")):
            address = keeping.client.base_url.join(f"/v1/answers/{path}")
            refused = httpx.request(method, address, headers=headers, timeout=60)
            assert (refused.status_code, "question" in refused.text) == (401, False)
    lost = keeping.client.get("/v1/answers/never-asked")
    assert (lost.status_code, lost.json()["error"]["code"]) == (404, "not_found")
    assert keeping.client.post("/v1/answers/never-asked:replay").status_code == 404


def test_a_question_is_shown_when_three_shoppers_have_asked_it(keeping: Keeping) -> None:
    path = f"/v1/items/{JACKET}/questions"

    def shown() -> list[str]:
        questions: list[str] = keeping.client.get(path, headers=FROM_PAGE).json()["questions"]
        return questions

    def asks(question: str, shopper: int) -> None:
        headers = {**FROM_PAGE, "X-Forwarded-For": f"203.0.113.{shopper}"}
        asked = {**ZIPPER, "question": question}
        assert keeping.client.post("/v1/ask", json=asked, headers=headers).status_code == 200

    for shopper in (1, 2, 2, 2):
        asks("Does the  zipper catch?", shopper)
    assert shown() == []
    for shopper in (1, 2, 3):
        asks("Does it play chess?", shopper)  # no review says anything of it
    asks(" Does the zipper catch?", 3)
    assert shown() == ["Does the zipper catch?"]
    assert keeping.client.get("/v1/items/nothing/questions").json()["questions"] == []
    assert keeping.held("203.0.113.") == set()


def test_an_answer_is_given_again_and_compared(keeping: Keeping) -> None:
    keeping.ask("before")
    replayed = keeping.replay("before")
    assert (replayed["same"], replayed["differs"], replayed["changed"]) == (True, [], [])
    [record] = keeping.records("before")
    assert replayed["then"] == record
    assert replayed["answer"]["question"] == "How is the zipper?"

    with_other_model = {**record, "models": {**record["models"], "bundled:reader": "another"}}
    for name in ("request_id", "at"):
        del with_other_model[name]
    kept = AuditFile(keeping.folder / "audit.sqlite3", AuditSettings())
    kept.append("of-another-model", [with_other_model], lambda _: True)
    kept.close()
    assert keeping.replay("of-another-model")["changed"] == ["models"]

    source = keeping.folder.parent / "more.jsonl"
    text = "The zipper is superb: the zipper never catches, and the zipper glides."
    source.write_text(
        json.dumps({"review_id": "review-of-superb-zips", "item_id": JACKET, "text": text}) + "\n"
    )
    overrides = {
        "store.path": str(keeping.folder / "store"),
        "indexing.sources": [str(source)],
    }
    run_job(load_settings(None, overrides, environ={}))
    source.unlink()
    moved = keeping.replay("before")
    assert (moved["same"], moved["changed"]) == (False, ["generation", "evidence"])
    assert moved["differs"]
    assert moved["now"]["generation"] > moved["then"]["generation"]


def test_forgetting_reaches_everything_that_a_running_service_has(keeping: Keeping) -> None:
    said = keeping.ask("forgotten").json()
    review = said["answers"][0]["review_id"]
    spans = [{"review_id": review, "start": 0, "end": 4}]
    feedback = {**ZIPPER, "request_id": "forgotten", "verdict": "up", "shown": spans}
    assert keeping.client.post("/v1/feedback", json=feedback).status_code == 202
    content = keeping.client.get(f"/v1/items/{JACKET}/reviews/{review}").json()["content"]
    asked = AskedFile(keeping.folder / "asked.sqlite3", AskedSettings())
    for shopper in "abc":
        asked.count(JACKET, f"Is it true: {content[-60:]}", shopper)
    asked.close()
    quote = Quote(review, "text", content[:50], 0, 50, content, {})
    with open_store(load_settings(keeping.config, environ={}).store) as store:
        versions = store.reviews_of_items([JACKET])[JACKET]
        aspect = Aspect("zipper", 1, 0, 1, 0.1, (quote,))
        store.write_digest(Digest(JACKET, len(versions), store.generation, (aspect,), versions))
    digest = f"/v1/items/{JACKET}/digest"
    assert keeping.client.get(digest).status_code == 200
    secrets = (review, content[:50], content[-50:])
    assert keeping.held(*secrets) == set(secrets)

    stop, answers = Event(), list[str]()

    def load() -> None:
        with httpx.Client(base_url=keeping.client.base_url, headers=keeping.client.headers) as shop:
            while not stop.is_set():
                answers.append(shop.post("/v1/ask", json=ZIPPER, timeout=60).text)

    thread = Thread(target=load)
    thread.start()
    command = [sys.executable, "-m", "indexing.cli", "forget", review, "--config", keeping.config]
    done = subprocess.run(
        [*map(str, command), "--json"], capture_output=True, text=True, check=False
    )
    stop.set()
    thread.join()
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["documents"], found["digests"], found["feedback"]) == (1, 1, 1)
    assert found["audit"] >= 1
    assert found["asked"] == 3

    assert review in answers[0]
    assert review not in keeping.ask("after").text
    for path in (f"/v1/items/{JACKET}/reviews/{review}", digest, "/v1/answers/forgotten"):
        assert keeping.client.get(path).status_code == 404
    # A page that was open meanwhile still names it.
    assert keeping.client.post("/v1/feedback", json=feedback).status_code == 202
    assert keeping.client.get(f"/v1/items/{JACKET}/questions").json()["questions"] == [
        "Does the zipper catch?"
    ]
    assert keeping.held(*secrets) == set()
    assert "not kept" not in keeping.log()


def test_an_answer_is_given_though_its_record_cannot_be_kept(keeping: Keeping) -> None:
    with closing(sqlite3.connect(keeping.folder / "audit.sqlite3")) as connection:
        connection.execute("DROP TABLE answers")
    assert keeping.ask("lost").status_code == 200
    assert "not kept: the file of serving.audit.file cannot be used" in keeping.log()
    found = keeping.client.get("/v1/answers/lost")
    assert (found.status_code, found.json()["error"]["code"]) == (503, "store_unavailable")
    assert str(keeping.folder) not in found.text
