"""The installation of the Dockerfile in a fresh environment: what it has, and that it serves."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from image import context
from serving import serving

pytestmark = pytest.mark.long


def test_the_image_installs_indexes_and_serves_without_torch(tmp_path: Path, root: Path) -> None:
    build = context(root, tmp_path)
    python = tmp_path / "qa" / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", python.parents[1]], check=True)
    pip = [python, "-m", "pip", "install", "--quiet"]
    hashed = [*pip, "--require-hashes", "-r", "requirements/image.txt"]
    subprocess.run(hashed, check=True, cwd=build)
    own = [*pip, "--no-deps", "--no-build-isolation", "."]
    subprocess.run(own, check=True, cwd=build)
    listed = subprocess.run(
        [python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True, check=True
    )
    names = {line.partition("==")[0].lower() for line in listed.stdout.splitlines()}
    assert {"qa-system", "fastapi", "onnxruntime", "elasticsearch"} <= names
    assert not {"torch", "transformers", "pytest"} & names

    # Nothing of the checkout, and only /tmp to write to, as in the container.
    temporary, store = tmp_path / "tmp", tmp_path / "store"
    temporary.mkdir()
    empty = tmp_path / "empty"
    empty.mkdir(mode=0o500)
    environ = {"PYTHONPATH": "", "PYTHONSAFEPATH": "1"}
    environ |= {"HOME": str(empty), "TMPDIR": str(temporary)}
    subprocess.run(
        [python.with_name("qa-index"), "run", "--source", "bundled:sample", "--store", store],
        check=True,
        cwd=empty,
        env={**os.environ, **environ},
    )
    with serving(tmp_path, "--store", store, python=python, **environ) as server:
        assert httpx.get(f"{server.address}/health/live").status_code == 200
        assert httpx.get(f"{server.address}/health/ready").status_code == 200
        answers = server.ask().json()
        assert answers["reviews"] == 14
        assert answers["answers"]
        assert server.stop() == 0
    assert list(empty.iterdir()) == []
