"""`qa train judge`: an encoder, and labelled pairs and questions -> a judge."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.pairs import Pair, read_pairs
from qa_system.errors import DataError
from qa_system.models.locate import locate_checkpoint
from qa_system.training.judge.evaluate import calibrate, measure
from qa_system.training.judge.loss import collate, rows_of
from qa_system.training.judge.model import start
from qa_system.training.judge.recipe import JudgeTraining
from qa_system.training.judge.rows import all_pairs_of, pairs_of
from qa_system.training.record import write_record
from qa_system.training.run import begin
from qa_system.training.sources import Part, read_sources

__all__ = ["train_judge"]

MEASURED_QUESTIONS = 150
"""Of each source of dev, drawn at random: every sentence of their texts is judged."""


@dataclass(frozen=True)
class Material:
    """What a judge learns from.

    Args:
        pairs: to learn from.
        measured: to measure on, by source.
        labelled: of these, what was held out of labelled pairs; calibrated on.
        data: where all that came from, for the run's record.
        counts: of the pairs, by kind.
    """

    pairs: Sequence[Pair]
    measured: Sequence[Sequence[Pair]]
    labelled: Sequence[Pair]
    data: Sequence[dict[str, Any]]
    counts: Counter[str]


def train_judge(recipe: JudgeTraining, out: str | Path) -> dict[str, Any]:
    """Train a judge, or go on where an earlier run into the same folder was stopped.

    Args:
        recipe: of the run.
        out: the folder that becomes the model; checkpoints stand in `out/checkpoints` until the
            run is done.

    Returns:
        The content of `training.json`.

    Raises:
        MissingDependencyError: torch, transformers or accelerate is not installed.
        ModelError: `recipe.model` is nothing to start from.
        DataError: a data set, split or file is not there, or has nothing to learn from or measure
            on.
        ConfigError: the folder holds a trained model, or a stopped run with other settings.
    """
    run = begin(recipe, out)
    from qa_system.training.trainer import TrainingSet, fit

    judge = start(locate_checkpoint(recipe.model), recipe, run.device)
    material = gather_pairs(recipe)

    def scores() -> dict[str, float]:
        return _mean([measure(part, judge.judge(part)) for part in material.measured])

    history = fit(
        judge.model,
        TrainingSet(
            rows_of(material.pairs, judge.backend.tokenizer),
            length=lambda row: len(row.ids),
            collate=partial(collate, pad_id=judge.backend.pad_id),
            loss=partial(judge.loss, weights=recipe.weights.model_dump()),
        ),
        evaluate=scores,
        run=run,
    )
    judge.model.eval()
    apart = material.labelled or [pair for part in material.measured for pair in part]
    fitted_on = "held out of pairs" if material.labelled else "dev"
    calibration = calibrate(apart, judge.logits(apart), f"{len(apart):,} pairs, {fitted_on}")
    judge.save(run.folder)
    return write_record(
        run,
        task="judge",
        data=material.data,
        scores=scores(),
        history=history,
        counts=dict(material.counts),
        calibration=calibration.to_dict(),
    )


def gather_pairs(recipe: JudgeTraining) -> Material:
    """Read what a recipe names.

    Raises:
        DataError: a data set, split or file is not there, or there is nothing to learn from or
            measure on.
    """
    sources = read_sources(recipe.train, recipe.dev, recipe.seed)
    pairs: list[Pair] = []
    labelled: list[Pair] = []
    data: list[dict[str, Any]] = [dict(each) for each in sources.data]
    counts: Counter[str] = Counter(asked_on_dev=sources.asked_on_dev)
    for part in sources.train:
        found, counted = pairs_of(part.labels, recipe.negatives, part.seed)
        pairs += part.source.weighted(found, part.seed)
        counts += counted
    reviews_of = cache(_reviews_of)  # several files may name stretches of one data set
    files = [(one, read_pairs(one.path, reviews_of(one.reviews))) for one in recipe.pairs]
    apart = {item for one, found in files for item in _held_out(found, one.held_out, recipe.seed)}
    for source, found_pairs in files:
        learnt = [pair for pair in found_pairs if _item_of(pair) not in apart]
        pairs += source.weighted(learnt, recipe.seed)
        if source.held_out:
            labelled += [pair for pair in found_pairs if _item_of(pair) in apart]
        counts["labelled"] += len(learnt)
        digest = hashlib.sha256(Path(source.path).read_bytes()).hexdigest()
        data.append(
            {"path": source.path, "split": None, "sha256": digest, "questions": len(found_pairs)}
        )
    measured = [_to_measure(part, recipe.seed) for part in sources.measured]
    measured += [labelled] if labelled else []
    if not pairs:
        raise DataError(
            "there is nothing to learn from",
            remedy="Name a source in `train` or a file in `pairs`.",
        )
    if not any(measured):
        raise DataError(
            "there is nothing to measure on",
            remedy="Name a source in `dev`, or set held_out of one.",
        )
    return Material(pairs, measured, labelled, data, counts)


def _to_measure(part: Part, seed: int) -> list[Pair]:
    labels = [label for label in part.labels if label.answers]
    drawn = random.Random(seed).sample(labels, min(MEASURED_QUESTIONS, len(labels)))
    return [pair for label in drawn for pair in all_pairs_of(label)]


def _reviews_of(paths: tuple[str, ...]) -> dict[str, str]:
    return {label.review_id: label.context for path in paths for label in read_dataset(path).labels}


def _item_of(pair: Pair) -> str:
    return pair.item_id or pair.question


def _held_out(pairs: Sequence[Pair], share: float, seed: int) -> list[str]:
    """Draw the items of a file that nothing is learnt from, whichever file has pairs of them."""
    items = sorted({_item_of(pair) for pair in pairs})
    return random.Random(seed).sample(items, round(share * len(items)))


def _mean(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each score over the sources that have it."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: sum(part[name] for part in parts if name in part)
        / sum(name in part for part in parts)
        for name in names
    }
