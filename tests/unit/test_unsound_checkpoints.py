"""Checkpoints that load and cannot be right: weights of NaN, layers and tokens too many."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from haystack import Document

pytest.importorskip("transformers")

import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForQuestionAnswering,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    JinaEmbeddingsV3Config,
    JinaEmbeddingsV3Model,
)

import tiny_models as tiny
from architectures import SIZES, fast, save_reader, tokenizer_of
from qa_system.config import load_settings
from qa_system.errors import ConfigError, ModelError
from qa_system.export.onnx import export_model
from qa_system.generators.rag import RAGGenerator
from qa_system.models.locate import locate
from qa_system.rankers.cross_encoder import rank_by
from qa_system.readers.extractive import ExtractiveReader
from qa_system.retrievers.sentence_models import load_sentence_model

QUESTION = "How long does the battery last?"
REVIEWS = [Document(content="The battery lasts two days."), Document(content="It is bright.")]
SHORT = {"max_seq_length": 64, "stride": 16, "precision": "fp32", "device": "cpu"}
LAYERS = r"layers that its config does not use, such as .*layer\.1\."

Ask = Callable[[Path], object]


def ask_reader(folder: Path) -> object:
    return ExtractiveReader(str(folder), **SHORT).run(QUESTION, REVIEWS)


def ask_ranker(folder: Path) -> object:
    return rank_by(str(folder), device="cpu", top_k=2).run(QUESTION, REVIEWS)


def load_encoder(folder: Path) -> object:
    return load_sentence_model(locate(str(folder)))


def ask_generator(folder: Path, **options: Any) -> object:
    options |= {"num_beams": 2, "max_length": 4, "device": "cpu", "precision": "fp32"}
    return RAGGenerator(str(folder), **options).generate([QUESTION], [REVIEWS])


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    return save_reader("bert", tmp_path / "sound")


@pytest.fixture
def ranker(reader: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "ranker"
    AutoModelForSequenceClassification.from_pretrained(reader, num_labels=1).save_pretrained(folder)
    AutoTokenizer.from_pretrained(reader).save_pretrained(folder)
    return folder


def with_weights(folder: Path, kind: Any, name: str, value: float) -> None:
    """Set a weight of a checkpoint to a value, as a diverged training leaves it."""
    model = kind.from_pretrained(folder)
    with torch.no_grad():
        model.get_parameter(name).fill_(value)
    model.save_pretrained(folder)


def with_config(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | values), encoding="utf-8")


def with_token(folder: Path, *, special: bool = False, **options: Any) -> int:
    """Add a token to a tokenizer, and leave the model's embeddings as they are."""
    tokenizer = AutoTokenizer.from_pretrained(folder, **options)
    rows = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    fill = [f"xx{number}" for number in range(rows - len(tokenizer))]
    tokenizer.add_tokens(fill)
    tokenizer.add_tokens(["battery-life"], special_tokens=special)
    tokenizer.save_pretrained(folder)
    return int(rows)


def without(folder: Path, part: str) -> None:
    """Take the weights of a part out of a checkpoint's file."""
    path = folder / "model.safetensors"
    kept = {name: value for name, value in load_file(path).items() if part not in name}
    save_file(kept, path, metadata={"format": "pt"})


def test_a_part_of_an_encoder_that_is_not_there_is_an_error(reader: Path) -> None:
    """Transformers would draw its weights at random, as many as they are."""
    without(reader, "layer.1.attention.self.query.weight")
    with pytest.raises(ModelError, match=r"has no weights for .*layer\.1\.attention.self.query"):
        load_encoder(reader)


def test_a_ranker_without_its_head_is_an_error(ranker: Path) -> None:
    without(ranker, "classifier")
    with pytest.raises(ModelError, match=r"has no weights for classifier"):
        ask_ranker(ranker)


def test_weights_that_transformers_renames_are_there(tmp_path: Path) -> None:
    sizes = {"max_position_embeddings": 130, "pad_token_id": 1, "type_vocab_size": 1, **SIZES}
    tokenizer = tokenizer_of("xlmr")
    config = JinaEmbeddingsV3Config(vocab_size=tokenizer.get_vocab_size(), **sizes)
    JinaEmbeddingsV3Model(config).save_pretrained(tmp_path)
    fast(tokenizer).save_pretrained(tmp_path)
    saved = load_file(tmp_path / "model.safetensors")
    loaded = load_sentence_model(locate(str(tmp_path))).model[0].auto_model
    assert saved.keys() != loaded.state_dict().keys()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reader_that_computes_no_numbers_is_named(reader: Path, value: float) -> None:
    with_weights(reader, AutoModelForQuestionAnswering, "qa_outputs.weight", value)
    with pytest.raises(ModelError, match=f"the reader computes NaN or infinity.*{reader}"):
        ask_reader(reader)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_ranker_that_computes_no_numbers_is_named(ranker: Path, value: float) -> None:
    ask_ranker(ranker)
    with_weights(ranker, AutoModelForSequenceClassification, "classifier.bias", value)
    with pytest.raises(ModelError, match=f"the ranker computes NaN or infinity.*{ranker}"):
        ask_ranker(ranker)


