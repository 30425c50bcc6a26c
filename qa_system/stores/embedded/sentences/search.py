"""How the embedded store finds sentences: every one of the documents that a filter selects.

Of documents that were written without sentences, the texts are divided now, and the cosine of the
whole document stands for its sentences. Where a filter selects too much for that, the documents
that the store's indexes find are looked into.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.stores.checks import query_vector
from qa_system.stores.embedded.folder import StoreFolder
from qa_system.stores.embedded.ledger.snapshot import Rows, Snapshot
from qa_system.stores.embedded.search import Search
from qa_system.stores.embedded.sentences.view import SentenceView
from qa_system.stores.filters import Condition
from qa_system.stores.sentences import (
    SentenceColumns,
    SentenceQuery,
    SentenceRanking,
    rank,
    score,
    unembedded_columns,
)
from qa_system.stores.sentences.bounds import CANDIDATES, MOST_DIVIDED
from qa_system.stores.sentences.scoring import cosines_of_reviews

__all__ = ["SentenceSearch"]

FloatArray = NDArray[np.float32]

MOST_SENTENCES: Final = 200_000
"""Stored sentences that are all scored: 140,000 of 10,000 reviews take 37 ms of one core."""


class SentenceSearch:
    """The searches among the sentences of one store.

    Args:
        folder: its files.
        search: finds whole documents.
    """

    def __init__(self, folder: StoreFolder, search: Search) -> None:
        self._folder = folder
        self._search = search

    def find(
        self,
        query: str,
        embedding: Any,
        top_k: int,
        condition: Condition | None,
        *,
        bm25_weight: float,
        relevant: float,
    ) -> SentenceRanking:
        """Return the best sentences, and their documents; see `SearchableStore`."""
        chosen: list[str] | None = None

        def look(snapshot: Snapshot, attempt: int) -> SentenceRanking | None:
            vector = None
            if embedding is not None:
                vector = query_vector(embedding, snapshot.state.embedding_dim)
            if snapshot.state.embedding_dim is None:
                vector = None  # words alone count where nothing has an embedding
            asked = SentenceQuery.of(query, vector, bm25_weight)
            view = self._folder.sentences.view(snapshot, attempt)
            selected = None if condition is None else snapshot.rows(condition)
            reviews = snapshot.count() if selected is None else len(selected)
            if chosen is None and reviews > MOST_SENTENCES:
                return None
            if chosen is None:
                rows = snapshot.rows() if selected is None else selected
            else:
                rows = snapshot.rows(_those(chosen))
                if selected is not None:  # the filter may not select all of them any more
                    rows = np.intersect1d(rows, selected, assume_unique=True)
            places = snapshot.places(rows)
            if view is None:
                places[:, 1:] = (-1, 0, 0)
            if chosen is None and _is_much(places):
                return None
            columns = _gather(snapshot, view, places)
            of_review = self._of_review(snapshot, columns, asked.vector)
            best = rank(columns, score(columns, asked, of_review), top_k, relevant, snapshot.ids)
            hits = [(row, found[0].score) for row, found in best.by_review.items()]
            documents = snapshot.documents(hits)
            sentences = list(best.by_review.values())
            return SentenceRanking(
                documents,
                sentences,
                reviews,
                best.considered,
                is_whole=chosen is None,
                generation=snapshot.state.generation,
            )

        found = self._search.retried(look)
        if found is None:
            chosen = self._candidates(query, embedding, condition)
            found = self._search.retried(look)
            assert found is not None  # noqa: S101 - the candidates are few
        return found

    def _of_review(
        self, snapshot: Snapshot, columns: SentenceColumns, vector: FloatArray | None
    ) -> FloatArray | None:
        """Return the cosine of the document that each sentence is of; None: it is not needed."""
        if vector is None:
            return None
        missing = np.unique(columns.reviews[columns.scales == 0])
        if not len(missing):
            return None
        cosines = self._cosines(snapshot, missing, vector)
        found = np.searchsorted(missing, columns.reviews).clip(max=len(missing) - 1)
        chosen: FloatArray = cosines[found]
        return chosen

    def _cosines(self, snapshot: Snapshot, rows: Rows, vector: FloatArray) -> FloatArray:
        """Return the cosine of each document, by the nearest of its passages; NaN without any."""
        view = self._folder.vectors.view(snapshot)
        positions = view.positions(rows)
        vectors = view.vectors(positions)
        scores = cosines_of_reviews(vectors, vector)
        cosines = np.full(len(rows), -np.inf, np.float32)
        np.maximum.at(cosines, np.searchsorted(rows, view.rows[positions]), scores)
        cosines[np.isinf(cosines)] = np.nan
        return cosines

    def _candidates(self, query: str, embedding: Any, condition: Condition | None) -> list[str]:
        found = self._search.by_words(query, CANDIDATES, condition, whole_ties=False)
        if embedding is not None:
            [near] = self._search.by_vectors([embedding], CANDIDATES, condition, whole_ties=False)
            found += near
        return list(dict.fromkeys(document.id for document in found))


def _those(ids: list[str]) -> Condition:
    return Condition("id IN (SELECT value FROM json_each(?))", (orjson.dumps(ids).decode(),))


def _is_much(places: NDArray[np.int64]) -> bool:
    """Tell whether documents have more sentences than are looked into for one question."""
    undivided = int(np.count_nonzero(places[:, 1] < 0))
    return undivided > MOST_DIVIDED or int(places[:, 2].sum()) > MOST_SENTENCES


def _gather(
    snapshot: Snapshot, view: SentenceView | None, places: NDArray[np.int64]
) -> SentenceColumns:
    """Return the sentences of documents; those that are not stored are divided."""
    is_stored = places[:, 1] >= 0
    stored = None if view is None else view.columns(places[is_stored])
    if stored is not None and is_stored.all():
        return stored
    divided = unembedded_columns(_texts(snapshot, places[~is_stored, 0]))
    return divided if stored is None or not len(stored) else _together(stored, divided)


def _together(stored: SentenceColumns, divided: SentenceColumns) -> SentenceColumns:
    """Return both, without a copy of the embeddings; those that have none share the first one."""
    places = np.arange(len(stored)) if stored.places is None else stored.places
    return SentenceColumns(
        reviews=np.concatenate([stored.reviews, divided.reviews]),
        spans=np.concatenate([stored.spans, divided.spans]),
        vectors=stored.vectors,
        scales=np.concatenate([stored.scales, divided.scales]),
        counts=np.concatenate([stored.counts, divided.counts]),
        terms=np.concatenate([stored.terms, divided.terms]),
        places=np.concatenate([places, np.zeros(len(divided), np.int64)]),
    )


def _texts(snapshot: Snapshot, rows: Rows) -> list[tuple[int, str]]:
    sql = (
        "SELECT row, content FROM documents WHERE content IS NOT NULL"
        " AND row IN (SELECT value FROM json_each(?)) ORDER BY row"
    )
    return snapshot.execute(sql, (orjson.dumps(rows.tolist()).decode(),)).fetchall()
