"""What every store refuses, in the same words."""

from __future__ import annotations

from collections.abc import Sequence
from shlex import quote
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qa_system.console.wording import counted
from qa_system.errors import ConfigError, EmbeddingError, EncoderMismatchError
from qa_system.records import EncoderIdentity

__all__ = ["check_choice", "check_encoder", "query_matrix"]


def check_choice(name: str, value: str | None, choices: Sequence[str | None]) -> None:
    """Refuse a value that is none of the choices.

    Args:
        name: of the argument that has the value.
        value: to check.
        choices: None among them lets the value be None.

    Raises:
        ConfigError: naming the choices.

    >>> check_choice("similarity", "dot", ("cosine", "l2"))
    Traceback (most recent call last):
        ...
    qa_system.errors.ConfigError: there is no similarity 'dot'. Choose of: cosine, l2.
    """
    if value not in choices:
        named = ", ".join(each for each in choices if each is not None)
        raise ConfigError(f"there is no {name} {value!r}", remedy=f"Choose of: {named}.")


def check_encoder(
    encoder: EncoderIdentity,
    bound: EncoderIdentity | None,
    dimension: int | None,
    *,
    where: str,
    store: str,
) -> None:
    """Refuse an encoder whose embeddings do not belong into a store.

    Args:
        encoder: to check.
        bound: the store's own encoder; None: it has none yet.
        dimension: numbers in an embedding of the store; None: it has no embeddings yet.
        where: the store, as its errors name it.
        store: the store, as `qa-index reembed --store` takes it: a folder or a server's address.

    Raises:
        EncoderMismatchError: naming both encoders, and the command that re-embeds.
    """
    if bound == encoder or (bound is None and dimension in (None, encoder.dimension)):
        return
    made_by = (
        f"by {bound.named}"
        if bound is not None
        else f"with {counted(dimension or 0, 'number')} each"
    )
    raise EncoderMismatchError(
        f"the store's embeddings were made {made_by}, not by {encoder.named}",
        where=where,
        remedy=f"Use that encoder, or re-embed the store: qa-index reembed --store {quote(store)}"
        f" {encoder.options}",
    )


def query_matrix(embeddings: Any, dimension: int | None) -> NDArray[np.float32]:
    """Return one or several embeddings as an (n, dimension) array.

    Raises:
        EmbeddingError: they are not finite, no numbers, or have another dimension (None: any).
    """
    try:
        queries = np.atleast_2d(np.asarray(embeddings, dtype=np.float32))
        is_sound = queries.ndim == 2 and bool(np.isfinite(queries).all())
    except (TypeError, ValueError):
        is_sound = False
    if not is_sound:
        raise EmbeddingError(
            "the query's embedding holds NaN, infinity, or what is not a number",
            remedy="Check the encoder that it came from.",
        )
    if dimension is not None and queries.shape[1] != dimension:
        raise EmbeddingError(
            f"the query's embedding has {counted(queries.shape[1], 'number')}, the store's "
            f"have {dimension}",
            remedy="Ask with the encoder that filled the store.",
        )
    return queries
