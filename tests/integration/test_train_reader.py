"""A reader trained for a few steps on the sample: what it leaves, how it goes on, its refusals."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from haystack import Document
from safetensors.torch import load_file
from transformers import BertConfig, BertModel, TrainerCallback, TrainerState

from qa_system.errors import ConfigError, DataError, ModelError
from qa_system.models.locate import locate, weights_sha256
from qa_system.readers.extractive import ExtractiveReader
from qa_system.training import loop
from qa_system.training.reader.train import train_reader
from qa_system.training.recipes import ReaderTraining

pytestmark = pytest.mark.slow

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}


@pytest.fixture(scope="module")
def encoder(
    tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Callable[[Any, Path], Path]
) -> Path:
    return save_checkpoint(BertModel(BertConfig(**TINY)), tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def recipe(encoder: Path) -> dict[str, Any]:
    return {
        "model": str(encoder),
        "train": [{"path": "bundled:sample", "split": "train", "weight": 0.3, "held_out": 0.2}],
        "dev": [{"path": "bundled:sample", "split": "dev"}],
        "epochs": 0.5,
        "batch_size": 8,
        "max_seq_length": 128,
        "stride": 32,
        "evaluations": 2,
        "device": "cpu",
        "precision": "fp32",
    }


def test_a_run_leaves_a_reader_and_its_record(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe |= {"augmentation": {"synonyms": {"share": 0.5, "similarity": 0.6}}}
    settings = ReaderTraining.model_validate(recipe)
    record = train_reader(settings, tmp_path / "one")
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "README.md",
        "config.json",
        "curve.png",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
    ]
    assert json.loads((tmp_path / "one" / "training.json").read_text()) == record
    weights = (Path(recipe["model"]) / "model.safetensors").read_bytes()
    assert record["models"] == {
        "model": hashlib.sha256(weights).hexdigest(),
        "synonyms": weights_sha256(locate("bundled:encoder")),
    }
    assert record["counts"]["examples"] > 0
    assert record["counts"]["synonyms"] > 0
    assert {"threshold", "right", "answerable"} <= set(record["calibration"])
    assert {"em", "f1", "ece_before", "ece_after"} <= set(record["scores"])
    assert [origin["split"] for origin in record["data"]] == ["train", "dev"]
    assert sum("eval_f1" in entry for entry in record["history"]) >= 2

    reader = ExtractiveReader(str(tmp_path / "one"), max_seq_length=128, stride=32)
    assert reader.calibration.threshold == record["calibration"]["threshold"]
    reading = reader.run("How is it?", [Document(content="It is good.")])
    assert 0 <= reading["no_answer_probability"] <= 1

    train_reader(settings, tmp_path / "two")
    same = [(tmp_path / run / "model.safetensors").read_bytes() for run in ("one", "two")]
    assert same[0] == same[1]
    with pytest.raises(ConfigError, match="holds a trained model"):
        train_reader(settings, tmp_path / "one")


def test_a_killed_run_goes_on_where_it_was(recipe: dict[str, Any], tmp_path: Path) -> None:
    recipe |= {"epochs": 3.0, "evaluations": 6, "patience": 6}
    told = tmp_path / "recipe.yaml"
    told.write_text(json.dumps(recipe))
    out = tmp_path / "model"
    command = [sys.executable, "-m", "qa_system.cli", "train", "reader", "--json"]
    run = subprocess.Popen(
        [*command, "--recipe", str(told), "--out", str(out)],
        stderr=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (out / "training.json").exists()
    with pytest.raises(ConfigError, match="other settings"):
        train_reader(ReaderTraining.model_validate(recipe | {"seed": 1}), out)
    start = Path(recipe["model"]) / "model.safetensors"
    weights = start.read_bytes()
    start.write_bytes(weights + b" ")
    with pytest.raises(ConfigError, match="other weights"):
        train_reader(ReaderTraining.model_validate(recipe), out)
    start.write_bytes(weights)
    cut_short = out / "checkpoints" / "checkpoint-999999"  # as a kill while it is written leaves it
    cut_short.mkdir()
    (cut_short / "model.safetensors").write_bytes(b"")
    record = train_reader(ReaderTraining.model_validate(recipe), out)
    steps = [entry["step"] for entry in record["history"] if "eval_f1" in entry]
    assert steps == sorted(set(steps))
    assert len(steps) >= 6


def test_checkpoints_are_written_by_the_clock_too(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ReaderTraining.model_validate(recipe | {"evaluations": 1, "epochs": 0.2})
    written: list[str] = []

    def remember(_: TrainerCallback, _args: object, state: TrainerState, *_more: object) -> None:
        written.append(f"{state.global_step} of {state.max_steps}")

    monkeypatch.setattr(loop.RegularCheckpoints, "on_save", lambda *each, **_: remember(*each))
    train_reader(settings, tmp_path / "at-the-end")
    at_the_end = list(written)
    assert len(at_the_end) == 1
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0)
    train_reader(settings, tmp_path / "every-step")
    steps = int(at_the_end[0].split()[-1])
    assert written[1:] == [f"{step} of {steps}" for step in range(1, steps + 1)]


def test_frozen_layers_are_those_of_the_start(recipe: dict[str, Any], tmp_path: Path) -> None:
    train_reader(ReaderTraining.model_validate(recipe | {"frozen_layers": 1}), tmp_path / "reader")
    start = load_file(Path(recipe["model"]) / "model.safetensors")
    trained = load_file(tmp_path / "reader" / "model.safetensors")
    changed = {
        name.removeprefix("bert.").removeprefix("encoder.").partition(".attention")[0]
        for name, weights in trained.items()
        if "attention" in name or "embeddings" in name
        if not torch.equal(weights, start[name.removeprefix("bert.")])
    }
    assert changed == {"layer.1"}


def test_what_cannot_be_trained_is_said(recipe: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.json").write_text("{}")
    with pytest.raises(ModelError):
        train_reader(
            ReaderTraining.model_validate(recipe | {"model": str(tmp_path / "empty")}),
            tmp_path / "a",
        )
    with pytest.raises(ModelError, match="is an export"):
        train_reader(
            ReaderTraining.model_validate(recipe | {"model": "bundled:reader"}), tmp_path / "c"
        )
    train = [{"path": "bundled:sample", "split": "train"}]
    with pytest.raises(DataError, match="nothing to measure on"):
        train_reader(
            ReaderTraining.model_validate(recipe | {"train": train, "dev": []}), tmp_path / "d"
        )
    with pytest.raises(DataError, match="there is no split"):
        train_reader(
            ReaderTraining.model_validate(
                recipe | {"train": [{"path": "bundled:sample", "split": "nowhere"}]}
            ),
            tmp_path / "b",
        )
