"""A server on this machine with the widget's files, and answers that it was told to give."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

import marked_answers
from qa_system.records import Review

WEB = Path(__file__).parents[2] / "web"
TYPES = {".js": "text/javascript", ".html": "text/html; charset=utf-8", ".css": "text/css"}
STRICT = (
    "default-src 'none'; script-src 'self'; img-src data:; style-src 'self'; connect-src 'self';"
    " base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
)
"""The strictest policy that a shop may have."""

PAGE_STYLE = b"""
:root { color-scheme: light dark; font: 16px/1.5 system-ui, "DejaVu Sans", sans-serif; }
body { margin: 0; padding: 16px; }
"""


class Reply(NamedTuple):
    """What is returned instead of an answer."""

    status: int
    headers: Mapping[str, str] = {}
    delay: float = 0.0


class WidgetServer(ThreadingHTTPServer):
    """Serves `web/`, a page with the widget, and the API that it calls."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.start_anew()

    def start_anew(self) -> None:
        """Forget what was asked and told."""
        self.answers = marked_answers.scripted()
        self.reviews: dict[str, Review] = dict(marked_answers.reviews())
        self.replies: dict[str, Reply] = {}
        self.most_asked: dict[str, list[str]] = {}
        self.feedback_status = 202
        self.feedback: list[dict[str, Any]] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.body = ""
        self.policy = STRICT
        self.script = "/widget/review-answers.js"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: WidgetServer

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        match [unquote(part) for part in parts.path.strip("/").split("/")]:
            case ["page"]:
                self._send(200, self._page(parse_qs(parts.query)), "text/html; charset=utf-8")
            case ["page.css"]:
                self._send(200, PAGE_STYLE, "text/css")
            case ["widget", *path] if (WEB / Path(*path)).is_file():
                file = WEB / Path(*path)
                self._send(200, file.read_bytes(), TYPES[file.suffix])
            case ["v1", "items", item, "reviews", review_id]:
                review = self.server.reviews.get(review_id)
                if review is None or review.item_id != item:
                    self._json({"error": {"code": "NOT_FOUND"}}, 404)
                else:
                    self._json({"review_id": review.id, "content": review.content})
            case ["v1", "items", item, "questions"]:
                most = self.server.most_asked.get(item, [])
                self._json({"item_id": item, "questions": most})
            case _:
                self._json({"error": {"code": "NOT_FOUND"}}, 404)

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.keys.append(self.headers["X-API-Key"])
        if self.path == "/v1/feedback":
            if self.server.feedback_status == 202:
                self.server.feedback.append(body)
            return self._json({}, self.server.feedback_status)
        if self.path != "/v1/ask":
            return self._json({"error": {"code": "NOT_FOUND"}}, 404)
        self.server.asked.append(body)
        question = body["question"]
        status, headers, delay = self.server.replies.get(question, Reply(200))
        time.sleep(delay)
        if status != 200:
            return self._json({"error": {"code": "REFUSED"}}, status, headers)
        key = (body["item_id"], question)
        found = self.server.answers.get(key)
        if found is None:
            found = marked_answers.answers(question, body["item_id"], ()).to_dict()
        number = len(self.server.asked)
        return self._json({"feedback": True, **found, "request_id": f"r{number}"})

    def _page(self, query: Mapping[str, list[str]]) -> bytes:
        attributes = query.get("attributes", [""])[0]
        html = query.get("html", ['lang="en"'])[0]
        return (
            f"<!doctype html><html {html}><head><meta charset=utf-8><title>Shop</title>"
            '<meta name=viewport content="width=device-width">'
            '<link rel=icon href="data:,"><link rel=stylesheet href="/page.css">'
            f'<script type=module src="{self.server.script}"></script></head><body><main>'
            f"<h1>Shop</h1><review-answers {attributes}>{self.server.body}</review-answers>"
            "</main></body></html>"
        ).encode()

    def _json(
        self, values: dict[str, Any], status: int = 200, headers: Mapping[str, str] = {}
    ) -> None:
        self._send(status, json.dumps(values, default=str).encode(), "application/json", headers)

    def _send(
        self, status: int, payload: bytes, kind: str, headers: Mapping[str, str] = {}
    ) -> None:
        self.send_response(status)
        own = {"Content-Type": kind, "Content-Security-Policy": self.server.policy}
        for name, value in {**headers, **own}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *arguments: Any) -> None:
        """Log nothing."""


@contextmanager
def serving_widget() -> Iterator[WidgetServer]:
    """Serve until the block is left."""
    server = WidgetServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
