"""The examples of web frameworks and of assistants run, on the sample, as people start them."""

import asyncio
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import create_server

import httpx
import pytest

from indexing.digests import digest_store
from indexing.job import run_job
from qa_system.config import load_settings
from qa_system.stores import open_store
from serving import JACKET, serving

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
ZIPPER = "How is the zipper?"
KEY = "k" * 24


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as `make demo` leaves it."""
    folder = tmp_path_factory.mktemp("demo")
    for name in ("configs", "data", "examples"):
        (folder / name).symlink_to(ROOT / name)
    overrides = {
        "store.path": str(folder / ".demo-store"),
        "indexing.sources": [str(ROOT / "data" / "sample")],
    }
    run_job(load_settings(None, overrides, environ={}))
    return folder


@contextmanager
def started(folder: Path, *command: str, **environ: str) -> Iterator[str]:
    """Start a server whose last argument is its port, and yield its address."""
    with create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        [sys.executable, *command, str(port)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, **environ},
    )
    address = f"http://127.0.0.1:{port}"
    try:
        for _ in range(1_200):
            try:
                httpx.get(address, timeout=10)
                break
            except httpx.TransportError:
                assert process.poll() is None
                time.sleep(0.1)
        yield address
    finally:
        process.terminate()
        process.wait(60)


def test_a_page_in_flask(demo: Path) -> None:
    command = ("-m", "flask", "--app", "examples/flask_page.py", "run", "--port")
    with started(demo, *command) as address:
        found = httpx.get(f"{address}/items/{JACKET}/ask", params={"question": ZIPPER}, timeout=60)
        assert re.search("zip", found.json()["answers"][0]["text"], re.IGNORECASE)
        lost = httpx.get(f"{address}/items/none/ask", params={"question": ZIPPER}, timeout=60)
        assert (lost.status_code, lost.json()["error"]["code"]) == (404, "unknown_item")
        assert httpx.get(f"{address}/items/{JACKET}/ask", timeout=60).status_code == 422


def test_a_page_in_django_keeps_the_key(demo: Path, tmp_path: Path) -> None:
    keys = "serving.keys=[{name: shop, env: SHOP_KEY}]"
    arguments = ("--store", demo / ".demo-store", "--set", keys)
    with serving(tmp_path, *arguments, SHOP_KEY=KEY) as server:
        assert server.ask().status_code == 401
        page = ("examples/django_page.py", "runserver", "--noreload")
        with started(demo, *page, QA_SERVE=server.address, QA_KEY=KEY) as address:
            asked = f"{address}/items/{JACKET}/ask"
            found = httpx.get(asked, params={"question": ZIPPER}, timeout=60)
            assert re.search("zip", found.json()["answers"][0]["text"], re.IGNORECASE)
            assert KEY not in found.text + str(found.headers)
            empty = httpx.get(asked, timeout=60)
            assert (empty.status_code, empty.json()["error"]["code"]) == (422, "invalid_request")
            server.stop()
            gone = httpx.get(asked, params={"question": "?"}, timeout=60)
            assert (gone.status_code, gone.headers["retry-after"]) == (503, "1")


async def test_an_assistant_asks_by_mcp(demo: Path) -> None:
    from mcp import ClientSession
    from mcp.client.stdio import StdioServerParameters, stdio_client

    command = StdioServerParameters(
        command=sys.executable,
        args=["examples/mcp_server.py", "configs/sample.yaml"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=demo,
    )
    async with (
        asyncio.timeout(300),
        stdio_client(command) as (read, write),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        tools = (await session.list_tools()).tools
        assert {tool.name for tool in tools} == {"ask_reviews", "review_digest"}
        asked = {"question": ZIPPER, "item_id": JACKET}
        found = await session.call_tool("ask_reviews", asked)
        told = json.loads(found.content[0].text)
        assert 0 < told["points"][0]["reviews"] <= told["speak_of_it"] <= told["reviews"] == 14
        assert told["points"][0]["quotes"]
        [answer, *_] = told["answers"]
        assert re.search("zip", answer["text"], re.IGNORECASE)
        lost = await session.call_tool("ask_reviews", {**asked, "item_id": "none"})
        assert lost.is_error
        assert "unknown_item: There are no reviews of this item." in lost.content[0].text
        early = await session.call_tool("review_digest", {"item_id": JACKET})
        assert early.is_error
        assert "digest_not_found" in early.content[0].text
        settings = load_settings(None, {"store.path": str(demo / ".demo-store")}, environ={})
        with open_store(settings.store) as store:
            digest_store(store, settings, [JACKET], min_reviews=3, anew=False)
            expected = store.get_digest(JACKET)
        found = await session.call_tool("review_digest", {"item_id": JACKET})
        digest = json.loads(found.content[0].text)
        assert digest["reviews"] == expected.reviews == 14
        assert [each["aspect"] for each in digest["aspects"]] == [
            each.label for each in expected.aspects
        ]
        assert digest["aspects"][0]["for"] == expected.aspects[0].for_


def test_a_pipeline_of_hayhooks(demo: Path) -> None:
    pytest.importorskip("hayhooks", reason="hayhooks is not installed: pip install hayhooks")
    program = ("-c", "from hayhooks.cli import hayhooks_cli as run; run()", "run")
    command = (*program, "--pipelines-dir", "examples/hayhooks", "--port")
    with started(demo, *command) as address:
        asked = {"question": ZIPPER, "item_id": JACKET}
        found = httpx.post(f"{address}/ask_reviews/run", json=asked, timeout=60)
        assert re.search("zip", found.json()["result"]["answers"][0]["text"], re.IGNORECASE)
