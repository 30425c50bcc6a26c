"""Documents, settings and recipes name no path that exists in one workplace only.

A path that begins with a folder of this repository has to be in it. One that begins with `../` has
to lead to a file of it, from the document. Absolute paths are those that every machine has.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = (
    "*.md",
    "benchmarks/*.md",
    "configs/**/*.*",
    "data/**/*.md",
    "docs/**/*.md",
    "examples/*.*",
    "models/*/README.md",
)
FOLDERS = (
    *("benchmarks", "configs", "data", "docs", "eval", "examples", "indexing", "models"),
    *("deploy", "packages", "qa_system", "tests"),
)

OF_EVERY_MACHINE = ("/dev/", "/etc/", "/opt/", "/srv/", "/tmp/", "/usr/", "/var/lib/")
OF_THE_SERVICE = ("/health/", "/reviews/v1/", "/v1/", "/widget/")
"""Paths of addresses."""
VERSIONS = {
    *("models/.work-*", "models/2/model", "models/2/record.json", "models/served.json"),
    "models/serving",
}
EXCEPT = {
    "CHANGELOG.md": {"models/serving"},
    "benchmarks/README.md": {"docs/s"},
    "docs/adaptation.md": {"data/train.json"},
    "docs/extending.md": {"models/my-reader"},
    "docs/improving.md": VERSIONS,
}
"""A unit, a file in another folder, and folders that the document tells to make."""

_PATH = re.compile(
    r"(?<![\w./:$~{}>*-])"  # no part of an address, or of a longer path
    rf"((?:\.\./)+[\w.*,/-]+|(?:{'|'.join(FOLDERS)})/[\w.*,/-]+|/[a-z]\w*/[\w.*/-]+)"
)


def documents() -> list[str]:
    found = {path for place in PLACES for path in ROOT.glob(place) if path.is_file()}
    return sorted(path.relative_to(ROOT).as_posix() for path in found)


def paths_in(text: str) -> Iterator[str]:
    for match in _PATH.finditer(text):
        yield match[1].rstrip(".,/")


def is_there(path: str, document: Path) -> bool:
    if path.startswith("/"):
        return path.startswith((*OF_EVERY_MACHINE, *OF_THE_SERVICE))
    starts = [document.parent] if path.startswith("../") else [ROOT, ROOT / "qa_system"]
    places = [(start / path).resolve() for start in starts]
    return any(
        any(ROOT.glob(place.relative_to(ROOT).as_posix()))
        for place in places
        if place.is_relative_to(ROOT)
    )


@pytest.mark.parametrize("name", documents())
def test_paths_are_there(name: str) -> None:
    document = ROOT / name
    text = document.read_text(encoding="utf-8")
    missing = {path for path in paths_in(text) if not is_there(path, document)}
    assert missing == EXCEPT.get(name, set())


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("see ../shared/data.", "../shared/data"),
        ("`/work/shared/x`", "/work/shared/x"),
        ("{path: /home/me/data}", "/home/me/data"),
        ("configs/nothing.yaml:", "configs/nothing.yaml"),
    ],
)
def test_a_path_of_one_workplace_is_found(text: str, path: str) -> None:
    assert [*paths_in(text)] == [path]
    assert not is_there(path, ROOT / "docs" / "data.md")


@pytest.mark.parametrize("text", ["https://a.b/docs/x", "OWNER/NAME", "and/or", "runs/today"])
def test_what_is_no_path_of_ours_is_left_alone(text: str) -> None:
    assert [*paths_in(text)] == []
