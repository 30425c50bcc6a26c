"""Layers taken out of a model, and layers that training leaves as they are."""

from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
import transformers
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    MPNetConfig,
    MPNetForQuestionAnswering,
)

from qa_system.errors import ConfigError, ModelError
from qa_system.training.reader.layers import freeze_layers, keep_layers, kept_layers


def test_layers_are_kept_evenly() -> None:
    assert kept_layers(4, 4) == [0, 1, 2, 3]
    assert kept_layers(12, 2) == [0, 11]
    assert kept_layers(6, 1) == [0]


SMALL = {"vocab_size": 50, "hidden_size": 16, "num_attention_heads": 2, "intermediate_size": 16}


@pytest.mark.parametrize(
    ("model", "layers"),
    [
        (
            lambda: BertForQuestionAnswering(BertConfig(num_hidden_layers=6, **SMALL)),
            lambda model: model.bert.encoder.layer,
        ),
        (
            lambda: DistilBertForQuestionAnswering(
                DistilBertConfig(vocab_size=50, dim=16, n_layers=6, n_heads=2, hidden_dim=16)
            ),
            lambda model: model.distilbert.transformer.layer,
        ),
    ],
)
def test_every_second_layer_of_the_teacher(model: Any, layers: Any) -> None:
    student = model()
    before = list(layers(student))
    keep_layers(student, 3)
    assert [before.index(layer) for layer in layers(student)] == [0, 2, 5]
    assert student.config.num_hidden_layers == 3
    assert student(torch.tensor([[1, 2, 3]])).start_logits.shape == (1, 3)


def test_errors_are_named() -> None:
    bert = BertForQuestionAnswering(BertConfig(num_hidden_layers=2, **SMALL))
    with pytest.raises(ConfigError, match=r"3 layers are to be kept, .* has 2"):
        keep_layers(bert, 3)
    bert.second = bert.bert.encoder
    bert.other = torch.nn.ModuleList([torch.nn.Identity(), torch.nn.Identity()])
    with pytest.raises(ModelError, match="cannot be told from its other parts"):
        keep_layers(bert, 1)
    with pytest.raises(ModelError, match="cannot be told from its other parts"):
        freeze_layers(bert, 1)
    with pytest.raises(ConfigError, match=r"3 layers are to be left as they are, .* has 2"):
        freeze_layers(bert, 3)


@pytest.mark.parametrize(
    ("model", "name"),
    [
        (lambda: BertForQuestionAnswering(BertConfig(num_hidden_layers=4, **SMALL)), "bert"),
        (
            # Its layers share the bias of relative positions, which is below all of them.
            lambda: MPNetForQuestionAnswering(MPNetConfig(num_hidden_layers=4, **SMALL)),
            "mpnet",
        ),
        (
            lambda: DistilBertForQuestionAnswering(
                DistilBertConfig(vocab_size=50, dim=16, n_layers=4, n_heads=2, hidden_dim=16)
            ),
            "distilbert",
        ),
    ],
)
def test_only_what_is_above_the_frozen_layers_learns(model: Any, name: str) -> None:
    reader = model()
    freeze_layers(reader, 3)
    output = reader(torch.tensor([[3, 4, 5]]), output_hidden_states=True)
    assert [state.requires_grad for state in output.hidden_states] == [False] * 4 + [True]
    output.start_logits.sum().backward()
    stack = "transformer" if name == "distilbert" else "encoder"
    learnt = {each for each, weights in reader.named_parameters() if weights.grad is not None}
    assert learnt
    assert all(each.startswith((f"{name}.{stack}.layer.3.", "qa_outputs.")) for each in learnt)


def test_nothing_is_frozen_unless_told() -> None:
    bert = BertForQuestionAnswering(BertConfig(num_hidden_layers=2, **SMALL))
    freeze_layers(bert, 0)
    assert all(weights.requires_grad for weights in bert.parameters())


PAIRED = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 4, "vocab_size": 50}
WINDOWED = {"sep_token_id": 2, "attention_window": [4, 4, 8, 8]}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (
            "ModernBert",
            {"intermediate_size": 16, "pad_token_id": 1, "global_attn_every_n_layers": 2},
        ),
        ("Longformer", {"intermediate_size": 16, "pad_token_id": 1} | WINDOWED),
        ("Qwen2", {"intermediate_size": 16, "num_key_value_heads": 2}),
    ],
)
def test_what_a_config_says_of_each_layer_is_shortened_too(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    config = getattr(transformers, f"{name}Config")(**PAIRED, **options)
    student = getattr(transformers, f"{name}ForQuestionAnswering")(config).eval()
    keep_layers(student, 2)
    if name == "Longformer":
        assert student.config.attention_window == [4, 8]
    student.save_pretrained(tmp_path)
    loaded = type(student).from_pretrained(tmp_path)
    ids = torch.tensor([[0, 5, 2, 2, *range(3, 30), 2]])
    with torch.no_grad():
        expected, found = (model(ids).start_logits for model in (student, loaded))
    assert torch.allclose(expected, found, atol=1e-5)


def test_layers_that_a_config_says_more_of_are_an_error_before_training() -> None:
    layers = {"num_layers": 2, "attention_types": [[["global", "local"], 1]]}
    config = transformers.GPTNeoConfig(vocab_size=50, hidden_size=16, num_heads=2, **layers)
    with pytest.raises(ModelError, match="layers of a GPTNeoForQuestionAnswering cannot be left"):
        keep_layers(transformers.GPTNeoForQuestionAnswering(config), 1)
