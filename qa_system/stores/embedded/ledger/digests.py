"""The digests of items, in the ledger: what `qa_system.digests` writes, a row for each item.

Their table is made by the first that is written, as that of the labels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from qa_system.digests.encoding import decode_digest, encode_digest
from qa_system.digests.records import Digest
from qa_system.digests.versions import version_of
from qa_system.stores.documents import decoding
from qa_system.stores.embedded.ledger.snapshot import ITEM, REVIEW, Rows, Snapshot, Transaction

__all__ = [
    "clear",
    "count",
    "delete",
    "delete_of_reviews",
    "get",
    "reviews_of_items",
    "select",
    "write",
]

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS digests (
    item_id TEXT PRIMARY KEY,
    digest TEXT NOT NULL
) STRICT, WITHOUT ROWID
"""
_LISTED: Final = "(SELECT value FROM json_each(?))"


def write(transaction: Transaction, digest: Digest) -> None:
    """Write a digest in place of the one of its item."""
    encoded = encode_digest(digest).decode()
    transaction.execute(_TABLE)
    transaction.execute(
        "INSERT OR REPLACE INTO digests (item_id, digest) VALUES (?, ?)", (digest.item_id, encoded)
    )


def get(snapshot: Snapshot, item_id: str) -> Digest | None:
    """Return the digest of an item; None: there is none."""
    if not _exists(snapshot):
        return None
    found = snapshot.execute("SELECT digest FROM digests WHERE item_id = ?", (item_id,)).fetchone()
    return None if found is None else _decode(found[0])


def select(snapshot: Snapshot) -> Iterator[Digest]:
    """Stream all digests, by the items' ids."""
    if _exists(snapshot):
        for (encoded,) in snapshot.execute("SELECT digest FROM digests ORDER BY item_id"):
            yield _decode(encoded)


def count(snapshot: Snapshot) -> int:
    """Count the digests."""
    if not _exists(snapshot):
        return 0
    return int(snapshot.execute("SELECT count(*) FROM digests").fetchone()[0])


def delete(transaction: Transaction, item_ids: Sequence[str]) -> int:
    """Delete the digests of items, and return their number."""
    if not _exists(transaction):
        return 0
    sql = f"DELETE FROM digests WHERE item_id IN {_LISTED}"
    return transaction.execute(sql, (_json(item_ids),)).rowcount


def delete_of_reviews(transaction: Transaction, review_ids: Sequence[str], rows: Rows) -> int:
    """Delete the digests that know one of some reviews, and return their number.

    Args:
        transaction: the write.
        review_ids: of the reviews, which may be deleted already.
        rows: of their documents, which are not deleted yet.
    """
    if not _exists(transaction):
        return 0
    sql = f"""
        DELETE FROM digests WHERE item_id IN (SELECT {ITEM} FROM documents WHERE row IN {_LISTED})
        OR EXISTS (SELECT 1 FROM json_each(digest, '$.versions') WHERE key IN {_LISTED})
    """
    return transaction.execute(sql, (_json(rows.tolist()), _json(review_ids))).rowcount


def clear(transaction: Transaction) -> None:
    """Delete all digests."""
    if _exists(transaction):
        transaction.execute("DELETE FROM digests")


def reviews_of_items(snapshot: Snapshot, item_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Return the version of each review, by item; see `DigestStore`."""
    found: dict[str, dict[str, str]] = {}
    cursor = snapshot.execute(
        f"SELECT {ITEM}, ifnull({REVIEW}, id), json_extract(meta, '$.content_hash'),"
        " CASE WHEN json_extract(meta, '$.content_hash') IS NULL THEN content END"
        f" FROM documents WHERE {ITEM} IN {_LISTED}",
        (_json(item_ids),),
    )
    for item_id, review, content_hash, content in cursor:
        found.setdefault(item_id, {})[str(review)] = version_of(content_hash, content)
    return found


def _exists(snapshot: Snapshot) -> bool:
    found = snapshot.execute("SELECT 1 FROM sqlite_schema WHERE name = 'digests'").fetchone()
    return found is not None


_decode = decoding(decode_digest)


def _json(values: Sequence[Any]) -> str:
    return orjson.dumps(list(values)).decode()
