"""What a store knows of itself, and what its ledger has of a document."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, get_args

import orjson

from qa_system.records import EncoderIdentity, Similarity
from qa_system.stores.documents import Vector, decoding

__all__ = ["FORMAT", "Place", "State", "Stored"]

FORMAT: Final = 2
"""1: a long review was several documents, one a passage. 2: it is one, with spans."""


@dataclass(frozen=True, slots=True)
class State:
    """What a store knows of itself.

    Args:
        store_id: tells this store's derived files from another's.
        similarity: how embeddings are compared.
        format: of the ledger; a newer one is refused.
        generation: counts the writes.
        history: tombstones are complete since this generation.
        space: the embeddings that are searched; a re-embedding fills the next one.
        spaces: how many embedding spaces were ever begun.
        embedding_dim: numbers in an embedding; None before the first.
        encoder: who made the embeddings; None where it is not known.
        pending_space: the embeddings that a re-embedding is filling.
        pending_encoder: who makes those.
        notes: what jobs have noted, as JSON values by name.
        sentences: what is noted of the files of sentences, by the space of their embeddings; a
            space that is not there has none.
    """

    store_id: str
    similarity: Similarity
    format: int = FORMAT
    generation: int = 0
    history: int = 0
    space: int = 0
    spaces: int = 1
    embedding_dim: int | None = None
    encoder: EncoderIdentity | None = None
    pending_space: int | None = None
    pending_encoder: EncoderIdentity | None = None
    notes: dict[str, Any] = field(default_factory=dict)
    sentences: dict[str, Any] = field(default_factory=dict)

    @classmethod
    @decoding
    def load(cls, values: dict[str, Any]) -> State:
        """Read the `store` table's rows."""
        for name in ("encoder", "pending_encoder"):
            if values.get(name) is not None:
                values[name] = EncoderIdentity(**orjson.loads(values[name]))
        for name in {"notes", "sentences"} & set(values):
            values[name] = orjson.loads(values[name])
            if not isinstance(values[name], dict):
                raise TypeError(f"the {name} have no names")
        state = cls(**values)
        numbers = (state.format, state.generation, state.history, state.space, state.spaces)
        if not all(type(number) is int for number in numbers):
            raise TypeError("a count is no number")
        if state.similarity not in get_args(Similarity):
            raise ValueError(f"there is no similarity {state.similarity!r}")
        return state


class Place(NamedTuple):
    """Where a review's sentences are.

    Args:
        first_sentence: the number of the first among all in the files.
        sentence_count: how many it has.
        first_term: the number of their first term among all in the files.
    """

    first_sentence: int
    sentence_count: int
    first_term: int


class Stored(NamedTuple):
    """A document as the ledger has it.

    Args:
        values: for `rows.COLUMNS`.
        passages: the spans of its passages as JSON; None: it is one.
        vector: its embeddings; None: it has none.
        sentences: where they are in the files of sentences; None: it was not divided.
    """

    values: tuple[Any, ...]
    passages: str | None = None
    vector: Vector | None = None
    sentences: Place | None = None
