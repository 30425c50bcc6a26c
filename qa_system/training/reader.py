"""`qa train reader`: an encoder or a reader, and labelled questions -> a reader of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from qa_system.checkpoints import has_token_types, load_config
from qa_system.errors import DataError
from qa_system.inference import choose_torch_device, choose_torch_precision, load_tokenizer
from qa_system.models import ModelLocation, locate_checkpoint
from qa_system.readers.backends import TorchBackend, load_checkpoint
from qa_system.readers.calibration import (
    Calibration,
    expected_calibration_error,
    fit_calibration,
)
from qa_system.readers.windows import WindowCutter
from qa_system.records import Label
from qa_system.training.examples import Example, with_negatives
from qa_system.training.measuring import Read, measure, read_labels
from qa_system.training.packages import training_packages
from qa_system.training.record import claim, keep_tokenizer, write_record
from qa_system.training.settings import ReaderTraining
from qa_system.training.sources import read_sources
from qa_system.training.targets import Target, collate, span_loss, targets_of

if TYPE_CHECKING:
    import torch

__all__ = ["Lessons", "fit_reader", "start_from", "train_reader"]

DROPOUTS = ("hidden_dropout_prob", "hidden_dropout", "dropout", "dropout_rate", "mlp_dropout")
ATTENTION_DROPOUTS = ("attention_probs_dropout_prob", "attention_dropout")
"""What architectures call them in their config."""

REMEDY = "Name an encoder or a question-answering checkpoint, in safetensors."

Row = TypeVar("Row")


def train_reader(settings: ReaderTraining, out: str | Path) -> dict[str, Any]:
    """Train a reader, or go on where an earlier run into the same folder was stopped.

    Args:
        settings: the recipe.
        out: the folder that becomes the model; checkpoints stand in `out/checkpoints` while it
            is in the making.

    Returns:
        What `training.json` says of the run.

    Raises:
        MissingDependencyError: torch, transformers or accelerate is not installed.
        ModelError: `settings.model` is nothing to start from.
        DataError: a data set or split is not there, or has nothing to learn from.
        ConfigError: the folder holds a trained model, or a stopped run with other settings.
    """
    training_packages(settings.seed)
    folder = claim(out, settings)
    location = locate_checkpoint(settings.model)
    model = start_from(location, settings, choose_torch_device(settings.device))
    return fit_reader(model, location, settings, folder, lessons=_labelled)


@dataclass(frozen=True)
class Lessons(Generic[Row]):
    """What a reader learns from, as `qa_system.training.trainer.fit` takes it."""

    rows: Sequence[Row]
    length: Callable[[Row], int]
    collate: Callable[[Sequence[Row]], dict[str, torch.Tensor]]
    loss: Callable[[torch.nn.Module, dict[str, torch.Tensor]], torch.Tensor]


def fit_reader(
    model: Any,
    location: ModelLocation,
    settings: ReaderTraining,
    folder: Path,
    *,
    lessons: Callable[[Any, Sequence[Target], int], Lessons[Row]],
) -> dict[str, Any]:
    """Train a reader from where it starts to a folder with its record.

    Args:
        model: what `start_from` gave.
        location: where it came from; its tokenizer is the reader's.
        settings: the recipe.
        folder: what `claim` gave.
        lessons: model, windows and the padding's id -> what is learnt from the windows.

    Returns:
        What `training.json` says of the run.

    Raises:
        DataError: a data set or split is not there, or has nothing to learn from.
    """
    from qa_system.training.trainer import fit

    started = monotonic()
    backend = TorchBackend(model, load_tokenizer(location.path))
    cutter = WindowCutter(
        backend.tokenizer, settings.max_seq_length, settings.stride, where=str(location.path)
    )
    material = _gather(settings)
    targets = targets_of(material.examples, cutter)
    if not targets:
        raise DataError("there is nothing to learn from", remedy="Name a source in `train`.")

    def read() -> list[list[Read]]:
        return [
            read_labels(backend, cutter, labels, settings.max_answer_length)
            for labels in material.dev
        ]

    bf16 = "bfloat16" in str(choose_torch_precision(settings.precision, model.device))
    learnt = lessons(model, targets, backend.pad_id)
    history = fit(
        model,
        learnt.rows,
        length=learnt.length,
        collate=learnt.collate,
        loss=learnt.loss,
        evaluate=lambda: measure(read()),
        schedule=settings,
        bf16=bf16,
        out=folder,
    )
    model.eval()
    reads = read()
    calibration, calibrated = _calibrate(reads, material.calibrated_on)
    model.save_pretrained(folder)
    keep_tokenizer(location, folder)
    return write_record(
        folder,
        task="reader",
        settings=settings,
        data=material.data,
        scores=measure(reads) | calibrated,
        history=history,
        seconds=monotonic() - started,
        counts=dict(material.counts) | {"windows": len(targets)},
        calibration=calibration.to_dict(),
    )


@dataclass(frozen=True)
class _Material:
    """What is learnt from and measured on.

    Args:
        examples: of all sources.
        dev: labels to measure on, by source: dev, then what was held out of the training data.
        calibrated_on: of `dev`, the numbers of those to calibrate on, and what to call them.
        data: where all that came from.
        counts: of the examples, by kind.
    """

    examples: Sequence[Example]
    dev: Sequence[Sequence[Label]]
    calibrated_on: tuple[slice, str]
    data: Sequence[Mapping[str, Any]]
    counts: Mapping[str, int]


def _gather(settings: ReaderTraining) -> _Material:
    sources = read_sources(settings.train, settings.dev, settings.seed)
    examples: list[Example] = []
    counts: Counter[str] = Counter(asked_on_dev=sources.asked_on_dev)
    for part in sources.train:
        of_source, counted = with_negatives(part.labels, settings.negatives, part.seed)
        examples += part.source.weighted(of_source, part.seed)
        counts += counted
    # An annotator more finds more answers, and a dev split may have fewer than the rest.
    chosen = slice(len(sources.dev), None) if sources.held_out else slice(None)
    name = "held out of train" if sources.held_out else "dev"
    dev = [part.labels for part in sources.measured]
    return _Material(examples, dev, (chosen, name), sources.data, counts)


def _calibrate(
    reads: Sequence[Sequence[Read]], calibrated_on: tuple[slice, str]
) -> tuple[Calibration, dict[str, float]]:
    """Fit the calibration; say how far off the probability of being right was, and is."""
    chosen, name = calibrated_on
    read = [(each, 1 / len(source)) for source in reads[chosen] for each in source]
    odds = [each.log_odds for each, _ in read]
    right = [each.f1 for each, _ in read]
    answerable = [each.answerable for each, _ in read]
    if len(set(answerable)) < 2:
        return Calibration(), {}
    calibration = fit_calibration(
        odds,
        right,
        answerable,
        weights=[weight for _, weight in read],
        fitted_on=f"{name}, {len(read)} questions",
    )
    return calibration, {
        name: expected_calibration_error([told.right(each) for each in odds], right)
        for name, told in (("ece_before", Calibration()), ("ece_after", calibration))
    }


def start_from(location: ModelLocation, settings: ReaderTraining, device: Any) -> Any:
    """Load what training starts from; an encoder gets a head that knows nothing.

    Raises:
        ModelError: no reader can start from it.
    """
    import torch

    config = load_config(location, purpose="extractive question answering", remedy=REMEDY)
    for names, rate in ((DROPOUTS, settings.dropout), (ATTENTION_DROPOUTS, 0.0)):
        for name in names:
            if getattr(config, name, None) is not None:
                setattr(config, name, rate)
    model = load_checkpoint(
        location,
        new_head=True,
        config=config,
        dtype=torch.float32,
        # The fused kernel is slower than its parts on a CPU: 2,800 tokens/s against 3,600.
        **({} if device.type == "cuda" else {"attn_implementation": "eager"}),
    )
    return model.to(device)


def _labelled(model: Any, targets: Sequence[Target], pad_id: int) -> Lessons[Target]:
    return Lessons(
        targets,
        length=lambda target: len(target.window),
        collate=partial(collate, pad_id=pad_id),
        loss=partial(_loss, has_types=has_token_types(model.config)),
    )


def _loss(model: Any, batch: dict[str, torch.Tensor], *, has_types: bool) -> torch.Tensor:
    feeds = {name: batch[name] for name in ("input_ids", "attention_mask")}
    if has_types:
        feeds["token_type_ids"] = batch["token_type_ids"]
    output = model(**feeds)
    return span_loss(output.start_logits, output.end_logits, batch["allowed"], batch["spans"])
