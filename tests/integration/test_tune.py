"""`qa tune` from end to end: tiny readers with random weights, a process that is killed."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import pytest
import yaml
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("optuna")

import torch
from transformers import BertConfig, BertForQuestionAnswering

from qa_system.cli import app
from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.squad import write_squad
from qa_system.training.recipes import ReaderTraining, load_training
from qa_system.training.tuning.space import load_search
from qa_system.training.tuning.study import tune

pytestmark = pytest.mark.slow

SPACE = """
learning_rate: {type: log, low: 1.0e-6, high: 1.0e-2}
batch_size: {type: categorical, choices: [6, 12]}
"""
KILLED = """
import os, signal, sys
import optuna
from qa_system.training.tuning.space import load_search
from qa_system.training.tuning.study import tune

report = optuna.trial.Trial.report
def killed(trial, value, step):
    report(trial, value, step)
    if (trial.number, step) == (1, 2):
        os.kill(os.getpid(), signal.SIGKILL)
optuna.trial.Trial.report = killed
tune(load_search("reader", sys.argv[1], sys.argv[2]), sys.argv[3], trials=3)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Any) -> Path:
    folder = tmp_path_factory.mktemp("tune")
    torch.manual_seed(3)
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.4,
    )
    save_checkpoint(BertForQuestionAnswering(config), folder / "start")
    labels = read_dataset("bundled:sample").labels
    short = sorted(labels, key=lambda label: (len(label.context), label.question_id))[:32]
    write_squad(short[:24], folder / "train.json")
    write_squad(short[24:], folder / "dev.json")
    recipe = {
        "model": str(folder / "start"),
        "train": [{"path": str(folder / "train.json")}],
        "dev": [{"path": str(folder / "dev.json")}],
        "epochs": 1.0,
        "batch_size": 12,
        "evaluations": 2,
        "max_seq_length": 64,
        "stride": 16,
        "negatives": {"same_item": 0, "other_item": 0},
        "precision": "fp32",
        "device": "cpu",
    }
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")
    (folder / "space.yaml").write_text(SPACE, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def whole(place: Path) -> dict[str, Any]:
    """A search that nothing disturbed."""
    asked = load_search("reader", place / "recipe.yaml", place / "space.yaml")
    return tune(asked, place / "whole", trials=3)


def compared(record: dict[str, Any]) -> list[tuple[Any, ...]]:
    keys = ("number", "state", "value", "values", "measured")
    return [tuple(each[key] for key in keys) for each in record["trials"]]


def test_the_recipe_itself_is_tried_first_and_the_best_one_is_kept(
    place: Path, whole: dict[str, Any]
) -> None:
    out = place / "whole"
    trials, best = whole["trials"], whole["best"]
    assert whole["counts"] == {"complete": 3, "pruned": 0, "failed": 0, "running": 0}
    assert trials[0]["values"] == {"learning_rate": 1e-4, "batch_size": 12}
    assert best["value"] == max(each["value"] for each in trials)
    for each in trials:
        assert each["value"] == max(each["measured"])
        trained = orjson.loads(
            (out / "trials" / f"{each['number']:04d}/training.json").read_bytes()
        )
        assert trained["settings"]["learning_rate"] == each["values"]["learning_rate"]
        assert trained["scores"]["f1"] == pytest.approx(each["value"])
    kept = sorted(path.parent.name for path in (out / "trials").glob("*/model.safetensors"))
    assert kept == [f"{best['number']:04d}"]
    recipe = load_training(ReaderTraining, out / "best.yaml")
    assert {key: getattr(recipe, key) for key in best["values"]} == best["values"]
    assert recipe.stride == 16
    assert orjson.loads((out / "study.json").read_bytes()) == whole
    assert "learning_rate" in (out / "study.svg").read_text(encoding="utf-8")
    assert (out / "study.png").read_bytes().startswith(b"\x89PNG")


def test_a_killed_search_goes_on_and_ends_as_if_nothing_had_been(
    place: Path, whole: dict[str, Any]
) -> None:
    out = place / "killed"
    told = [place / "recipe.yaml", place / "space.yaml", out]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, *map(str, told)], capture_output=True, check=False
    )
    assert done.returncode == -9, done.stderr
    checkpoints = list((out / "trials/0001/checkpoints").glob("checkpoint-*"))
    assert len(checkpoints) == 1  # of the first of two measurements
    run = CliRunner().invoke(
        app,
        [
            *("tune", "reader", "--recipe", str(told[0]), "--space", str(told[1])),
            *("--trials", "3", "--out", str(out)),
        ],
        catch_exceptions=False,
    )
    record = orjson.loads((out / "study.json").read_bytes())
    assert compared(record) == compared(whole)
    lines = run.stdout.splitlines()
    assert lines[0].split() == ["trial", "f1", "learning_rate", "batch_size"]
    assert lines[1].split()[:2] == [str(record["best"]["number"]), f"{record['best']['value']:.4f}"]
    assert lines[-2:] == [
        "3 trials: 3 complete",
        f"best: trial {record['best']['number']}, {out / 'best.yaml'}",
    ]


@pytest.mark.long
def test_a_student_is_tuned_and_its_teacher_asked_once(place: Path) -> None:
    run = CliRunner().invoke(
        app,
        [
            *("tune", "distill", "--recipe", str(place / "recipe.yaml"), "--space", "distill"),
            *("--set", f"teacher={place / 'start'}", "--set", "layers=1", "--set", "epochs=0.5"),
            *("--set", "evaluations=1", "--trials", "2", "--out", str(place / "student"), "--json"),
        ],
        catch_exceptions=False,
    )
    record = orjson.loads(run.stdout)
    assert record["trials"][0]["values"] == {"alpha": 0.5, "temperature": 2.0}
    assert record["counts"]["complete"] == 2
    assert len(list((place / "student" / "soft-targets").glob("*/*.safetensors"))) == 1
    best = yaml.safe_load((place / "student" / "best.yaml").read_text(encoding="utf-8"))
    assert "soft_targets" not in best
    assert best["alpha"] == record["best"]["values"]["alpha"]
