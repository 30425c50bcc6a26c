"""The label index: labelled questions beside the documents, in the ledger.

Labels are no documents: no search finds them, and writing them begins no generation. Their table
is made by the first that is written, so that a store from before there were labels takes them,
and one that nobody labelled has none.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import orjson

from qa_system.errors import ReviewChangedError
from qa_system.labels import decode_label, encode_label
from qa_system.records import Label
from qa_system.stores.documents import decoding
from qa_system.stores.embedded.ledger.snapshot import REVIEW, Snapshot, Transaction

__all__ = [
    "check_reviews",
    "count",
    "delete",
    "delete_equal",
    "delete_of_reviews",
    "select",
    "write",
]

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS labels (
    row INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    split TEXT,
    item_id TEXT,
    label TEXT NOT NULL
) STRICT
"""
_INDEX: Final = "CREATE INDEX IF NOT EXISTS labels_by_item ON labels (item_id)"
_INSERT: Final = "INSERT OR IGNORE INTO labels (digest, split, item_id, label) VALUES (?, ?, ?, ?)"


def write(transaction: Transaction, labels: Iterable[Label]) -> int:
    """Write labels, one at a time; return the number of those that were not there yet."""
    transaction.execute(_TABLE)
    transaction.execute(_INDEX)
    return transaction.insert_many(_INSERT, map(_values, labels))


def check_reviews(snapshot: Snapshot, labels: Iterable[Label]) -> None:
    """Refuse labels whose review is not there with the text that was labelled.

    Raises:
        ReviewChangedError: naming the first such review.
    """
    sql = (
        "SELECT 1 FROM documents"
        f" WHERE ({REVIEW} = ?1 OR (id = ?1 AND {REVIEW} IS NULL)) AND content = ?2"
    )
    for label in labels:
        if snapshot.execute(sql, (label.review_id, label.context)).fetchone() is None:
            raise ReviewChangedError(
                "the review was deleted or has changed", where=label.review_id, remedy="Skip it."
            )


def select(snapshot: Snapshot, split: str | None, item_id: str | None) -> Iterator[Label]:
    """Stream labels in the order in which they were written."""
    for (label,) in _query(snapshot, "SELECT label", split, item_id, "ORDER BY row"):
        yield _decode(label)


def count(snapshot: Snapshot, split: str | None, item_id: str | None) -> int:
    """Count labels."""
    return sum(number for (number,) in _query(snapshot, "SELECT count(*)", split, item_id))


def delete(transaction: Transaction, split: str | None, item_id: str | None) -> int:
    """Delete labels, and return their number."""
    return sum(1 for _ in _query(transaction, "DELETE", split, item_id, "RETURNING row"))


def delete_equal(transaction: Transaction, labels: Iterable[Label]) -> None:
    """Delete the labels that are equal to these."""
    if _exists(transaction):
        for label in labels:
            transaction.execute("DELETE FROM labels WHERE digest = ?", _values(label)[:1])


def delete_of_reviews(transaction: Transaction, review_ids: Sequence[str]) -> int:
    """Delete the labels whose gold review is one of these, and return their number."""
    if not _exists(transaction):
        return 0
    return transaction.execute(
        "DELETE FROM labels WHERE json_extract(label, '$.review_id') IN"
        " (SELECT value FROM json_each(?))",
        (orjson.dumps(list(review_ids)).decode(),),
    ).rowcount


def _exists(snapshot: Snapshot) -> bool:
    found = snapshot.execute("SELECT 1 FROM sqlite_schema WHERE name = 'labels'").fetchone()
    return found is not None


_decode = decoding(decode_label)


def _query(
    snapshot: Snapshot, verb: str, split: str | None, item_id: str | None, rest: str = ""
) -> Iterable[tuple[Any, ...]]:
    """Run a statement over the labels that are asked for; None asks for any."""
    if not _exists(snapshot):
        return ()
    asked = {"split": split, "item_id": item_id}
    chosen = {column: value for column, value in asked.items() if value is not None}
    where = " AND ".join(f"{column} = ?" for column in chosen) or "true"
    return snapshot.execute(f"{verb} FROM labels WHERE {where} {rest}", list(chosen.values()))


def _values(label: Label) -> tuple[Any, ...]:
    encoded = encode_label(label)
    digest = hashlib.blake2b(encoded, digest_size=16).digest()
    return digest, label.split, label.item_id, encoded.decode()
