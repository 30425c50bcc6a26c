"""The proxy of docs/serving.md serves what the widget asks for, and nothing else of the service."""

import re
from pathlib import Path

import pytest
from starlette.routing import Match

from qa_system.serving.api import router

ENDPOINT = "/reviews/"


@pytest.fixture(scope="module")
def locations(root: Path) -> list[tuple[str, str, str]]:
    """Of the example: `=` or nothing, the path, and the path that it becomes."""
    text = (root / "docs" / "serving.md").read_text(encoding="utf-8")
    [block] = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    assert f'endpoint="{ENDPOINT}"' in text
    return re.findall(r"location (=?) ?(\S+) +\{ proxy_pass http://127\.0\.0\.1:8000(\S+);", block)


def served(locations: list[tuple[str, str, str]], path: str) -> str | None:
    for exact, prefix, target in locations:
        if path == prefix or (not exact and path.startswith(prefix)):
            return target + path.removeprefix(prefix)
    return None


def test_every_path_of_the_widget_is_served(
    locations: list[tuple[str, str, str]], root: Path
) -> None:
    source = (root / "web" / "review-answers.js").read_text(encoding="utf-8")
    paths = {
        re.sub(r"\$\{.*?\}", "x", path).partition("?")[0]
        for path in re.findall(r'["`](v1/.*?)["`]', source)
    }
    expected = {"v1/ask", "v1/feedback", "v1/items/x/questions", "v1/items/x/reviews/x"}
    assert paths == expected
    for path in paths:
        target = served(locations, ENDPOINT + path)
        assert target == f"/{path}"
        scope = {"type": "http", "path": target, "root_path": "", "method": "GET"}
        assert any(route.matches(scope)[0] is not Match.NONE for route in router.routes)


def test_what_needs_a_secret_key_is_not_served(locations: list[tuple[str, str, str]]) -> None:
    for path in ("metrics", "v1/answers/x", "v1/answers/x:replay", "v1/ask:batch", "openapi.json"):
        assert served(locations, ENDPOINT + path) is None
