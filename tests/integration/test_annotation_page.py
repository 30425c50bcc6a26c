"""`qa annotate` in a real browser, on a real store, with a process that is killed."""

import json
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from accessibility import violations
from annotating import BRIGHT, HOSTILE, NOISE, REVIEWS, Annotating, annotate, annotating, make_store
from eval.cli import app as eval_app
from eval.datasets import load_dataset

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a store that nobody has annotated, to be copied."""
    return make_store(tmp_path_factory.mktemp("made")).parent


@pytest.fixture(scope="module")
def store(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(made, tmp_path_factory.mktemp("annotating") / "lamp") / "store"


@pytest.fixture(scope="module")
def server(store: Path) -> Iterator[Annotating]:
    with annotating(store, annotators=5) as started:
        yield started


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """Opens an address; afterwards, nothing may have been refused or gone wrong."""
    complaints: list[str] = []
    contexts: list[Any] = []

    def go(address: str, state: str = "task", **look: Any) -> Any:
        contexts.append(browser.new_context(**look))
        contexts[-1].set_default_timeout(20_000)
        page = contexts[-1].new_page()
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(address)
        page.locator(f"main[data-state={state}]").wait_for()
        return page

    yield go
    assert all("owned" not in page.title() for context in contexts for page in context.pages)
    for context in contexts:
        context.close()
    # Chromium reports every answer that is an error; the page's own words are no part of that.
    assert [each for each in complaints if "Failed to load resource" not in each] == []


def task_of(client: httpx.Client, question: str, review: str) -> dict[str, Any]:
    """Skips up to a task, and returns it."""
    place = client.get("tasks/next").json()
    for _ in range(place["tasks"]):
        task: dict[str, Any] = place["task"]
        if (task["question"], task["review_id"]) == (question, review):
            return task
        place = client.post("skips", json={"task_id": task["id"]}).json()
    raise AssertionError(place)


def label(
    client: httpx.Client, task: dict[str, Any], words: str | None, polarity: str | None = None
):
    span = None
    if words is not None:
        start = task["text"].index(words)
        span = {"start": start, "end": start + len(words)}
    given = {"task_id": task["id"], "span": span, "polarity": polarity}
    done = client.post("labels", json=given)
    assert done.status_code == 200, done.text
    return done.json()


def marked(page: Any) -> str:
    return str(page.locator("#review mark").inner_text())


def test_marking_by_keyboard_alone(server: Annotating, visit: Any) -> None:
    client = server.client(0)
    task = task_of(client, BRIGHT, "r1")
    page = visit(server.pages[0])
    assert "token" not in page.url, "it is not left on the screen"
    assert page.get_by_role("heading", level=2).inner_text() == BRIGHT
    suggested = task["suggestion"]
    assert marked(page) == task["text"][suggested["start"] : suggested["end"]]
    assert page.evaluate("document.activeElement.id") == "review"
    assert page.locator("#saved").inner_text() == "Nothing saved yet"

    # From the first words on: the start moves, pushes the end, and comes back.
    for _ in range(40):
        page.keyboard.press("Shift+ArrowLeft")
    assert marked(page) == "I"
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    assert marked(page) == "It"
    for _ in range(3):
        page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("ArrowRight")
    assert marked(page) == "is bright enough"
    assert page.get_by_role("status").inner_text() == "Marked: is bright enough"
    page.keyboard.press("r")
    assert marked(page) == task["text"][suggested["start"] : suggested["end"]]
    page.keyboard.press("ArrowLeft")
    chosen = marked(page)
    page.keyboard.press("1")
    page.get_by_text("1 of 8 labelled").wait_for()
    assert page.get_by_role("status").inner_text() == "Saved: an answer, for."
    assert page.locator("#saved").inner_text().startswith("Last saved ")
    assert page.evaluate("document.activeElement.id") == "review"

    page.keyboard.press("0")
    page.get_by_text("2 of 8 labelled").wait_for()
    page.keyboard.press("u")
    page.get_by_text("1 of 8 labelled").wait_for()
    assert page.get_by_role("status").inner_text() == "Taken back: no answer."
    page.keyboard.press("u")
    page.get_by_text("0 of 8 labelled").wait_for()
    assert marked(page) == chosen, "what was said before is marked again"
    assert page.get_by_role("status").inner_text() == "Taken back: an answer, for."
    page.keyboard.press("s")
    page.get_by_text("Skipped.").wait_for()
    assert client.get("tasks/next").json()["task"]["id"] != task["id"]
    page.keyboard.press("u")
    page.get_by_role("heading", name=BRIGHT).wait_for()
    page.keyboard.press("Control+1")  # the browser's own
    # Every button is reached, in the order in which it is read.
    for expected in ("Start earlier", "Start later", "End earlier", "End later", "The reader"):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.innerText").startswith(expected)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_text("1 of 8 labelled").wait_for()


def test_marking_with_the_mouse_takes_whole_words(server: Annotating, visit: Any) -> None:
    task_of(server.client(1), NOISE, "r2")
    page = visit(server.pages[1])
    page.locator("#suggested").click()
    page.evaluate(
        """() => {
          const review = document.getElementById("review");
          review.replaceChildren(review.textContent);
          const range = document.createRange();
          const from = review.textContent.indexOf("oes not buz");
          range.setStart(review.firstChild, from);
          range.setEnd(review.firstChild, from + 11);
          getSelection().addRange(range);
          review.dispatchEvent(new PointerEvent("pointerup", { bubbles: true }));
        }"""
    )
    page.locator("mark", has_text="does not buzz").wait_for()
    assert marked(page) == "does not buzz"


@pytest.mark.parametrize(
    "look",
    [
        {"color_scheme": "light"},
        {"color_scheme": "dark", "viewport": {"width": 400, "height": 800}},
        {"forced_colors": "active"},
    ],
)
def test_a_hostile_review_is_text_and_axe_finds_nothing(
    server: Annotating, visit: Any, look: dict[str, Any]
) -> None:
    client = server.client(2)
    task_of(client, BRIGHT, "r4")
    page = visit(server.pages[2], **look)
    review = page.locator("#review")
    assert review.text_content() == HOSTILE
    assert page.locator("img, b").count() == 0
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    while marked(page) != "bright enough":  # an emoji before it is one character, and two units
        before = marked(page)
        page.keyboard.press("ArrowRight" if before.startswith("It") else "Shift+ArrowRight")
        if before.startswith("is"):
            page.keyboard.press("ArrowRight")
    page.keyboard.press("4")
    page.get_by_text("1 of 8 labelled").wait_for()
    taken_back = client.post("undo", json={}).json()
    start = HOSTILE.index("bright enough")
    assert taken_back["previous"]["span"] == {"start": start, "end": start + 13}
    assert taken_back["previous"]["polarity"] == "mixed"


def test_other_pages_and_other_names_are_refused(server: Annotating) -> None:
    client = server.client(3)
    address = str(client.base_url).removesuffix("/v1/")
    own = {"Origin": address}
    assert client.get("tasks/next", headers=own).status_code == 200
    for headers in (
        {"Host": "rebound.example"},
        {"Host": "127.0.0.1.rebound.example:80"},
        {"Host": ""},
        {"Origin": "http://shop.example"},
        {"Origin": "null"},
        {"Origin": address.replace("http://127", "http://user@127")},
        {"Origin": address + "1"},
    ):
        refused = client.post("undo", json={}, headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "foreign_request")
        assert "access-control-allow-origin" not in refused.headers
    for token in ("0", "0" * 32, "é"):
        headers = {"Authorization": f"Bearer {token}".encode()}
        refused = httpx.get(f"{address}/v1/tasks/next", headers=headers)
        assert (refused.status_code, refused.json()["error"]["code"]) == (401, "key_refused")
    posted = f"{address}/v1/labels"
    assert httpx.post(posted, content=b" " * (1 << 17)).status_code == 401, "it is told first"
    assert client.post("labels", content=b" " * (1 << 17)).status_code == 413
    page = httpx.get(address)
    assert "require-trusted-types-for 'script'" in page.headers["content-security-policy"]
    assert httpx.get(f"{address}/../api.py").status_code == 404
    described = httpx.get(f"{address}/openapi.json").json()
    assert set(described["paths"]) == {
        f"/v1/{path}" for path in ("tasks/next", "labels", "skips", "undo", "agreement")
    }


def test_labels_that_mean_nothing_are_refused(server: Annotating) -> None:
    client = server.client(3)
    task = client.get("tasks/next").json()["task"]
    end = len(task["text"])
    for wrong in (
        {},
        {"span": {"start": 0, "end": end + 1}},
        {"span": {"start": 5, "end": 5}},
        {"span": {"start": task["text"].index(" "), "end": task["text"].index(" ") + 1}},
        {"span": {"start": "0", "end": 3}},
        {"span": None, "polarity": "for"},
        {"span": {"start": 0, "end": 3}, "polarity": "good"},
    ):
        refused = client.post("labels", json={"task_id": task["id"], **wrong})
        assert (refused.status_code, refused.json()["error"]["code"]) == (422, "invalid_request")
    unknown = client.post("labels", json={"task_id": "0" * 32, "span": None})
    assert (
        unknown.status_code == client.post("skips", json={"task_id": "0" * 32}).status_code == 404
    )
    assert client.get("tasks/next").json()["labelled"] == 0


def test_a_store_that_is_being_written_is_told_and_nothing_is_lost(
    server: Annotating, store: Path, visit: Any
) -> None:
    from qa_system.stores.faiss import FAISSDocumentStore

    page = visit(server.pages[4])
    with FAISSDocumentStore(store) as other:
        other.write_labels([])  # holds the lock until it is closed
        page.keyboard.press("0")
        page.get_by_role("alert").get_by_text("being changed. Try again later").wait_for()
    assert page.locator("#progress").inner_text() == "0 of 8 labelled"
    page.keyboard.press("0")
    page.get_by_text("1 of 8 labelled").wait_for()
    assert page.get_by_role("alert").inner_text() == ""


def test_two_annotators_go_on_after_a_kill_and_are_compared(
    tmp_path: Path, visit: Any, made: Path
) -> None:
    """Every label that was confirmed is there, and is read by what evaluates and trains."""
    own = shutil.copytree(made, tmp_path / "lamp") / "store"
    with annotating(own, annotators=2) as first:
        ann, ben = first.client(0), first.client(1)
        for client, answers in (
            (ann, {"r1": ("bright enough", "for"), "r2": ("too dim", "against")}),
            (ben, {"r1": ("bright", "for"), "r2": (None, None)}),
        ):
            for review, (words, polarity) in answers.items():
                label(client, task_of(client, BRIGHT, review), words, polarity)
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
    out = tmp_path / "all.json"
    with annotating(own, "--out", out, annotators=2) as again:
        page = visit(again.pages[0])
        assert page.locator("#progress").inner_text() == "2 of 8 labelled"
        shown = []
        for number in range(3, 9):
            shown.append(
                (page.locator("#question").inner_text(), page.locator("#review").inner_text())
            )
            page.keyboard.press("0")
            page.get_by_text(f"{number} of 8 labelled").wait_for()
        page.locator("main[data-state=done]").wait_for()
        assert violations(page) == []
        assert len(set(shown)) == 6
        assert not {(BRIGHT, REVIEWS["r1"]), (BRIGHT, REVIEWS["r2"])} & set(shown)
        again.process.send_signal(signal.SIGTERM)
        assert again.process.wait(30) == 0
    told = json.loads(annotate(own, "--agreement", "--json"))
    assert told["pairs"] == [
        {
            "one": "a0",
            "other": "a1",
            "tasks": 2,
            "answered": 1,
            "answerable": 0.0,  # observed 1/2, by chance (2 * 1) / 4
            "judged": 1,
            "polarity": None,  # both said "for" of the only one
            "span_f1": 2 * 6 / 19,
        }
    ]
    assert "polarity, kappa        undefined  (1 task)" in annotate(own, "--agreement")
    annotate(own, "--export", tmp_path / "all.jsonl")
    written = {label.question_id: label for label in load_dataset(f"store:{own}").labels}
    assert len(written) == 8
    for file in (out, tmp_path / "all.jsonl"):
        assert {label.question_id: label for label in load_dataset(file).labels} == written
    done = CliRunner().invoke(eval_app, ["reader", "--dataset", str(out), "--no-sas"])
    assert done.exit_code == 0, done.output
    assert "8 questions" in done.stdout
