"""A vector for each token, whatever stands beside it: the vector of a text is the mean of them.

The format is that of model2vec (Tulkens and van Dongen, 2024,
https://github.com/MinishLab/model2vec), which sentence-transformers reads, too: `config.json`,
`tokenizer.json`, and `model.safetensors` with `embeddings`, shape (rows, dimension), `mapping`,
the row of each token, and `weights`, the weight of each token. The last two may be missing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.errors import MissingDependencyError, ModelError
from qa_system.models.locate import CONFIG, ModelLocation

__all__ = ["WEIGHTS", "StaticVectors"]

WEIGHTS: Final = "model.safetensors"
REMEDY: Final = "Make it again with `qa export --static`, or download it again."


class StaticVectors:
    """The vectors of a vocabulary.

    Args:
        location: the folder.
        precision: `auto` takes what the folder holds; sums are fp32.
        device: `cpu` or `auto`.

    Raises:
        MissingDependencyError: safetensors is not installed.
        ModelError: the folder holds no such table, a damaged one or one of another precision; or
            the device is another one.
    """

    def __init__(
        self, location: ModelLocation, *, precision: str = "auto", device: str = "auto"
    ) -> None:
        config = _config(location)
        tensors = _tensors(location)
        try:
            self.precision: str = PRECISIONS[tensors["embeddings"].dtype.name]
            table = tensors["embeddings"].astype(np.float32)
            if "mapping" in tensors:
                table = table[tensors["mapping"]]
            if "weights" in tensors:
                table *= tensors["weights"].astype(np.float32)[:, None]
            _, width = table.shape
        except (KeyError, IndexError, ValueError) as error:
            raise ModelError(
                f"the table of vectors cannot be used: {error!r}",
                where=str(location.path / WEIGHTS),
                remedy=REMEDY,
            ) from error
        if precision not in ("auto", self.precision):
            raise ModelError(
                f"{location.name!r} holds {self.precision} vectors, not {precision}",
                where=str(location.path),
                remedy=f"Set precision to auto or {self.precision}.",
            )
        if device not in ("auto", "cpu"):
            raise ModelError(
                f"device {device!r} was asked for, and the CPU adds static vectors",
                where=str(location.path),
                remedy="Set device: auto.",
            )
        self._table: NDArray[np.float32] = table
        self.dimension: int = width
        self.normalize = bool(config.get("normalize", False))

    def __len__(self) -> int:
        """Return how many tokens have a vector."""
        return len(self._table)

    def of_tokens(self, ids: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the vectors of tokens of any shape, shape (..., dimension)."""
        return self._table[ids]

    def of_texts(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Return the mean of the vectors of each text, normalised if the model says so.

        Args:
            rows: the tokens of each text.

        Returns:
            The vectors, shape (texts, dimension). Of a text without tokens it is all zeros.
        """
        vectors = np.zeros((len(rows), self.dimension), dtype=np.float32)
        for vector, row in zip(vectors, rows, strict=True):
            if row:
                # Text by text: what is added fits into a processor's cache.
                self._table[row].mean(axis=0, out=vector)
        if self.normalize:
            norms = np.linalg.norm(vectors, axis=1, keepdims=True)
            np.divide(vectors, norms, out=vectors, where=norms > 0)
        return vectors


PRECISIONS: Final = {"float32": "fp32", "float16": "fp16", "int8": "int8"}


def _config(location: ModelLocation) -> dict[str, Any]:
    config: dict[str, Any] = orjson.loads((location.path / CONFIG).read_bytes())
    return config


def _tensors(location: ModelLocation) -> dict[str, NDArray[Any]]:
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError as error:
        raise MissingDependencyError(
            f"the static vectors {location.name!r} need the package 'safetensors'",
            remedy="Install it: pip install 'qa-system[cpu]'.",
        ) from error
    path = location.path / WEIGHTS
    try:
        return load_file(path)
    except (OSError, SafetensorError, KeyError) as error:
        raise ModelError(
            f"the table of vectors cannot be read: {error}", where=str(path), remedy=REMEDY
        ) from error
