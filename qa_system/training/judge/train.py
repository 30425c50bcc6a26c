"""`qa train judge`: an encoder, and labelled pairs and questions -> a judge."""

from __future__ import annotations

import hashlib
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.pairs import Pair, read_pairs
from qa_system.errors import DataError
from qa_system.judging.backends import TorchJudge
from qa_system.judging.judge import logits_of
from qa_system.judging.judgements import Judgements
from qa_system.models.checkpoints import has_token_types
from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import locate_checkpoint
from qa_system.models.positions import check_length, positions_of
from qa_system.models.tokenizing import encodable
from qa_system.training.judge.evaluate import calibrate, measure
from qa_system.training.judge.loss import collate, judge_loss, rows_of
from qa_system.training.judge.model import start
from qa_system.training.judge.rows import all_pairs_of, pairs_of
from qa_system.training.recipes import JudgeTraining, PairsSource
from qa_system.training.record import keep_tokenizer, write_record
from qa_system.training.run import begin
from qa_system.training.sources import Part, read_sources

__all__ = ["train_judge"]

MEASURED_QUESTIONS = 400
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

    location = locate_checkpoint(recipe.model)
    model = start(location, recipe, run.device)
    where = str(location.path)
    check_length("max_seq_length", recipe.max_seq_length, positions_of(model), where)
    judge = TorchJudge(model, load_tokenizer(location.path), None, recipe.max_seq_length)
    material = gather_pairs(recipe)
    names = ["input_ids", "attention_mask"]
    names += ["token_type_ids"] if has_token_types(model.config) else []
    weights = recipe.weights.model_dump()

    def logits(pairs: Sequence[Pair]) -> Any:
        return logits_of(judge, [(encodable(one.question), encodable(one.text)) for one in pairs])

    def scores() -> dict[str, float]:
        return _scores(
            [measure(part, Judgements.of_logits(logits(part))) for part in material.measured]
        )

    def loss(trained: Any, batch: dict[str, Any]) -> Any:
        output = trained(**{name: batch[name] for name in names})
        return judge_loss(output.logits, batch["targets"], weights)

    history = fit(
        model,
        TrainingSet(
            rows_of(material.pairs, judge.tokenizer),
            length=lambda row: len(row.ids),
            collate=partial(collate, pad_id=judge.pad_id),
            loss=loss,
        ),
        evaluate=scores,
        run=run,
    )
    model.eval()
    apart = material.labelled or [pair for part in material.measured for pair in part]
    fitted_on = "held out of pairs" if material.labelled else "dev"
    calibration = calibrate(apart, logits(apart), f"{len(apart):,} pairs, {fitted_on}")
    model.save_pretrained(run.folder)
    keep_tokenizer(location, run.folder)
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
    for source in recipe.pairs:
        learnt, apart = _divided(source, recipe.seed)
        pairs += _weighted(source, learnt, recipe.seed)
        labelled += apart
        counts["labelled"] += len(learnt)
        digest = hashlib.sha256(Path(source.path).read_bytes()).hexdigest()
        data.append(
            {
                "path": source.path,
                "split": None,
                "sha256": digest,
                "questions": len(learnt) + len(apart),
            }
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


def _divided(source: PairsSource, seed: int) -> tuple[list[Pair], list[Pair]]:
    """Return a file's pairs to learn from, and those held out; no item is in both."""
    reviews = {
        label.review_id: label.context
        for path in source.reviews
        for label in read_dataset(path).labels
    }
    pairs = read_pairs(source.path, reviews)
    groups = sorted({pair.item_id or pair.question for pair in pairs})
    apart = set(random.Random(seed).sample(groups, round(source.held_out * len(groups))))
    is_apart = [(pair.item_id or pair.question) in apart for pair in pairs]
    return (
        [pair for pair, held in zip(pairs, is_apart, strict=True) if not held],
        [pair for pair, held in zip(pairs, is_apart, strict=True) if held],
    )


def _weighted(source: PairsSource, pairs: Sequence[Pair], seed: int) -> list[Pair]:
    whole, rest = divmod(source.weight, 1)
    return list(pairs) * int(whole) + random.Random(seed).sample(pairs, round(rest * len(pairs)))


def _scores(parts: Sequence[dict[str, float]]) -> dict[str, float]:
    """Return the mean of each score over the sources that have it."""
    names = dict.fromkeys(name for part in parts for name in part)
    return {
        name: sum(part[name] for part in parts if name in part)
        / sum(name in part for part in parts)
        for name in names
    }
