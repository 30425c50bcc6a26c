"""The walls of the house: import layers, what start-up may load, the public names."""

import subprocess
import sys
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
        "import indexing.cli, indexing.sources",
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
