"""`qa distill`: a large reader's judgement of every token -> a small reader.

A label says which span is right. A teacher's logits also say which others are nearly right, and
how sure one can be; a student learns from both: `alpha T^2 KL(teacher || student)`, both
distributions softened by the temperature T, plus `(1 - alpha)` times the loss of the labels.
(Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015, section 2: the
gradients of softened distributions shrink by T^2, hence the factor. As a reader's second loss
while it is fine-tuned: Sanh et al., DistilBERT, 2019, section 4.)

A teacher needs no labels, so a student learns from unlabelled pairs of question and text, too,
where the divergence is all of the loss.

The teacher reads every window once, before the first epoch, and what it says is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import ConfigError, ModelError
from qa_system.models.locate import locate, weights_sha256
from qa_system.readers.backends import ReaderBackend, load_backend
from qa_system.readers.windows import Window, WindowCutter
from qa_system.training.reader.augmentation.augment import varied
from qa_system.training.reader.examples import Example, with_negatives
from qa_system.training.reader.layers import freeze_layers, keep_layers
from qa_system.training.reader.model import Reader, logits
from qa_system.training.reader.pairs import unlabelled_pairs
from qa_system.training.reader.soft_targets import soft_targets
from qa_system.training.reader.targets import Target, collate, gather_targets, span_loss
from qa_system.training.reader.train import fit_reader, start_reader
from qa_system.training.recipes import DistillTraining, TaughtSource
from qa_system.training.run import begin
from qa_system.training.sources import Part, read_sources

if TYPE_CHECKING:
    import torch

    from qa_system.training.trainer import TrainingSet

__all__ = ["distill", "distillation_loss", "student_loss"]

FloatArray = NDArray[np.float32]

SOFT_TARGETS = "soft-targets"


def distill(recipe: DistillTraining, out: str | Path) -> dict[str, Any]:
    """Train a student, or go on where an earlier run into the same folder was stopped.

    Args:
        recipe: of the run; `recipe.model` is the student.
        out: the folder that becomes the student's.

    Returns:
        The content of `training.json`.

    Raises:
        MissingDependencyError: torch, transformers or accelerate is not installed.
        ModelError: the teacher or the student is no such model, or they read other tokens.
        DataError: a data set or split is not there, or has nothing to learn from or measure on; a
            file of soft targets is damaged.
        ConfigError: the folder holds a trained model, or a stopped run with other settings; the
            student is asked for more layers than its checkpoint has.
    """
    run = begin(recipe, out)
    location = locate(recipe.teacher)
    # An export has a precision of its own.
    precision = "auto" if location.format == "onnx" else recipe.precision
    teacher = load_backend(location, precision=precision, device=recipe.device)
    student = start_reader(recipe, run.device)
    if recipe.layers is not None:
        keep_layers(student.model, recipe.layers)
    freeze_layers(student.model, recipe.frozen_layers)
    sources = read_sources(recipe.train, recipe.dev, recipe.seed, student.cutter.fits)
    material = gather_targets(sources, partial(_examples_in, recipe=recipe), student.cutter)
    judged = soft_targets(
        teacher,
        weights_sha256(location),
        _for_the_teacher(material.examples, student, teacher, recipe),
        Path(recipe.soft_targets or run.checkpoints / SOFT_TARGETS),
    )
    taught = [_Taught(*pair) for pair in zip(material.examples, judged, strict=True)]
    loss = partial(_loss, alpha=recipe.alpha, temperature=recipe.temperature)
    return fit_reader(run, student, material, _training_set(student, taught, loss))


def _examples_in(part: Part, recipe: DistillTraining) -> tuple[Sequence[Example], Counter[str]]:
    if isinstance(part.source, TaughtSource) and not part.source.labelled:
        examples = [Example(label.question, label.context, None) for label in part.labels]
        return examples, Counter(unlabelled=len(examples))
    labelled, counts = with_negatives(part.labels, recipe.negatives, part.seed)
    unlabelled, counted = unlabelled_pairs(part.labels, recipe.pairs, part.seed)
    examples, added = varied(labelled + unlabelled, recipe, part.seed)
    return examples, counts + counted + added


def distillation_loss(
    student: torch.Tensor, teacher: torch.Tensor, allowed: torch.Tensor, temperature: float
) -> torch.Tensor:
    """Return the mean over windows of `T^2 KL(teacher || student)`, of starts and ends together.

    Starts and ends are independent, as in `span_loss`, so the divergence of their joint
    distribution is the sum of both.

    Args:
        student: start and end logits, shape (2, windows, tokens).
        teacher: likewise.
        allowed: the tokens that a span may begin or end with, shape (windows, tokens).
        temperature: above 0; 1 leaves the distributions as they are.

    >>> import torch
    >>> even, one_to_three = torch.zeros(2, 1, 3), torch.tensor([0.0, 3.0, 99.0]).log()
    >>> allowed = torch.tensor([[True, True, False]])
    >>> sure = torch.stack([torch.tensor([[1.0, 3.0, 99.0]]).log(), torch.zeros(1, 3)])
    >>> loss = distillation_loss(even, sure, allowed, 1.0)
    >>> round(float(loss), 4)  # 1/4 log(1/4 / 1/2) + 3/4 log(3/4 / 1/2), and 0 for the ends
    0.1308
    """
    import torch

    def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
        softened = logits.float().masked_fill(~allowed, -torch.inf) / temperature
        # 0 in both is no divergence; -inf in both would be no number.
        return softened.log_softmax(dim=-1).masked_fill(~allowed, 0.0)

    divergence = torch.nn.functional.kl_div(
        log_probabilities(student),
        log_probabilities(teacher),
        reduction="none",
        log_target=True,
    )
    return temperature**2 * divergence.sum(dim=(0, 2)).mean()


@dataclass(frozen=True, slots=True)
class _Taught:
    """A target, and the teacher's logits of its window's null token and text."""

    target: Target
    teacher: FloatArray


def _for_the_teacher(
    targets: Sequence[Target],
    student: Reader,
    teacher: ReaderBackend,
    recipe: DistillTraining,
) -> list[Window]:
    """Return the windows of targets for the teacher: the same text, its own special tokens."""
    longest = student.cutter.max_seq_length
    cutter = WindowCutter(teacher.tokenizer, longest, recipe.stride, where=recipe.teacher)
    # As much room for the text, whatever special tokens there are beside it.
    longest += student.cutter.room(0) - cutter.room(0)
    if teacher.positions is not None and longest > teacher.positions:
        raise ConfigError(
            f"windows of up to {longest} tokens are read, "
            f"and the teacher has {teacher.positions} positions",
            where=recipe.teacher,
            remedy=f"Set max_seq_length to {recipe.max_seq_length - longest + teacher.positions} "
            "at most.",
        )
    cutter = WindowCutter(teacher.tokenizer, longest, recipe.stride, where=recipe.teacher)
    pairs = list(
        dict.fromkeys((target.example.question, target.example.context) for target in targets)
    )
    cut = cutter.cut([question for question, _ in pairs], [[text] for _, text in pairs])
    windows_of = {pair: windows for pair, [windows] in zip(pairs, cut, strict=True)}
    found = []
    for target in targets:
        windows = windows_of[target.example.question, target.example.context]
        window = windows[target.place] if target.place < len(windows) else None
        if window is None or not np.array_equal(window.offsets, target.window.offsets):
            raise ModelError(
                f"the teacher {recipe.teacher!r} and the student {recipe.model!r} divide a text "
                f"into other tokens, so the logits of one say nothing about the other's: "
                f"{target.example.context[:60]!r}",
                remedy="Name a student whose tokenizer differs from the teacher's in the special "
                "tokens alone, or none, so that it is cut out of the teacher: "
                "qa distill TEACHER --layers 3.",
            )
        found.append(window)
    return found


def _training_set(
    student: Reader, taught: Sequence[_Taught], loss: Callable[..., torch.Tensor]
) -> TrainingSet[_Taught]:
    from qa_system.training.trainer import TrainingSet

    return TrainingSet(
        taught,
        length=lambda row: len(row.target.window),
        collate=partial(_collate, pad_id=student.backend.pad_id),
        loss=partial(loss, has_token_types=student.has_token_types),
    )


def _collate(rows: Sequence[_Taught], pad_id: int) -> dict[str, torch.Tensor]:
    import torch

    batch = collate([row.target for row in rows], pad_id)
    teacher = np.zeros((2, *batch["input_ids"].shape), dtype=np.float32)
    for place, row in enumerate(rows):
        window = row.target.window
        teacher[:, place, 0] = row.teacher[:, 0]
        text = slice(window.context_start, window.context_start + len(window.offsets))
        teacher[:, place, text] = row.teacher[:, 1:]
    return {**batch, "teacher": torch.from_numpy(teacher)}


def _loss(
    model: Any,
    batch: dict[str, torch.Tensor],
    *,
    has_token_types: bool,
    alpha: float,
    temperature: float,
) -> torch.Tensor:
    start, end = logits(model, batch, has_token_types)
    return student_loss(start, end, batch, alpha=alpha, temperature=temperature)


def student_loss(
    start: torch.Tensor,
    end: torch.Tensor,
    batch: dict[str, torch.Tensor],
    *,
    alpha: float,
    temperature: float,
) -> torch.Tensor:
    """Return the mean over windows of the teacher's part of the loss and the labels' part.

    That is `alpha` times the divergence and `1 - alpha` times the loss of the labels. A window
    without a label has the first part only.

    Args:
        start: the student's logits, shape (windows, tokens).
        end: likewise.
        batch: `teacher`, start and end logits, shape (2, windows, tokens); `allowed` and `spans`
            as `span_loss` takes them, all -1 where there is no label.
        alpha: weight of the teacher.
        temperature: as `distillation_loss` takes it.
    """
    import torch

    allowed, spans = batch["allowed"], batch["spans"]
    taught = distillation_loss(torch.stack([start, end]), batch["teacher"], allowed, temperature)
    labelled = spans[:, 0, 0] >= 0
    if not labelled.any():
        return alpha * taught
    by_labels = span_loss(start[labelled], end[labelled], allowed[labelled], spans[labelled])
    return alpha * taught + (1 - alpha) * labelled.float().mean() * by_labels
