"""`qa serve` with several workers, API keys, limits, a collector of traces; reloads and kills."""

import signal
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

import httpx
import psutil
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from serving import JACKET, ZIPPER, Serving, serving

SECRET, PAGE, SLOW = "s" * 24, "p" * 24, "l" * 24
SHOP = "https://shop.example"
KEYED = {"X-API-Key": SECRET}
KEYS = [
    {"name": "shop", "env": "SHOP_KEY"},
    {"name": "page", "sha256": sha256(PAGE.encode()).hexdigest(), "origins": [SHOP]},
    {"name": "slow", "sha256": sha256(SLOW.encode()).hexdigest(), "per_minute": 5},
]


class Guarded:
    """Two workers with keys, and the file of their settings."""

    def __init__(self, server: Serving, config: Path) -> None:
        self.server = server
        self.config = config

    def set(self, **serving_settings: Any) -> None:
        tree = yaml.safe_load(self.config.read_text())
        tree["serving"] |= serving_settings
        self.config.write_text(yaml.safe_dump(tree))

    def both_answer(self) -> bool:
        """Whether each of two workers has answered something."""
        httpx.get(f"{self.server.address}/health/live", timeout=60)
        pids = {line["pid"] for line in self.server.requests()}
        return len(now := set(self.server.workers())) == 2 and now <= pids

    def ask(self, key: str | None = SECRET, **headers: str) -> httpx.Response:
        given = headers if key is None else {"X-API-Key": key, **headers}
        return httpx.post(f"{self.server.address}/v1/ask", json=ZIPPER, headers=given, timeout=60)


@pytest.fixture(scope="module")
def guarded(sample_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    folder = tmp_path_factory.mktemp("guarded")
    config = folder / "serve.yaml"
    tree = {
        "store": {"path": str(sample_store)},
        "serving": {"workers": 2, "keys": KEYS, "state": str(folder / "state")},
    }
    config.write_text(yaml.safe_dump(tree))
    with serving(folder, "--config", config, SHOP_KEY=SECRET) as server:
        yield Guarded(server, config)


def until(condition: Callable[[], object], seconds: float = 300) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.05)


def test_without_a_key_nothing_but_health_is_told(guarded: Guarded) -> None:
    client = guarded.server.client
    refused = [
        guarded.ask(None),
        guarded.ask("x" * 24),
        client.post("/v1/ask:batch", json={"questions": [ZIPPER]}),
        client.get(f"/v1/items/{JACKET}/reviews/x"),
        client.get("/metrics"),
    ]
    for found in refused:
        assert (found.status_code, found.json()["error"]["code"]) == (401, "key_refused")
        assert found.headers["www-authenticate"] == "Bearer"
    assert client.get("/health/ready").status_code == 200


def test_a_key_comes_in_either_header(guarded: Guarded) -> None:
    assert guarded.ask(SECRET).status_code == 200
    assert guarded.ask(None, Authorization=f"Bearer {SECRET}").status_code == 200
    assert guarded.server.client.get("/metrics", headers=KEYED).status_code == 200


def test_a_publishable_key_is_for_pages_of_its_origins(guarded: Guarded) -> None:
    found = guarded.ask(PAGE, Origin=SHOP)
    assert found.status_code == 200
    assert found.headers["access-control-allow-origin"] == SHOP
    elsewhere = guarded.ask(PAGE, Origin="https://evil.example")
    assert elsewhere.status_code == 401
    assert "access-control-allow-origin" not in elsewhere.headers
    assert guarded.ask(PAGE).status_code == 401
    headers = {"X-API-Key": PAGE, "Origin": SHOP}
    assert guarded.server.client.get("/metrics", headers=headers).status_code == 401


@pytest.mark.parametrize(
    "odd",
    [
        {"Referer": "https://[bad/x"},
        {"Origin": "https://[bad"},
        {"Host": "[bad"},
        {"X-Forwarded-For": "[bad, ::1, \xff"},
        {"X-Forwarded-Proto": "[bad", "Forwarded": "for=[;;"},
        {"traceparent": "00-" + "z" * 200, "tracestate": "=,="},
        {"Authorization": "Bearer \xff\xfe"},
        {"Authorization": "Digest ["},
        {"If-None-Match": '"[', "Accept": "[", "Cookie": "=;[", "Range": "bytes=[-"},
    ],
)
def test_odd_headers_are_no_error_of_the_service(guarded: Guarded, odd: dict[str, str]) -> None:
    sent = {name: value.encode("latin-1") for name, value in odd.items()}
    keyed = {"X-API-Key": PAGE, **sent}
    for method, path in (
        ("POST", "/v1/ask"),
        ("POST", "/v1/ask/"),
        ("GET", f"/v1/items/{JACKET}/reviews/x"),
        ("GET", "/widget"),
        ("GET", "/health/ready"),
        ("OPTIONS", "/v1/ask"),
    ):
        json = ZIPPER if method == "POST" else None
        found = guarded.server.client.request(method, path, headers=keyed, json=json)
        assert found.status_code < 500, (path, found.text)
        if path == "/v1/ask" and method == "POST":
            assert found.status_code == 401


