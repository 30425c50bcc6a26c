"""A lexical index in memory, for a search that the files cannot answer."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from qa_system.stores.embedded.derived.lexical import (
    WRITER_BYTES,
    LexicalView,
    advance,
    make_index,
    reporting_damage,
)
from qa_system.stores.embedded.ledger.snapshot import Snapshot

if TYPE_CHECKING:
    from tantivy import Index

__all__ = ["Substitute"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Made:
    index: Index
    view: LexicalView
    last_row: int


class Substitute:
    """An index in memory, which follows the ledger as the files do.

    Args:
        store: the store's folder.
    """

    def __init__(self, store: Path) -> None:
        self._store = store
        self._making = Lock()
        self._made: _Made | None = None

    def view(self, store_id: str) -> LexicalView | None:
        """Return the index as far as it has got, None where there is none of this store."""
        made = self._made
        return None if made is None or made.view.store_id != store_id else made.view

    def make(self, reading: Callable[[], AbstractContextManager[Snapshot]]) -> None:
        """Bring it to the newest generation.

        Args:
            reading: opens a snapshot. A search's own may be old when its turn comes.
        """
        with self._making, reading() as snapshot:
            state, made = snapshot.state, self._made
            if made is None or made.view.store_id != state.store_id:
                log.warning(
                    "the lexical index in %s is substituted in memory; a user who may write the"
                    " store mends it: qa-index verify --store %s",
                    self._store,
                    self._store,
                )
                made = None
            elif made.view.generation == state.generation:
                return
            elif not state.history <= made.view.generation <= state.generation:
                made = None
            self._made = None
            if made is None:
                index, generation, last_row = make_index(), state.generation, 0
            else:
                index, generation, last_row = made.index, made.view.generation, made.last_row
            with reporting_damage(None):
                writer = index.writer(WRITER_BYTES, 1)
                advance(writer, snapshot, generation, last_row)
                writer.wait_merging_threads()
                index.reload()
                view = LexicalView(state.store_id, state.generation, None, index.searcher())
            self._made = _Made(index, view, snapshot.last_row())

    def drop(self) -> None:
        """Let it go."""
        self._made = None
