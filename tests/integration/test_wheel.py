"""Two wheels of one tree: what each carries, and that they answer away from the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


LARGEST = 45_000_000
"""Bytes of the base wheel: the three models in it hardly compress."""


def build(tree: Path, folder: Path) -> Path:
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", folder, tree),
        ],
        check=True,
    )
    [wheel] = folder.glob("*.whl")
    return wheel


def unpack(wheel: Path, site: Path) -> Path:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    return build(root, tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    return unpack(base, tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def generator(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    wheel = build(root / "packages" / "generator", tmp_path_factory.mktemp("generator"))
    return unpack(wheel, tmp_path_factory.mktemp("generator-site"))


def outside(tmp_path: Path, code: str, *sites: Path) -> subprocess.CompletedProcess[str]:
    """Run Python in an empty folder, with nothing of the checkout but what was unpacked."""
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, sites))},
        check=False,
    )


def test_the_base_wheel_holds_three_packages_and_what_they_need(
    base: Path, unpacked: Path, root: Path
) -> None:
    assert base.name == "qa_system-0.2.0.dev0-py3-none-any.whl"
    assert base.stat().st_size < LARGEST
    tops = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"qa_system", "indexing", "eval"}
    bundled = unpacked / "qa_system" / "bundled"
    assert {path.name for path in (bundled / "models").iterdir()} == {"encoder", "judge", "reader"}
    for name in ("encoder", "judge", "reader"):
        for file in ("model.onnx", "model.json", "tokenizer.json", "README.md"):
            assert (bundled / "models" / name / file).is_file()
    assert (bundled / "sample" / "test.csv").is_file()
    configs = {path.relative_to(root) for path in (root / "configs").rglob("*.yaml")}
    assert {path.relative_to(bundled) for path in (bundled / "configs").rglob("*.yaml")} == configs
    assert (bundled / "web" / "review-answers.js").is_file()
    assert (unpacked / "qa_system" / "py.typed").is_file()
    assert {"run.html", "page.js"} <= {
        path.name for path in (unpacked / "eval/report/templates").iterdir()
    }


LOCATED = """
import qa_system
from qa_system.models.locate import bundled_models, locate, weights_hash
assert "site" in qa_system.__file__, qa_system.__file__
assert bundled_models() == [
    "bundled:encoder", "bundled:generator", "bundled:judge", "bundled:reader"
]
print(weights_hash(locate("bundled:generator").path))
"""


def test_the_generator_is_a_wheel_of_its_own(
    unpacked: Path, generator: Path, root: Path, tmp_path: Path
) -> None:
    from qa_system.models.locate import weights_hash

    alone = outside(tmp_path, LOCATED, unpacked)
    assert alone.returncode != 0
    assert "pip install ./packages/generator" in alone.stderr
    both = outside(tmp_path, LOCATED, unpacked, generator)
    assert both.stdout.strip() == weights_hash(root / "models" / "generator"), both.stderr


NAMED = """
from qa_system.config import load_settings
from qa_system.config.shipped import shipped
from qa_system.training.recipes import ReaderTraining, load_training
assert load_settings("sample").store.path == ".demo-store"
assert load_training(ReaderTraining, "reader-general").epochs == 2
assert all("site" in str(path) for path in shipped("recipe").values())
"""


def test_settings_and_recipes_are_found_by_name(unpacked: Path, tmp_path: Path) -> None:
    done = outside(tmp_path, NAMED, unpacked)
    assert done.returncode == 0, done.stderr


def test_it_answers_a_question_away_from_the_checkout(unpacked: Path, tmp_path: Path) -> None:
    def run(module: str, *arguments: str) -> dict:
        code = f"from {module} import main, __file__ as f; assert 'site' in f, f; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, "--json"],
            capture_output=True,
            text=True,
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(unpacked)},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    report = run("indexing.cli", "run", "--source", "bundled:sample")
    assert report["written"] == report["read"] > 150
    answers = run("qa_system.cli", "ask", "How is the zipper?", "--item", "tent-fjellvik-2")
    assert answers["reviews"] == 13
    assert answers["read"] > 0
    found = run("eval.cli", "retriever", "--retriever", "bm25", "--k", "3")
    bm25, random = found["systems"]["bm25"], found["references"]["random"]
    assert bm25["metrics"]["recall@3"] > random["metrics"]["recall@3"]
