"""Reading from an index: questions by words and by meaning, and everything, page by page."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
from haystack.dataclasses import Document
from numpy.typing import NDArray

from qa_system.console.wording import counted
from qa_system.errors import EmbeddingError, StoreError
from qa_system.records import Similarity
from qa_system.stores.analysis import analyze, function_terms
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.documents import READ, decode
from qa_system.stores.elastic.filters import ALL, Query
from qa_system.stores.elastic.mapping import FORMAT, IndexState
from qa_system.stores.function_words import FUNCTION_WORD_WEIGHT
from qa_system.stores.matching import best_passage
from qa_system.texts.passages import Spans
from qa_system.ties import best_documents, fetch_through_tie

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

    from qa_system.stores.elastic.index import ElasticIndex

__all__ = [
    "WINDOW",
    "PointInTime",
    "by_vectors",
    "by_words",
    "hits_of_each",
    "pages",
    "plain_score",
    "point_in_time",
    "retried",
    "word_query",
]

Found = TypeVar("Found")

WINDOW: Final = 10_000
"""Documents that the server returns in one answer (index.max_result_window), and candidates that a
vector search may have."""
CANDIDATES_PER_RESULT: Final = 10
FEWEST_CANDIDATES: Final = 100
OVERSAMPLE: Final = 3.0
"""Quantised vectors propose so many times as many as are asked for; they are scored exactly."""
PAGE: Final = 1_000
_KEEP_ALIVE: Final = "5m"
_ORDER: Final[list[Any]] = ["_score", {"written": "asc"}]
"""Best first. Equals are put in order here; the server needs an order to turn pages by."""


def word_query(text: str, selected: Query | None, format_: int = FORMAT) -> Query | None:
    """Return the query by the words of a question; None where it has none and nothing is selected.

    A question's function words count a tenth, as in the embedded store. With a selection, its
    documents that share no word with the question follow with score 0.

    In an index of an older format the server has analyzed the texts, and analyzes the question,
    which is cut at white space only. Function words are looked up as they are written, in
    `content.words`, for many of them are not in `content` at all.

    Args:
        text: the question.
        selected: the documents to look at; None: all.
        format_: of the index.

    >>> word_query("How long?", None)["bool"]["should"][1]
    {'match': {'terms': {'query': 'how', 'boost': 0.1}}}
    """
    if format_ < FORMAT:
        words = [(word, analyze(word)) for word in text.split()]
        rare_field, function_field = "content", "content.words"
    else:
        words = [(term, [term]) for term in analyze(text)]
        rare_field = function_field = "terms"
    rare: list[str] = []
    function: list[str] = []
    for word, terms in words:
        if terms:
            (function if function_terms().issuperset(terms) else rare).append(word)
    should: list[Query] = []
    if rare:
        should.append({"match": {rare_field: {"query": " ".join(rare)}}})
    if function:
        query = {"query": " ".join(function), "boost": FUNCTION_WORD_WEIGHT}
        should.append({"match": {function_field: query}})
    if selected is None:
        return {"bool": {"should": should, "minimum_should_match": 1}} if should else None
    return {"bool": {"filter": [selected], "should": should, "minimum_should_match": 0}}


def by_words(
    at: ElasticIndex, text: str, top_k: int, selected: Query | None, whole_ties: bool = False
) -> list[Document]:
    """Return the documents that share words with a question, best first."""

    def look(state: IndexState) -> list[dict[str, Any]]:
        # In a version that was promoted meanwhile `content` is not looked into: an error.
        query = word_query(text, selected, state.format)
        return [] if query is None else _sharing_words(at, state, query, top_k)

    match = partial(best_passage, text)
    hits = retried(at.state, look) or []
    found = [decode(hit, score=_score(hit), match=match) for hit in hits]
    return best_documents(found, top_k, whole_ties=whole_ties)


def retried(
    state_of: Callable[..., IndexState | None], look: Callable[[IndexState], Found | None]
) -> Found | None:
    """Return what is found in the version that is read, though another one is promoted meanwhile.

    Args:
        state_of: of the index, `state` or `state_with_dimension`.
        look: returns what is found in a version; None: it has met another one.

    Returns:
        What it returned; None where there is no index.

    Raises:
        StoreError: from `look`, and the version is still the one that is read.
    """
    state = state_of()
    while state is not None:
        try:
            found = look(state)
        except StoreError:
            fresh = state_of(fresh=True)
            if fresh == state:
                raise
        else:
            if found is not None:
                return found
            fresh = state_of(fresh=True)
        state = fresh
    return None


def _sharing_words(
    at: ElasticIndex, state: IndexState, query: Query, top_k: int
) -> list[dict[str, Any]]:
    # Word frequencies of all shards together: the same scores however many there are.
    options: dict[str, Any] = {"search_type": "dfs_query_then_fetch"} if state.shards > 1 else {}

    def fetch(wanted: int) -> list[dict[str, Any]]:
        if wanted > WINDOW:
            found = pages(at.client, at.name, query, READ, sort=_ORDER, limit=wanted, **options)
            return list(found)
        body = {"query": query, "size": wanted, "sort": _ORDER, "_source": READ}
        return _hits(at.client, at.name, {**body, "track_total_hits": False}, **options)

    return fetch_through_tie(fetch, _score, top_k)


def by_vectors(
    at: ElasticIndex,
    queries: NDArray[np.float32],
    top_k: int,
    selected: Query | None,
    whole_ties: bool = False,
) -> list[list[Document]]:
    """Return the documents nearest to each of the queries, best first.

    Args:
        at: the index.
        queries: (n, dimension).
        top_k: for each query.
        selected: the documents to look at.
        whole_ties: also return those beyond `top_k` whose score is that of the last.

    Raises:
        EmbeddingError: the queries have another dimension than the index.
        StoreError: `top_k` is more than the server allows.
    """
    if not len(queries):
        return []
    if top_k > WINDOW:
        raise StoreError(
            f"top_k is {top_k:,}, and a vector search returns {WINDOW:,} documents at most",
            where=at.name,
            remedy=f"Ask for {WINDOW:,} or fewer.",
        )

    def look(state: IndexState) -> tuple[Similarity, list[list[dict[str, Any]]]] | None:
        if state.dimension is None:
            return state.similarity, [[] for _ in queries]
        responses = _nearest_and_ties(at, state, queries, top_k, selected)
        is_same = all(hit["_index"] == state.index for hits in responses for hit in hits)
        return (state.similarity, responses) if is_same else None

    found = retried(at.state_with_dimension, look)
    if found is None:
        return [[] for _ in queries]
    similarity, responses = found
    near = partial(_near_document, similarity=similarity)
    return [best_documents(map(near, hits), top_k, whole_ties=whole_ties) for hits in responses]


def _nearest_and_ties(
    at: ElasticIndex,
    state: IndexState,
    queries: NDArray[np.float32],
    top_k: int,
    selected: Query | None,
) -> list[list[dict[str, Any]]]:
    first = min(top_k + 1, WINDOW)
    together = _nearest(at, state, queries, first, selected)

    def fetch(place: int, wanted: int) -> list[dict[str, Any]]:
        if wanted == first:
            return together[place]
        return _nearest(at, state, queries[place : place + 1], wanted, selected)[0]

    return [
        fetch_through_tie(partial(fetch, place), _score, top_k, WINDOW)
        for place in range(len(queries))
    ]


def _nearest(
    at: ElasticIndex,
    state: IndexState,
    queries: NDArray[np.float32],
    top_k: int,
    selected: Query | None,
) -> list[list[dict[str, Any]]]:
    bodies: list[dict[str, Any]] = []
    for vector in _checked_queries(queries, state):
        whole: dict[str, Any] = {
            "field": "embedding",
            "query_vector": vector,
            "k": top_k,
            "num_candidates": min(WINDOW, max(CANDIDATES_PER_RESULT * top_k, FEWEST_CANDIDATES)),
        }
        if selected is not None:
            whole["filter"] = selected
        if state.index_options == "int8_hnsw":
            whole["rescore_vector"] = {"oversample": OVERSAMPLE}
        # The server counts a review once, however many of its passages are near: as `k`, as a
        # candidate, and as a hit, with the nearest one's score.
        nearest = {"size": 1, "_source": False}
        passages = {**whole, "field": "passages.embedding", "inner_hits": nearest}
        body = {"knn": [whole, passages], "size": top_k, "sort": _ORDER, "_source": READ}
        bodies.append({**body, "track_total_hits": False})
    return hits_of_each(at.client, at.name, bodies)


def _near_document(hit: dict[str, Any], similarity: Similarity) -> Document:
    def match(_text: str, _spans: Spans) -> int:
        nearest: int = hit["inner_hits"]["passages"]["hits"]["hits"][0]["_nested"]["offset"]
        return nearest

    return decode(hit, score=plain_score(_score(hit), similarity), match=match)


def _score(hit: dict[str, Any]) -> float:
    score: float = hit["sort"][0]
    return score


def hits_of_each(
    client: Elasticsearch, index: str, bodies: Sequence[dict[str, Any]]
) -> list[list[dict[str, Any]]]:
    """Return the hits of several searches, sent in one request."""
    if len(bodies) == 1:
        return [_hits(client, index, bodies[0])]
    with explained(index):
        found = client.msearch(
            searches=[line for body in bodies for line in ({}, body)], index=index
        )
    # One that failed is asked for again, by itself: as a request of its own it has its retries.
    return [
        _hits(client, index, body) if "error" in response else response["hits"]["hits"]
        for body, response in zip(bodies, found["responses"], strict=True)
    ]


def _hits(
    client: Elasticsearch, index: str, body: dict[str, Any], **options: Any
) -> list[dict[str, Any]]:
    with explained(index):
        found = client.search(index=index, body=body, **options)
    hits: list[dict[str, Any]] = found["hits"]["hits"]
    return hits


def _checked_queries(queries: NDArray[np.float32], state: IndexState) -> list[list[float]]:
    if queries.shape[1] != state.dimension:
        raise EmbeddingError(
            f"the query's embedding has {counted(queries.shape[1], 'number')}, "
            f"the store's have {state.dimension}",
            remedy="Ask with the encoder that filled the store.",
        )
    if state.similarity == "cosine" and not queries.any(axis=1).all():
        raise EmbeddingError(
            "the query's embedding is all zeros, which has no direction",
            remedy="Check the encoder that it came from.",
        )
    vectors: list[list[float]] = queries.tolist()
    return vectors


def plain_score(score: float, similarity: Similarity) -> float:
    """Turn the server's score, which is never negative, back into the similarity.

    The formulas are those of `dense_vector.similarity` in Elasticsearch's reference.

    >>> plain_score(0.9, "cosine"), plain_score(3.0, "dot_product"), plain_score(0.25, "l2")
    (0.8, 2.0, -3.0)
    """
    if similarity == "cosine":
        return 2 * score - 1
    if similarity == "l2":
        return 1 - 1 / score if score > 0 else -math.inf
    if score >= 1:
        return score - 1
    return 1 - 1 / score if score > 0 else -math.inf


class PointInTime:
    """An index as it was at one moment, whatever is written or promoted meanwhile.

    Args:
        client: the server's.
        index: or alias, for errors.
        opened: the server's name for it.
    """

    def __init__(self, client: Elasticsearch, index: str, opened: str) -> None:
        self.client = client
        self.index = index
        self.opened = opened

    def search(self, **body: Any) -> Any:
        """Return the server's answer to a search."""
        with explained(self.index):
            found = self.client.search(pit={"id": self.opened, "keep_alive": _KEEP_ALIVE}, **body)
        self.opened = found["pit_id"]
        return found


