"""`<review-answers>` as `qa serve` serves it: a real store, a real reader, a real browser."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from indexing.job import run_job
from qa_system.config import load_settings
from serving import JACKET, Serving, serving
from widget_server import STRICT, WidgetServer, serving_widget

pytestmark = pytest.mark.slow

HOSTILE = {
    "review_id": "r/1 ?<b>&",
    "item_id": "lamp/<i>&?",
    "review": "😀😀 </script><img src=x onerror=\"document.title='owned'\"> The lamp is much too"
    " bright to read by. <b>Never</b> again 😀.",
    "stars": 1,
}
KEY = "0123456789abcdef-publishable"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("widget")


@pytest.fixture(scope="module")
def store(folder: Path, sample: Path) -> Path:
    """The sample, and a review that would be a script."""
    (folder / "hostile.jsonl").write_text(json.dumps(HOSTILE) + "\n")
    for source in (sample, folder / "hostile.jsonl"):
        overrides = {"store.path": str(folder / "store"), "indexing.sources": [str(source)]}
        run_job(load_settings(None, overrides, environ={}))
    return folder / "store"


@pytest.fixture(scope="module")
def server(store: Path, folder: Path) -> Iterator[Serving]:
    with serving(folder, "--store", store) as started:
        yield started


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[[str], Any]]:
    """Opens an address; afterwards, nothing may have been refused or gone wrong."""
    complaints: list[str] = []
    context = browser.new_context()
    context.set_default_timeout(20_000)

    def go(address: str) -> Any:
        page = context.new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        page.locator("review-answers[state=idle]").first.wait_for()
        return page

    yield go
    assert all("owned" not in page.title() for page in context.pages)
    context.close()
    assert complaints == []


def test_the_demo_shop_answers_and_opens_quotes(server: Serving, visit: Any) -> None:
    page = visit(f"{server.address}/widget/demo/")
    jacket = page.locator("review-answers").first
    jacket.get_by_role("textbox").fill("How is the zipper?")
    page.keyboard.press("Enter")
    jacket.locator(".point").first.wait_for()
    said = server.ask().json()
    shown = said["points"] or said["answers"]
    [first, *_] = shown
    assert jacket.locator(".label").first.inner_text().strip("“”") == (
        first["label"] if said["points"] else first["text"]
    )
    quote = first["quotes"][0] if said["points"] else first
    jacket.get_by_role("button", name="Read the whole review").first.click()
    review = jacket.get_by_role("group", name="Whole review")
    assert review.locator("mark").inner_text() == quote["text"]
    stored = server.client.get(f"/v1/items/{JACKET}/reviews/{quote['review_id']}").json()
    assert review.inner_text() == stored["content"].strip()


def test_a_review_that_would_be_a_script_is_text(server: Serving, visit: Any, store: Path) -> None:
    page = visit(f"{server.address}/widget/demo/")
    page.evaluate(
        f"document.querySelector('review-answers').setAttribute('item', {HOSTILE['item_id']!r})"
    )
    lamp = page.locator("review-answers").first
    lamp.get_by_role("textbox").fill("How bright is the lamp?")
    page.keyboard.press("Enter")
    lamp.locator(".point").first.wait_for()
    lamp.get_by_role("button", name="Read the whole review").first.click()
    review = lamp.get_by_role("group", name="Whole review")
    marked = review.locator("mark").inner_text()
    assert marked == lamp.locator("blockquote mark").first.inner_text()
    assert "bright" in marked
    assert review.inner_text() == HOSTILE["review"]
    assert lamp.locator("img, script, b").count() == 0


def test_another_shops_page_asks_with_a_publishable_key(
    store: Path, tmp_path: Path, visit: Any
) -> None:
    with serving_widget() as shop:
        config = tmp_path / "config.yaml"
        keys = [{"name": "page", "env": "PAGE_KEY", "origins": [shop.url]}]
        config.write_text(json.dumps({"store": {"path": str(store)}, "serving": {"keys": keys}}))
        with serving(tmp_path, "--config", config, PAGE_KEY=KEY) as server:
            shop.policy = STRICT.replace("'self'", f"'self' {server.address}")
            page = visit(foreign(shop, server, KEY))
            page.get_by_role("textbox").fill("How is the zipper?")
            page.keyboard.press("Enter")
            page.locator(".point").first.wait_for()
            page.get_by_role("button", name="Read the whole review").first.click()
            page.get_by_role("group", name="Whole review").locator("mark").wait_for()


def foreign(shop: WidgetServer, server: Serving, key: str) -> str:
    """A page of a shop that has the widget's script from the service."""
    shop.script = f"{server.address}/widget/review-answers.js"
    return f"{shop.url}/page?{urlencode({'attributes': f'item={JACKET} key={key}'})}"


