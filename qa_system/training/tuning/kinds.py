"""The trainings that a search can run, by the name that `qa tune` has for them."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qa_system.errors import ConfigError

if TYPE_CHECKING:
    from qa_system.training.recipes import Training

__all__ = ["KINDS", "recipe_of", "trainer_of"]

Train = Callable[["Training", Path], dict[str, Any]]

_TRAINING: Final = "qa_system.training"
KINDS: Final = {
    "reader": ("recipes:ReaderTraining", "reader.train:train_reader"),
    "distill": ("recipes:DistillTraining", "reader.distill:distill"),
    "retriever": ("recipes:RetrieverTraining", "retriever.train:train_retriever"),
    "ranker": ("recipes:RankerTraining", "ranker.train:train_ranker"),
    "judge": ("judge.recipe:JudgeTraining", "judge.train:train_judge"),
    "generator": ("recipes:GeneratorTraining", "generator.train:train_generator"),
    "language-model": (
        "language_model.recipe:LanguageModelTraining",
        "language_model.train:train_language_model",
    ),
}
"""By name: where in `qa_system.training` the recipe and the function that trains by it stand."""


def recipe_of(kind: str) -> type[Training]:
    """Return the class of a kind's recipes.

    Raises:
        ConfigError: there is no such kind.

    >>> recipe_of("reader").__name__
    'ReaderTraining'
    """
    found: type[Training] = _load(_entry(kind)[0])
    return found


def trainer_of(kind: str) -> Train:
    """Return the function that trains by a kind's recipe into a folder.

    Raises:
        ConfigError: there is no such kind.
    """
    found: Train = _load(_entry(kind)[1])
    return found


def _entry(kind: str) -> tuple[str, str]:
    if kind not in KINDS:
        raise ConfigError(
            f"there is no training {kind!r:.60}", remedy=f"Name one of: {', '.join(KINDS)}."
        )
    return KINDS[kind]


def _load(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(import_module(f"{_TRAINING}.{module}"), name)
