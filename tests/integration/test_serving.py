"""`qa serve` as its clients see it: real processes, a real store, HTTP over loopback."""

import json
import signal
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shutil import copytree
from threading import Event

import httpx
import jsonschema
import pytest

from indexing.digests import digest_store
from indexing.job import run_job
from qa_system import QASystem
from qa_system.config import load_settings
from qa_system.serving.schema import ANSWERS
from qa_system.stores import open_store
from serving import JACKET, ZIPPER, Serving, serving


@pytest.fixture(scope="module")
def server(sample_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("log"), "--store", sample_store) as started:
        yield started


@pytest.fixture
def own_store(sample_store: Path, tmp_path: Path) -> Path:
    """A store that the test may write to."""
    return Path(copytree(sample_store, tmp_path / "store"))


def index(store: Path, folder: Path, *rows: dict[str, str]) -> int:
    """Run the job on reviews, and return the store's generation afterwards."""
    source = folder / "reviews.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    overrides = {"store.path": str(store), "indexing.sources": [str(source)]}
    settings = load_settings(None, overrides, environ={})
    run_job(settings)
    with open_store(settings.store) as opened:
        return opened.read_generation().number


def test_an_answer_is_that_of_the_library(server: Serving, sample_store: Path) -> None:
    with QASystem.open(store__path=str(sample_store)) as system:
        expected = system.ask("How is the zipper?", JACKET, top_k=2).to_dict()
        assert expected["generation"] == system.store.read_generation().number
    found = server.ask(top_k=2)
    assert found.status_code == 200
    values = found.json()
    assert values.pop("request_id") == found.headers["x-request-id"]
    assert set(values.pop("timings")) == set(expected.pop("timings"))
    assert values == expected


def test_the_request_is_answered_as_it_was_sent_and_named_as_it_was_called(server: Serving) -> None:
    found = server.client.post(
        "/v1/ask",
        json={"question": "  How is  the zipper?", "item_id": JACKET},
        headers={"X-Request-ID": "shop-7.a"},
    )
    assert found.json()["question"] == "  How is  the zipper?"
    assert found.json()["request_id"] == found.headers["x-request-id"] == "shop-7.a"
    odd = server.client.post("/v1/ask", json=ZIPPER, headers={"X-Request-ID": "a b/c"})
    assert odd.json()["request_id"] == odd.headers["x-request-id"] != "a b/c"


def test_filters_and_a_question_about_all_items(server: Serving) -> None:
    five = {"field": "meta.stars", "operator": "==", "value": 5}
    found = server.ask(filters=five).json()
    assert 0 < found["reviews"] < server.ask().json()["reviews"]
    assert all(answer["meta"]["stars"] == 5 for answer in found["answers"])
    assert server.ask(item_id=None).json()["reviews"] == 184


def test_of_several_questions_each_has_its_own_error(server: Serving) -> None:
    asked = [ZIPPER, {**ZIPPER, "item_id": "nothing"}, {**ZIPPER, "question": "?!"}, ZIPPER]
    found = server.client.post("/v1/ask:batch", json={"questions": asked, "top_k": 1})
    assert found.status_code == 200
    answers = found.json()["answers"]
    assert [(each["error"] or {}).get("code") for each in answers] == [
        None,
        "unknown_item",
        "empty_question",
        None,
    ]
    lost = server.ask(item_id="nothing").json()["error"]
    assert answers[1]["error"]["message"] == lost["message"] == "There are no reviews of this item."
    assert answers[0]["answers"] == answers[3]["answers"] == server.ask(top_k=1).json()["answers"]
    assert {each["request_id"] for each in answers} == {found.json()["request_id"]}
    assert not any("feedback" in each for each in answers)


