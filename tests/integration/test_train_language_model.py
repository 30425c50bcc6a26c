"""A language model trained for a few steps: what it leaves, and who starts from it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Dense, Pooling, Transformer
from transformers import BertConfig, BertModel
from typer.testing import CliRunner

from indexing.cli import app
from qa_system.config import EncoderSettings
from qa_system.errors import ConfigError, DataError, ModelError
from qa_system.models.locate import locate
from qa_system.retrievers.encoders import load_encoder
from qa_system.training.language_model.recipe import LanguageModelTraining
from qa_system.training.language_model.train import train_language_model
from qa_system.training.reader.model import load_model

pytestmark = pytest.mark.slow

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
TEXTS = ["The battery lasts about two days.", "Spotless!"]


@pytest.fixture(scope="module")
def encoder(
    tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Callable[[Any, Path], Path]
) -> Path:
    torch.manual_seed(1)
    return save_checkpoint(BertModel(BertConfig(**TINY)), tmp_path_factory.mktemp("encoder"))


def recipe(encoder: object, **changed: Any) -> LanguageModelTraining:
    return LanguageModelTraining.model_validate(
        {
            "model": str(encoder),
            "train": [{"path": "bundled:sample", "held_out": 0.2}],
            "dev_windows": 20,
            "max_seq_length": 48,
            "batch_size": 8,
            "epochs": 1,
            "learning_rate": 5e-3,
            "evaluations": 3,
            "device": "cpu",
            "precision": "fp32",
        }
        | changed
    )


@pytest.fixture(scope="module")
def trained(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("trained") / "model"
    return folder, train_language_model(recipe(encoder), folder)


def test_a_run_predicts_held_out_reviews_better(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, record = trained
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "config.json",
        "curve.png",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "training.json",
    ]
    scores, counts = record["scores"], record["counts"]
    assert scores["perplexity"] < 0.8 * scores["perplexity_before"]
    assert scores["perplexity"] == pytest.approx(np.exp(-scores["log_likelihood"]))
    measured = [
        entry["eval_log_likelihood"]
        for entry in record["history"]
        if "eval_log_likelihood" in entry
    ]
    assert len(measured) >= 3
    assert scores["log_likelihood"] == pytest.approx(max(measured), abs=1e-5)
    assert counts["rows"] == counts["windows"]
    assert counts["measured_windows"] == 20
    assert record["head"] == {"made": True, "tied": True}
    assert record["data"][0]["reviews"] == counts["learnt"] + counts["measured"]
    assert "| reviews |" in (folder / "README.md").read_text()
    assert json.loads((folder / "training.json").read_text()) == record


def test_others_start_from_it(trained: tuple[Path, dict[str, Any]], encoder: Path) -> None:
    folder, _ = trained
    reader = load_model(locate(str(folder)), 0.1, torch.device("cpu"))
    weights = load_file(folder / "model.safetensors")
    for name, value in reader.bert.state_dict().items():
        assert torch.equal(value, weights[f"bert.{name}"])
    start = load_file(encoder / "model.safetensors")
    table = "embeddings.word_embeddings.weight"
    assert not torch.equal(start[table], weights[f"bert.{table}"])
    assert torch.equal(start["pooler.dense.weight"], weights["bert.pooler.dense.weight"])
    embedding = EncoderSettings(model=str(folder), device="cpu", precision="fp32")
    vectors = load_encoder(embedding).encode_passages(TEXTS)
    theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    assert vectors == pytest.approx(theirs, abs=1e-5)


def test_a_killed_run_goes_on_as_if_it_had_not_been(
    trained: tuple[Path, dict[str, Any]], encoder: Path, tmp_path: Path
) -> None:
    folder, whole = trained
    told = tmp_path / "recipe.yaml"
    told.write_text(recipe(encoder).model_dump_json())
    out = tmp_path / "model"
    run = subprocess.Popen(
        [
            *(sys.executable, "-m", "qa_system.cli", "train", "language-model", "--json"),
            *("--recipe", str(told), "--out", str(out)),
        ],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env=dict(os.environ),
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
        train_language_model(recipe(encoder, seed=1), out)
    seen = out / "checkpoints" / "reviews.json"
    data = seen.read_bytes()
    seen.write_bytes(data.replace(b'"reviews":', b'"reviews":1'))
    with pytest.raises(ConfigError, match="other reviews"):
        train_language_model(recipe(encoder), out)
    seen.write_bytes(data)
    resumed = train_language_model(recipe(encoder), out)
    assert resumed["scores"] == whole["scores"]
    same = [load_file(each / "model.safetensors") for each in (folder, out)]
    assert all(torch.equal(value, same[1][name]) for name, value in same[0].items())


def test_modules_of_sentence_transformers_stay(encoder: Path, sample: Path, tmp_path: Path) -> None:
    inside = Transformer(str(encoder))
    model = SentenceTransformer(
        modules=[inside, Pooling(32, "max"), Dense(32, 16)], device="cpu", prompts={"query": "Q: "}
    )
    model.save(str(tmp_path / "sentences"), create_model_card=False)
    modules = tmp_path / "sentences" / "modules.json"
    moved = tmp_path / "sentences" / "0_Transformer"  # as older versions save it
    moved.mkdir()
    for path in [*modules.parent.iterdir()]:
        if path.is_file() and not path.name.startswith(("modules", "config_sentence")):
            path.rename(moved / path.name)
    listed = json.loads(modules.read_text())
    listed[0]["path"] = moved.name
    modules.write_text(json.dumps(listed))

    store = tmp_path / "store"
    result = CliRunner().invoke(
        app, ["run", "--source", str(sample), "--store", str(store), "--no-embed"]
    )
    assert result.exit_code == 0, result.output
    settings = recipe(
        modules.parent,
        train=[{"path": f"store:{store}", "held_out": 0.2, "weight": 0.3}],
        layout="windows",
    )
    record = train_language_model(settings, tmp_path / "adapted")
    assert record["counts"]["rows"] == round(0.3 * record["counts"]["windows"])
    before, after = (
        SentenceTransformer(str(each), device="cpu")
        for each in (modules.parent, tmp_path / "adapted")
    )
    assert [type(each) for each in after] == [type(each) for each in before]
    assert after.prompts["query"] == "Q: "
    assert after[1].get_config_dict() == before[1].get_config_dict()
    assert torch.equal(after[2].linear.weight, before[2].linear.weight)
    assert after.encode(TEXTS).shape == (2, 16)
    assert np.abs(after.encode(TEXTS) - before.encode(TEXTS)).max() > 1e-3


def test_what_cannot_be_trained_is_said(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is an export"):
        train_language_model(recipe("bundled:encoder"), tmp_path / "a")
    with pytest.raises(DataError, match="nothing to measure on"):
        train_language_model(recipe(encoder, train=[{"path": "bundled:sample"}]), tmp_path / "b")
    nothing = [{"path": "bundled:sample", "held_out": 0.2, "weight": 1e-6}]
    with pytest.raises(DataError, match="nothing to learn from"):
        train_language_model(recipe(encoder, train=nothing), tmp_path / "c")
