"""The walls of the house: import layers, what start-up may load, the public names."""

import ast
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import qa_system

HEAVY = ["torch", "transformers", "faiss", "tantivy", "onnxruntime", "elasticsearch", "haystack"]


def loaded_by(code: str, root: Path) -> set[str]:
    script = f"import sys\n{code}\nprint('\\n'.join(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=root
    )
    return set(done.stdout.split())


@pytest.mark.parametrize(
    "code",
    [
        "import qa_system",
        "import qa_system.cli",
        "import qa_system.doctor",
        "import qa_system.config, qa_system.records",
        "import qa_system.models.locate, qa_system.models.inference",
        "import qa_system.datasets.subjqa, qa_system.datasets.squad",
        "import indexing.cli, qa_system.sources.files",
        "import eval.cli, eval.metrics",
        """
import qa_system.cli
from typer.testing import CliRunner
assert CliRunner().invoke(qa_system.cli.app, ["--help"]).exit_code == 0
""",
    ],
)
def test_start_up_loads_nothing_heavy(code: str, root: Path) -> None:
    assert not loaded_by(code, root) & set(HEAVY)


@pytest.mark.parametrize("program", ["qa_system.cli", "indexing.cli"])
def test_help_waits_for_no_settings(program: str, root: Path) -> None:
    code = f"""
import {program} as program
from typer.testing import CliRunner
assert CliRunner().invoke(program.app, ["--help"]).exit_code == 0
"""
    assert not loaded_by(code, root) & {"pydantic", "yaml", "qa_system.config.schema"}


def test_stores_and_pipelines_load_no_models(root: Path) -> None:
    # Haystack itself imports torch wherever it is installed.
    loaded = loaded_by("import qa_system.stores.faiss, qa_system.pipelines", root)
    assert not loaded & {"transformers", "sentence_transformers", "onnxruntime"}


def test_the_import_layers_hold(root: Path) -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter], capture_output=True, text=True, cwd=root, check=False)
    assert done.returncode == 0, done.stdout


def test_the_public_names_are_all_there() -> None:
    assert qa_system.__all__ == sorted(qa_system.__all__)
    assert set(qa_system._HOMES) == set(qa_system.__all__)
    for name in qa_system.__all__:
        assert getattr(qa_system, name).__module__ == qa_system._HOMES[name]
        assert getattr(qa_system, name).__doc__
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = qa_system.Nothing


def test_the_version_is_the_distributions() -> None:
    from importlib.metadata import version

    assert qa_system.__version__ == version("qa-system")


PACKAGES = ("qa_system", "indexing", "eval")


def sources(root: Path) -> dict[Path, str]:
    """Every module of the three packages but `__init__.py`."""
    paths = [path for package in PACKAGES for path in (root / package).rglob("*.py")]
    return {
        path.relative_to(root): path.read_text() for path in paths if "bundled" not in path.parts
    }


def test_folders_and_modules_stay_small(root: Path) -> None:
    modules = [path for path in sources(root) if path.name != "__init__.py"]
    folders = Counter(path.parent for path in modules)
    assert not {f"{folder}: {count} modules" for folder, count in folders.items() if count > 15}
    lines = {path: len(text.splitlines()) for path, text in sources(root).items()}
    assert not {f"{path}: {count} lines" for path, count in lines.items() if count > 450}


def test_functions_stay_short_and_take_few_parameters(root: Path) -> None:
    """What Haystack serialises, and commands, have a parameter for each option."""
    long, many = [], []
    for path, text in sources(root).items():
        tree = ast.parse(text)
        serialised = {
            id(method)
            for node in ast.walk(tree)
            if isinstance(node, ast.ClassDef)
            and any(
                isinstance(each, ast.FunctionDef) and each.name == "to_dict" for each in node.body
            )
            for method in node.body
            if isinstance(method, ast.FunctionDef) and method.name == "__init__"
        }
        for node in ast.walk(tree):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            where = f"{path}:{node.lineno} {node.name}"
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > 60:
                long.append(f"{where}: {length} lines")
            given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
            taken = [each for each in given if each.arg not in ("self", "cls")]
            if len(taken) > 8 and id(node) not in serialised and "cli" not in path.parts:
                many.append(f"{where}: {len(taken)} parameters")
    assert not long
    assert not many
