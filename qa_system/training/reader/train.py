"""`qa train reader`: an encoder or a reader, and labelled questions -> a reader of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import locate_checkpoint
from qa_system.models.positions import check_length
from qa_system.readers.backends import TorchBackend
from qa_system.readers.windows import WindowCutter
from qa_system.records import Label
from qa_system.training.reader.augmentation.augment import varied
from qa_system.training.reader.evaluate import calibrate, measure
from qa_system.training.reader.examples import Example, with_negatives
from qa_system.training.reader.layers import freeze_layers
from qa_system.training.reader.model import Reader, load_model, logits
from qa_system.training.reader.targets import Target, collate, gather_targets, span_loss
from qa_system.training.recipes import ReaderTraining
from qa_system.training.record import write_record
from qa_system.training.run import Run, begin
from qa_system.training.sources import Material, Part, read_sources

if TYPE_CHECKING:
    import torch

    from qa_system.training.trainer import TrainingSet

__all__ = ["fit_reader", "start_reader", "train_reader"]


def train_reader(recipe: ReaderTraining, out: str | Path) -> dict[str, Any]:
    """Train a reader, or go on where an earlier run into the same folder was stopped.

    Args:
        recipe: of the run.
        out: the folder that becomes the model; checkpoints stand in `out/checkpoints` until the
            run is done.

    Returns:
        The content of `training.json`.

    Raises:
        MissingDependencyError: torch, transformers or accelerate is not installed.
        ModelError: `recipe.model` is nothing to start from, or its layers cannot be frozen.
        DataError: a data set or split is not there, or has nothing to learn from or measure on.
        ConfigError: the folder holds a trained model, or a stopped run with other settings.
    """
    run = begin(recipe, out)
    reader = start_reader(recipe, run.device)
    freeze_layers(reader.model, recipe.frozen_layers)
    sources = read_sources(recipe.train, recipe.dev, recipe.seed, reader.cutter.fits)
    material = gather_targets(
        sources,
        partial(_examples_in, recipe=recipe),
        reader.cutter,
    )
    return fit_reader(run, reader, material, _training_set(reader, material.examples))


def _examples_in(part: Part, recipe: ReaderTraining) -> tuple[list[Example], Counter[str]]:
    labelled, counts = with_negatives(part.labels, recipe.negatives, part.seed)
    examples, added = varied(labelled, recipe, part.seed)
    return examples, counts + added


def start_reader(recipe: ReaderTraining, device: torch.device) -> Reader:
    """Load what a reader's training starts from.

    Raises:
        ModelError: no reader can start from it, or it has fewer positions.
    """
    location = locate_checkpoint(recipe.model)
    model = load_model(location, recipe.dropout, device)
    backend = TorchBackend(model, load_tokenizer(location.path))
    where, length = str(location.path), recipe.max_seq_length
    cutter = WindowCutter(backend.tokenizer, length, recipe.stride, where=where)
    check_length("max_seq_length", length, backend.positions, where)
    return Reader(model, backend, location, cutter, recipe.max_answer_length)


def fit_reader(
    run: Run,
    reader: Reader,
    material: Material[Target, Sequence[Label]],
    learnt: TrainingSet[Any],
) -> dict[str, Any]:
    """Train a reader, calibrate it, and write it to the run's folder with its record.

    Args:
        run: what `begin` returned.
        reader: as it starts.
        material: what is measured on, and where all that came from.
        learnt: what it learns from.

    Returns:
        The content of `training.json`.

    Raises:
        DataError: no question to measure on has an answer.
    """
    from qa_system.training.trainer import fit

    history = fit(
        reader.model,
        learnt,
        evaluate=lambda: measure(reader.read(material.measured)),
        run=run,
    )
    reader.model.eval()
    reads = reader.read(material.measured)
    # One more annotator finds more answers, and a dev split may have fewer than the rest.
    held_out = reads[len(material.dev) :]
    calibration, errors = (
        calibrate(held_out, "held out of train") if held_out else calibrate(reads, "dev")
    )
    reader.save(run.folder)
    return write_record(
        run,
        task="reader",
        data=material.data,
        scores=measure(reads) | errors,
        history=history,
        counts=dict(material.counts) | {"windows": len(material.examples)},
        calibration=calibration.to_dict(),
    )


def _training_set(reader: Reader, targets: Sequence[Target]) -> TrainingSet[Target]:
    from qa_system.training.trainer import TrainingSet

    return TrainingSet(
        targets,
        length=lambda target: len(target.window),
        collate=partial(collate, pad_id=reader.backend.pad_id),
        loss=partial(_loss, has_token_types=reader.has_token_types),
    )


def _loss(model: Any, batch: dict[str, torch.Tensor], *, has_token_types: bool) -> torch.Tensor:
    start, end = logits(model, batch, has_token_types)
    return span_loss(start, end, batch["allowed"], batch["spans"])
