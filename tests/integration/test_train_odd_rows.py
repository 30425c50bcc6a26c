"""A row that a model cannot take is named, counted and set aside by every training, before it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertModel,
    ReformerConfig,
    ReformerModel,
)
from typer.testing import CliRunner

from qa_system.cli import app
from qa_system.datasets.dataset import read_dataset
from qa_system.errors import ModelError

pytestmark = pytest.mark.slow

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
LONG = "why " * 600 + "?"
TRAININGS = ("reader", "ranker", "retriever", "generator", "distill")
OF_KIND: dict[str, dict[str, Any]] = {
    "reader": {"max_seq_length": 128, "stride": 32},
    "distill": {"max_seq_length": 128, "stride": 32},
    "ranker": {"max_seq_length": 64, "candidates": 5},
    "retriever": {"max_seq_length": 48},
    "generator": {
        "decoder_layers": 1,
        "documents": 1,
        "max_source_length": 96,
        "max_answer_length": 24,
    },
}


@pytest.fixture(scope="module")
def models(
    tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Callable[[Any, Path], Path]
) -> dict[str, Path]:
    torch.manual_seed(0)
    config = BertConfig(**TINY)
    folder = tmp_path_factory.mktemp("models")
    encoder = save_checkpoint(BertModel(config), folder / "encoder")
    reader = save_checkpoint(BertForQuestionAnswering(config), folder / "reader")
    return dict.fromkeys(TRAININGS, encoder) | {"distill": reader}


def squad(path: Path, split: str, number: int, *, long: str = LONG, every: bool = False) -> Path:
    """Write questions of the sample; the texts begin with an emoji, and UTF-16 units are counted.

    The first is too long, and the context of the second is blank.
    """
    labels = [label for label in read_dataset("bundled:sample").labels_of(split) if label.answers]
    labels += read_dataset("bundled:sample").labels_of(split)
    labels = list({label.question_id: label for label in labels}.values())[:number]
    paragraphs = []
    for place, label in enumerate(labels):
        answers = [
            {"text": span.text, "answer_start": span.start + 3} for span in label.answers[:1]
        ]
        question = long if every or place == 0 else label.question
        row = {"id": place, "question": question, "answers": answers}
        context = "" if place == 1 else f"👍 {label.context}"
        paragraphs.append({"context": context, "qas": [row]})
    items = [
        {"title": None, "item_id": label.item_id, "paragraphs": [paragraph]}
        for label, paragraph in zip(labels, paragraphs, strict=True)
    ]
    path.write_text(json.dumps({"data": items}))
    return path


def command(kind: str, models: dict[str, Path], train: Path, dev: Path, out: Path) -> list[str]:
    recipe = {
        "train": [{"path": str(train)}],
        "dev": [{"path": str(dev)}],
        "epochs": 1,
        "batch_size": 16,
        "evaluations": 1,
        "device": "cpu",
        "precision": "fp32",
        **OF_KIND[kind],
    }
    if kind != "distill":
        recipe["model"] = str(models[kind])
    file = out.parent / f"{kind}.json"
    file.write_text(json.dumps(recipe))
    head = ["distill", str(models[kind])] if kind == "distill" else ["train", kind]
    return [*head, "--recipe", str(file), "--out", str(out), "--json"]


@pytest.mark.parametrize("kind", TRAININGS)
def test_odd_rows_are_set_aside(
    kind: str, models: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    train = squad(tmp_path / "train.json", "train", 40)
    dev = squad(tmp_path / "dev.json", "dev", 30)
    done = CliRunner().invoke(app, command(kind, models, train, dev, tmp_path / "out"))
    assert done.exception is None, done.exception
    record = json.loads((tmp_path / "out" / "training.json").read_text())
    assert record["counts"]["question_too_long"] == 2
    assert record["counts"].get("unlocated", 0) == 0
    for path, questions in ((train, 39), (dev, 29)):
        assert f"{path}: 1 of {questions + 1} rows were set aside" in caplog.text
        assert f"{path}, all of it: 1 of {questions} questions are set aside" in caplog.text
    assert "'0': 'why why why" in caplog.text


@pytest.mark.parametrize("kind", TRAININGS)
@pytest.mark.parametrize("bad", ["train", "dev"])
def test_a_source_of_nothing_else_is_an_error_before_the_first_step(
    kind: str, bad: str, models: dict[str, Path], tmp_path: Path
) -> None:
    train = squad(tmp_path / "train.json", "train", 20, every=bad == "train")
    dev = squad(tmp_path / "dev.json", "dev", 20, every=bad == "dev")
    done = CliRunner().invoke(app, command(kind, models, train, dev, tmp_path / "out"))
    assert "none of 19 questions leaves room for a text" in str(done.exception)
    assert f"{bad}.json" in str(done.exception)
    assert not list((tmp_path / "out").glob("checkpoints/checkpoint-*"))


@pytest.mark.parametrize("kind", TRAININGS)
def test_texts_longer_than_the_positions_are_an_error_before_the_first_step(
    kind: str, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setting = "max_answer_length" if kind == "generator" else "max_seq_length"
    monkeypatch.setitem(OF_KIND, kind, OF_KIND[kind] | {setting: 513})
    data = squad(tmp_path / "train.json", "train", 20)
    done = CliRunner().invoke(app, command(kind, models, data, data, tmp_path / "out"))
    assert f"{setting} is 513, and the" in str(done.exception)
    assert "has 512 positions" in str(done.exception)
    assert not list((tmp_path / "out").glob("checkpoints/checkpoint-*"))


@pytest.mark.parametrize("kind", ["reader", "ranker", "retriever"])
def test_a_model_that_cannot_be_trained_as_it_is_used_is_named(
    kind: str, tmp_path: Path, save_checkpoint: Callable[[Any, Path], Path]
) -> None:
    """A Reformer learns from texts of one length only, and reads any."""
    sizes = {"hidden_size": 32, "attention_head_size": 16, "feed_forward_size": 64}
    axial = {"axial_pos_shape": [32, 16], "axial_pos_embds_dim": [16, 16]}
    config = ReformerConfig(vocab_size=30522, is_decoder=False, num_buckets=4, **sizes, **axial)
    models = {kind: save_checkpoint(ReformerModel(config), tmp_path / "reformer")}
    train = squad(tmp_path / "train.json", "train", 20)
    dev = squad(tmp_path / "dev.json", "dev", 20)
    done = CliRunner().invoke(app, command(kind, models, train, dev, tmp_path / "out"))
    assert isinstance(done.exception, ModelError), done.exception
    assert "cannot take its first step" in str(done.exception)


@pytest.mark.parametrize("kind", ["reader", "distill"])
def test_answers_that_are_nowhere_are_an_error(
    kind: str, models: dict[str, Path], tmp_path: Path
) -> None:
    train = squad(tmp_path / "train.json", "train", 20)
    tree = json.loads(train.read_text())
    for item in tree["data"]:
        for question in item["paragraphs"][0]["qas"]:
            question["answers"] = [{"text": "words of nobody", "answer_start": 0}]
    train.write_text(json.dumps(tree))
    dev = squad(tmp_path / "dev.json", "dev", 20)
    done = CliRunner().invoke(app, command(kind, models, train, dev, tmp_path / "out"))
    assert "none of the answers to 18 questions was found in its text" in str(done.exception)


def test_dev_without_an_answer_is_an_error_before_the_first_step(
    models: dict[str, Path], tmp_path: Path
) -> None:
    train = squad(tmp_path / "train.json", "train", 20)
    dev = squad(tmp_path / "dev.json", "dev", 20)
    tree = json.loads(dev.read_text())
    for item in tree["data"]:
        for question in item["paragraphs"][0]["qas"]:
            question["answers"] = [{"text": "", "answer_start": -1}]
    dev.write_text(json.dumps(tree))
    done = CliRunner().invoke(app, command("reader", models, train, dev, tmp_path / "out"))
    assert "no question to measure on has an answer" in str(done.exception)
    assert not list((tmp_path / "out").glob("checkpoints/checkpoint-*"))
