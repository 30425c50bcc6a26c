"""A training run: the folder that it writes to, its schedule, and what it is computed on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import orjson

from qa_system.errors import ConfigError
from qa_system.models.inference import choose_torch_device, choose_torch_precision
from qa_system.models.locate import TRAINING, locate, weights_sha256
from qa_system.training.recipes import Schedule, Training
from qa_system.training.requirements import training_packages

if TYPE_CHECKING:
    import torch

__all__ = ["Run", "Watch", "begin", "claim", "made_of", "watched"]

Watch = Callable[[int, str, float], None]
"""Is told of each measurement on dev: its number from 1 on, the score's name, its value, the larger
the better. What it raises ends the training."""

CHECKPOINTS = "checkpoints"
RECIPE = "recipe.json"

_WATCH: ContextVar[Watch | None] = ContextVar("watch", default=None)


@contextmanager
def watched(watch: Watch) -> Iterator[None]:
    """Let `watch` follow the training runs that begin inside."""
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)


@dataclass(frozen=True)
class Run:
    """Where a model is trained, for how long, and on what.

    Args:
        folder: it becomes the model.
        schedule: how long, how fast, from which seed.
        device: of the model.
        bf16: whether products are taken in bf16 (weights stay in fp32).
        started: by the monotonic clock, in seconds.
        watch: follows its measurements; None: nobody.
    """

    folder: Path
    schedule: Schedule
    device: torch.device
    bf16: bool
    started: float = field(default_factory=monotonic)
    watch: Watch | None = None

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints, and of what else is kept until the run is done."""
        return self.folder / CHECKPOINTS

    @property
    def recipe(self) -> Path:
        """The file with the recipe and the digests of the models that it names."""
        return self.checkpoints / RECIPE


def begin(recipe: Training, out: str | Path, *packages: str) -> Run:
    """Begin a training run, or go on with the one that was stopped in the same folder.

    Args:
        recipe: of the run.
        out: the folder that becomes the model.
        packages: that it needs beside accelerate and transformers.

    Raises:
        MissingDependencyError: a package is not installed.
        ConfigError: the folder holds a trained model, or a run with another recipe.
        ModelError: a model that the recipe names, or the device, is not there.
    """
    training_packages(recipe.seed, *packages)
    folder = claim(out, recipe)
    device = choose_torch_device(recipe.device)
    precision = choose_torch_precision(recipe.precision, device)
    schedule = Schedule.model_validate(recipe.model_dump(include=set(Schedule.model_fields)))
    return Run(folder, schedule, device, bf16="bfloat16" in str(precision), watch=_WATCH.get())


def claim(out: str | Path, recipe: Training) -> Path:
    """Take a folder for a training run, or take up the run that was stopped there.

    Args:
        out: the folder.
        recipe: of the run.

    Returns:
        The folder.

    Raises:
        ConfigError: it holds a trained model, a run with other settings or from other weights, or
            files that no run has left there.
        ModelError: a model that the recipe names is not there.
    """
    out = Path(out)
    if (out / TRAINING).is_file():
        raise ConfigError(
            "the folder holds a trained model",
            where=str(out),
            remedy="Name another folder, or delete this one.",
        )
    path = out / CHECKPOINTS / RECIPE
    if not path.is_file() and any(not each.is_dir() for each in out.rglob("*")):
        raise ConfigError(
            "the folder holds files, and no run was stopped in it",
            where=str(out),
            remedy="Name another folder: the model's files would replace those of the same name.",
        )
    wanted = {"settings": recipe.model_dump(mode="json"), "models": made_of(recipe)}
    if path.is_file() and (stopped := orjson.loads(path.read_bytes())) != wanted:
        other = "settings" if stopped.get("settings") != wanted["settings"] else "weights"
        raise ConfigError(
            f"a run with other {other} was stopped in this folder",
            where=str(path),
            remedy="Go on as it began, name another folder, or delete this one.",
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(orjson.dumps(wanted, option=orjson.OPT_INDENT_2) + b"\n")
    return out


def made_of(recipe: Training) -> dict[str, str]:
    """Return the digest of the weights of each model that a recipe names, by the model's role.

    Raises:
        ModelError: one is not there.
        MissingDependencyError: one is on the Hub, and huggingface_hub is not installed.
    """
    return {role: weights_sha256(locate(name)) for role, name in recipe.models().items()}
