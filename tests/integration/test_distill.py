"""`qa distill` from end to end: a tiny teacher with random weights, and a student cut out of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
import typer
from typer.testing import CliRunner

pytest.importorskip("torch")
pytest.importorskip("accelerate")

import torch
from transformers import AutoModelForQuestionAnswering, BertConfig, BertForQuestionAnswering

from qa_system.cli.distill import distill as command
from qa_system.datasets.dataset import read_dataset
from qa_system.errors import ModelError
from qa_system.models.inference import load_tokenizer
from qa_system.readers.windows import WindowCutter
from qa_system.training.reader.distill import distill, distillation_loss
from qa_system.training.reader.examples import examples_of
from qa_system.training.reader.targets import collate, targets_of
from qa_system.training.recipes import DistillTraining

pytestmark = pytest.mark.slow
Save = Callable[[Any, Path], Path]
LENGTH = 64


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Save) -> Path:
    torch.manual_seed(3)
    config = BertConfig(
        hidden_size=32,
        num_hidden_layers=4,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.4,
    )
    return save_checkpoint(BertForQuestionAnswering(config), tmp_path_factory.mktemp("teacher"))


def recipe(teacher: Path, **further: Any) -> DistillTraining:
    return DistillTraining.model_validate(
        {
            "teacher": str(teacher),
            "model": str(teacher),
            "layers": 2,
            "train": [{"path": "bundled:sample", "split": "dev"}],
            "dev": [{"path": "bundled:sample", "split": "test"}],
            "epochs": 6,
            "learning_rate": 3e-3,
            "evaluations": 1,
            "dropout": 0.0,
            "max_seq_length": LENGTH,
            "stride": 16,
            "negatives": {"same_item": 0, "other_item": 0},
            "precision": "fp32",
            "device": "cpu",
            **further,
        }
    )


def divergence(teacher: Path, student: Path) -> float:
    """From the teacher, over the windows that the student was taught."""
    labels = read_dataset("bundled:sample").labels_of("dev")
    cutter = WindowCutter(load_tokenizer(teacher), LENGTH, 16)
    batch = collate(targets_of(examples_of(labels)[0], cutter), pad_id=0)
    said = []
    for folder in (student, teacher):
        model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
        names = ("input_ids", "attention_mask", "token_type_ids")
        with torch.inference_mode():
            output = model(**{name: batch[name] for name in names})
        said.append(torch.stack([output.start_logits, output.end_logits]))
    return float(distillation_loss(*said, batch["allowed"], 1.0))


def test_a_student_comes_nearer_to_its_teacher(teacher: Path, tmp_path: Path) -> None:
    near = distill(recipe(teacher, alpha=1.0), tmp_path / "near")
    distill(recipe(teacher, alpha=1.0, learning_rate=1e-12, epochs=0.1), tmp_path / "far")
    assert near["settings"]["temperature"] == 2.0
    assert orjson.loads((tmp_path / "near" / "config.json").read_bytes())["num_hidden_layers"] == 2
    assert not (tmp_path / "near" / "checkpoints").exists()
    far = divergence(teacher, tmp_path / "far")
    assert divergence(teacher, tmp_path / "near") < 0.5 * far


def test_from_the_command_line(teacher: Path, tmp_path: Path) -> None:
    told = recipe(teacher, epochs=0.2).model_dump(exclude={"teacher", "model", "layers"})
    (tmp_path / "recipe.yaml").write_bytes(orjson.dumps(told))  # JSON is YAML
    app = typer.Typer()
    app.command()(command)
    options = ["--recipe", str(tmp_path / "recipe.yaml"), "--layers", "2", "--json"]
    options += ["--set", "alpha=0.25", "--set", "layers=1"]
    run = CliRunner().invoke(
        app,
        [str(teacher), *options, "--out", str(tmp_path / "out")],
        catch_exceptions=False,
    )
    record = orjson.loads(run.stdout)
    settings = record["settings"]
    assert (settings["model"], settings["layers"], settings["alpha"]) == (str(teacher), 1, 0.25)
    assert record == orjson.loads((tmp_path / "out" / "training.json").read_bytes())


def test_a_student_with_other_tokens_is_refused(teacher: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for file in teacher.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    tokenizer = orjson.loads((other / "tokenizer.json").read_bytes())
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["unheard-of"] = vocabulary.pop("[unused0]")
    (other / "tokenizer.json").write_bytes(orjson.dumps(tokenizer))
    with pytest.raises(ModelError, match="have other vocabularies"):
        distill(recipe(teacher, model=str(other)), tmp_path / "out")
