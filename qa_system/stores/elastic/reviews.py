"""Which reviews and items an index holds."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, Final

from qa_system.digests.versions import version_of
from qa_system.errors import ReviewChangedError
from qa_system.records import Label
from qa_system.stores.elastic import metadata
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.search import WINDOW, pages
from qa_system.stores.elastic.versions.selection import select

__all__ = [
    "check_texts",
    "count_items",
    "documents_of_reviews",
    "has_item",
    "iter_ids",
    "reviews_of_items",
]

REVIEWS_AT_ONCE: Final = 1_000


def documents_of_reviews(at: ElasticIndex, review_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return each document's id and content hash, by review; see `ReviewStore`."""
    found: dict[str, dict[str, str]] = {}
    if at.state() is None:
        return found
    source = ["meta.review_id", "meta.content_hash"]
    for start in range(0, len(review_ids), REVIEWS_AT_ONCE):
        asked = list(review_ids[start : start + REVIEWS_AT_ONCE])
        named = {"field": "meta.review_id", "operator": "in", "value": asked}
        query = select(at, named, warn=False)
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
            meta = hit["_source"]["meta"]
            if isinstance(meta["review_id"], str):
                found.setdefault(meta["review_id"], {})[hit["_id"]] = meta.get("content_hash") or ""
    return found


def check_texts(at: ElasticIndex, labels: Iterable[Label]) -> None:
    """Refuse labels whose review is not there with the text that was labelled.

    Raises:
        ReviewChangedError: naming the first such review.
    """
    for label in labels:
        named = [
            {"field": field, "operator": "==", "value": label.review_id}
            for field in ("meta.review_id", "id")
        ]
        query = select(at, {"operator": "OR", "conditions": named}, warn=False)
        hits: Iterable[dict[str, Any]] = ()
        if at.state() is not None:
            hits = pages(at.client, at.name, query, ["content"])
        if all(hit["_source"].get("content") != label.context for hit in hits):
            raise ReviewChangedError(
                "the review was deleted or has changed", where=label.review_id, remedy="Skip it."
            )


def reviews_of_items(at: ElasticIndex, item_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the version of each review, by item; see `DigestStore`."""
    found: dict[str, dict[str, str]] = {}
    if at.state() is None:
        return found
    hashed = {"field": "meta.content_hash", "operator": "!=", "value": None}
    bare = {"field": "meta.content_hash", "operator": "==", "value": None}
    fields = ["meta.item_id", "meta.review_id", "meta.content_hash"]
    for start in range(0, len(item_ids), REVIEWS_AT_ONCE):
        part = list(item_ids[start : start + REVIEWS_AT_ONCE])
        named = {"field": "meta.item_id", "operator": "in", "value": part}
        for which, source in ((hashed, fields), (bare, [*fields, "content"])):
            both = {"operator": "AND", "conditions": [named, which]}
            query = select(at, both, warn=False)
            for hit in pages(at.client, at.name, query, source):
                meta = hit["_source"]["meta"]
                review = meta.get("review_id")
                version = version_of(meta.get("content_hash"), hit["_source"].get("content"))
                name = hit["_id"] if review is None else str(review)
                if isinstance(meta["item_id"], str):
                    found.setdefault(meta["item_id"], {})[name] = version
    return found


def iter_ids(at: ElasticIndex) -> Generator[tuple[str, str | None], None, None]:
    """Stream every document's id and its review's, None where it names no review."""
    if at.state() is None:
        return
    for hit in pages(at.client, at.name, None, ["meta.review_id"], size=WINDOW):
        yield hit["_id"], hit["_source"].get("meta", {}).get("review_id")


def count_items(at: ElasticIndex) -> int:
    """Count the distinct `meta.item_id`s."""
    return metadata.count_values(at, "item_id", None)


def has_item(at: ElasticIndex, item_id: str) -> bool:
    """Tell whether there is a document of an item."""
    if at.state() is None:
        return False
    named = {"field": "meta.item_id", "operator": "==", "value": item_id}
    query = select(at, named, warn=False)
    with explained(at.where):
        found = at.client.search(
            index=at.name,
            query=query,
            size=0,
            terminate_after=1,
            track_total_hits=1,
        )
    return bool(found["hits"]["total"]["value"])
