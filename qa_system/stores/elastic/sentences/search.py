"""How an index's sentences are found: every one of the reviews that a filter selects.

They are scored here, by the code of the embedded store, and so have the same scores. For that they
come over the network. Where a filter selects too many, only the sentences of candidates are scored:
of the reviews that the index's own searches find.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any, Final

from qa_system.console.wording import counted
from qa_system.stores.checks import query_vector, reembed_command
from qa_system.stores.elastic.filters import Query, with_ids
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.mapping import IndexState
from qa_system.stores.elastic.search import (
    WINDOW,
    by_vectors,
    by_words,
    point_in_time,
    retried,
)
from qa_system.stores.elastic.sentences.reading import (
    Extent,
    Reviews,
    read_extent,
    read_reviews,
    within,
)
from qa_system.stores.elastic.versions.aliases import base_of
from qa_system.stores.sentences import SentenceQuery, SentenceRanking, rank, score
from qa_system.stores.sentences.bounds import CANDIDATES, MOST_DIVIDED

__all__ = ["by_sentences"]

log = logging.getLogger(__name__)

MOST_SENTENCES: Final = 15_000
"""Stored sentences that are all scored: some 1,000 reviews, which the server sends in 70 ms."""


def by_sentences(
    at: ElasticIndex,
    query: str,
    embedding: Any,
    top_k: int,
    selected: Query | None,
    *,
    bm25_weight: float,
    relevant: float,
) -> SentenceRanking:
    """Return the best sentences, and their documents; see `SearchableStore.search_sentences`."""
    given = None if embedding is None else query_vector(embedding, None)

    def look(state: IndexState) -> SentenceRanking | None:
        vector = None if given is None else query_vector(given, state.dimension)
        if state.dimension is None:
            vector = None  # words alone count where nothing has an embedding
        asked = SentenceQuery.of(query, vector, bm25_weight)
        return _Search(at, state, query, asked, selected).find(top_k, relevant)

    return retried(at.state_with_dimension, look) or SentenceRanking([], [], 0, 0)


@dataclass(frozen=True, slots=True)
class _Search:
    """One question to one version of an index.

    Args:
        at: the index.
        state: the version.
        text: the question.
        asked: the same, as sentences are compared with it.
        selected: the documents to look at; None: all.
    """

    at: ElasticIndex
    state: IndexState
    text: str
    asked: SentenceQuery
    selected: Query | None

    def find(self, top_k: int, relevant: float) -> SentenceRanking | None:
        """Return what is found; None: another version was promoted meanwhile."""
        with point_in_time(self.at.client, self.at.name) as index:
            extent = read_extent(index, self.selected)
            is_whole = not _is_much(extent)
            selected, size = self.selected, extent.reviews
            if not is_whole:
                ids = within(index, selected, self._candidates(), MOST_SENTENCES)
                selected, size = with_ids(ids), len(ids)
            reviews = read_reviews(index, selected, size, self.state.dimension)
            if reviews.version not in (None, self.state.index):
                return None
            if reviews.damaged:
                self._tell_damage(reviews)
            vector = self.asked.vector
            of_review = None if vector is None else reviews.of_review(vector)
            scores = score(reviews.columns, self.asked, of_review)
            best = rank(reviews.columns, scores, top_k, relevant, reviews.ids_of)
            found = best.by_review
            documents = reviews.documents({each: found[each][0].score for each in found})
        return SentenceRanking(
            documents, list(found.values()), extent.reviews, best.considered, is_whole
        )

    def _candidates(self) -> list[str]:
        """Return the ids of the reviews that the index's own searches find, the best first."""
        found = [by_words(self.at, self.text, CANDIDATES, self.selected)]
        if self.asked.vector is not None:
            vector = self.asked.vector[None]
            found += by_vectors(self.at, vector, CANDIDATES, self.selected)
        mixed = chain.from_iterable(zip_longest(*found))
        return list(dict.fromkeys(each.id for each in mixed if each is not None))

    def _tell_damage(self, reviews: Reviews) -> None:
        """Warn of damaged sentences, once for each version: every question meets them."""
        if self.state.index not in self.at.told_damaged:
            self.at.told_damaged.add(self.state.index)
            log.warning(
                "%s: the stored sentences of %s cannot be used (%r is one): each question divides"
                " those reviews anew; %s stores their sentences again",
                self.at.where,
                counted(len(reviews.damaged), "review"),
                reviews.damaged[0],
                reembed_command(
                    f"{self.at.connection.url}/{base_of(self.at.name)}", self.state.encoder
                ),
            )


def _is_much(extent: Extent) -> bool:
    """Tell whether a filter selects more than is looked into for one question."""
    return (
        extent.reviews > WINDOW
        or extent.sentences > MOST_SENTENCES
        or extent.reviews - extent.divided > MOST_DIVIDED
    )
