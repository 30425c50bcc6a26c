"""A real Elasticsearch server behind a line that fails: what is sent again, and what is told."""

import http.client
import threading
from collections import deque
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy

from qa_system.errors import (
    QASystemError,
    StoreAccessError,
    StoreUnavailableError,
    StoreVersionError,
)


class Line(ThreadingHTTPServer):
    """Passes requests on to the server; the next writes meet with what `errors` says.

    A number is an answer of that status instead of the server's; "lost" passes the request on and
    breaks off before the answer.
    """

    daemon_threads = True

    def __init__(self, url):
        super().__init__(("127.0.0.1", 0), Handler)
        self.server = url.removeprefix("http://")
        self.errors = deque()
        self.answers = {}
        self.refusals = 0

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request, client_address):
        pass


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def pass_on(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        is_write = "_bulk" in self.path
        error = self.server.errors.popleft() if is_write and self.server.errors else None
        if isinstance(error, int):
            return self.answer(error, b'{"error": {"type": "x", "reason": "too busy"}}')
        if self.server.refusals > 0:
            self.server.refusals -= 1
            return self.answer(503, b'{"error": {"type": "x", "reason": "starting"}}')
        if self.path in self.server.answers:
            return self.answer(*self.server.answers[self.path])
        upstream = http.client.HTTPConnection(self.server.server, timeout=30)
        headers = {
            key: self.headers[key] for key in ("Content-Type", "Accept") if self.headers[key]
        }
        upstream.request(self.command, self.path, body, headers)
        found = upstream.getresponse()
        content = found.read()
        upstream.close()
        if error == "lost":
            self.close_connection = True
            return None
        return self.answer(found.status, content, found.headers["Content-Type"])

    def answer(self, status, content, kind="application/json"):
        self.send_response(status)
        self.send_header("X-Elastic-Product", "Elasticsearch")
        self.send_header("Content-Type", kind or "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = pass_on


@pytest.fixture
def line(elasticsearch_url):
    with Line(elasticsearch_url) as line:
        thread = threading.Thread(target=line.serve_forever, daemon=True)
        thread.start()
        yield line
        line.shutdown()


def documents(count):
    return [Document(id=f"r{n}", content=f"good {n}") for n in range(count)]


@pytest.mark.parametrize("error", [429, 503, "lost"])
@pytest.mark.parametrize("policy", [DuplicatePolicy.SKIP, DuplicatePolicy.OVERWRITE])
def test_what_was_not_acknowledged_is_sent_again(elastic_store, line, error, policy):
    store = elastic_store(url=line.url, bulk={"chunk_documents": 50})
    store.write_documents(documents(10))
    line.errors.extend([error, error])
    report = store.write_bulk(documents(210), policy)
    there = 10 if policy is DuplicatePolicy.SKIP else 0
    assert (report.written, len(report.conflicts)) == (210 - there, there)
    assert report.rejected == []
    assert 50 <= report.retried <= 100
    assert report.share_retried > 0.2
    assert store.count_documents() == 210


def test_a_lost_answer_is_no_duplicate(elastic_store, line):
    store = elastic_store(url=line.url)
    store.write_documents([Document(id="first")])
    line.errors.append("lost")
    assert store.write_documents(documents(20), DuplicatePolicy.FAIL) == 20


def test_a_server_that_stays_ill_is_given_up(elastic_store, line):
    store = elastic_store(url=line.url, bulk={"retry_for": 1.0})
    line.errors.extend([503] * 100)
    with pytest.raises(StoreUnavailableError, match=r"no time or no place for this \(503\)"):
        store.write_documents(documents(5))
    line.errors.clear()
    assert store.write_documents(documents(5), DuplicatePolicy.OVERWRITE) == 5


def test_a_job_waits_for_a_server_and_a_page_does_not(elastic_store, line):
    store = elastic_store(url=line.url)
    with store.loading():
        store.write_documents([Document(id="r1", meta={"review_id": "r1"})])
        line.refusals = 6
        assert store.documents_of_reviews(["r1"]) == {}
        line.refusals = 6
    assert store.count_documents() == 1
    line.refusals = 6
    with pytest.raises(StoreUnavailableError, match="503"):
        store.count_documents()


def test_a_request_that_is_refused_as_a_whole_hits_only_its_cause(elastic_store, line):
    store = elastic_store(url=line.url, bulk={"chunk_documents": 8})
    store.write_documents([Document(id="first")])
    # The whole of 8, its first half, that half's first half, its first document.
    line.errors.extend([400, 400, 400, 400])
    report = store.write_bulk(documents(8))
    assert ([one.id for one in report.rejected], report.written) == (["r0"], 7)
    assert report.rejected[0].reason == "too busy"


def test_another_version_and_a_closed_API_are_named(elastic_store, line):
    line.answers["/"] = (200, b'{"version": {"number": "7.17.1"}}')
    with pytest.raises(StoreVersionError, match=r"Elasticsearch 7.17.1, and 8.x is needed"):
        elastic_store(url=line.url).count_documents()
    line.answers["/"] = (401, b'{"error": {"type": "security_exception", "reason": "no"}}')
    with pytest.raises(StoreAccessError, match="does not know us"):
        elastic_store(url=line.url).count_documents()


# --- an index that somebody has closed or blocked


@pytest.fixture
def filled(elastic_store):
    """A store with a document, its client, and the name of its index."""
    store = elastic_store(bulk={"retry_for": 0.5})
    store.write_documents([Document(id="first", content="good", meta={"item_id": "lamp"})])
    return store, store._at.client, store.status().index


def uses(store):
    """Reading, searching, writing, deleting and loading."""
    document = Document(id="second", content="good")
    return {
        "read": store.count_documents,
        "search": lambda: store.search_bm25("good", 1),
        "write": lambda: store.write_documents([document], DuplicatePolicy.OVERWRITE),
        "delete": lambda: store.delete_by_filter({}),
        "delete by id": lambda: store.delete_documents(["first"]),
        "delete all": store.delete_all_documents,
        "forget": lambda: store.forget(["first"]),
        "verify": store.verify,
        "load": lambda: store.loading().__enter__(),
    }


def test_a_closed_index_is_told(filled):
    store, client, index = filled
    client.indices.close(index=index)
    for use in uses(store).values():
        with pytest.raises(StoreUnavailableError, match="the index is closed") as caught:
            use()
        assert "POST /INDEX/_open" in str(caught.value)
    client.indices.open(index=index, wait_for_active_shards=1)
    assert uses(store)["write"]() == 1


DELETIONS = ("delete", "delete by id", "delete all", "forget")
BLOCKS = {
    "write": ({"write", *DELETIONS}, '"index.blocks.write": null'),
    "read_only": ({"write", *DELETIONS}, '"index.blocks.read_only": null'),
    "read": ({"read", "search", "verify"}, '"index.blocks.read": null'),
    "read_only_allow_delete": ({"write"}, "flood stage"),
}


@pytest.mark.parametrize("block", BLOCKS)
def test_a_blocked_index_is_told(filled, block):
    store, client, index = filled
    stopped, remedy = BLOCKS[block]
    client.indices.put_settings(index=index, settings={f"index.blocks.{block}": True})
    try:
        for name in stopped:
            with pytest.raises(StoreUnavailableError, match="the server blocks this") as caught:
                uses(store)[name]()
            assert remedy in str(caught.value)
            assert "cannot be reached" not in str(caught.value)
        if "read" not in stopped:
            assert store.count_documents() == 1
    finally:
        client.indices.put_settings(index=index, settings={f"index.blocks.{block}": None})
    assert uses(store)["write"]() == 1


def test_what_cannot_be_written_or_read_as_json_is_told(filled, elastic_store, line):
    store, *_ = filled
    for ask in (
        lambda: store.search_bm25("\ud83d battery"),
        lambda: store.documents_of_reviews(["\ud83d"]),
        lambda: store.has_item("\ud83d"),
    ):
        with pytest.raises(QASystemError) as caught:
            ask()
        assert "cannot be reached" not in str(caught.value)
        assert "surrogate" in str(caught.value)
    line.answers["/"] = (200, b"<html>Please log in.</html>")
    with pytest.raises(StoreUnavailableError, match="the answer is no JSON"):
        elastic_store(url=line.url).count_documents()
