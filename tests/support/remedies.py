"""The commands that the program's texts name, for the tests of its remedies."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer.main

import eval.cli
import indexing.cli
import qa_system.cli
from qa_system.config import Settings
from qa_system.training import recipes
from qa_system.training.language_model.recipe import LanguageModelTraining

ROOT = Path(__file__).parents[2]
APPS = {"qa": qa_system.cli.app, "qa-eval": eval.cli.app, "qa-index": indexing.cli.app}
RECIPES = (
    recipes.ReaderTraining,
    recipes.DistillTraining,
    recipes.RetrieverTraining,
    recipes.RankerTraining,
    recipes.GeneratorTraining,
    recipes.Adaptation,
    LanguageModelTraining,
)
SOURCES = sorted(
    path for package in ("qa_system", "eval", "indexing") for path in (ROOT / package).rglob("*.py")
)

COMMAND = re.compile(
    r"(?<![\w/\[.'-])(qa-eval|qa-index|qa) ((?:[a-z]+(?:-[a-z]+)* ?){1,2})([^`;\n]*)"
)
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")
SENTENCE = re.compile(r"[.:,)](?:\s|$)|, (?:and|or) ")
KEY = re.compile(r"--set ([a-z_.]+)=")

NOT_OURS = ("--query", "--user")
"""Options of other programs (nvidia-smi, curl, ...) that documents show."""


@dataclass(frozen=True)
class Said:
    """A text and where it stands."""

    text: str
    where: str


# --- what there is


@cache
def options_of(program: str, words: tuple[str, ...]) -> frozenset[str] | None:
    """Return the options of a command; None if there is no such command."""
    found = typer.main.get_command(APPS[program])
    taken = set(found_options(found))
    for word in words:
        if word not in commands_of(found):
            return None
        found = commands_of(found)[word]
        taken |= found_options(found)
    return frozenset(taken)


def commands_of(command: Any) -> dict[str, Any]:
    return getattr(command, "commands", {})


def found_options(command: Any) -> set[str]:
    names = {name for each in command.params for name in (*each.opts, *each.secondary_opts)}
    return {*names, "--help"}


def named(said: Said) -> Iterator[tuple[str, tuple[str, ...], list[str]]]:
    """Return each command in a text, with the options that stand behind it."""
    for match in COMMAND.finditer(said.text):
        program, words = match[1], tuple(match[2].split())
        commands = commands_of(typer.main.get_command(APPS[program]))
        is_group = bool(commands_of(commands.get(words[0])))
        behind = SENTENCE.split(f"{match[2]}{match[3]}")[0]
        yield program, words if is_group else words[:1], OPTION.findall(behind)


def bare(said: Said) -> list[str]:
    """Return the options that stand behind no command."""
    behind = [match.span() for match in COMMAND.finditer(said.text)]
    return [
        match[0]
        for match in OPTION.finditer(KEY.sub("", said.text))
        if not any(start <= match.start() < end for start, end in behind)
    ]


def is_setting(path: list[str]) -> bool:
    """Tell whether the settings, or a recipe, have a key."""
    return any(has_key(model.model_json_schema(), path) for model in (Settings, *RECIPES))


def has_key(schema: dict[str, Any], path: list[str]) -> bool:
    def inside(node: dict[str, Any], rest: list[str]) -> bool:
        if "$ref" in node:
            return inside(schema["$defs"][node["$ref"].rsplit("/", 1)[1]], rest)
        either = [*node.get("anyOf", ()), *node.get("oneOf", ())]
        if not rest or any(inside(part, rest) for part in either):
            return not rest or bool(either)
        return rest[0] in node.get("properties", {}) and inside(
            node["properties"][rest[0]], rest[1:]
        )

    return inside(schema, path)


# --- what is said


def texts(path: Path) -> Iterator[Said]:
    """Return every text of a module; what an f-string fills in reads `NAME`."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in node.values
    }
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if (is_text and id(node) not in inside) or isinstance(node, ast.JoinedStr):
            yield Said(as_text(node), f"{path.relative_to(ROOT)}:{node.lineno}")


def as_text(node: ast.AST) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(map(as_text, node.values))
    if isinstance(node, ast.IfExp):
        return f"{as_text(node.body)} {as_text(node.orelse)}"
    if isinstance(node, ast.BinOp):
        return as_text(node.left) + as_text(node.right)
    return "NAME"


def remedies(path: Path) -> Iterator[Said]:
    """Return the remedies of a module's errors, those too that stand in a constant."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    constants = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.keyword) and node.arg == "remedy":
            value = node.value
            if isinstance(value, ast.Name):
                value = constants.get(value.id, value)
            yield Said(as_text(value), f"{path.relative_to(ROOT)}:{node.value.lineno}")


def check(said: Said) -> None:
    for program, command, options in named(said):
        taken = options_of(program, command)
        assert taken is not None, f"{said.where}: there is no `{program} {' '.join(command)}`"
        for option in options:
            assert option in taken or option in NOT_OURS, f"{said.where}: no {option}: {said.text}"
    for key in KEY.findall(said.text):
        assert is_setting(key.split(".")), f"{said.where}: no setting {key}"


def owner_of(path: Path) -> tuple[str, tuple[str, ...]] | None:
    if path.parts[1] == "catalogue":
        return "qa", ("ask",)  # which has its own remedies for what is wrong in its sources
    if path.parts[1] == "sources" or (path.parts[0] == "indexing" and path.parts[1] != "cli"):
        return "qa-index", ("run",)
    if path.parts[1] == "cli":
        program = {"qa_system": "qa", "eval": "qa-eval", "indexing": "qa-index"}[path.parts[0]]
        return program, (path.stem,)
    return None
