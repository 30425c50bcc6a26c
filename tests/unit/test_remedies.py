"""Every remedy that the program prints is a command that there is, with options that it takes.

All texts of the three packages and of the documents are searched for commands. An option of a
remedy that stands without a command is one of every command that can come to the remedy's module.
"""

import re
from pathlib import Path

import pytest

from qa_system.config import Settings
from remedies import (
    ROOT,
    SOURCES,
    Said,
    bare,
    check,
    is_setting,
    options_of,
    owner_of,
    remedies,
    texts,
)

SECTIONS = "|".join(Settings.model_fields)
SETTING = re.compile(rf"(?<![\w./-])(?:{SECTIONS})(?:\.[a-z_]+)+(?![\w(])")
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_a_text_is_one(path: Path) -> None:
    for said in texts(path):
        check(said)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_in_a_document_is_one(path: Path) -> None:
    text = path.read_text(encoding="utf-8").replace("\\\n", " ")
    for number, line in enumerate(text.splitlines(), start=1):
        check(Said(line, f"{path.relative_to(ROOT)}:{number}"))


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_option_in_a_remedy_belongs_to_a_command(path: Path) -> None:
    """It stands behind its command, or in the module of the one command that can print it."""
    for said in remedies(path):
        for option in bare(said):
            owner = owner_of(path.relative_to(ROOT))
            assert owner is not None, f"{said.where}: of which command is {option}? {said.text}"
            taken = options_of(*owner)
            assert taken is not None, f"{said.where}: there is no {owner}"
            assert option in taken, f"{said.where}: no {option} in {owner}: {said.text}"


def test_the_search_finds_what_is_wrong() -> None:
    for text in (
        "Write: qa-eval teach --split NAME.",
        "Choose one: qa-eval reader --splits NAME.",
        "Run `qa train readers` again.",
        "Set it: --set reader.modle=NAME.",
    ):
        with pytest.raises(AssertionError):
            check(Said(text, "here"))
    check(Said("Choose one: qa-eval reader --split NAME. Then --not an option.", "here"))
    assert bare(Said("Choose one by --split, or qa-eval reader --split NAME.", "")) == ["--split"]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_setting_in_a_remedy_is_one(path: Path) -> None:
    for said in remedies(path):
        for key in SETTING.findall(said.text):
            assert is_setting(key.split(".")), f"{said.where}: no setting {key}: {said.text}"
