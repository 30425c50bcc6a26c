"""The digests of items, in an index of their own, beside the documents' versions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from qa_system.digests.encoding import decode_digest, encode_digest
from qa_system.digests.records import Digest
from qa_system.stores.documents import decoding
from qa_system.stores.elastic.bulk import Action, delete_selected
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.filters import Query, with_ids
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.search import pages
from qa_system.stores.elastic.versions.aliases import base_of, create
from qa_system.stores.writes import DocumentsRejectedError

__all__ = ["DigestIndex"]

IDS_AT_ONCE: Final = 1_000
PAGE: Final = 100
"""Digests in one answer: each has the quotes of up to ten aspects."""
_MAPPINGS: Final[dict[str, Any]] = {
    "dynamic": "strict",
    "properties": {
        "reviews": {"type": "keyword", "doc_values": False},
        "written": {"type": "long"},
        "digest": {"type": "keyword", "index": False, "doc_values": False},
    },
}


class DigestIndex:
    """The digests of one store, whatever version of its documents is read.

    Args:
        at: the store's documents, whose server and settings these digests share.
    """

    def __init__(self, at: ElasticIndex) -> None:
        self._at = at
        self.name = f"{base_of(at.name)}-digests"

    def write(self, digest: Digest) -> None:
        """Write a digest in place of the one of its item.

        Raises:
            DataError: it cannot be written.
            DocumentsRejectedError: the server did not take it.
        """
        stamp = self._at.stamps(1)
        source = {
            "reviews": [_short(each) for each in digest.versions],
            "written": stamp,
            "digest": encode_digest(digest).decode(),
        }
        if not self.exists():
            settings = self._at.new.settings() | {"number_of_shards": 1}
            create(self._at.client, self.name, self._at.where, _MAPPINGS, settings)
        action = Action("index", _short(digest.item_id), orjson.dumps(source), stamp)
        report = self._at.writer(self.name).write([action])
        self._refresh()
        if report.rejected:
            raise DocumentsRejectedError(report.rejected, report.written, self.name)

    def get(self, item_id: str) -> Digest | None:
        """Return the digest of an item; None: there is none."""
        if not self.exists():
            return None
        with explained(self._at.where):
            found = self._at.client.mget(
                index=self.name, ids=[_short(item_id)], source_includes=["digest"]
            )
        [hit] = found["docs"]
        return _decode(hit["_source"]["digest"]) if hit.get("found") else None

    def select(self) -> Iterator[Digest]:
        """Stream all digests, in the order in which they were written."""
        if self.exists():
            for hit in pages(self._at.client, self.name, None, ["digest"], size=PAGE):
                yield _decode(hit["_source"]["digest"])

    def count(self) -> int:
        """Count the digests."""
        if not self.exists():
            return 0
        with explained(self._at.where):
            return int(self._at.client.count(index=self.name)["count"])

    def delete(self, item_ids: Sequence[str]) -> int:
        """Delete the digests of items, and return their number."""
        return self._delete([with_ids(part) for part in _parts(item_ids)])

    def delete_of_reviews(self, review_ids: Sequence[str]) -> int:
        """Delete the digests that know one of some reviews, and return their number."""
        return self._delete([{"terms": {"reviews": part}} for part in _parts(review_ids)])

    def clear(self) -> None:
        """Delete all digests."""
        if self.exists():
            with explained(self._at.where):
                self._at.client.indices.delete(index=self.name)

    def exists(self) -> bool:
        """Tell whether digests were ever written."""
        with explained(self._at.where):
            return bool(self._at.client.indices.exists(index=self.name))

    def _delete(self, queries: Sequence[Query]) -> int:
        if not self.exists():
            return 0
        return sum(delete_selected(self._at.writer(self.name), query) for query in queries)

    def _refresh(self) -> None:
        with explained(self._at.where):
            self._at.client.indices.refresh(index=self.name)


_decode = decoding(decode_digest)


def _short(name: str) -> str:
    """Return what stands for an id here: the server takes none of more than 512 bytes."""
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _parts(names: Sequence[str]) -> Iterator[list[str]]:
    short = [_short(name) for name in names]
    for start in range(0, len(short), IDS_AT_ONCE):
        yield short[start : start + IDS_AT_ONCE]
