"""`qa distill`: a large reader's judgement of every token -> a small reader.

A label says which span is right. A teacher's logits also say which others are nearly right, and
how sure one can be; a student learns from both: `alpha T^2 KL(teacher || student)`, both
distributions softened by the temperature T, plus `(1 - alpha)` times the loss of the labels.
(Hinton, Vinyals and Dean, Distilling the Knowledge in a Neural Network, 2015, section 2: the
gradients of softened distributions shrink by T^2, hence the factor. As a reader's second loss
while it is fine-tuned: Sanh et al., DistilBERT, 2019, section 4.)

The teacher reads every window once, before the first epoch: its logits are kept in a
memory-mapped file beside the checkpoints, where a run that was stopped finds them again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qa_system.console.progress import progress
from qa_system.errors import ConfigError, ModelError
from qa_system.models.inference import pad, token_batches
from qa_system.models.locate import locate
from qa_system.readers.backends import ReaderBackend, load_backend
from qa_system.training.reader.layers import freeze_layers, keep_layers
from qa_system.training.reader.model import Reader, logits
from qa_system.training.reader.targets import Target, collate, gather_targets, span_loss
from qa_system.training.reader.train import fit_reader, start_reader
from qa_system.training.recipes import DistillTraining
from qa_system.training.run import begin
from qa_system.training.sources import read_sources

if TYPE_CHECKING:
    import torch

    from qa_system.training.trainer import TrainingSet

__all__ = ["distill", "distillation_loss"]

FloatArray = NDArray[np.float32]

CACHE = "teacher.npy"
BATCH_TOKENS = 4096
"""Of the teacher's forward passes."""


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
        DataError: a data set or split is not there, or has nothing to learn from or measure on.
        ConfigError: the folder holds a trained model, or a stopped run with other settings; the
            student is asked for more layers than its checkpoint has.
    """
    run = begin(recipe, out)
    location = locate(recipe.teacher)
    # An export has a precision of its own.
    precision = "auto" if location.format == "onnx" else recipe.precision
    teacher = load_backend(location, precision=precision, device=recipe.device)
    student = start_reader(recipe, run.device)
    _check_tokens(teacher, recipe.teacher, student, recipe.model)
    if recipe.layers is not None:
        keep_layers(student.model, recipe.layers)
    freeze_layers(student.model, recipe.frozen_layers)
    sources = read_sources(recipe.train, recipe.dev, recipe.seed, student.cutter.fits)
    material = gather_targets(sources, recipe.negatives, student.cutter)
    judged = _teacher_logits(teacher, material.examples, run.checkpoints / CACHE)
    taught = [_Taught(*pair) for pair in zip(material.examples, judged, strict=True)]
    loss = partial(_loss, alpha=recipe.alpha, temperature=recipe.temperature)
    return fit_reader(run, student, material, _training_set(student, taught, loss))


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
    """A target, and the teacher's start and end logits of its window, shape (2, tokens)."""

    target: Target
    teacher: FloatArray


def _check_tokens(teacher: ReaderBackend, teacher_name: str, student: Reader, name: str) -> None:
    if teacher.tokenizer.get_vocab() != student.backend.tokenizer.get_vocab():
        raise ModelError(
            f"the teacher {teacher_name!r} and the student {name!r} have other "
            "vocabularies, so the logits of one say nothing about the other's tokens",
            remedy="Name a student with the teacher's tokenizer, or none, so that it is "
            "cut out of the teacher: qa distill TEACHER --layers 3.",
        )
    if teacher.positions is not None and student.cutter.max_seq_length > teacher.positions:
        raise ConfigError(
            f"max_seq_length is {student.cutter.max_seq_length}, "
            f"and the teacher has {teacher.positions} positions",
            where=teacher_name,
            remedy=f"Set max_seq_length to {teacher.positions} at most.",
        )


def _teacher_logits(
    teacher: ReaderBackend, targets: Sequence[Target], cache: Path
) -> list[FloatArray]:
    """Return the teacher's logits of each window, from the cache if an earlier run left them."""
    lengths = [len(target.window) for target in targets]
    ends = np.cumsum(lengths)
    if not cache.is_file():
        _write_logits(teacher, targets, lengths, ends, cache)
    kept: FloatArray = np.load(cache, mmap_mode="r", allow_pickle=False)
    return [kept[:, end - length : end] for length, end in zip(lengths, ends, strict=True)]


def _write_logits(
    teacher: ReaderBackend,
    targets: Sequence[Target],
    lengths: Sequence[int],
    ends: NDArray[np.int64],
    cache: Path,
) -> None:
    unfinished = cache.with_suffix(".part")
    kept = np.lib.format.open_memmap(
        unfinished, mode="w+", dtype=np.float32, shape=(2, int(ends[-1]))
    )
    with progress("asking the teacher", unit="windows", total=len(targets)) as shown:
        for rows in token_batches(lengths, BATCH_TOKENS, padded=teacher.pads):
            windows = [targets[row].window for row in rows]
            of_batch = np.array([[len(window)] for window in windows])
            computed = teacher.logits(
                pad([window.input_ids for window in windows], teacher.pad_id),
                (np.arange(of_batch.max()) < of_batch).astype(np.int64),
                pad([window.type_ids for window in windows]),
            )
            for place, row in enumerate(rows):
                length, end = lengths[row], ends[row]
                kept[:, end - length : end] = [each[place, :length] for each in computed]
            shown.advance(len(rows))
    kept.flush()
    del kept
    unfinished.replace(cache)


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
        teacher[:, place, : row.teacher.shape[1]] = row.teacher
    return {**batch, "teacher": torch.from_numpy(teacher)}


def _loss(
    model: Any,
    batch: dict[str, torch.Tensor],
    *,
    has_token_types: bool,
    alpha: float,
    temperature: float,
) -> torch.Tensor:
    import torch

    start, end = logits(model, batch, has_token_types)
    allowed = batch["allowed"]
    taught = distillation_loss(torch.stack([start, end]), batch["teacher"], allowed, temperature)
    labelled = span_loss(start, end, allowed, batch["spans"])
    return alpha * taught + (1 - alpha) * labelled
