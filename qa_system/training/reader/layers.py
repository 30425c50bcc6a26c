"""A transformer's layers: take some out, or keep training from changing the lowest."""

from __future__ import annotations

from typing import Any

import numpy as np

from qa_system.errors import ConfigError, ModelError
from qa_system.models.checkpoints import reason

__all__ = ["freeze_layers", "keep_layers", "kept_layers"]

PER_LAYER = ("layer_types", "attention_window")
"""Fields of a config that may be a list with a value for each layer."""


def kept_layers(there: int, kept: int) -> list[int]:
    """Choose layers, evenly, the first and the last among them; of one, the first.

    DistilBERT's choice of six from twelve (Sanh et al. 2019, section 3, and its code).

    >>> kept_layers(12, 6), kept_layers(6, 3)
    ([0, 2, 4, 7, 9, 11], [0, 2, 5])
    """
    return [int(place) for place in np.linspace(0, there - 1, kept).round()]


def keep_layers(model: Any, kept: int) -> None:
    """Take all but a few of a transformer's layers out of it.

    Args:
        model: one of transformers' models; it is changed.
        kept: how many stay.

    Raises:
        ConfigError: it has fewer.
        ModelError: its layers are not in one list, as those of BERT are, or its config says more
            about each layer than can be shortened.
    """
    import torch

    there = int(model.config.num_hidden_layers)
    if kept > there:
        raise ConfigError(
            f"{kept} layers are to be kept, and the student's checkpoint has {there}",
            remedy=f"Set layers to {there} at most.",
        )
    module, name = _holder(
        model, remedy="Name a BERT-like student, or a small checkpoint and no layers."
    )
    layers = getattr(module, name)
    places, config = kept_layers(there, kept), model.config
    chosen = torch.nn.ModuleList(layers[place] for place in places)
    setattr(module, name, chosen)
    for number, layer in enumerate(chosen):
        part: Any
        for part in layer.modules():
            if hasattr(part, "layer_idx"):  # by which it finds its place in a cache
                part.layer_idx = number
    config.num_hidden_layers = kept
    for name in PER_LAYER:
        if isinstance(values := getattr(config, name, None), list) and len(values) == there:
            setattr(config, name, [values[place] for place in places])
    _check_whole(model)


def freeze_layers(model: Any, frozen: int) -> None:
    """Keep training from changing the lowest layers of a transformer, and what is below them.

    The embeddings and the weights that all layers share do not change either; the head does. So no
    gradient is computed below the lowest layer that learns.

    Args:
        model: one of transformers' models with a head; it is changed.
        frozen: how many layers; 0: all of the model learns.

    Raises:
        ConfigError: it has fewer.
        ModelError: its layers are not in one list, as those of BERT are.

    >>> from transformers import BertConfig, BertForQuestionAnswering
    >>> config = BertConfig(vocab_size=9, hidden_size=4, num_attention_heads=1, intermediate_size=4)
    >>> model = BertForQuestionAnswering(config)
    >>> freeze_layers(model, 11)
    >>> learns = {name for name, each in model.named_parameters() if each.requires_grad}
    >>> sorted({name.split(".attention")[0] for name in learns if "attention" in name})
    ['bert.encoder.layer.11']
    """
    if not frozen:
        return
    there = int(model.config.num_hidden_layers)
    if frozen > there:
        raise ConfigError(
            f"{frozen} layers are to be left as they are, and the checkpoint has {there}",
            remedy=f"Set frozen_layers to {there} at most.",
        )
    module, name = _holder(model, remedy="Name a BERT-like checkpoint, or no frozen_layers.")
    model.base_model.requires_grad_(requires_grad=False)
    getattr(module, name)[frozen:].requires_grad_(requires_grad=True)


def _holder(model: Any, *, remedy: str) -> tuple[Any, str]:
    """Return the module that holds the list of all layers, and the list's name in it."""
    import torch

    there = int(model.config.num_hidden_layers)
    holders = [
        (module, name)
        for module in model.modules()
        for name, child in module.named_children()
        if isinstance(child, torch.nn.ModuleList) and len(child) == there
    ]
    if len(holders) != 1:
        raise ModelError(
            f"the layers of a {type(model).__name__} cannot be told from its other parts",
            remedy=remedy,
        )
    return holders[0]


def _check_whole(model: Any) -> None:
    """Refuse a model that, once it is saved, cannot be loaded with its config."""
    import torch

    kind = type(model)
    try:
        with torch.device("meta"):
            loaded = kind(type(model.config).from_dict(model.config.to_dict()))
        loaded.load_state_dict(model.state_dict(), assign=True)
    except Exception as error:  # whatever a config or a model may raise
        raise ModelError(
            f"layers of a {kind.__name__} cannot be left out: {reason(error)}",
            remedy="Name a BERT-like student, or a small checkpoint and no layers.",
        ) from error
