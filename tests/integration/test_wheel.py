"""The wheel carries everything: models, sample, defaults; and answers away from the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory, root: Path) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
            *("--no-build-isolation", "--wheel-dir", folder, root),
        ],
        check=True,
    )
    (wheel,) = folder.glob("*.whl")
    assert wheel.name == "qa_system-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_three_packages_and_what_they_need(unpacked: Path) -> None:
    tops = {path.name for path in unpacked.iterdir() if not path.name.endswith(".dist-info")}
    assert tops == {"qa_system", "indexing", "eval"}
    bundled = unpacked / "qa_system" / "bundled"
    for name in ("encoder", "reader"):
        for file in ("model.onnx", "model.json", "tokenizer.json", "README.md"):
            assert (bundled / "models" / name / file).is_file()
    assert (bundled / "sample" / "test.csv").is_file()
    assert (bundled / "default.yaml").is_file()
    assert (unpacked / "qa_system" / "py.typed").is_file()
    assert {"run.html", "page.js"} <= {
        path.name for path in (unpacked / "eval/report/templates").iterdir()
    }


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
    assert answers["reviews_read"] == 10
    found = run("eval.cli", "retriever", "--retriever", "bm25", "--k", "3")
    bm25, random = found["systems"]["bm25"], found["references"]["random"]
    assert bm25["metrics"]["recall@3"] > random["metrics"]["recall@3"]
