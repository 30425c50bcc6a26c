"""Whether a store that is there was made with the settings that it is opened with."""

from __future__ import annotations

from pathlib import Path

from qa_system.errors import StoreMismatchError
from qa_system.records import Similarity
from qa_system.stores.embedded.ledger.state import State

__all__ = ["check_settings"]


def check_settings(
    state: State, similarity: Similarity, embedding_dim: int | None, *, path: Path
) -> None:
    """Refuse a store that was made with other settings.

    Args:
        state: of the store.
        similarity: how embeddings are to be compared.
        embedding_dim: numbers that an embedding is to have; None: any.
        path: the store's folder.

    Raises:
        StoreMismatchError: naming what differs.
    """
    for name, stored, given in (
        ("similarity", state.similarity, similarity),
        ("embedding_dim", state.embedding_dim, embedding_dim),
    ):
        if None not in (stored, given) and stored != given:
            raise StoreMismatchError(
                f"the store has {name} {stored!r}, the settings say {given!r}",
                where=str(path),
                remedy=f"Set {name} to {stored!r}, or index into another folder.",
            )