def test_browsers_may_send_what_pages_of_the_origins_ask(guarded: Guarded) -> None:
    asked = {
        "Origin": SHOP,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type,x-api-key",
    }
    allowed = guarded.server.client.options("/v1/ask", headers=asked)
    assert allowed.status_code == 200
    assert allowed.headers["access-control-allow-origin"] == SHOP
    assert "POST" in allowed.headers["access-control-allow-methods"]
    refused = guarded.server.client.options(
        "/v1/ask", headers={**asked, "Origin": "https://evil.example"}
    )
    assert "access-control-allow-origin" not in refused.headers


def test_a_limit_holds_for_all_workers(guarded: Guarded) -> None:
    with ThreadPoolExecutor(8) as clients:
        found = list(clients.map(lambda _: guarded.ask(SLOW), range(40)))
    assert Counter(each.status_code for each in found) == {200: 5, 429: 35}
    refused = next(each for each in found if each.status_code == 429)
    assert refused.json()["error"]["code"] == "rate_limited"
    assert 1 <= int(refused.headers["retry-after"]) <= 12

    until(guarded.both_answer)


def test_a_batch_is_no_way_around_the_limit(guarded: Guarded) -> None:
    questions = {"questions": [{**ZIPPER, "question": f"How is zipper {n}?"} for n in range(6)]}
    for _ in range(2):
        found = guarded.server.client.post(
            "/v1/ask:batch", json=questions, headers={"X-API-Key": SLOW}
        )
        assert (found.status_code, found.json()["error"]["code"]) == (413, "request_too_large")
        assert "5 questions a minute" in found.json()["error"]["message"]
        assert "retry-after" not in found.headers


def test_metrics_are_those_of_all_workers(guarded: Guarded) -> None:
    text = guarded.server.client.get("/metrics", headers=KEYED).text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    asked = [line for line in guarded.server.requests() if line["route"] == "/v1/ask"]
    counted = sum(
        sample.value
        for sample in families["qa_request_seconds"].samples
        if sample.name.endswith("_count") and sample.labels["route"] == "/v1/ask"
    )
    assert counted == len(asked) > 0
    cache = {sample.labels["outcome"]: sample.value for sample in families["qa_cache"].samples}
    assert cache["hit"] + cache["miss"] == sum(line["status"] == 200 for line in asked)
    assert {"read", "sentences", "total"} <= {
        sample.labels["stage"] for sample in families["qa_stage_seconds"].samples
    }
    read = {
        (sample.labels["kind"], sample.labels["outcome"]): sample.value
        for sample in families["qa_questions"].samples
    }
    assert read[("how", "answered")] == cache["miss"]
    assert families["qa_score"].samples


def test_a_killed_worker_is_replaced_and_the_others_go_on(guarded: Guarded) -> None:
    before = guarded.server.workers()
    psutil.Process(before[0]).kill()
    for _ in range(10):
        assert guarded.ask().status_code == 200
    until(lambda: before[0] not in guarded.server.workers() and guarded.both_answer())
    assert before[1] in guarded.server.workers()
    assert f"worker {before[0]} died" in guarded.server.log()


def test_settings_that_are_wrong_leave_the_old_workers_alone(guarded: Guarded) -> None:
    until(guarded.both_answer)
    before, kept = guarded.server.workers(), guarded.config.read_text()
    try:
        guarded.config.write_text(kept.replace("workers:", "wurkers:"))
        guarded.server.signal(signal.SIGHUP)
        until(lambda: "the old ones go on" in guarded.server.log())
        assert "serving.wurkers" in guarded.server.log()
        assert guarded.server.workers() == before
        assert guarded.ask().status_code == 200
    finally:
        guarded.config.write_text(kept)


