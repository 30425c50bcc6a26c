"""What the manifest of an export may say: `model.json`, as strict as settings."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from qa_system.config.store_schema import Positive, Strict

__all__ = ["POSITIONS", "Difference", "Manifest"]

POSITIONS = 512
"""Tokens that an exported encoder can read, where its manifest does not say."""


class Difference(Strict):
    """Bytes of the weights that are stored as their difference from another model's, modulo 256."""

    model: str
    """The other model."""
    sha256: str
    """Of the whole weights."""
    offset: Annotated[int, Field(ge=0)]
    base_offset: Annotated[int, Field(ge=0)]
    """Where the bytes are in the other model."""
    length: Positive


class Manifest(Strict):
    """What `qa export` writes beside the weights; an unknown key is an error."""

    format: Literal[1] = 1
    task: Literal["reader", "encoder", "judge"]
    precision: Literal["fp32", "fp16", "int8"] | None = None
    architecture: str = ""
    max_seq_length: Positive | None = None
    """Tokens that are read: of a reader's window at most, of an encoder's text; None: any number.
    """
    positions: Positive | None = POSITIONS
    """Of an encoder: tokens that it can read; None: any number."""
    pad_id: Annotated[int, Field(ge=0)] = 0
    calibration: dict[str, Any] | None = None
    """Of a reader: what its log-odds mean if it reads whole reviews; of a judge: what its logits
    mean."""
    calibration_of_sentences: dict[str, Any] | None = None
    """The same if it reads the best sentences; None: `calibration`."""
    outputs: list[str] | None = None
    """Of a judge: the names of its logits, in order."""
    role: Literal["both", "question", "passage"] = "both"
    """What an encoder encodes."""
    dimension: Positive | None = None
    similarity: Literal["dot_product", "cosine", "l2"] | None = None
    normalize: bool = False
    pooling: str = "none"
    question_prefix: str = ""
    passage_prefix: str = ""
    difference_from: Difference | None = None
    """Which of the weights are a difference; None: they are whole."""
    made_with: dict[str, Any] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _encoder_is_whole(self) -> Manifest:
        if self.task == "encoder" and None in (
            self.dimension,
            self.similarity,
            self.max_seq_length,
        ):
            raise ValueError("an encoder has a dimension, a similarity and a max_seq_length")
        return self
