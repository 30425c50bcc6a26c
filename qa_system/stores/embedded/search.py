"""How the embedded store is searched: the filter's rows first, then an index, then documents.

A search reads one snapshot of the ledger and derived indexes that may be a moment behind or
ahead of it. Ahead: the search is done again on a newer snapshot. Behind: the vectors that the
files lack are read from the ledger; the lexical index is waited for, and where it does not come,
the ledger's texts are indexed in memory. An index that is known to be stale is never searched.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from time import monotonic
from typing import Any, TypeVar

import numpy as np
from haystack.dataclasses import Document
from numpy.typing import NDArray

from qa_system.stores.checks import query_matrix
from qa_system.stores.embedded.derived.lexical import DamagedIndexError, Hit, LexicalView
from qa_system.stores.embedded.derived.vector_view import Found
from qa_system.stores.embedded.derived.vectors import StaleSnapshotError
from qa_system.stores.embedded.folder import SETTLE_WAIT, StoreFolder
from qa_system.stores.embedded.ledger.snapshot import Rows, Snapshot
from qa_system.stores.filters import compile_filters
from qa_system.stores.matching import best_passage

__all__ = ["Search"]

Result = TypeVar("Result")


class Search:
    """The searches of one store.

    Args:
        folder: its files.
    """

    def __init__(self, folder: StoreFolder) -> None:
        self._folder = folder

    def by_words(self, query: str, top_k: int, filters: Mapping[str, Any] | None) -> list[Document]:
        """Return the documents that share words with the query, best first."""
        condition = compile_filters(filters)
        until = monotonic() + SETTLE_WAIT
        needed: int | None = None
        is_mended = False

        def search(snapshot: Snapshot, attempt: int) -> list[Document]:
            nonlocal needed, is_mended
            state = snapshot.state
            if state.generation == 0:
                return []
            if needed is None or state.generation < needed:
                needed = state.generation
            lexical = self._folder.lexical
            view = lexical.fit(state, needed)
            if view is None:
                if attempt and (monotonic() > until or lexical.has_given_up(state)):
                    lexical.give_up(state)
                    lexical.make_substitute(self._folder.reading)
                raise StaleSnapshotError
            allowed = None if condition is None else snapshot.rows(condition)
            try:
                hits = _lexical_hits(snapshot, view, query, top_k, allowed)
            except DamagedIndexError as error:
                if is_mended:
                    raise
                is_mended = True
                lexical.condemn(view, error)
                raise StaleSnapshotError from error
            if allowed is not None and len(hits) < top_k:
                found = {row for row, _ in hits}
                rest = [row for row in allowed[:top_k].tolist() if row not in found]
                hits += [(row, 0.0) for row in rest[: top_k - len(hits)]]
            return snapshot.documents(hits, lambda _, text, spans: best_passage(query, text, spans))

        return self._retried(search)

    def by_vectors(
        self, embeddings: Any, top_k: int, filters: Mapping[str, Any] | None
    ) -> list[list[Document]]:
        """Return each embedding's nearest documents, best first."""
        condition = compile_filters(filters)
        until = monotonic() + SETTLE_WAIT

        def search(snapshot: Snapshot, attempt: int) -> list[list[Document]]:
            dimension = snapshot.state.embedding_dim
            queries = query_matrix(embeddings, dimension)
            if dimension is None or snapshot.state.generation == 0:
                return [[] for _ in queries]
            if attempt == 0 and self._folder.vectors.lag(snapshot):
                raise StaleSnapshotError
            allowed = None if condition is None else snapshot.rows(condition)
            try:
                view = self._folder.vectors.view(snapshot)
            except StaleSnapshotError:
                if monotonic() > until:
                    self._folder.vectors.give_up(snapshot)
                raise
            hits = self._folder.approximate.search(view, queries, top_k, allowed)
            return [_nearest_documents(snapshot, found) for found in hits]

        return self._retried(search)

    def _retried(self, search: Callable[[Snapshot, int], Result]) -> Result:
        for attempt in count():
            with self._folder.reading() as snapshot, suppress(StaleSnapshotError):
                return search(snapshot, attempt)
            self._folder.settle()
        raise AssertionError


def _nearest_documents(snapshot: Snapshot, found: Sequence[Found]) -> list[Document]:
    passages = {row: passage for row, _, passage in found}
    hits = [(row, score) for row, score, _ in found]
    return snapshot.documents(hits, lambda row, _text, _spans: passages[row])


def _lexical_hits(
    snapshot: Snapshot,
    view: LexicalView,
    query: str,
    top_k: int,
    allowed: Rows | None,
) -> list[Hit]:
    if view.generation == snapshot.state.generation:
        return view.search(query, top_k, allowed)

    def are_live(rows: Rows) -> NDArray[np.bool_]:
        return np.isin(rows, snapshot.still_there(rows.tolist()))

    return view.search(query, top_k, allowed, are_live)
