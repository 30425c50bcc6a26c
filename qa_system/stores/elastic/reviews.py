"""Which reviews and items an index holds."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final

from qa_system.stores.elastic import metadata
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.filters import Query
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.search import WINDOW, pages

__all__ = ["count_items", "documents_of_reviews", "has_item", "iter_ids"]

REVIEWS_AT_ONCE: Final = 1_000


def documents_of_reviews(at: ElasticIndex, review_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return each document's id and content hash, by review; see `ReviewStore`."""
    found: dict[str, dict[str, str]] = {}
    if at.state() is None:
        return found
    source = ["review_id", "meta.content_hash"]
    for start in range(0, len(review_ids), REVIEWS_AT_ONCE):
        query: Query = {"terms": {"review_id": list(review_ids[start : start + REVIEWS_AT_ONCE])}}
        with explained(at.where):
            answer = at.client.search(
                index=at.name,
                query=query,
                size=WINDOW,
                source=source,
                track_total_hits=False,
            )
        hits: Iterable[dict[str, Any]] = answer["hits"]["hits"]
        if len(answer["hits"]["hits"]) == WINDOW:
            hits = pages(at.client, at.name, query, source)
        for hit in hits:
            review = hit["_source"]["review_id"]
            hashed = hit["_source"].get("meta", {}).get("content_hash") or ""
            found.setdefault(review, {})[hit["_id"]] = hashed
    return found


def iter_ids(at: ElasticIndex) -> Generator[tuple[str, str | None], None, None]:
    """Stream every document's id and its review's, None where it names no review."""
    if at.state() is None:
        return
    for hit in pages(at.client, at.name, None, ["review_id"], size=WINDOW):
        yield hit["_id"], hit["_source"].get("review_id")


def count_items(at: ElasticIndex) -> int:
    """Count the distinct `meta.item_id`s."""
    return metadata.count_values(at, "item_id", None)


def has_item(at: ElasticIndex, item_id: str) -> bool:
    """Tell whether there is a document of an item."""
    if at.state() is None:
        return False
    with explained(at.where):
        found = at.client.search(
            index=at.name,
            query={"term": {"item_id": item_id}},
            size=0,
            terminate_after=1,
            track_total_hits=1,
        )
    return bool(found["hits"]["total"]["value"])
