"""Settings and recipes that ship with qa-system, named without a path."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest
from packaging.requirements import Requirement
from typer.testing import CliRunner

from qa_system.cli import app
from qa_system.config import load_settings
from qa_system.config.shipped import Kind, named, shipped
from qa_system.errors import ConfigError
from qa_system.training.recipes import ReaderTraining, load_training


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_every_shipped_file_has_a_name_of_its_own(root: Path) -> None:
    files = [path for kind in get_args(Kind) for path in shipped(kind).values()]
    there = {*(root / "configs").rglob("*.yaml")} - {*(root / "configs/expected").iterdir()}
    assert sorted(files) == sorted(there)


@pytest.mark.parametrize("name", shipped("settings"))
def test_settings_load_by_name(name: str, root: Path) -> None:
    assert load_settings(name, environ={}) == load_settings(shipped("settings")[name], environ={})


def test_a_file_comes_before_a_shipped_one_and_a_folder_does_not() -> None:
    Path("reader-general").mkdir()
    assert named("reader-general", "recipe") == shipped("recipe")["reader-general"]
    Path("sample").write_text("seed: 3\n", encoding="utf-8")
    assert load_settings("sample", environ={}).seed == 3


@pytest.mark.parametrize(
    ("kind", "load"),
    [
        ("settings", lambda: load_settings("nowhere", environ={})),
        ("recipe", lambda: load_training(ReaderTraining, "nowhere")),
    ],
)
def test_an_unknown_name_lists_the_known_ones(kind: Kind, load: Callable[[], object]) -> None:
    with pytest.raises(ConfigError) as caught:
        load()
    assert ", ".join(shipped(kind)) in str(caught.value)


def test_help_lists_the_names() -> None:
    for command, kind in ((["ask"], "settings"), (["train", "reader"], "recipe")):
        shown = CliRunner().invoke(app, [*command, "--help"], env={"COLUMNS": "400"}).output
        assert ", ".join(shipped(kind)) in " ".join(shown.split())


def test_both_distributions_have_one_version(root: Path) -> None:
    projects = [
        tomllib.loads((root / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        for folder in ("", "packages/generator")
    ]
    assert len({project["version"] for project in projects}) == 1
    [needed] = [
        Requirement(each)
        for each in projects[0]["optional-dependencies"]["generate"]
        if each.startswith(projects[1]["name"])
    ]
    assert needed.specifier.contains(projects[1]["version"])


def test_a_recipe_loads_by_name() -> None:
    recipe = load_training(ReaderTraining, "reader-domain", ["epochs=3"])
    assert (recipe.model, recipe.epochs) == ("reader-general", 3)
