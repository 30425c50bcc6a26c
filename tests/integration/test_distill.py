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
from safetensors.numpy import load_file
from transformers import AutoModelForQuestionAnswering, BertConfig, BertForQuestionAnswering

from qa_system.cli.distill import distill as command
from qa_system.datasets.dataset import read_dataset
from qa_system.errors import ConfigError, ModelError
from qa_system.models.inference import load_tokenizer
from qa_system.readers.backends import TorchBackend
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


def other_tokenizer(teacher: Path, out: Path, change: Callable[[Any], None]) -> Path:
    """Copy a checkpoint, and change its tokenizer's JSON."""
    out.mkdir()
    for file in teacher.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    tokenizer = orjson.loads((out / "tokenizer.json").read_bytes())
    change(tokenizer)
    (out / "tokenizer.json").write_bytes(orjson.dumps(tokenizer))
    return out


def test_a_student_with_other_tokens_is_refused(teacher: Path, tmp_path: Path) -> None:
    def forget_good(tokenizer: Any) -> None:
        vocabulary = tokenizer["model"]["vocab"]
        vocabulary["unheard-of"] = vocabulary.pop("good")

    other = other_tokenizer(teacher, tmp_path / "other", forget_good)
    with pytest.raises(ModelError, match="divide a text into other tokens"):
        distill(recipe(teacher, model=str(other), epochs=0.1), tmp_path / "out")


def test_a_teacher_with_other_special_tokens(teacher: Path, tmp_path: Path) -> None:
    """As MPNet has two separators between question and text, and BERT one."""

    def two_separators(tokenizer: Any) -> None:
        pair = tokenizer["post_processor"]["pair"]
        [middle] = [
            place
            for place, part in enumerate(pair)
            if "SpecialToken" in part and 0 < place < len(pair) - 1
        ]
        pair.insert(middle, pair[middle])

    other = other_tokenizer(teacher, tmp_path / "other", two_separators)
    soft = tmp_path / "soft"
    record = distill(
        recipe(other, model=str(teacher), epochs=0.1, soft_targets=str(soft)), tmp_path / "out"
    )
    assert record["counts"]["windows"] > 0
    assert record["settings"]["model"] == str(teacher)
    [file] = soft.rglob("*.safetensors")
    length = record["counts"]["windows"]
    assert len(load_file(file)["keys"]) <= length
    with pytest.raises(ConfigError, match=r"up to 513 tokens .* has 512 positions") as caught:
        distill(
            recipe(other, model=str(teacher), max_seq_length=512, stride=0), tmp_path / "longer"
        )
    assert "max_seq_length to 511" in str(caught.value)


def test_soft_targets_are_asked_for_once_and_pairs_need_no_labels(
    teacher: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    ask = TorchBackend.logits

    def counted(self: TorchBackend, ids: Any, *further: Any) -> Any:
        nonlocal asked
        asked += len(ids)
        return ask(self, ids, *further)

    soft = str(tmp_path / "soft")
    pairs = {"same_item": 0.5, "exchanged": 0.5}
    first = recipe(teacher, epochs=0.2, pairs=pairs, soft_targets=soft)
    record = distill(first, tmp_path / "first")
    assert record["counts"]["same_item_unlabelled"] > 0
    assert record["counts"]["exchanged"] > 0
    files = {path: path.read_bytes() for path in Path(soft).rglob("*") if path.is_file()}
    assert files
    monkeypatch.setattr(TorchBackend, "logits", counted)
    again = recipe(teacher, epochs=0.2, pairs=pairs, soft_targets=soft, alpha=0.9)
    distill(again, tmp_path / "again")
    measured = asked
    assert {path: path.read_bytes() for path in Path(soft).rglob("*") if path.is_file()} == files
    # The same with a teacher that has to be asked: all of its windows more, each once.
    asked = 0
    distill(again.model_copy(update={"soft_targets": None}), tmp_path / "anew")
    windows = sum(len(load_file(path)["keys"]) for path in files)
    assert asked == measured + windows


def test_a_source_without_labels(teacher: Path, tmp_path: Path) -> None:
    train = [{"path": "bundled:sample", "split": "dev", "labelled": False}]
    record = distill(recipe(teacher, train=train, alpha=1.0), tmp_path / "unlabelled")
    assert record["counts"]["unlabelled"] > 0
    assert "examples" not in record["counts"]
    distill(recipe(teacher, alpha=1.0, learning_rate=1e-12, epochs=0.1), tmp_path / "far")
    far = divergence(teacher, tmp_path / "far")
    assert divergence(teacher, tmp_path / "unlabelled") < 0.5 * far