def test_an_answer_is_found_in_its_review(server: Serving) -> None:
    answer = server.ask().json()["answers"][0]
    path = f"/v1/items/{JACKET}/reviews/{answer['review_id']}"
    found = server.client.get(path)
    review = found.json()
    assert review["content"][answer["start"] : answer["end"]] == answer["text"]
    assert review["meta"] == answer["meta"]
    again = server.client.get(path, headers={"If-None-Match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    other = server.client.get(f"/v1/items/lamp-noctella-clamp/reviews/{answer['review_id']}")
    assert (other.status_code, other.json()["error"]["code"]) == (404, "not_found")


def test_a_digest_is_that_of_the_job(server: Serving, sample_store: Path) -> None:
    path = f"/v1/items/{JACKET}/digest"
    early = server.client.get(path)
    assert (early.status_code, early.json()["error"]["code"]) == (404, "digest_not_found")
    settings = load_settings(None, {"store.path": str(sample_store)}, environ={})
    with open_store(settings.store) as store:
        digest_store(store, settings, [JACKET], min_reviews=3, anew=False)
    found = server.client.get(path)
    with QASystem(settings) as system:
        assert found.json() == json.loads(json.dumps(system.digest(JACKET).to_dict()))
    assert found.json()["item_id"] == JACKET
    again = server.client.get(path, headers={"If-None-Match": found.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    lost = server.client.get("/v1/items/nothing/digest")
    assert (lost.status_code, lost.json()["error"]["code"]) == (404, "unknown_item")


@pytest.mark.parametrize(
    ("body", "status", "code", "said"),
    [
        (b"{", 400, "malformed_request", "no JSON"),
        (b"[" * 50_000, 400, "malformed_request", "nests too deeply"),
        (
            b'{"question": "Loud?", "item_id": "a", "top_k": %b}' % (b"9" * 5_000),
            400,
            "malformed_request",
            "too many digits",
        ),
        (
            b'{"question": "Loud?", "item_id": "a", "top_k": 9%b}' % (b"9" * 20),
            422,
            "invalid_request",
            "top_k",
        ),
        (
            b'{"question": "Loud?", "item_id": "a", "timeout_ms": 9%b}' % (b"9" * 20),
            422,
            "invalid_request",
            "timeout_ms",
        ),
        (b"", 422, "invalid_request", "body"),
        (b"[]", 422, "invalid_request", "the body"),
        (b'{"question": "Loud?"}', 422, "invalid_request", "item_id: Field required"),
        (b'{"question": 1, "item_id": "a"}', 422, "invalid_request", "question"),
        (b'{"question": "", "item_id": "a"}', 422, "invalid_request", "question"),
        (b'{"question": "?", "item_id": "a"}', 422, "empty_question", "no words"),
        (b'{"question": "Loud?", "item_id": "a"}', 404, "unknown_item", "no reviews"),
        (b'{"question": "Loud?", "item_id": "a", "topk": 1}', 422, "invalid_request", "topk"),
        (b'{"question": "Loud?", "item_id": "a", "top_k": 0}', 422, "invalid_request", "top_k"),
        (b'{"question": "Loud?", "item_id": "a", "top_k": 21}', 422, "invalid_request", "20"),
        (b'{"question": "Loud?", "item_id": "a", "top_k": "3"}', 422, "invalid_request", "top_k"),
        (b'{"question": "Loud?", "item_id": "a", "mode": "psychic"}', 422, "invalid_request", "m"),
        (b'{"question": "Loud?", "item_id": "a", "timeout_ms": 60001}', 422, "invalid_request", ""),
        (b'{"question": "Loud\\ud800?", "item_id": "a"}', 422, "invalid_request", "unicode"),
        (b'{"question": "Loud?", "item_id": "a\\ud800"}', 422, "invalid_argument", "not valid"),
        (b'{"question": "Loud?", "item_id": "a", "filters": {"x": 1}}', 422, "invalid_filter", ""),
        (
            b'{"question": "Loud?", "item_id": "a", "filters": {"x": NaN}}',
            422,
            "invalid_request",
            "",
        ),
        (
            b'{"question": "Loud?", "item_id": "a", "filters": {"x": 9%b}}' % (b"9" * 20),
            422,
            "invalid_request",
            "filters",
        ),
        (b'{"question": "Loud?", "item_id": "a", "filters": [1]}', 422, "invalid_request", "filt"),
        (b'{"question": "%b?", "item_id": "a"}' % (b"x" * 500), 422, "invalid_request", "500"),
        (b'{"question": "%b?"}' % (b"x" * 100_001), 413, "request_too_large", "100000"),
    ],
)
def test_a_wrong_request_is_told_so(
    server: Serving, body: bytes, status: int, code: str, said: str
) -> None:
    headers = {"Content-Type": "application/json"}
    found = server.client.post("/v1/ask", content=body, headers=headers)
    error = found.json()["error"]
    assert (found.status_code, error["code"]) == (status, code)
    assert said in error["message"]
    assert error["request_id"] == found.headers["x-request-id"]
    assert set(found.json()) == {"error"}


def test_a_body_without_length_is_limited_too(server: Serving) -> None:
    def parts() -> Iterator[bytes]:
        for _ in range(200):
            yield b" " * 1_000

    assert server.client.post("/v1/ask", content=parts()).status_code == 413
    counted = server.client.get("/metrics").text
    assert 'qa_request_seconds_count{route="/v1/ask",status="413"}' in counted


def test_what_is_not_there_and_methods_that_are_not_taken(server: Serving) -> None:
    lost = server.client.get("/nothing")
    assert (lost.status_code, lost.json()["error"]["code"]) == (404, "not_found")
    # What is off by default.
    asked = server.ask().json()["request_id"]
    assert server.client.get(f"/v1/answers/{asked}").status_code == 401
    questions = server.client.get(f"/v1/items/{JACKET}/questions")
    assert questions.json() == {"item_id": JACKET, "questions": []}
    taken = server.client.delete("/v1/ask")
    assert (taken.status_code, taken.headers["allow"]) == (405, "POST")
    assert taken.json()["error"]["code"] == "method_not_allowed"


def test_health(server: Serving) -> None:
    assert server.client.get("/health/live").json() == {"status": "live"}
    assert server.client.get("/health/ready").json() == {"status": "ready"}
    for name in ("live", "ready"):
        head = server.client.head(f"/health/{name}")
        assert (head.status_code, head.content) == (200, b"")


def test_long_responses_are_compressed_for_those_who_take_it(server: Serving) -> None:
    for path in ("/widget/review-answers.js", "/openapi.json"):
        plain = server.client.get(path, headers={"Accept-Encoding": "identity"})
        packed = server.client.get(path, headers={"Accept-Encoding": "gzip"})
        assert packed.content == plain.content
        assert "content-encoding" not in plain.headers
        assert packed.headers["content-encoding"] == "gzip"
        assert int(packed.headers["content-length"]) < len(plain.content) / 2
        assert plain.headers["vary"] == packed.headers["vary"] == "Accept-Encoding"
        # Of two encodings of the same, only a weak tag may be the same.
        tags = {plain.headers.get("etag"), packed.headers.get("etag")}
        assert len(tags) == 1
        assert all(tag is None or tag.startswith("W/") for tag in tags)
    tag = {"If-None-Match": server.client.get("/widget/review-answers.js").headers["etag"]}
    same = server.client.get("/widget/review-answers.js", headers=tag)
    assert (same.status_code, same.headers["etag"]) == (304, tag["If-None-Match"])
    assert same.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in server.client.get("/health/live").headers


def test_every_response_says_what_browsers_may_do_with_it(server: Serving) -> None:
    responses = [
        server.ask(),
        server.client.get("/health/live"),
        server.client.get("/nothing"),
        server.client.post("/v1/ask", content=b"x" * 100_001),
    ]
    for found in responses:
        assert found.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in found.headers["content-security-policy"]
        assert "server" not in found.headers
        assert "access-control-allow-origin" not in found.headers


def test_openapi_has_examples_that_are_right(server: Serving) -> None:
    described = server.client.get("/openapi.json").json()
    assert "401" in described["paths"]["/metrics"]["get"]["responses"]
    told = described["paths"]["/v1/items/{item_id}/digest"]["get"]["responses"]
    assert {"200", "304", "404", "405"} <= set(told)
    asked = described["components"]["schemas"]["Ask"]
    example = {name: field["examples"][0] for name, field in asked["properties"].items()
               if "examples" in field}  # fmt: skip
    assert server.client.post("/v1/ask", json=example).status_code == 200
    responses = described["paths"]["/v1/ask"]["post"]["responses"]
    shown = responses["200"]["content"]["application/json"]["example"]
    returned = server.ask().json()
    # FastAPI leaves out what is null in an example.
    assert shown == {name: value for name, value in ANSWERS.items() if value is not None} | {
        "answers": [
            {name: value for name, value in each.items() if value is not None}
            for each in ANSWERS["answers"]
        ]
    }
    components = {"components": described["components"]}
    served = {"$ref": "#/components/schemas/Served", **components}
    batch = server.client.post(
        "/v1/ask:batch", json={"questions": [ZIPPER, {**ZIPPER, "item_id": "x"}]}
    )
    jsonschema.validate(returned, served)
    jsonschema.validate(ANSWERS, served)
    jsonschema.validate(batch.json(), {"$ref": "#/components/schemas/ServedBatch", **components})
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**returned, "points": 1}, served)
    assert {"400", "401", "404", "413", "422", "429", "503", "504"} <= set(responses)
    assert set(described["components"]["securitySchemes"]) == {"HTTPBearer", "APIKeyHeader"}


def test_questions_are_not_in_the_log(server: Serving) -> None:
    found = server.ask(question="Does Ann Xylophone like it?")
    server.client.post("/v1/ask", content=b'{"question": "Ann Xylophone"')
    server.client.post("/v1/ask:batch", json={"questions": [{**ZIPPER, "question": "Xylophone?"}]})
    assert "Xylophone" not in server.log()
    [line] = [
        line for line in server.requests() if line["request_id"] == found.headers["x-request-id"]
    ]
    assert (line["route"], line["status"], line["cached"]) == ("/v1/ask", 200, False)


def test_an_answer_is_never_older_than_the_store(own_store: Path, tmp_path: Path) -> None:
    with serving(tmp_path, "--store", own_store) as server:
        first = server.ask(question="Does it have a hood?")
        again = server.ask(question="Does it  have a hood?")
        assert (first.headers["x-cache"], again.headers["x-cache"]) == ("miss", "hit")
        assert first.headers["etag"] == again.headers["etag"]
        assert first.headers["cache-control"] == "private, max-age=60"
        for number in range(3):
            text = f"Yes, it has a hood, and it is the number {number} of hoods."
            row = {"review_id": "new", "item_id": JACKET, "text": text}
            written = index(own_store, tmp_path, row)
            found = server.ask(question="Does it have a hood?")
            assert found.json()["generation"] == written
            assert (found.headers["x-cache"], found.json()["reviews"]) == ("miss", 15)
            assert found.headers["etag"] != first.headers["etag"]
            review = server.client.get(f"/v1/items/{JACKET}/reviews/new").json()
            assert (review["content"], review["generation"]) == (text, written)
        assert server.ask(question="Does it have a hood?").headers["x-cache"] == "hit"
        with open_store(load_settings(overrides={"store.path": str(own_store)}).store) as store:
            store.forget(["new"])
        forgotten = server.ask(question="Does it have a hood?")
        assert forgotten.headers["x-cache"] == "miss"
        assert (forgotten.json()["reviews"], "number 2" in forgotten.text) == (14, False)
        assert server.client.get(f"/v1/items/{JACKET}/reviews/new").status_code == 404


def test_reviews_written_under_load_are_in_every_later_answer(
    own_store: Path, tmp_path: Path
) -> None:
    with serving(tmp_path, "--store", own_store) as server:
        written, stop = [server.ask().json()["generation"]], Event()

        def load(client_number: int) -> list[tuple[int, int, int]]:
            met = []
            with httpx.Client(base_url=server.address, timeout=60) as client:
                asked = {**ZIPPER, "top_k": client_number, "timeout_ms": 60_000}
                while not stop.is_set():
                    least = written[-1]
                    found = client.post("/v1/ask", json=asked)
                    generation = found.json().get("generation", -1)
                    met.append((found.status_code, least, generation))
            return met

        with ThreadPoolExecutor(4) as clients:
            loads = [clients.submit(load, number + 1) for number in range(4)]
            for number in range(6):
                row = {"review_id": "new", "item_id": JACKET, "text": f"Zipper {number} is fine."}
                written.append(index(own_store, tmp_path, row))
            stop.set()
        met = [each for load_ in loads for each in load_.result()]
        assert {status for status, _, _ in met} == {200}
        assert all(least <= generation for _, least, generation in met)
        assert len({generation for _, _, generation in met}) > 2


def test_what_was_accepted_is_answered_when_it_is_stopped(
    sample_store: Path, tmp_path: Path
) -> None:
    with serving(tmp_path, "--store", sample_store, "--set", "serving.cache_bytes=0") as server:
        outcomes: Counter[str] = Counter()

        def load(client_number: int) -> None:
            for number in range(1_000):
                question = f"How is zipper {client_number} {number}?"
                asked = {**ZIPPER, "question": question, "timeout_ms": 60_000}
                try:
                    found = httpx.post(f"{server.address}/v1/ask", json=asked, timeout=60)
                except httpx.ConnectError:
                    outcomes["refused"] += 1
                    return
                outcomes[str(found.status_code)] += 1
                if found.status_code == 503:
                    assert found.json()["error"]["code"] == "closed"
                    return

        with ThreadPoolExecutor(12) as clients:
            loads = [clients.submit(load, number) for number in range(12)]
            while outcomes["200"] < 30:
                time.sleep(0.05)
            server.signal(signal.SIGTERM)
            assert server.process.wait(60) == 0
        for each in loads:
            each.result()  # a request that was accepted and lost raises here
        assert set(outcomes) <= {"200", "503", "refused"}
        assert outcomes["503"] + outcomes["refused"] == 12
