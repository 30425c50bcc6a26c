"""What every store refuses, in the same words."""

from __future__ import annotations

import logging
import re
from shlex import quote
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qa_system.console.wording import counted
from qa_system.errors import EmbeddingError, EncoderMismatchError, InvalidArgumentError
from qa_system.records import EncoderIdentity

__all__ = [
    "check_encoder",
    "check_identity",
    "check_passage_encoder",
    "query_matrix",
    "query_vector",
    "reembed_command",
    "trimmed",
]

log = logging.getLogger(__name__)

MOST_WORDS: Final = 512
"""Words of a question that are looked for; a server takes a thousand clauses in a query."""
_LONGEST_WORD: Final = 255
_HAN = r"\u3040-\u309f\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
_WORD = re.compile(rf"[{_HAN}]|[^\W_{_HAN}]+")
"""A run of letters and digits; of Chinese and Hiragana, which have no blanks, each character."""


def check_identity(value: object, name: str = "identity") -> None:
    """Refuse what is no identity of an encoder.

    Raises:
        InvalidArgumentError: saying what it is.
    """
    if not isinstance(value, EncoderIdentity):
        raise InvalidArgumentError(
            f"{name} is {value!r:.60}, not an EncoderIdentity", remedy="Pass an EncoderIdentity."
        )


def check_passage_encoder(value: object) -> None:
    """Refuse what is no encoder: it has no identity, or encodes no passages.

    Raises:
        InvalidArgumentError: saying what it is.
    """
    if not hasattr(value, "encode_passages"):
        raise InvalidArgumentError(
            f"encoder is {value!r:.60}, not an encoder",
            remedy="Pass what has an identity and encodes passages.",
        )
    check_identity(getattr(value, "identity", None), "encoder.identity")


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
        EncoderMismatchError: naming what differs, and the command that makes the store the
            encoder's.
    """
    if bound == encoder or (bound is None and dimension in (None, encoder.dimension)):
        return
    use = "Use that encoder" if bound is None else f"Use that encoder ({bound.options})"
    command = reembed_command(store, encoder)
    if bound is not None and bound.differs_in_questions(encoder):
        what = (
            f"the store takes questions by {bound.question_name or bound.name!r}, "
            f"not by {encoder.question_name or encoder.name!r}"
        )
        remedy = f"{use}, or bind the store to the other one, with the embeddings that it has: "
        raise EncoderMismatchError(what, where=where, remedy=remedy + command)
    if encoder.embed_title and (bound is None or not bound.embed_title):
        # Titles are read where reviews are indexed, not where they are embedded again.
        command = f"qa-index run --store {quote(f'{store}-with-titles')} {encoder.options}"
        remedy = f"{use}, or index the reviews into another store: {command} --source REVIEWS"
    else:
        remedy = f"{use}, or re-embed the store: {command}"
    raise EncoderMismatchError(
        f"the store's embeddings were made {_made(encoder, bound, dimension)}",
        where=where,
        remedy=remedy,
    )


def reembed_command(store: str, encoder: EncoderIdentity | None) -> str:
    """Return the command that embeds a store's documents and sentences.

    Args:
        store: as `--store` takes it: a folder or a server's address.
        encoder: by which; None: the configured one.

    >>> reembed_command("my store", None)
    "qa-index reembed --store 'my store'"
    """
    command = f"qa-index reembed --store {quote(store)}"
    return command if encoder is None else f"{command} {encoder.options}"


def trimmed(question: str) -> str:
    """Return the beginning of a question: the words that a store looks for.

    >>> trimmed("How bright is it?"), len(trimmed("bright " * 9_000).split())
    ('How bright is it?', 512)
    """
    words = 0
    for found in _WORD.finditer(question):
        words += 1 + len(found[0]) // (_LONGEST_WORD + 1)
        if words > MOST_WORDS:
            log.warning(
                "the question has more than %d words: the rest is not looked for", MOST_WORDS
            )
            return question[: found.start()].rstrip()
    return question


def _made(encoder: EncoderIdentity, bound: EncoderIdentity | None, dimension: int | None) -> str:
    """Say how the store's embeddings were made, and how the encoder's are: what differs."""
    if bound is None:
        return f"with {counted(dimension or 0, 'number')} each, not by {encoder.named}"
    if bound.name == encoder.name:
        for setting in ("max_seq_length", "embed_title"):
            had, has = (str(getattr(each, setting)).lower() for each in (bound, encoder))
            if had != has:
                return f"with encoder.{setting} {had}, not {has}".replace("none", "unset")
    return f"by {bound.named}, not by {encoder.named}"


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


def query_vector(embedding: Any, dimension: int | None) -> NDArray[np.float32]:
    """Return one embedding, (dimension,).

    Raises:
        EmbeddingError: as `query_matrix`, or there are several.
    """
    queries = query_matrix(embedding, dimension)
    if len(queries) != 1:
        raise EmbeddingError(
            f"there are {len(queries)} embeddings for one question", remedy="Pass one."
        )
    vector: NDArray[np.float32] = queries[0]
    return vector
