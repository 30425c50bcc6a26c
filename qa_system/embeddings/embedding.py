"""Texts that are at hand, embedded: each different one once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Any, Final, Literal, Unpack, cast, overload

import numpy as np
from numpy.typing import NDArray

from qa_system.embeddings.embedder import Embedder, TokenEmbeddings, load_embedder
from qa_system.embeddings.pooling import Pooling, TextPooling
from qa_system.embeddings.settings import Layers, Options
from qa_system.embeddings.texts import GivenTexts

__all__ = ["CHUNK", "digest_of", "embed", "embed_tokens"]

CHUNK: Final = 2_048
"""Texts that are read and encoded together; their tokens go through the model by `batch_tokens`."""

FloatArray = NDArray[np.float32]


@overload
def embed(
    texts: Iterable[str | None],
    model: str = ...,
    *,
    pooling: Literal["none"],
    layer: int | Sequence[int] = ...,
    normalize: bool | None = ...,
    dimensions: int | None = ...,
    **options: Unpack[Options],
) -> list[FloatArray]: ...


@overload
def embed(
    texts: Iterable[str | None],
    model: str = ...,
    *,
    pooling: TextPooling | None = ...,
    layer: int | Sequence[int] = ...,
    normalize: bool | None = ...,
    dimensions: int | None = ...,
    **options: Unpack[Options],
) -> FloatArray: ...


def embed(
    texts: Iterable[str | None],
    model: str = "bundled:encoder",
    *,
    pooling: Pooling | None = None,
    layer: int | Sequence[int] = -1,
    normalize: bool | None = None,
    dimensions: int | None = None,
    **options: Unpack[Options],
) -> FloatArray | list[FloatArray]:
    """Embed texts: one array, row i for text i.

    Equal texts are computed once. A text that is None, empty or white space has a row of zeros.
    Without a pooling the model pools as it was trained: a sentence-transformers model by all of
    its modules, a bare encoder by the mean of its tokens, DPR by its first token. With a pooling
    or a layer, what counts is the transformer's tokens, special ones included; modules that come
    after the pooling (Dense) are left out, but for the normalisation.

    Args:
        texts: any iterable of texts, read once.
        model: `bundled:NAME`, a folder, or a Hub id.
        pooling: `mean`, `max`, `min`, `cls` (the first token), `pooler` (the model's head), `last`
            (the last token), `weighted_mean` (later tokens count more), `none` (the vectors of all
            tokens); None: the model's own.
        layer: 0 is the table of embeddings, 1 the first layer, -1 the last. Several are averaged,
            or joined with `combine="concat"`.
        normalize: whether vectors have length 1; None: as the model was trained.
        dimensions: keep the first so many numbers, before normalisation; None: all.
        options: as in `qa_system.embeddings.settings.EmbeddingSettings`: `combine`, `role`,
            `prefix`, `backend`, `precision`, `device`, `max_seq_length`, `batch_tokens`,
            `threads`.

    Returns:
        An array (n, dimension) of float32. With pooling `none` a list of n arrays (tokens,
        dimension); `embed_tokens` has the tokens and their offsets, too.

    Raises:
        InvalidArgumentError: a text is no text.
        ConfigError: a setting is wrong, or the model has no such layer or so many dimensions.
        ModelError: there is no such model, or it has no such pooling.
        MissingDependencyError: it needs a package that is not installed.

    >>> embed(["Bright enough for reading.", ""], pooling="cls", dimensions=64).shape
    (2, 64)
    """
    embedder = load_embedder(
        **_settings(model, pooling, layer, normalize, dimensions), **cast("dict[str, Any]", options)
    )
    if pooling == "none":
        return [each.vectors for each in _tokens(embedder, texts)]
    chunks = list(_chunks(embedder, texts))
    return np.concatenate(chunks) if chunks else np.zeros((0, embedder.dimension), np.float32)


def embed_tokens(
    texts: Iterable[str | None],
    model: str = "bundled:encoder",
    *,
    layer: int | Sequence[int] = -1,
    normalize: bool | None = None,
    dimensions: int | None = None,
    **options: Unpack[Options],
) -> list[TokenEmbeddings]:
    """Embed the tokens of texts: their vectors, how they are written, and where they stand.

    Args:
        texts: as in `embed`, like all others.
        model: as there.
        layer: as there.
        normalize: whether each token's vector has length 1; None: it has not.
        dimensions: as there.
        options: as there.

    Raises:
        QASystemError: as in `embed`.

    >>> [found] = embed_tokens(["So light!"])
    >>> found.tokens, found.offsets.tolist()
    (['[CLS]', 'so', 'light', '!', '[SEP]'], [[0, 0], [0, 2], [3, 8], [8, 9], [0, 0]])
    """
    embedder = load_embedder(
        **_settings(model, "none", layer, normalize, dimensions), **cast("dict[str, Any]", options)
    )
    return _tokens(embedder, texts)


def _settings(
    model: str,
    pooling: str | None,
    layer: int | Sequence[int],
    normalize: bool | None,
    dimensions: int | None,
) -> dict[str, Any]:
    layers: Layers = layer if isinstance(layer, int) else list(layer)
    return {
        "model": model,
        "pooling": pooling,
        "layer": layers,
        "normalize": normalize,
        "dimensions": dimensions,
    }


def digest_of(text: str) -> bytes:
    """Return what stands for a text where many are remembered: 16 bytes."""
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _chunks(embedder: Embedder, texts: Iterable[str | None]) -> Iterator[FloatArray]:
    """Yield arrays of some texts each, those that are known already copied from earlier ones."""
    known: dict[bytes, FloatArray] = {}
    for chunk in _read(texts):
        keys = [digest_of(text) for text in chunk]
        new = {key: text for key, text in zip(keys, chunk, strict=True) if key not in known}
        vectors = embedder.encode(list(new.values()))
        # Rows of the arrays that are returned: nothing is held twice.
        known.update(zip(new, vectors, strict=True))
        yield vectors if len(new) == len(chunk) else np.stack([known[key] for key in keys])


def _tokens(embedder: Embedder, texts: Iterable[str | None]) -> list[TokenEmbeddings]:
    known: dict[bytes, TokenEmbeddings] = {}
    found: list[TokenEmbeddings] = []
    for chunk in _read(texts):
        keys = [digest_of(text) for text in chunk]
        new = {key: text for key, text in zip(keys, chunk, strict=True) if key not in known}
        known.update(zip(new, embedder.encode_tokens(list(new.values())), strict=True))
        found += [known[key] for key in keys]
    return found


def _read(texts: Iterable[str | None]) -> Iterator[list[str]]:
    each = iter(GivenTexts(texts))
    while chunk := list(islice(each, CHUNK)):
        yield [text or "" for text, _, _ in chunk]
