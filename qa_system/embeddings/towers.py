"""Encoders whose layers and tokens can be seen: ONNX exports and checkpoints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from qa_system.embeddings.pooling import POOLINGS, combined, normalized, pooled
from qa_system.embeddings.settings import EmbeddingSettings
from qa_system.errors import ConfigError, ModelError
from qa_system.models.checkpoints import tensors_of
from qa_system.models.hidden_states import hidden_states
from qa_system.models.inference import IntArray, weights_of
from qa_system.models.locate import ModelLocation, read_manifest
from qa_system.retrievers.encoders import OnnxTower, TorchTower, Tower
from qa_system.retrievers.static_tower import StaticTower

__all__ = ["TokenTower", "is_normalizing", "open_onnx", "open_static", "open_torch"]

EMBEDDING = "sentence_embedding"

FloatArray = NDArray[np.float32]


class TokenTower(Protocol):
    """A tower of `qa_system.retrievers.encoders` that has the vectors of tokens, too."""

    def tokens(self, input_ids: IntArray, attention_mask: IntArray) -> FloatArray:
        """Return the vectors of a padded batch's tokens (n, length, dimension)."""
        ...


class _Pooling(Tower):
    """What both kinds have in common: the vector of a text is made of those of its tokens."""

    settings: EmbeddingSettings
    layers: tuple[int, ...]
    """Those that can be pooled; 0: the embeddings."""
    _dimension: int

    @property
    def dimension(self) -> int:
        return self._dimension

    def tokens(self, input_ids: IntArray, attention_mask: IntArray) -> FloatArray:
        return combined(self._layers(input_ids, attention_mask), self.settings.combine)

    def forward(self, input_ids: IntArray, attention_mask: IntArray) -> FloatArray:
        vectors = self.tokens(input_ids, attention_mask)
        pooling = self.settings.pooling or "mean"
        return pooled(vectors, attention_mask, pooling if pooling in POOLINGS else "mean")

    def _layers(self, input_ids: IntArray, attention_mask: IntArray) -> list[FloatArray]:
        raise NotImplementedError

    def _measure(self) -> int:
        """Return how many numbers a vector has, by making one."""
        return int(self.forward(*self._probe()).shape[-1])

    def _probe(self) -> tuple[IntArray, IntArray]:
        """Return a small batch, to see what comes of it."""
        ids = np.array([self.tokenizer.encode("a b").ids or [self.pad_id]], dtype=np.int64)
        return ids, np.ones_like(ids)


class _OnnxLayers(_Pooling, OnnxTower):
    tasks = ("encoder", "reader", "judge")

    def __init__(
        self, location: ModelLocation, settings: EmbeddingSettings, outputs: Sequence[str]
    ) -> None:
        self.settings = settings
        self.layers = tuple(range(len(_shown(location))))
        super().__init__(location, settings.encoder, outputs)
        self.takes_padding = "attention_mask" in self._session.inputs
        if any(each.ndim != 3 for each in self._layers(*self._probe())):
            raise ModelError(
                f"the export {location.name!r} computes its last layer for the first token only",
                where=str(location.path),
                remedy="Name an earlier layer: layer=-2.",
            )
        self._dimension = self._measure()

    def _layers(self, input_ids: IntArray, attention_mask: IntArray) -> list[FloatArray]:
        outputs = self.run(input_ids, attention_mask)[: len(self.settings.layers)]
        return [each.astype(np.float32, copy=False) for each in outputs]


class _TorchLayers(_Pooling, TorchTower):
    def __init__(self, location: ModelLocation, settings: EmbeddingSettings) -> None:
        self.settings = settings
        super().__init__(location, settings.encoder)
        self._network = self.model[0].auto_model
        self._wanted: list[int] | None = None
        self._last = len(self._output(*self._probe()).hidden_states) - 1
        self.layers = tuple(range(self._last + 1))
        self._wanted = _numbers(settings.layers, self._last, location)
        if settings.pooling == "pooler":
            _check_pooler(self._network, settings, location)
        self._dimension = self._measure()

    def _layers(self, input_ids: IntArray, attention_mask: IntArray) -> list[FloatArray]:
        output = self._output(input_ids, attention_mask)
        return [
            _array(
                # What some models do after their last layer is in no hidden state.
                output.last_hidden_state if number == self._last else output.hidden_states[number]
            )
            for number in self._wanted or ()
        ]

    def forward(self, input_ids: IntArray, attention_mask: IntArray) -> FloatArray:
        if self.settings.pooling == "pooler":
            return _array(self._output(input_ids, attention_mask).pooler_output)
        return super().forward(input_ids, attention_mask)

    def _output(self, input_ids: IntArray, attention_mask: IntArray) -> Any:
        import torch

        with torch.inference_mode():
            return self._network(
                **self.features(input_ids, attention_mask),
                output_hidden_states=self._wanted is None or self._wanted != [self._last],
            )


class _TorchUnnormalized(TorchTower):
    """A checkpoint with all modules but those that normalise."""

    def forward(self, input_ids: IntArray, attention_mask: IntArray) -> FloatArray:
        import torch

        features = self.features(input_ids, attention_mask)
        with torch.inference_mode():
            for module in self.model:
                if not is_normalizing(module):
                    features = module(features)
        return _array(features[EMBEDDING])