def test_the_script_is_for_any_page_and_other_files_are_not_there(server: Serving) -> None:
    script = server.client.get("/widget/review-answers.js", headers={"Origin": "https://shop.test"})
    assert script.headers["content-type"].startswith("text/javascript")
    assert script.headers["access-control-allow-origin"] == "*"
    assert script.headers["cross-origin-resource-policy"] == "cross-origin"
    again = {"If-None-Match": script.headers["etag"]}
    assert server.client.get("/widget/review-answers.js", headers=again).status_code == 304
    for path in ("/widget/", "/widget/..%2Fpyproject.toml", "/widget/demo/none.js"):
        refused = httpx.get(f"{server.address}{path}")
        assert refused.status_code == 404
        assert refused.json()["error"]["code"] == "not_found"
        assert "access-control-allow-origin" not in refused.headers


def test_feedback_is_sent_kept_and_exported(store: Path, tmp_path: Path, visit: Any) -> None:
    kept = tmp_path / "feedback.sqlite3"
    with serving(tmp_path, "--store", store, "--feedback", kept) as server:
        page = visit(f"{server.address}/widget/demo/")
        jacket = page.locator("review-answers").first
        jacket.get_by_role("textbox").fill("How is the zipper?")
        page.keyboard.press("Enter")
        jacket.get_by_role("button", name="No", exact=True).click()
        jacket.get_by_role("textbox", name="What was wrong").fill("It says nothing of the puller.")
        jacket.get_by_role("button", name="Send").click()
        jacket.locator(".feedback > p").wait_for()
        refused = server.client.post("/v1/feedback", json={"verdict": "up"})
        assert refused.status_code == 422
        generation = server.ask().json()["generation"]
    first, second = exported(kept)
    assert [first["number"], second["number"]] == [1, 2]
    assert (first["verdict"], first["reason"]) == ("down", None)
    assert second["reason"] == "It says nothing of the puller."
    assert second["request_id"] == first["request_id"]
    assert (first["item_id"], first["question"]) == (JACKET, "How is the zipper?")
    assert first["generation"] == generation
    assert set(first["versions"]["models"]) >= {"bundled:encoder", "bundled:reader"}
    assert first["key"] == "anonymous"
    assert exported(kept, "--after", "1") == [second]
    assert exported(kept, "--forget", first["shown"][0]["review_id"]) == []
    assert exported(kept) == []


def exported(kept: Path, *arguments: str) -> list[dict[str, Any]]:
    """What `qa feedback` prints."""
    command = [sys.executable, "-m", "qa_system.cli", "feedback", "--feedback", str(kept)]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_a_service_without_a_file_takes_no_feedback(server: Serving, visit: Any) -> None:
    page = visit(f"{server.address}/widget/demo/")
    jacket = page.locator("review-answers").first
    jacket.get_by_role("textbox").fill("How is the zipper?")
    page.keyboard.press("Enter")
    jacket.locator(".point").first.wait_for()
    assert jacket.get_by_text("Did this help?").count() == 0
    said = {"request_id": "r1", "item_id": JACKET, "question": "How is it?", "verdict": "up"}
    assert server.client.post("/v1/feedback", json=said).status_code == 404
