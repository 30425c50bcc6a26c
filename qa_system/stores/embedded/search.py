"""How the embedded store is searched: the filter's rows first, then an index, then documents.

A search reads one snapshot of the ledger and derived indexes that may be a moment behind or
ahead of it. Ahead: the search is done again on a newer snapshot. Behind: the vectors that the
files lack are read from the ledger; the lexical index is waited for, and where it does not come,
the ledger's texts are indexed in memory. An index that is known to be stale is never searched.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
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
from qa_system.stores.filters import Condition
from qa_system.stores.matching import best_passage
from qa_system.ties import best_first, fetch_through_tie

__all__ = ["Search"]

Result = TypeVar("Result")


class Search:
    """The searches of one store.

    Args:
        folder: its files.
    """

    def __init__(self, folder: StoreFolder) -> None:
        self._folder = folder

    def by_words(
        self, query: str, top_k: int, condition: Condition | None, *, whole_ties: bool
    ) -> list[Document]:
        """Return the documents that share words with the query, best first."""
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
                rest = np.setdiff1d(allowed, [row for row, _ in hits], assume_unique=True)
                hits += [(row, 0.0) for row in rest.tolist()]
            hits = _kept(snapshot, hits, top_k, whole_ties=whole_ties)
            return snapshot.documents(hits, lambda _, text, spans: best_passage(query, text, spans))

        return self.retried(search)

    def by_vectors(
        self, embeddings: Any, top_k: int, condition: Condition | None, *, whole_ties: bool
    ) -> list[list[Document]]:
        """Return each embedding's nearest documents, best first."""
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
            together = self._folder.approximate.search(view, queries, top_k + 1, allowed)

            def fetch(place: int, wanted: int) -> list[Found]:
                if wanted == top_k + 1:
                    return together[place]
                # What is tied at `top_k` is looked up exactly: an approximate index may miss some.
                return view.search(queries[place : place + 1], wanted, allowed)[0]

            hits = [
                fetch_through_tie(partial(fetch, place), _score, top_k)
                for place in range(len(queries))
            ]
            return [
                _nearest_documents(snapshot, _kept(snapshot, found, top_k, whole_ties=whole_ties))
                for found in hits
            ]

        return self.retried(search)

    def retried(self, search: Callable[[Snapshot, int], Result]) -> Result:
        """Search a snapshot; if the indexes have moved on from it, a newer one."""
        for attempt in count():
            with self._folder.reading() as snapshot, suppress(StaleSnapshotError):
                return search(snapshot, attempt)
            self._folder.settle()
        raise AssertionError


H = TypeVar("H", Hit, Found)


def _kept(snapshot: Snapshot, hits: list[H], top_k: int, *, whole_ties: bool) -> list[H]:
    """Put hits in order, and leave out those that a tie has beyond `top_k`, if asked to."""
    ids = snapshot.ids([hit[0] for hit in hits])
    there = (hit for hit in hits if hit[0] in ids)  # a damaged file may name rows that are not
    ordered = best_first(there, _score, lambda hit: ids[hit[0]])
    return ordered if whole_ties else ordered[:top_k]


def _score(hit: Hit | Found) -> float:
    return hit[1]


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
    def are_live(rows: Rows) -> NDArray[np.bool_]:
        return np.isin(rows, snapshot.still_there(rows.tolist()))

    is_current = view.generation == snapshot.state.generation
    check = None if is_current else are_live
    return fetch_through_tie(
        lambda wanted: view.search(query, wanted, allowed, check), _score, top_k
    )
