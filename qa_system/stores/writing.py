"""How documents are written: checked first, all of them; then in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from sqlite3 import IntegrityError
from typing import Any

from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy

from qa_system.errors import EmbeddingError
from qa_system.stores.contract import DuplicateIdError, duplicate_ids
from qa_system.stores.folder import StoreFolder
from qa_system.stores.rows import encode_documents, encode_vectors, stack_embeddings
from qa_system.stores.snapshot import Transaction

__all__ = ["DuplicateIdError", "fix_dimension", "write"]


def write(
    folder: StoreFolder,
    documents: Sequence[Document],
    policy: DuplicatePolicy,
    *,
    dimension: int | None,
    stale_ids: Sequence[str] = (),
) -> int:
    """Write documents, all or none, and give their number.

    Args:
        folder: the store's files.
        documents: what to write.
        policy: what to do about an id that is there already.
        dimension: numbers that an embedding must have where the store knows none yet.
        stale_ids: ids of documents to delete in the same transaction.
    """
    encoded = encode_documents(documents)
    if not encoded and not stale_ids:
        return 0
    with folder.reading() as snapshot:
        state = snapshot.state
    expected = dimension if state.embedding_dim is None else state.embedding_dim
    stacked = stack_embeddings(documents, expected, required=state.encoder is not None)
    vectors: list[bytes | None] = [None] * len(encoded)
    if stacked is not None:
        packed = encode_vectors(stacked.matrix)
        for place, vector in zip(stacked.places.tolist(), packed, strict=True):
            vectors[place] = vector
    try:
        with folder.writing() as transaction:
            if stacked is not None:
                fix_dimension(transaction, stacked.matrix.shape[1])
            if stale_ids:
                transaction.delete(list(transaction.existing(stale_ids).values()))
            return _insert(transaction, encoded, vectors, policy)
    except IntegrityError:
        raise _duplicates(folder, [values[0] for values in encoded]) from None


def fix_dimension(transaction: Transaction, dimension: int) -> None:
    """Record the numbers of an embedding with the store's first; refuse any other later.

    Raises:
        EmbeddingError: the store's embeddings have another dimension.
    """
    known = transaction.state.embedding_dim
    if known is None:
        transaction.set(embedding_dim=dimension)
    elif known != dimension:
        raise EmbeddingError(
            f"the embeddings have {dimension} numbers, the store's have {known}",
            remedy="All embeddings of a store come from one encoder.",
        )


def _insert(
    transaction: Transaction,
    encoded: list[tuple[Any, ...]],
    vectors: list[bytes | None],
    policy: DuplicatePolicy,
) -> int:
    if policy in (DuplicatePolicy.NONE, DuplicatePolicy.FAIL):
        transaction.insert(encoded, vectors)
        return len(encoded)
    ids = [values[0] for values in encoded]
    there = transaction.existing(ids)
    chosen: dict[str, int] = {}
    for place, name in enumerate(ids):
        if policy is DuplicatePolicy.OVERWRITE:
            chosen.pop(name, None)
            chosen[name] = place
        elif name not in there:
            chosen.setdefault(name, place)
    if policy is DuplicatePolicy.OVERWRITE and there:
        transaction.delete(list(there.values()))
    places = chosen.values()
    transaction.insert([encoded[place] for place in places], [vectors[place] for place in places])
    return len(encoded) if policy is DuplicatePolicy.OVERWRITE else len(chosen)


def _duplicates(folder: StoreFolder, ids: Sequence[str]) -> DuplicateIdError:
    with folder.reading() as snapshot:
        seen = set(snapshot.existing(ids))
    twice = []
    for name in ids:
        if name in seen:
            twice.append(name)
        seen.add(name)
    return duplicate_ids(twice, str(folder.path))
