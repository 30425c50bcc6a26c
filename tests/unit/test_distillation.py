"""The loss of a student against numbers worked by hand and against scipy."""

import numpy as np
import pytest

pytest.importorskip("torch")

import torch
from scipy.special import softmax
from scipy.stats import entropy

from qa_system.training.reader.distill import distillation_loss, student_loss


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


def test_a_window_without_a_label_has_the_teachers_word_alone() -> None:
    # Softened by 1 the teacher says 1/4, 3/4 of the first window's starts, the student 1/2, 1/2:
    # 1/4 log(1/2) + 3/4 log(3/2) = 0.1308, of two windows one. The second's label is one of two
    # starts and one of two ends: log 4.
    teacher = torch.zeros(2, 2, 2)
    teacher[0, 0] = torch.tensor([1.0, 3.0]).log()
    even = torch.zeros(2, 2, requires_grad=True)
    batch = {
        "teacher": teacher,
        "allowed": torch.ones(2, 2, dtype=torch.bool),
        "spans": torch.tensor([[[-1, -1]], [[0, 1]]]),
    }
    loss = student_loss(even, even, batch, alpha=0.25, temperature=1.0)
    assert loss.item() == pytest.approx(0.25 * 0.130812 / 2 + 0.75 * np.log(4) / 2, abs=1e-5)
    batch["spans"] = torch.full((2, 1, 2), -1)
    unlabelled = student_loss(even, even, batch, alpha=0.25, temperature=1.0)
    assert unlabelled.item() == pytest.approx(0.25 * 0.130812 / 2, abs=1e-5)
    [gradient] = torch.autograd.grad(unlabelled, even)
    assert torch.isfinite(gradient).all()
