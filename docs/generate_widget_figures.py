"""Photograph the widget's states for docs/widget.md, in Chromium.

PYTHONPATH=tests/support .venv/bin/python docs/generate_widget_figures.py
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from html import escape
from io import BytesIO
from pathlib import Path
from urllib.parse import urlencode

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from marked_answers import ARABIC, BOOTS, EARBUDS, JACKET
from widget_server import Reply, WidgetServer, serving_widget

FOLDER = Path(__file__).parent / "figures"
RAIN = "Does it really keep the rain out?"
QUESTIONS = json.dumps([RAIN, "How is the zipper?", "Is it true to size?"])
SIZES = json.dumps(["Do they need breaking in?", "What size should I order?"])
BUSY = "How many pockets are there?"


def photograph(
    page: Page,
    server: WidgetServer,
    name: str,
    question: str | None,
    attributes: dict[str, str],
    *,
    html: str = 'lang="en"',
    act: Callable[[Page], None] | None = None,
) -> None:
    """Ask a question, and save how the widget looks then."""
    written = " ".join(f'{key}="{escape(value)}"' for key, value in attributes.items())
    page.goto(f"{server.url}/page?{urlencode({'attributes': written, 'html': html})}")
    if question is not None:
        page.get_by_role("textbox").fill(question)
        page.keyboard.press("Enter")
        page.locator("review-answers:is([state=answer], [state=error])").wait_for()
    if act is not None:
        act(page)
    save(page.locator("review-answers").screenshot(), name)


def save(png: bytes, name: str) -> None:
    """Save a picture without loss."""
    picture = Image.open(BytesIO(png)).convert("RGB")
    picture.save(FOLDER / f"widget-{name}.webp", lossless=True, quality=100, method=6)


def open_and_criticise(page: Page) -> None:
    """Open the first quote, and say that the answer did not help."""
    page.get_by_role("button", name="Read the whole review").first.click()
    page.locator(".review mark").wait_for()
    page.get_by_role("button", name="No", exact=True).click()
    page.get_by_role("textbox", name="What was wrong").wait_for()
    page.mouse.move(0, 0)


def main() -> None:
    """Photograph every state."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with serving_widget() as server, sync_playwright() as running:
        server.replies[BUSY] = Reply(503, {"Retry-After": "7"})
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])

        def page(width: int, scheme: str = "light") -> Page:
            return browser.new_page(
                viewport={"width": width, "height": 900}, color_scheme=scheme, device_scale_factor=1
            )

        jacket = {"item": JACKET, "questions": QUESTIONS}
        wide = page(720)
        photograph(wide, server, "verdict", RAIN, jacket)
        photograph(wide, server, "open", RAIN, {"item": JACKET}, act=open_and_criticise)
        photograph(wide, server, "unsaid", "Are they vegan?", {"item": BOOTS, "questions": SIZES})
        photograph(wide, server, "error", BUSY, {"item": JACKET})
        photograph(page(720, "dark"), server, "dark", "How is the sound?", {"item": EARBUDS})
        narrow = page(400)
        photograph(narrow, server, "narrow", RAIN, {**jacket, "lang": "de"})
        arabic = {"item": JACKET, "texts": json.dumps(ARABIC)}
        photograph(narrow, server, "rtl", RAIN, arabic, html='lang="ar" dir="rtl"')
        shop = page(1100)
        shop.goto(f"{server.url}/widget/demo/index.html")
        shop.get_by_role("button", name=RAIN).click()
        shop.locator("review-answers[state=answer]").wait_for()
        shop.mouse.move(0, 0)
        shop.set_viewport_size({"width": 1100, "height": 1150})
        save(shop.screenshot(), "shop")
        browser.close()


if __name__ == "__main__":
    main()