@contextmanager
def point_in_time(client: Elasticsearch, index: str) -> Iterator[PointInTime]:
    """Open an index as it is now, and let it go at the end."""
    with explained(index):
        opened = client.open_point_in_time(index=index, keep_alive=_KEEP_ALIVE)
    point = PointInTime(client, index, opened["id"])
    try:
        yield point
    finally:
        # One that is left over, as when the client was closed first, expires by itself.
        with suppress(StoreError), explained(index):
            client.options(ignore_status=404).close_point_in_time(id=point.opened)


def pages(
    client: Elasticsearch,
    index: str,
    query: Query | None,
    source: Sequence[str] | bool,
    *,
    sort: Sequence[Any] = ({"written": "asc"},),
    limit: int | None = None,
    size: int = PAGE,
    **options: Any,
) -> Iterator[dict[str, Any]]:
    """Stream every hit of a query as the index was when it began, whatever is written meanwhile.

    Args:
        client: the server's.
        index: or alias; a version promoted meanwhile changes nothing.
        query: None returns everything.
        source: the fields of the documents that are wanted.
        sort: their order.
        limit: hits, at most; None: all.
        size: hits in one answer.
        **options: of the search.
    """
    after, left = None, math.inf if limit is None else limit
    with point_in_time(client, index) as point:
        while left > 0:
            wanted = int(min(size, left))
            found = point.search(
                query=query or ALL,
                sort=[*sort, "_shard_doc"],
                size=wanted,
                source=source,
                search_after=after,
                track_total_hits=False,
                **options,
            )
            hits = deque(found["hits"]["hits"])
            left -= len(hits)
            is_last = len(hits) < wanted
            after = hits[-1]["sort"] if hits else None
            while hits:
                yield hits.popleft()
            if is_last:
                return