def test_a_reload_takes_new_settings_and_loses_nothing(guarded: Guarded) -> None:
    until(guarded.both_answer)
    before = guarded.server.workers()
    stop, outcomes = Event(), Counter[int]()

    def load() -> None:
        while not stop.is_set():
            outcomes[guarded.ask().status_code] += 1

    with ThreadPoolExecutor(3) as clients:
        loads = [clients.submit(load) for _ in range(3)]
        try:
            guarded.set(max_top_k=2)
            guarded.server.signal(signal.SIGHUP)
            until(lambda: not set(before) & set(guarded.server.workers()))
        finally:
            stop.set()
        for each in loads:
            each.result()  # a request that was lost raises here
    # The question asks for three answers: the old workers take that, and the new ones do not.
    assert set(outcomes) == {200, 422}
    assert guarded.ask().status_code == 422


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--port", "99999"], 2, "serving.port"),
        (["--store", "nowhere"], 1, "qa-index run"),
        (["--set", "serving.keys=[{name: a, env: QA_NO_SUCH}]"], 2, "QA_NO_SUCH"),
        (["--host", "203.0.113.1"], 2, "cannot be listened on"),
        (
            ["--port", "0", "--set", "serving.state=/dev/null"],
            2,
            "serving.state cannot be a folder",
        ),
        (
            ["--port", "0", "--set", "serving.state=/dev/null/x"],
            2,
            "serving.state cannot be a folder",
        ),
        (
            ["--port", "0", "--feedback", "/dev/null/x"],
            1,
            "the file of serving.feedback cannot be used",
        ),
    ],
)
def test_what_cannot_be_served_is_told(
    arguments: list[str], code: int, said: str, sample_store: Path, tmp_path: Path
) -> None:
    from subprocess import run
    from sys import executable

    named = arguments if "--store" in arguments else [*arguments, "--store", str(sample_store)]
    done = run(
        [executable, "-m", "qa_system.cli", "serve", *named],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def collector() -> Iterator[tuple[str, list[str]]]:
    """An OpenTelemetry collector: its address, and the names of the spans that it was sent."""
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

    names: list[str] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent = ExportTraceServiceRequest()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                from gzip import decompress

                body = decompress(body)
            sent.ParseFromString(body)
            for resource in sent.resource_spans:
                for scope in resource.scope_spans:
                    names.extend(span.name for span in scope.spans)
                    assert "zipper" not in str(scope)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Collector) as started:
        Thread(target=started.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{started.server_port}/v1/traces", names
        started.shutdown()


def test_what_is_too_much_too_late_or_unwanted(
    sample_store: Path, tmp_path: Path, collector: tuple[str, list[str]]
) -> None:
    address, spans = collector
    config = tmp_path / "serve.yaml"
    limits = {"queue": 4, "max_questions": 4, "cache_bytes": 0, "traces": address}
    config.write_text(yaml.safe_dump({"store": {"path": str(sample_store)}, "serving": limits}))
    with serving(tmp_path, "--config", config) as server:
        late = server.ask(timeout_ms=1)
        assert (late.status_code, late.json()["error"]["code"]) == (504, "deadline")

        def ask(number: int) -> httpx.Response:
            asked = {**ZIPPER, "question": f"How is the zipper of number {number}?"}
            return httpx.post(f"{server.address}/v1/ask", json=asked, timeout=60)

        with ThreadPoolExecutor(40) as clients:
            found = list(clients.map(ask, range(80)))
        assert set(Counter(each.status_code for each in found)) == {200, 503}
        refused = next(each for each in found if each.status_code == 503)
        assert refused.json()["error"]["code"] == "overloaded"
        assert int(refused.headers["retry-after"]) >= 1
        quickest = min(each.elapsed.total_seconds() for each in found if each.status_code == 503)
        answered = min(each.elapsed.total_seconds() for each in found if each.status_code == 200)
        assert quickest < answered

        host, port = server.address.removeprefix("http://").split(":")
        body = b'{"question": "How is the zipper?", "item_id": "%b"}' % JACKET.encode()
        request = (
            b"POST /v1/ask HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"X-Request-ID: gone\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(request)
        until(lambda: any(line["request_id"] == "gone" for line in server.requests()))
        [line] = [line for line in server.requests() if line["request_id"] == "gone"]
        assert (line["code"], line["status"]) == ("client_gone", 499)
        assert server.stop() == 0
    assert {"qa_system.batch", "qa_system.read", "qa_system.sentences"} <= set(spans)
    batches = spans.count("qa_system.batch")
    assert 0 < batches < len([each for each in found if each.status_code == 200]) + 2
