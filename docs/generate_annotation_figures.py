"""Photograph the states of `qa annotate` for docs/annotation.md, in Chromium.

PYTHONPATH=tests/support .venv/bin/python docs/generate_annotation_figures.py
"""

from __future__ import annotations

import os
import shutil
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from annotating import BRIGHT, Annotating, annotating, make_store

FOLDER = Path(__file__).parent / "figures"


def save(page: Page, name: str) -> None:
    """Save a picture of the page without loss."""
    picture = Image.open(BytesIO(page.screenshot(full_page=True))).convert("RGB")
    picture.save(FOLDER / f"annotate-{name}.webp", lossless=True, quality=100, method=6)


def reach(server: Annotating, question: str, review: str) -> None:
    """Skip up to a task."""
    client = server.client()
    place = client.get("tasks/next").json()
    while (place["task"]["question"], place["task"]["review_id"]) != (question, review):
        place = client.post("skips", json={"task_id": place["task"]["id"]}).json()


def photograph(page: Page, server: Annotating) -> None:
    """Photograph every state, in the order in which one comes after the other."""
    reach(server, BRIGHT, "r1")
    page.goto(server.pages[0])
    page.locator("main[data-state=task]").wait_for()
    save(page, "suggested")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+ArrowRight")
    page.emulate_media(color_scheme="dark")
    save(page, "moved")
    page.emulate_media(color_scheme="light")
    page.keyboard.press("1")
    page.get_by_text("1 of 8 labelled").wait_for()
    page.keyboard.press("u")
    page.get_by_text("0 of 8 labelled").wait_for()
    page.set_viewport_size({"width": 400, "height": 600})
    save(page, "narrow")
    page.set_viewport_size({"width": 720, "height": 300})
    for number in range(1, 9):
        page.keyboard.press("0")
        page.get_by_text(f"{number} of 8 labelled").wait_for()
    save(page, "done")
    server.process.kill()
    server.process.wait()
    page.keyboard.press("u")
    page.get_by_role("alert").get_by_text("does not answer").wait_for()
    save(page, "error")


def main() -> None:
    """Annotate a small store, and photograph it."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as running:
        store = make_store(Path(folder))
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with annotating(store) as server:
            photograph(browser.new_page(viewport={"width": 720, "height": 300}), server)
        browser.close()


if __name__ == "__main__":
    main()