@pytest.mark.parametrize("mode", ["token", "sequence"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_generator_that_computes_no_numbers_is_named(
    tmp_path: Path, value: float, mode: str
) -> None:
    model = tiny.tiny_bart()
    with torch.no_grad():
        model.model.decoder.layers[0].fc1.bias.fill_(value)
    folder = tiny.save_seq2seq(tmp_path / "bart", model)
    with pytest.raises(ModelError, match=f"the generator computes NaN or infinity.*{folder}"):
        ask_generator(folder, mode=mode)


@pytest.mark.slow
def test_an_export_says_that_the_weights_are_no_numbers(reader: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    with_weights(reader, AutoModelForQuestionAnswering, "qa_outputs.weight", float("nan"))
    with pytest.raises(ModelError, match="start_logits hold NaN or infinity") as caught:
        export_model(reader, tmp_path / "out", task="reader", precision="fp32")
    assert "Check the checkpoint's weights" in str(caught.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("ask", [ask_reader, load_encoder])
def test_layers_beyond_the_config_are_refused(reader: Path, ask: Ask) -> None:
    ask(reader)  # the head, which an encoder does not use, is no layer
    with_config(reader, num_hidden_layers=1)
    with pytest.raises(ModelError, match=LAYERS):
        ask(reader)


def test_layers_beyond_a_rankers_config_are_refused(ranker: Path) -> None:
    with_config(ranker, num_hidden_layers=1)
    with pytest.raises(ModelError, match=LAYERS):
        ask_ranker(ranker)


def test_layers_beyond_a_generators_config_are_refused(tmp_path: Path) -> None:
    folder = tiny.save_seq2seq(tmp_path / "bart")
    with_config(folder, decoder_layers=1)
    with pytest.raises(ModelError, match=r"does not use, such as .*decoder\.layers\.1\."):
        ask_generator(folder)


@pytest.mark.parametrize("ask", [ask_reader, load_encoder])
def test_an_added_token_without_an_embedding_is_refused(reader: Path, ask: Ask) -> None:
    rows = with_token(reader)
    with pytest.raises(ModelError, match=f"{rows + 1} tokens, .* embeddings of {rows}"):
        ask(reader)


def test_a_special_token_that_no_text_holds_needs_no_embedding(reader: Path) -> None:
    with_token(reader, special=True)
    review = Document(content="The battery-life is two days.")
    assert ExtractiveReader(str(reader), **SHORT).read([QUESTION], [[review]])[0].candidates


def test_a_ranker_with_more_tokens_than_embeddings_is_refused(ranker: Path) -> None:
    rows = with_token(ranker)
    with pytest.raises(ModelError, match=f"{rows + 1} tokens, .* embeddings of {rows}"):
        ask_ranker(ranker)


def test_a_generator_with_more_tokens_than_embeddings_is_refused(tmp_path: Path) -> None:
    rows = tiny.VOCABULARY - 1
    folder = tiny.save_seq2seq(tmp_path / "bart", tiny.tiny_bart(vocabulary=rows))
    with pytest.raises(ModelError, match=f"{rows + 1} tokens, .* embeddings of {rows}"):
        ask_generator(folder)


@pytest.mark.parametrize("positions", [128, 129, 256, 257, 300])
def test_the_remedy_for_too_few_positions_works_as_typed(tmp_path: Path, positions: int) -> None:
    reader = save_reader("bert", tmp_path / "short")
    model = AutoModelForQuestionAnswering.from_pretrained(
        reader, max_position_embeddings=positions, ignore_mismatched_sizes=True
    )
    model.save_pretrained(reader)
    with pytest.raises(ConfigError, match=f"{positions} positions") as caught:
        ExtractiveReader(str(reader), device="cpu").warm_up()
    overrides = {
        key: int(value) for key, value in re.findall(r"(reader\.\w+) to (\d+)", str(caught.value))
    }
    assert overrides["reader.max_seq_length"] == positions
    chosen = load_settings(overrides=overrides, environ={}).reader
    ExtractiveReader(
        str(reader), device="cpu", max_seq_length=chosen.max_seq_length, stride=chosen.stride
    ).warm_up()


@pytest.mark.parametrize("length", [16, 17, 64, 255, 257])
def test_the_remedies_for_too_long_a_stride_work_as_typed(length: int) -> None:
    typed = {"reader.max_seq_length": length}
    with pytest.raises(ConfigError, match="less than half") as caught:
        load_settings(overrides=typed, environ={})
    remedies = re.findall(r"(reader\.\w+) to (\d+)", str(caught.value))
    assert [key for key, _ in remedies] == ["reader.stride", "reader.max_seq_length"]
    for key, value in remedies:
        load_settings(overrides=typed | {key: int(value)}, environ={})


def test_the_remedy_for_too_few_beams_works_as_typed(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"generator\.num_beams to 7 at least"):
        RAGGenerator(str(tmp_path), num_beams=5, top_k=7)
    RAGGenerator(str(tmp_path), num_beams=7, top_k=7)
