"""An encoder with a pooling of one's choice: texts in, vectors out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from qa_system.embeddings.pooling import normalized
from qa_system.embeddings.settings import EmbeddingSettings
from qa_system.embeddings.towers import (
    TokenTower,
    is_normalizing,
    open_onnx,
    open_static,
    open_torch,
)
from qa_system.errors import ConfigError
from qa_system.models.inference import choose_backend
from qa_system.models.locate import locate, read_manifest, stamp
from qa_system.models.sharing import Shared
from qa_system.retrievers.encoders import Tower
from qa_system.retrievers.late_encoder import section_of

__all__ = ["Embedder", "TokenEmbeddings", "has_text", "load_embedder"]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class TokenEmbeddings:
    """The vectors of a text's tokens.

    Args:
        vectors: (tokens, dimension), special tokens included.
        tokens: as the tokenizer writes them.
        offsets: where each begins and ends in the text, in characters (tokens, 2); (0, 0) for a
            special token, and for those of a prefix.
    """

    vectors: FloatArray
    tokens: list[str]
    offsets: NDArray[np.int32]


def has_text(text: str | None) -> bool:
    """Tell whether there is something to embed; otherwise the vector is zeros.

    >>> has_text(" \\n"), has_text(None), has_text("!")
    (False, False, True)
    """
    return text is not None and bool(text.strip())


class Embedder:
    """Turn texts into vectors.

    A text that is None, empty or white space has a vector of zeros, and no tokens. Each call
    encodes all that it is given; `embed` computes equal texts once.

    Args:
        settings: of the embeddings.

    Raises:
        ModelError: there is no such model, or it has not what the settings ask for.
        ConfigError: the settings ask for a layer or dimensions that the model has not.
        MissingDependencyError: it needs a package that is not installed.
    """

    def __init__(self, settings: EmbeddingSettings) -> None:
        self.settings = settings
        location = locate(settings.model)
        if location.format == "static" and settings.backend == "auto":
            own = open_static(location, settings)
            self._tower: Tower = own
            normalizes = own.vectors.normalize
        elif choose_backend(location, settings.backend) == "onnx":
            self._tower = open_onnx(location, settings)
            normalizes = bool(read_manifest(location.path).get("normalize", False))
        else:
            self._tower = open_torch(location, settings)
            normalizes = any(map(is_normalizing, self._tower.model))
        self._check_dimensions()
        self.normalizes = settings.normalize
        if settings.normalize is None:
            self.normalizes = settings.pooling != "none" and normalizes

    @property
    def dimension(self) -> int:
        """Numbers in a vector."""
        return self.settings.dimensions or self._tower.dimension

    @property
    def prefix(self) -> str:
        """What is put before each text."""
        if self.settings.prefix is not None:
            return self.settings.prefix
        tower = self._tower
        role = self.settings.role or ("question" if tower.role == "question" else "passage")
        return tower.question_prefix if role == "question" else tower.passage_prefix

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers that can be pooled, 0 being the embeddings; none where the model pools."""
        return getattr(self._tower, "layers", ())

    @property
    def truncated(self) -> int:
        """How many of the texts encoded so far were longer than the model reads, and were cut."""
        return self._tower.truncated

    @property
    def max_seq_length(self) -> int | None:
        """Tokens of a text that are read; None: all."""
        return self._tower.max_seq_length

    def fingerprint(self) -> str:
        """Hash the model's weights, and what decides how a text reaches them."""
        return self._tower.fingerprint()

    def encode(self, texts: Sequence[str | None]) -> FloatArray:
        """Return an array (n, dimension), row i for text i."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        rows = [row for row, text in enumerate(texts) if has_text(text)]
        found = self._tower.encode([self.prefix + cast("str", texts[row]) for row in rows])
        vectors[rows] = self._finished(found)
        return vectors

    def encode_tokens(self, texts: Sequence[str | None]) -> list[TokenEmbeddings]:
        """Return the vectors of each text's tokens, in the order of the texts."""
        empty = TokenEmbeddings(
            np.zeros((0, self.dimension), np.float32), [], np.zeros((0, 2), np.int32)
        )
        results = [empty] * len(texts)
        rows = [row for row, text in enumerate(texts) if has_text(text)]
        prefix, tower = self.prefix, self._tower
        encodings = tower.tokenize([prefix + cast("str", texts[row]) for row in rows])
        for batch, ids, mask in tower.batches([encoding.ids for encoding in encodings]):
            for position, vectors in zip(
                batch.tolist(), cast("TokenTower", tower).tokens(ids, mask), strict=True
            ):
                encoding = encodings[position]
                offsets = np.array(encoding.offsets, dtype=np.int32).reshape(-1, 2)
                results[rows[position]] = TokenEmbeddings(
                    self._finished(vectors[: len(encoding.ids)].copy()),
                    encoding.tokens,
                    np.maximum(offsets - len(prefix), 0),
                )
        return results

    def _finished(self, vectors: FloatArray) -> FloatArray:
        """Cut vectors, and give them length 1 if they are to have it."""
        kept = vectors[:, : self.settings.dimensions]
        return normalized(kept) if self.normalizes else kept

    def _check_dimensions(self) -> None:
        wanted, own = self.settings.dimensions, self._tower.dimension
        if wanted is not None and wanted > own:
            raise ConfigError(
                f"the vectors have {own} dimensions, fewer than {wanted}",
                where="dimensions",
                remedy=f"Set at most {own}.",
            )


def load_embedder(settings: EmbeddingSettings | None = None, **given: Any) -> Embedder:
    """Return an embedder; callers with the same settings share one copy of the model.

    Args:
        settings: of the embeddings; None: `given` has them.
        given: the keys of `EmbeddingSettings`.

    Raises:
        QASystemError: as in `Embedder`; ConfigError: naming each wrong setting.

    >>> load_embedder(pooling="max").dimension
    384
    """
    if settings is None:
        settings = section_of(EmbeddingSettings, given, "embedding")
    key = (settings.model_dump_json(), stamp(locate(settings.model).path))
    return _embedders.get(key, lambda: Embedder(settings))


_embedders: Shared[Embedder] = Shared()
