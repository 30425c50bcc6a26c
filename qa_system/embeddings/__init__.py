"""Texts as vectors, by any encoder, with any pooling.

>>> from qa_system.embeddings import embed
>>> embed(["Bright enough for reading.", "The strap broke."]).shape
(2, 384)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qa_system.embeddings.embedder import Embedder as Embedder
    from qa_system.embeddings.embedder import TokenEmbeddings as TokenEmbeddings
    from qa_system.embeddings.embedder import load_embedder as load_embedder
    from qa_system.embeddings.embedding import embed as embed
    from qa_system.embeddings.embedding import embed_tokens as embed_tokens
    from qa_system.embeddings.job import EmbedReport as EmbedReport
    from qa_system.embeddings.job import embed_to_file as embed_to_file
    from qa_system.embeddings.quantizing import Quantized as Quantized
    from qa_system.embeddings.quantizing import quantize as quantize
    from qa_system.embeddings.settings import EmbeddingSettings as EmbeddingSettings

_HOMES = {
    "EmbedReport": "qa_system.embeddings.job",
    "Embedder": "qa_system.embeddings.embedder",
    "EmbeddingSettings": "qa_system.embeddings.settings",
    "Quantized": "qa_system.embeddings.quantizing",
    "TokenEmbeddings": "qa_system.embeddings.embedder",
    "embed": "qa_system.embeddings.embedding",
    "embed_to_file": "qa_system.embeddings.job",
    "embed_tokens": "qa_system.embeddings.embedding",
    "load_embedder": "qa_system.embeddings.embedder",
    "quantize": "qa_system.embeddings.quantizing",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
