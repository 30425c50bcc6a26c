"""`qa train language-model`: an encoder goes on learning to predict words, on your reviews.

Domain-adaptive pretraining (Gururangan et al., 2020, "Don't Stop Pretraining",
https://arxiv.org/abs/2004.10964): no labels are needed, and what comes of it is where a reader or a
retriever starts.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from qa_system.errors import ConfigError, DataError
from qa_system.models.locate import locate_checkpoint
from qa_system.training.language_model.evaluate import LOG_LIKELIHOOD, measure
from qa_system.training.language_model.masking import NO_WORD, Mask, Masked, hide
from qa_system.training.language_model.model import LanguageModel, start
from qa_system.training.language_model.recipe import LanguageModelTraining
from qa_system.training.language_model.reviews import Reviews, read_reviews
from qa_system.training.language_model.windows import Vocabulary, Window, windows_of
from qa_system.training.record import write_record
from qa_system.training.run import Run, begin

__all__ = ["train_language_model"]

REVIEWS = "reviews.json"
BESIDE = ("perplexity", "accuracy")
"""Scores that the record has from before the training, too."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Seen:
    """A window, each time that it is seen.

    Args:
        window: some stretch of the reviews.
        time: a number that no other row has: by it and the seed, words are hidden. A window that is
            seen again has other words hidden, and a run that goes on hides the same ones.
    """

    window: Window
    time: int


def train_language_model(recipe: LanguageModelTraining, out: str | Path) -> dict[str, Any]:
    """Train an encoder on reviews, or go on where an earlier run into the same folder was stopped.

    Args:
        recipe: of the run.
        out: the folder that becomes the model: an encoder with its head, with which other trainings
            start. Modules of a sentence-transformers model stay beside it. Checkpoints stand in
            `out/checkpoints` until the run is done.

    Returns:
        The content of `training.json`.

    Raises:
        MissingDependencyError: torch, transformers or accelerate is not installed.
        ModelError: `recipe.model` is nothing to start from.
        DataError: a source is not there, or has nothing to learn from or measure on.
        ConfigError: the folder holds a trained model, a stopped run with other settings, or one
            on other reviews.
    """
    run = begin(recipe, out)
    learner = start(
        locate_checkpoint(recipe.model), recipe.max_seq_length, recipe.dropout, run.device
    )
    material = _gather(recipe, learner.vocabulary, run)
    if learner.head_made:
        learner.start_from_frequencies(material.windows)
    scores = partial(measure, learner, material.measured, bf16=run.bf16)
    before = scores()
    history = _fit(recipe, learner, material.rows, scores, run)
    learner.model.eval()
    after = scores()
    if after[LOG_LIKELIHOOD] <= before[LOG_LIKELIHOOD]:
        _log.warning(
            "the model predicts held-out reviews no better than before: perplexity %.1f, before "
            "%.1f; more reviews, or another learning_rate, may help",
            after["perplexity"],
            before["perplexity"],
        )
    learner.save(run.folder)
    return write_record(
        run,
        task="language-model",
        data=material.reviews.data,
        scores={f"{name}_before": before[name] for name in BESIDE} | after,
        history=history,
        counts=material.counts,
        head={"made": learner.head_made, "tied": learner.is_tied},
    )


@dataclass(frozen=True)
class Material:
    """What a model learns from, and what it is measured on.

    Args:
        reviews: of all sources.
        windows: that are learnt from.
        rows: these, as often as they are seen.
        measured: by source, with words hidden.
    """

    reviews: Reviews
    windows: Sequence[Window]
    rows: Sequence[Seen]
    measured: Sequence[Sequence[Masked]]

    @property
    def counts(self) -> dict[str, int]:
        """How much there is of each, for the run's record."""
        return dict(self.reviews.counts) | {
            "windows": len(self.windows),
            "rows": len(self.rows),
            "measured_windows": sum(map(len, self.measured)),
        }


def _gather(recipe: LanguageModelTraining, vocabulary: Vocabulary, run: Run) -> Material:
    """Read what a recipe names, and cut it into windows."""
    reviews = read_reviews(recipe.train, recipe.dev, recipe.seed)
    _check_same(reviews, run)
    cut = partial(
        windows_of,
        vocabulary=vocabulary,
        layout=recipe.layout,
        length=recipe.max_seq_length,
        whole_words=recipe.masking.whole_words,
    )
    windows = [_with_words(cut(texts)) for texts in reviews.train]
    mask = vocabulary.mask_of(recipe.masking.share)
    measured = [_to_measure(cut(texts), recipe, mask) for texts in reviews.measured]
    every = [window for of_source in windows for window in of_source]
    return Material(reviews, every, _rows(recipe, windows), measured)


def _fit(
    recipe: LanguageModelTraining,
    learner: LanguageModel,
    rows: Sequence[Seen],
    scores: Callable[[], dict[str, float]],
    run: Run,
) -> list[dict[str, float]]:
    from qa_system.training.trainer import TrainingSet, fit

    masking = recipe.masking
    mask = learner.vocabulary.mask_of(masking.share, masked=masking.masked, random=masking.random)

    def hidden(row: Seen) -> Masked:
        draw = np.random.default_rng((recipe.seed, row.time))
        return hide(row.window.ids, row.window.words, mask, draw)

    # The rows are those of all epochs, so that each knows which time it is seen.
    once = run.schedule.model_copy(update={"epochs": 1.0})
    return fit(
        learner.model,
        TrainingSet(
            rows,
            length=lambda row: len(row.window),
            collate=lambda some: learner.collate([hidden(row) for row in some]),
            loss=learner.loss,
        ),
        evaluate=scores,
        run=replace(run, schedule=once),
        score=LOG_LIKELIHOOD,
    )


def _check_same(reviews: Reviews, run: Run) -> None:
    """Refuse to go on with other reviews: windows would have other numbers, and dev other items."""
    path = run.checkpoints / REVIEWS
    data = orjson.dumps(reviews.data)
    if path.is_file() and path.read_bytes() != data:
        raise ConfigError(
            "a run on other reviews was stopped in this folder",
            where=str(path),
            remedy="Name another folder, or delete this one: the sources have changed since.",
        )
    path.write_bytes(data)


def _with_words(windows: Sequence[Window]) -> list[Window]:
    """Leave out windows in which there is nothing to predict."""
    return [window for window in windows if (window.words != NO_WORD).any()]


def _to_measure(
    windows: Sequence[Window], recipe: LanguageModelTraining, mask: Mask
) -> list[Masked]:
    """Hide words of some windows, the same ones at each measurement."""
    whole = _with_words(windows)
    if not whole:
        raise DataError(
            "there is no word to measure on",
            remedy="Hold out more, or name a source in `dev` that has longer reviews.",
        )
    drawn = random.Random(recipe.seed).sample(whole, min(recipe.dev_windows, len(whole)))
    draw = np.random.default_rng(recipe.seed)
    return [hide(window.ids, window.words, mask, draw) for window in drawn]


def _rows(recipe: LanguageModelTraining, sources: Sequence[Sequence[Window]]) -> list[Seen]:
    """Return what the run goes through: each window as often as weight and epochs say."""
    seen: list[Window] = []
    for place, (source, windows) in enumerate(zip(recipe.train, sources, strict=True)):
        often = source.model_copy(update={"weight": source.weight * recipe.epochs})
        seen += often.weighted(windows, recipe.seed + place)
    if not seen:
        raise DataError(
            "there is nothing to learn from",
            remedy="Name a source in `train` that has reviews, or set more epochs.",
        )
    return [Seen(window, time) for time, window in enumerate(seen)]
