"""How documents are written: checked first, all of them; then in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from sqlite3 import IntegrityError
from typing import Any, Final

from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy

from qa_system.errors import EmbeddingError
from qa_system.stores.documents import (
    decode_document,
    encode_documents,
    encode_passages,
    encode_vectors,
    stack_embeddings,
)
from qa_system.stores.embedded.folder import StoreFolder
from qa_system.stores.embedded.ledger.snapshot import Rows, Transaction
from qa_system.stores.embedded.ledger.state import Stored
from qa_system.stores.filters import Condition
from qa_system.stores.sentences.written import written_columns
from qa_system.stores.writes import (
    NO_PASSAGES,
    NO_SENTENCES,
    DuplicateIdError,
    Passages,
    Sentences,
    duplicate_ids,
)

__all__ = ["delete", "fix_dimension", "update", "write"]

CHANGED_AT_ONCE: Final = 2_000


def write(
    folder: StoreFolder,
    documents: Sequence[Document],
    policy: DuplicatePolicy,
    *,
    dimension: int | None,
    stale_ids: Sequence[str] = (),
    passages: Mapping[str, Passages] = NO_PASSAGES,
    sentences: Mapping[str, Sentences] = NO_SENTENCES,
) -> int:
    """Write documents, all or none, and return their number.

    Args:
        folder: the store's files.
        documents: what to write.
        policy: what to do about an id that is there already.
        dimension: numbers that an embedding must have where the store knows none yet.
        stale_ids: ids of documents to delete in the same transaction.
        passages: of those documents, by id, that are found by their passages; they need no
            embedding of their own.
        sentences: of those documents, by id; without, one is divided when it is searched.
    """
    if not documents and not stale_ids:
        return 0
    with folder.reading() as snapshot:
        state = snapshot.state
    expected = dimension if state.embedding_dim is None else state.embedding_dim
    stored, width = _encode(documents, passages, expected, required=state.encoder is not None)
    divided = {
        document.id: written_columns(document, sentences[document.id], expected or width)
        for document in documents
        if document.id in sentences
    }
    widths = {each.vectors.shape[1] for each in divided.values()} | {width or 0}
    try:
        with folder.writing() as transaction:
            for each_width in sorted(widths - {0}):
                fix_dimension(transaction, each_width)
            if stale_ids:
                transaction.delete(list(transaction.existing(stale_ids).values()))
            chosen = _chosen(transaction, stored, policy)
            parts = [divided[each.values[0]] for each in chosen if each.values[0] in divided]
            if parts:
                places = iter(folder.sentences.append(transaction, parts))
                chosen = [
                    each._replace(sentences=next(places)) if each.values[0] in divided else each
                    for each in chosen
                ]
            transaction.insert(chosen)
            return len(stored if policy is DuplicatePolicy.OVERWRITE else chosen)
    except IntegrityError:
        raise _duplicates(folder, [each.values[0] for each in stored]) from None


def _encode(
    documents: Sequence[Document],
    passages: Mapping[str, Passages],
    dimension: int | None,
    *,
    required: bool,
) -> tuple[list[Stored], int | None]:
    """Return documents as the ledger has them, and the numbers in an embedding of theirs."""
    values = encode_documents(documents)
    whole = [each for each in documents if each.id not in passages]
    stacked = stack_embeddings(whole, dimension, required=required)
    if stacked is not None:
        dimension = stacked.matrix.shape[1]
    packed = iter(() if stacked is None else encode_vectors(stacked.matrix))
    has_vector = set() if stacked is None else set(stacked.places.tolist())
    stored, place = [], 0
    for document, each in zip(documents, values, strict=True):
        if document.id in passages:
            spans, vector = encode_passages(
                document, passages[document.id], dimension, required=required
            )
            if vector is not None and dimension is None:
                dimension = len(vector[0]) // (4 * vector[1])
            stored.append(Stored(each, spans, vector))
        else:
            stored.append(Stored(each, None, next(packed) if place in has_vector else None))
            place += 1
    has_any = any(each.vector is not None for each in stored)
    return stored, dimension if has_any else None


def update(transaction: Transaction, condition: Condition | None, meta: dict[str, Any]) -> int:
    """Merge metadata into the documents that a filter selects, and return their number."""
    rows = transaction.rows(condition)
    for start in range(0, len(rows), CHANGED_AT_ONCE):
        chunk = rows[start : start + CHANGED_AT_ONCE]
        stored = transaction.stored(chunk)
        documents = [decode_document(each.values) for each in stored]
        for document in documents:
            document.meta.update(meta)
        transaction.delete(chunk)
        changed = zip(stored, encode_documents(documents), strict=True)
        transaction.insert(each._replace(values=values) for each, values in changed)
    return len(rows)


def delete(folder: StoreFolder, select: Callable[[Transaction], Sequence[int] | Rows]) -> int:
    """Delete the documents of the rows that are selected, and return their number."""
    if not folder.ledger.exists():
        return 0
    with folder.writing() as transaction:
        rows = select(transaction)
        if len(rows):
            transaction.delete(rows)
        return len(rows)


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


def _chosen(
    transaction: Transaction, documents: Sequence[Stored], policy: DuplicatePolicy
) -> Sequence[Stored]:
    """Return the documents that are to be inserted, after the deletion of what they replace."""
    if policy in (DuplicatePolicy.NONE, DuplicatePolicy.FAIL):
        return documents
    ids = [each.values[0] for each in documents]
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
    return [documents[place] for place in chosen.values()]


def _duplicates(folder: StoreFolder, ids: Sequence[str]) -> DuplicateIdError:
    with folder.reading() as snapshot:
        seen = set(snapshot.existing(ids))
    twice = []
    for name in ids:
        if name in seen:
            twice.append(name)
        seen.add(name)
    return duplicate_ids(twice, str(folder.path))
