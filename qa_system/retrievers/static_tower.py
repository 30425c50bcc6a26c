"""Static vectors as an encoder: a text is the mean of the vectors of its tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from qa_system.config import EncoderSettings
from qa_system.models.inference import IntArray, load_tokenizer
from qa_system.models.locate import ModelLocation
from qa_system.models.static import StaticVectors
from qa_system.models.tokenizing import check_tokens
from qa_system.retrievers.encoders import Tower

__all__ = ["StaticTower"]

BATCH_TOKENS = 1 << 16


class StaticTower(Tower):
    """A table of static vectors; it needs neither torch nor ONNX Runtime.

    Args:
        location: its folder; see `qa_system.models.static`.
        settings: precision, device and length.

    Raises:
        MissingDependencyError: safetensors is not installed.
        ModelError: the table is damaged, or cannot follow the settings.
    """

    def __init__(self, location: ModelLocation, settings: EncoderSettings) -> None:
        self.vectors = StaticVectors(location, precision=settings.precision, device=settings.device)
        tokenizer = load_tokenizer(location.path)
        check_tokens(tokenizer, len(self.vectors), str(location.path))
        tokenizer.post_processor = None  # which puts special tokens around a text
        super().__init__(
            location,
            tokenizer,
            role="both",
            max_seq_length=settings.max_seq_length,
            # Of unit vectors the dot product is the cosine.
            similarity="dot_product" if self.vectors.normalize else "cosine",
            batch_tokens=settings.batch_tokens or BATCH_TOKENS,
        )

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self.vectors.dimension

    def encode(self, texts: Sequence[str | tuple[str, str]]) -> NDArray[np.float32]:
        """Turn texts, or pairs of a title and a text, into vectors (n, dimension), in order."""
        return self.vectors.of_texts([encoding.ids for encoding in self.tokenize(texts)])

    def forward(self, input_ids: IntArray, attention_mask: IntArray) -> NDArray[np.float32]:
        """Turn a padded batch (n, length) into vectors (n, dimension)."""
        rows = zip(input_ids, attention_mask, strict=True)
        return self.vectors.of_texts([ids[mask > 0].tolist() for ids, mask in rows])