class _StaticTokens(_Pooling, StaticTower):
    """Static vectors with another pooling than the mean: they have one layer, their table."""

    encode = Tower.encode

    def __init__(self, location: ModelLocation, settings: EmbeddingSettings) -> None:
        self.settings = settings
        super().__init__(location, settings.encoder)
        self._dimension = self.vectors.dimension
        _numbers(settings.layers, 0, location)
        if settings.pooling == "pooler":
            raise ModelError(
                f"the static vectors {location.name!r} have no pooler",
                where=str(location.path),
                remedy="Choose another pooling: mean, max, min, cls, last or weighted_mean.",
            )

    def _layers(
        self,
        input_ids: IntArray,
        attention_mask: IntArray,  # noqa: ARG002 (as all towers)
    ) -> list[FloatArray]:
        return [self.vectors.of_tokens(input_ids)]


def is_normalizing(module: Any) -> bool:
    """Tell whether a module of sentence-transformers gives vectors length 1."""
    return type(module).__name__ == "Normalize"


def open_onnx(location: ModelLocation, settings: EmbeddingSettings) -> Tower:
    """Open an export: with its own pooling, or with that of the settings.

    Raises:
        ModelError: the export has no such layer, or does not show it.
    """
    manifest = read_manifest(location.path)
    if not settings.is_models_own or manifest["task"] != "encoder":
        return _OnnxLayers(location, settings, _tensors(location, settings))
    if settings.normalize is not False or not manifest.get("normalize"):
        return OnnxTower(location, settings.encoder)
    return _unnormalized(location, settings, str(manifest.get("pooling")))


def _unnormalized(location: ModelLocation, settings: EmbeddingSettings, pooling: str) -> Tower:
    """Open an export that normalises inside its graph, and pool in its place."""
    if pooling in POOLINGS:
        same = settings.model_copy(update={"pooling": pooling})
        tower = _OnnxLayers(location, same, [*_tensors(location, same), EMBEDDING])
        ids, mask = tower._probe()
        own = tower.run(ids, mask)[-1]
        found = normalized(tower.forward(ids, mask))
        if own.shape == found.shape and np.allclose(own, found, atol=1e-3):
            return tower
    raise ModelError(
        f"the export {location.name!r} normalises its vectors inside its graph",
        where=str(location.path),
        remedy="Name the checkpoint that it was exported from, or leave normalize out.",
    )


def open_torch(location: ModelLocation, settings: EmbeddingSettings) -> TorchTower:
    """Open a checkpoint: with its own modules, or with the pooling of the settings.

    Raises:
        ModelError: the checkpoint has no such layer, or no pooler.
    """
    if not settings.is_models_own:
        return _TorchLayers(location, settings)
    kind = _TorchUnnormalized if settings.normalize is False else TorchTower
    return kind(location, settings.encoder)


def _shown(location: ModelLocation) -> list[str]:
    """Return the names of the tensors after the layers that an export shows."""
    weights = weights_of(location)
    return hidden_states(
        weights if isinstance(weights, bytes) else Path(weights).read_bytes(),
        read_manifest(location.path).get("architecture", ""),
    )


def open_static(location: ModelLocation, settings: EmbeddingSettings) -> StaticTower:
    """Open static vectors: with their mean, or with the pooling of the settings.

    Raises:
        ModelError: they cannot be read, or have no such pooling.
        ConfigError: they have no such layer.
    """
    is_own = settings.is_models_own and settings.normalize is not False
    return StaticTower(location, settings.encoder) if is_own else _StaticTokens(location, settings)


def _tensors(location: ModelLocation, settings: EmbeddingSettings) -> list[str]:
    """Return the names of the tensors after the layers that are wanted."""
    remedy = (
        "Name the checkpoint that it was exported from, which has all of them; or leave pooling "
        "and layer out, for the vectors that it was exported with."
    )
    if settings.pooling == "pooler":
        raise ModelError(
            f"the export {location.name!r} has no pooler", where=str(location.path), remedy=remedy
        )
    found = _shown(location)
    if not found:
        raise ModelError(
            f"the export {location.name!r} does not show its layers",
            where=str(location.path),
            remedy=remedy,
        )
    return [found[number] for number in _numbers(settings.layers, len(found) - 1, location)]


def _numbers(layers: Sequence[int], count: int, location: ModelLocation) -> list[int]:
    """Return layers as numbers from 0, the embeddings, to `count`, the last layer."""
    for layer in layers:
        if not -count - 1 <= layer <= count:
            raise ConfigError(
                f"{location.name!r} has {count} layers, and no layer {layer}",
                where="layer",
                remedy=f"Name layers from 0 (the embeddings) to {count}, or from -1 (the last) "
                f"back to {-count - 1}.",
            )
    return [layer % (count + 1) for layer in layers]


def _check_pooler(network: Any, settings: EmbeddingSettings, location: ModelLocation) -> None:
    if getattr(network, "pooler", None) is None or not tensors_of(location, "pooler"):
        raise ModelError(
            f"{location.name!r} has no pooler that was trained",
            where=str(location.path),
            remedy="Choose another pooling: mean, max, min, cls, last or weighted_mean.",
        )
    if settings.layers != [-1]:
        raise ConfigError(
            "a pooler reads the last layer",
            where="layer",
            remedy="Leave the layer out, or choose another pooling.",
        )


def _array(tensor: Any) -> FloatArray:
    return cast("FloatArray", tensor.float().cpu().numpy())
