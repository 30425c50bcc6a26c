"""`qa-eval curve` from end to end: models with random weights, a part of the sample, a kill."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.squad import write_squad

pytestmark = pytest.mark.long

SHORT = ["epochs=1", "evaluations=1", "batch_size=8", "max_seq_length=64", "stride=16"]
KILLED = """
import os, signal, sys
from eval.adaptation import curve
measured = curve._measured
def killed(point, *args):
    if point.labels == 20 and point.line == "adapted":
        os.kill(os.getpid(), signal.SIGKILL)
    return measured(point, *args)
curve._measured = killed
from eval.cli import main
main()
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Any) -> Path:
    import torch
    from transformers import BertConfig, BertForQuestionAnswering, BertModel

    folder = tmp_path_factory.mktemp("curve")
    torch.manual_seed(13)
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.6,
    )
    save_checkpoint(BertModel(config), folder / "encoder")
    save_checkpoint(BertForQuestionAnswering(config), folder / "adapted")
    short = [label for label in read_dataset("bundled:sample").labels if len(label.context) < 300]
    assert {"test", "train"} <= {label.split for label in short}
    write_squad(short, folder / "domain.json")
    write_squad(short[:: len(short) // 16], folder / "generated.json")
    return folder


def curve(place: Path, *args: object, program: str = "", code: int = 0) -> str:
    command = [
        *(sys.executable, "-c", program or "from eval.cli import main; main()"),
        *("curve", place / "domain.json", "--model", place / "encoder"),
        *("--start", f"adapted={place / 'adapted'}"),
        *("--extra", f"generated={place / 'generated.json'}", "--labels", "0,20"),
        *("--seeds", 1, "--out", place / "out", "--resamples", 200, "--json"),
        *(word for pair in SHORT for word in ("--set", pair)),
        *args,
    ]
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def test_a_curve_goes_on_where_it_was_killed(place: Path) -> None:
    curve(place, program=KILLED, code=-signal.SIGKILL)
    times = {path: path.stat().st_mtime_ns for path in place.glob("out/points/*/*/point.json")}
    # All without labels but the plain line, which is no reader, and the plain one with labels.
    assert len(times) == 4
    result = json.loads(curve(place))
    assert (
        times.items()
        <= {
            path: path.stat().st_mtime_ns for path in place.glob("out/points/*/*/point.json")
        }.items()
    )
    assert result["sizes"] == [0, 20]
    assert {
        line: [each["labels"] for each in points] for line, points in result["lines"].items()
    } == {
        "adapted": [0, 20],
        "generated": [0, 20],
        "adapted + generated": [0, 20],
        "plain": [20],
    }
    [left_out] = result["left_out"]
    assert (left_out["line"], left_out["labels"]) == ("plain", 0)
    assert {each["a"] for each in result["against_plain"]} == {
        f"{line}, 20 labels" for line in ("adapted", "generated", "adapted + generated")
    }
    assert json.loads((place / "out" / "curve.json").read_text(encoding="utf-8")) == result
    assert (place / "out" / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert "adapted + generated" in (place / "out" / "curve.svg").read_text(encoding="utf-8")
    assert not list(place.glob("out/points/*/*/model"))
    assert "made with other settings" in curve(place, "--set", "dropout=0.2", code=2)
    assert "labels are asked for" in curve(place, "--labels", "100000", code=2)
