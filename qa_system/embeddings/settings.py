"""What an embedding is made with."""

from __future__ import annotations

from typing import Annotated, Literal, TypedDict

from pydantic import Field, field_validator

from qa_system.config import EncoderSettings
from qa_system.config.choices import Backend, Precision
from qa_system.config.schema import Device
from qa_system.config.store_schema import Positive, Strict
from qa_system.embeddings.pooling import Combine, Pooling

__all__ = ["EmbeddingSettings", "Layers", "Options"]

Layers = int | list[int]
"""One layer, or several: 0 is the table of embeddings, 1 the first layer, -1 the last one."""


class EmbeddingSettings(Strict):
    """The model, and what becomes of the vectors of its tokens."""

    model: str = "bundled:encoder"
    pooling: Pooling | None = None
    """None: the model's own, with all modules of a sentence-transformers model; the mean where a
    model has none."""
    layer: Layers = -1
    combine: Combine = "mean"
    """Several layers: their mean, or one after the other."""
    normalize: bool | None = None
    """Whether vectors have length 1; None: as the model was trained, tokens' vectors never."""
    dimensions: Positive | None = None
    """The first numbers of a vector, for a model that was trained so (Matryoshka); None: all."""
    role: Literal["passage", "question"] | None = None
    """What the texts are, for a model that puts different words before the two; None: passages,
    or what the model encodes."""
    prefix: str | None = None
    """Put before each text; None: what the model puts before such texts."""
    backend: Backend = "auto"
    precision: Precision = "auto"
    device: Device = "auto"
    max_seq_length: Annotated[int, Field(ge=8)] | None = None
    batch_tokens: Positive | None = None
    threads: Positive | None = None

    @field_validator("layer")
    @classmethod
    def _has_layers(cls, layer: Layers) -> Layers:
        if isinstance(layer, list) and not layer:
            raise ValueError("name at least one layer")
        return layer

    @property
    def layers(self) -> list[int]:
        """The layers, also where it is one."""
        return self.layer if isinstance(self.layer, list) else [self.layer]

    @property
    def is_models_own(self) -> bool:
        """Whether the model pools by itself."""
        return self.pooling is None and self.layers == [-1]

    @property
    def encoder(self) -> EncoderSettings:
        """The same, as far as an encoder is concerned."""
        names = ("model", "backend", "precision", "device", "max_seq_length", "batch_tokens")
        return EncoderSettings(
            **{name: getattr(self, name) for name in names}, threads=self.threads
        )


class Options(TypedDict, total=False):
    """The less common of `EmbeddingSettings`, by name."""

    combine: Combine
    role: Literal["passage", "question"] | None
    prefix: str | None
    backend: Backend
    precision: Precision
    device: str
    max_seq_length: int | None
    batch_tokens: int | None
    threads: int | None
