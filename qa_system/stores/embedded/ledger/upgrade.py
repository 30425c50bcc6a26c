"""A store of version 0.1 as one of this version: in one transaction, so wholly or not at all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
import orjson
from haystack.dataclasses import Document

from qa_system.stores.documents import decode_document, decode_vectors, encode_documents
from qa_system.stores.embedded.ledger.snapshot import COUNT_COLUMN, REVIEW, Transaction
from qa_system.stores.embedded.ledger.state import FORMAT, Stored
from qa_system.stores.filters import Condition, json_extract
from qa_system.stores.joining import is_passage, join, tell

__all__ = ["upgrade"]

REVIEWS_AT_ONCE: Final = 500
_START: Final = str(json_extract(["passage_start"]))


def upgrade(transaction: Transaction) -> None:
    """Bring a ledger of format 1 to this version's format.

    Documents that are passages of a review become that review; their embeddings stay. Embeddings
    of an unfinished re-embedding are dropped.
    """
    if transaction.state.pending_space is not None:
        transaction.drop_space(transaction.state.pending_space)
        transaction.set(pending_space=None, pending_encoder=None)
    transaction.execute("ALTER TABLE documents ADD COLUMN passages TEXT")
    transaction.execute(
        f"ALTER TABLE embeddings_{transaction.state.space} ADD COLUMN {COUNT_COLUMN}"
    )
    transaction.set(format=FORMAT)
    whole = guessed = 0
    for review_id, rows in _split_reviews(transaction):
        is_exact = _join(transaction, review_id, rows)
        whole += is_exact is True
        guessed += is_exact is False
    tell(FORMAT, whole + guessed, guessed)


def _split_reviews(transaction: Transaction) -> Iterator[tuple[str, list[int]]]:
    """Stream the ids of reviews that were split, and the rows of all their documents."""
    last = ""
    while True:
        ids = transaction.execute(
            f"SELECT DISTINCT {REVIEW} FROM documents WHERE {REVIEW} > ? AND {_START} IS NOT NULL"
            f" ORDER BY {REVIEW} LIMIT {REVIEWS_AT_ONCE}",
            (last,),
        ).fetchall()
        if not ids:
            return
        for (review_id,) in ids:
            condition = Condition(f"{REVIEW} = ?", (review_id,))
            yield review_id, transaction.rows(condition).tolist()
        last = ids[-1][0]


def _join(transaction: Transaction, review_id: str, rows: Sequence[int]) -> bool | None:
    """Make one review of its passages; tell whether it is exact, None if there is none to make."""
    if transaction.existing([review_id]):
        return None  # another program wrote a document of that name
    passages: list[tuple[int, Stored, Document]] = []
    for row, stored in zip(rows, transaction.stored(np.array(rows, np.int64)), strict=True):
        document = decode_document(stored.values)
        if is_passage(document):
            passages.append((row, stored, document))
    if not passages:
        return None
    passages.sort(key=lambda each: int(each[2].meta["passage_start"]))
    joined = join([document for _, _, document in passages])
    vectors = [stored.vector for _, stored, _ in passages if stored.vector is not None]
    vector, dimension = None, transaction.state.embedding_dim
    if len(vectors) == len(passages) and dimension is not None:
        vector = (decode_vectors(vectors, dimension).tobytes(), len(vectors))
    [values] = encode_documents([joined.document])
    transaction.delete([row for row, _, _ in passages])
    transaction.insert([Stored(values, orjson.dumps(joined.spans).decode(), vector)])
    return joined.is_exact
