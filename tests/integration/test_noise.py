"""What other libraries print stays off stderr, unless -v asks for it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("transformers")

from architectures import save_reader

REVIEW = '{"review_id": "r1", "item_id": "B", "text": "The battery lasts two days."}\n'


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reader("roberta", tmp_path_factory.mktemp("encoder"))


@pytest.mark.slow
@pytest.mark.parametrize("verbose", [(), ("-v",)], ids=["quiet", "verbose"])
def test_an_index_job_prints_its_own_lines_only(
    encoder: Path, tmp_path: Path, root: Path, verbose: tuple[str, ...]
) -> None:
    (tmp_path / "reviews.jsonl").write_text(REVIEW)
    command = [sys.executable, "-m", "indexing.cli", "run", *verbose, "--source", "reviews.jsonl"]
    quieting = ("TRANSFORMERS_VERBOSITY", "HF_HUB_DISABLE_PROGRESS_BARS", "TORCH_LOGS")
    done = subprocess.run(
        [*command, "--store", "store", "--encoder-model", str(encoder)],
        cwd=tmp_path,
        env={name: value for name, value in os.environ.items() if name not in quieting}
        | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=True,
    )
    from_others = [
        line
        for line in done.stderr.splitlines()
        if not line.startswith(("INFO qa_system", "INFO indexing", "indexing:"))
    ]
    # `Loading weights`, and the weights of a head that an encoder has no use for.
    noise = [line for line in from_others if "weights" in line or "qa_outputs" in line]
    assert bool(noise) == bool(verbose), done.stderr
    if not verbose:
        assert from_others == []
