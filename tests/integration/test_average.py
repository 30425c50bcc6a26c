"""`qa average`: tiny checkpoints, and the mean of their weights worked out beside it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from typer.testing import CliRunner

pytest.importorskip("torch")

import torch
from haystack import Document
from safetensors.torch import load_file, save_file
from transformers import AutoModelForQuestionAnswering, BertConfig, BertForQuestionAnswering

from qa_system.cli import app
from qa_system.errors import ConfigError, ModelError
from qa_system.readers.calibration import Calibration, calibration_of, keep_calibration
from qa_system.readers.extractive import ExtractiveReader
from qa_system.training.average import average

Save = Callable[[Any, Path], Path]


def tiny(seed: int, *, layers: int = 1) -> Any:
    torch.manual_seed(seed)
    return BertForQuestionAnswering(
        BertConfig(
            hidden_size=16,
            num_hidden_layers=layers,
            num_attention_heads=2,
            intermediate_size=16,
            initializer_range=0.4,
        )
    )


@pytest.fixture
def models(tmp_path: Path, save_checkpoint: Save) -> list[str]:
    return [str(save_checkpoint(tiny(seed), tmp_path / f"model-{seed}")) for seed in (1, 2, 3)]


def test_each_model_counts_by_its_weight(models: list[str], tmp_path: Path) -> None:
    run = CliRunner().invoke(
        app,
        ["average", *models, "--weight=2", "--weight=1", "--weight=1", "--out", f"{tmp_path}/out"],
    )
    assert run.exit_code == 0, run.output
    assert run.output.startswith("0.500 of ")
    one, two, three = (load_file(Path(model) / "model.safetensors") for model in models)
    mean = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "out").state_dict()
    for name in one:
        expected = one[name] / 2 + two[name] / 4 + three[name] / 4
        torch.testing.assert_close(mean[name], expected, rtol=0, atol=1e-6)
    record = orjson.loads((tmp_path / "out" / "training.json").read_bytes())
    assert [part["share"] for part in record["models"]] == [0.5, 0.25, 0.25]
    assert len({part["sha256"] for part in record["models"]}) == 3


def test_a_model_averaged_with_itself_reads_as_it_did(models: list[str], tmp_path: Path) -> None:
    average([models[0], models[0]], tmp_path / "out")
    question, review = ["Is it loud?"], [[Document(content="It is rather loud; the lid rattles.")]]
    before, after = (
        ExtractiveReader(model, device="cpu", precision="fp32").read(question, review)[0]
        for model in (models[0], str(tmp_path / "out"))
    )
    assert after.log_odds == pytest.approx(before.log_odds, abs=1e-5)


def test_bf16_stays_bf16(models: list[str], tmp_path: Path) -> None:
    for model in models:
        path = Path(model) / "model.safetensors"
        tensors = {name: tensor.bfloat16() for name, tensor in load_file(path).items()}
        save_file(tensors, path, metadata={"format": "pt"})
    average(models, tmp_path / "out")
    mean = load_file(tmp_path / "out" / "model.safetensors")
    assert {tensor.dtype for tensor in mean.values()} == {torch.bfloat16}


def test_no_calibration_goes_along(models: list[str], tmp_path: Path) -> None:
    from qa_system.models.locate import locate

    keep_calibration(Calibration(threshold=3.0), locate(models[0]))
    average(models, tmp_path / "out")
    assert calibration_of(locate(str(tmp_path / "out"))) == Calibration()


def test_models_that_do_not_fit_are_refused(
    models: list[str], tmp_path: Path, save_checkpoint: Save
) -> None:
    deeper = str(save_checkpoint(tiny(1, layers=2), tmp_path / "deeper"))
    with pytest.raises(ModelError, match=r"layer\.1\..* is not in both"):
        average([models[0], deeper], tmp_path / "out")
    words = Path(models[1]) / "tokenizer.json"
    tokenizer = orjson.loads(words.read_bytes())
    tokenizer["normalizer"]["lowercase"] = False
    words.write_bytes(orjson.dumps(tokenizer))
    with pytest.raises(ModelError, match="its tokenizer is not that of"):
        average(models[:2], tmp_path / "out")
    (Path(models[2]) / "model.safetensors").write_bytes(b"not one")
    with pytest.raises(ModelError, match="the weights cannot be read"):
        average([models[0], models[2]], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("count", "weights", "says"),
    [(1, None, "1 model to average"), (2, [1.0], "weights"), (2, [1.0, 0.0], "weights")],
)
def test_numbers_that_do_not_fit_are_refused(
    models: list[str], tmp_path: Path, count: int, weights: list[float] | None, says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        average(models[:count], tmp_path / "out", weights=weights)


def test_a_folder_in_use_is_left_alone(models: list[str], tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not empty"):
        average(models, tmp_path / "out")
