"""docs/reliability.md names the tests that show what it promises: they are there."""

import re
from pathlib import Path


def test_every_test_that_the_page_names_is_there(root: Path) -> None:
    page = (root / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(test_\w+)`", page))
    sources = (path.read_text(encoding="utf-8") for path in (root / "tests").rglob("test_*.py"))
    there = {
        name for source in sources for name in re.findall(r"^def (test_\w+)", source, re.MULTILINE)
    }
    assert len(named) > 20
    assert named - there == set()
