"""Reviews erased from a server: from every version of the index, from labels and digests.

A deleted document stays in its segment until that is merged, and a merge leaves it for as long as
a copy of the shard might ask for it. So the segments are merged, and what is left is told.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from time import monotonic, sleep
from typing import Any, Final

from qa_system.stores.elastic.beside.digests import DigestIndex
from qa_system.stores.elastic.beside.labels import LabelIndex
from qa_system.stores.elastic.bulk import delete_selected
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.filters import Query, with_ids
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.search import pages
from qa_system.stores.elastic.versions import aliases
from qa_system.stores.writes import Forgotten

__all__ = ["forget"]

IDS_AT_ONCE: Final = 1_000
EXPUNGE_WAIT: Final = 90.0
"""Seconds for which segments are merged again. A server lets go of deleted documents with the
next round among a shard's copies, every 30 s (`index.soft_deletes.retention_lease`)."""
EXPUNGE_PAUSE: Final = 1.0
MERGE_TIMEOUT: Final = 3_600.0
"""Seconds that one merge may take: of a large index it rewrites all that has a deletion."""
_ALLOWED: Final = "index.merge.policy.expunge_deletes_allowed"
"""Percent of deleted documents that a merge leaves in a segment; 10 unless it is set."""


def forget(
    at: ElasticIndex, labels: LabelIndex, digests: DigestIndex, review_ids: Sequence[str]
) -> Forgotten:
    """Erase reviews; see `ReviewStore.forget`."""
    live = at.state()
    base = aliases.base_of(at.name)
    indexes = {each.index for each in aliases.versions(at.client, base, at.where)}
    # Before the documents: those tell which items it is about.
    named = {live.index, *indexes} if live is not None else indexes
    items = {item for index in named for item in _items(at, index, review_ids)}
    digested = digests.delete(sorted(items)) + digests.delete_of_reviews(review_ids)
    documents = 0
    for index in sorted(named):
        number = sum(delete_selected(at.writer(index), query) for query in _queries(review_ids))
        documents += number if live is not None and index == live.index else 0
    indexes |= {beside.name for beside in (labels, digests) if beside.exists()}
    forgotten = labels.delete_of_reviews(review_ids)
    if live is not None:
        indexes.add(live.index)
    remaining = _expunge(at, sorted(indexes)) if indexes else 0
    return Forgotten(documents, forgotten, remaining, digested)


def _items(at: ElasticIndex, index: str, review_ids: Sequence[str]) -> Iterator[str]:
    """Yield the items of reviews, each as often as it comes."""
    for query in _queries(review_ids):
        for hit in pages(at.client, index, query, ["meta.item_id"]):
            item = hit["_source"].get("meta", {}).get("item_id")
            if isinstance(item, str):
                yield item


def _queries(review_ids: Sequence[str]) -> Iterator[Query]:
    for start in range(0, len(review_ids), IDS_AT_ONCE):
        ids = list(review_ids[start : start + IDS_AT_ONCE])
        either: list[dict[str, Any]] = [{"terms": {"review_id": ids}}, with_ids(ids)]
        yield {"bool": {"should": either}}


def _expunge(at: ElasticIndex, indexes: Sequence[str]) -> int:
    """Merge deleted documents away; return the number of those that are left."""
    client, names = at.client, ",".join(indexes)
    patient = client.options(request_timeout=MERGE_TIMEOUT)
    with explained(at.where):
        client.indices.put_settings(index=names, settings={_ALLOWED: 0})
        try:
            until = monotonic() + EXPUNGE_WAIT
            while True:
                client.indices.flush(index=names, wait_if_ongoing=True)
                patient.indices.forcemerge(index=names, only_expunge_deletes=True)
                client.indices.refresh(index=names)
                found = client.indices.stats(index=names, metric="docs")
                remaining = int(found["_all"]["total"]["docs"]["deleted"])
                if not remaining or monotonic() > until:
                    return remaining
                sleep(EXPUNGE_PAUSE)
        finally:
            client.indices.put_settings(index=names, settings={_ALLOWED: None})
