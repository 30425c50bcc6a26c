"""Weights of several models, averaged into one that is as fast as each of them.

Models that were trained on from the same start, each on other data or with another schedule, often
stand in one basin: the mean of their weights keeps much of what each has learnt (Wortsman et al.,
2022, "Model soups", https://arxiv.org/abs/2203.05482). With the start itself among them it forgets
less of what that could do (Wortsman et al., 2022, "Robust fine-tuning of zero-shot models",
https://arxiv.org/abs/2109.01903).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from qa_system.errors import ConfigError, ModelError
from qa_system.models.inference import choose_torch_device, load_tokenizer
from qa_system.models.locate import TRAINING, ModelLocation, locate_checkpoint, weights_sha256
from qa_system.training.record import keep_tokenizer, versions

if TYPE_CHECKING:
    import torch

__all__ = ["average"]

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def average(
    models: Sequence[str], out: str | Path, *, weights: Sequence[float] | None = None
) -> dict[str, Any]:
    """Average models of one shape, and keep the result as a checkpoint.

    Nothing that was fitted to one of them goes along: a reader's calibration has to be fitted anew
    (`qa-eval calibrate --write`).

    Args:
        models: at least two: folders or Hub ids, in safetensors. Settings and tokenizer are the
            first one's.
        out: the folder that becomes the model.
        weights: what each counts for, above 0; they need not sum to 1. None: all alike.

    Returns:
        The content of its `training.json`.

    Raises:
        ConfigError: too few models, weights that do not fit them, or a folder that is not free.
        ModelError: a model is not there, cannot be read, or has another shape or tokenizer than
            the first.
        MissingDependencyError: torch is not installed.
    """
    choose_torch_device("cpu")
    from safetensors.torch import save_file

    shares = _shares(models, weights)
    out = Path(out)
    if out.exists() and any(out.iterdir()):
        raise ConfigError(
            "the folder is not empty", where=str(out), remedy="Name another, or delete this one."
        )
    locations = [locate_checkpoint(name) for name in models]
    mean = _mean(locations, shares)
    out.mkdir(parents=True, exist_ok=True)
    save_file(mean, out / WEIGHTS, metadata={"format": "pt"})
    (out / CONFIG).write_bytes((locations[0].path / CONFIG).read_bytes())
    keep_tokenizer(locations[0], out)
    record = {
        "format": 1,
        "task": "average",
        "command": " ".join(["qa", *sys.argv[1:]]),
        "models": [
            {"model": name, "share": round(share, 6), "sha256": weights_sha256(location)}
            for name, share, location in zip(models, shares, locations, strict=True)
        ],
        "versions": dict(versions()),
    }
    (out / TRAINING).write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
    return record


def _mean(locations: Sequence[ModelLocation], shares: Sequence[float]) -> dict[str, torch.Tensor]:
    """Return the weighted mean of models' weights, in the types of the first one's."""
    first = _tensors(locations[0])
    kinds = {name: tensor.dtype for name, tensor in first.items()}
    total = {name: tensor.float() * shares[0] for name, tensor in first.items()}
    tokenizer = load_tokenizer(locations[0].path).to_str()
    for location, share in zip(locations[1:], shares[1:], strict=True):
        tensors = _tensors(location)
        _compare(total, tensors, location, locations[0])
        if load_tokenizer(location.path).to_str() != tokenizer:
            raise ModelError(
                f"its tokenizer is not that of {locations[0].name!r}",
                where=str(location.path),
                remedy="Average models that were trained on from the same one.",
            )
        for name, tensor in tensors.items():
            total[name].add_(tensor.float(), alpha=share)
    return {name: tensor.to(kinds[name]).contiguous() for name, tensor in total.items()}


def _shares(models: Sequence[str], weights: Sequence[float] | None) -> list[float]:
    if len(models) < 2:
        raise ConfigError(
            f"{len(models)} model to average", remedy="Name two, or more, of the same shape."
        )
    given = [1.0] * len(models) if weights is None else list(weights)
    if len(given) != len(models) or not all(weight > 0 for weight in given):
        raise ConfigError(
            f"{len(models)} models and the weights {given}",
            remedy="Give each model a weight above 0.",
        )
    return [weight / sum(given) for weight in given]


def _tensors(location: ModelLocation) -> dict[str, torch.Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    path = location.path / WEIGHTS
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"the weights cannot be read: {error}",
            where=str(path),
            remedy=f"Name a checkpoint whose weights are in one file, {WEIGHTS}.",
        ) from error


def _compare(
    expected: Mapping[str, torch.Tensor],
    given: Mapping[str, torch.Tensor],
    location: ModelLocation,
    first: ModelLocation,
) -> None:
    for name in sorted(expected.keys() | given.keys()):
        if name in expected and name in given and expected[name].shape == given[name].shape:
            continue
        raise ModelError(
            f"{name} is not in both, or not of one shape, here and in {first.name!r}",
            where=str(location.path),
            remedy="Average models that were trained on from the same one.",
        )
