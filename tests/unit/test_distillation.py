"""The loss of a student against numbers worked by hand and against scipy; layers taken out."""

from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from scipy.special import softmax
from scipy.stats import entropy
from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
)

from qa_system.errors import ConfigError, ModelError
from qa_system.training.reader.distill import distillation_loss
from qa_system.training.reader.layers import keep_layers, kept_layers


def test_worked_by_hand() -> None:
    # Softened by 2 the teacher says 1/4, 3/4 of the starts, and the student 1/2, 1/2:
    # 1/4 log(1/2) + 3/4 log(3/2) = 0.1308, of two windows one, times 2 squared.
    nine_to_one = torch.tensor([[0.0, 2 * np.log(3.0), 50.0], [0.0, 0.0, 0.0]])
    teacher = torch.stack([nine_to_one, torch.zeros(2, 3)])
    allowed = torch.tensor([[True, True, False], [True, True, True]])
    loss = distillation_loss(torch.zeros(2, 2, 3), teacher, allowed, temperature=2.0)
    assert float(loss) == pytest.approx(4 * 0.130812 / 2, abs=1e-5)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_equals_scipys_relative_entropy(temperature: float) -> None:
    draw = np.random.default_rng(13)
    student, teacher = draw.normal(scale=4, size=(2, 2, 5, 9)).astype(np.float32)
    allowed = draw.random((5, 9)) < 0.6
    allowed[:, 0] = True
    expected = np.mean(
        [
            sum(
                entropy(
                    softmax(teacher[side, row, allowed[row]] / temperature),
                    softmax(student[side, row, allowed[row]] / temperature),
                )
                for side in (0, 1)
            )
            for row in range(5)
        ]
    )
    loss = distillation_loss(
        *(torch.from_numpy(each) for each in (student, teacher, allowed)), temperature
    )
    assert float(loss) == pytest.approx(temperature**2 * expected, rel=1e-4)


def test_tokens_that_are_not_allowed_teach_nothing() -> None:
    student = torch.randn(2, 3, 6, requires_grad=True)
    teacher = torch.randn(2, 3, 6)
    allowed = torch.tensor([True, True, False, True, False, False]).expand(3, 6)
    loss = distillation_loss(student, teacher, allowed, 2.0)
    changed = teacher.masked_fill(~allowed, 1e4)
    assert torch.equal(distillation_loss(student, changed, allowed, 2.0), loss)
    [gradient] = torch.autograd.grad(loss, student)
    assert torch.isfinite(gradient).all()
    assert (gradient[..., ~allowed[0]] == 0).all()
    assert (gradient[..., allowed[0]] != 0).all()
    same = distillation_loss(teacher, teacher, allowed, 2.0)
    assert float(same) == pytest.approx(0.0, abs=1e-6)


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
