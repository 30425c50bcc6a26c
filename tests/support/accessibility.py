"""What axe-core says of a page."""

from typing import Any

import pytest


def violations(page: Any) -> list[tuple[str, list[str]]]:
    """The rules that a page breaks, each with the elements that break it."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page).response
    assert found["passes"], "axe looked at nothing"
    return [(each["id"], [node["html"] for node in each["nodes"]]) for each in found["violations"]]
