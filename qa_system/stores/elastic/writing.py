"""Documents into an index, and changes to those that are there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final

import numpy as np
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy

from qa_system.console.wording import counted
from qa_system.errors import StoreError, StoreNotFoundError
from qa_system.stores.documents import DocumentTypeError
from qa_system.stores.elastic.bulk import MOST_ROUNDS, Action
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.documents import READ_WHOLE, decode, encode, passages_of
from qa_system.stores.elastic.filters import Query
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.mapping import IndexState
from qa_system.stores.elastic.search import pages
from qa_system.stores.writes import (
    NO_PASSAGES,
    DocumentsRejectedError,
    Passages,
    RejectedDocument,
    WriteReport,
    duplicate_ids,
)

__all__ = ["delete", "existing", "update", "write"]

IDS_AT_ONCE: Final = 1_000
CHANGED_AT_ONCE: Final = 1_000


def write(
    at: ElasticIndex,
    documents: Sequence[Document],
    policy: DuplicatePolicy,
    stale_ids: Sequence[str],
    passages: Mapping[str, Passages] = NO_PASSAGES,
) -> WriteReport:
    """Write documents, then delete stale ones; see `ElasticsearchReviewStore.write_bulk`."""
    _check_documents(documents)
    began = time.monotonic()
    report = WriteReport()
    with at.connection.patient(at.bulk.retry_for):
        if documents:
            state = at.ensure()
            try:
                _write(at, documents, passages, policy, state, report)
            except StoreNotFoundError:
                at.forget()
                raise
        if stale_ids and (documents or at.state_for_writing() is not None):
            stale = (Action("delete", name) for name in dict.fromkeys(stale_ids))
            report.add(at.writer().write(stale))
        report.documents = len(documents)
        at.refresh()
    report.seconds = time.monotonic() - began
    if report.conflicts and policy in (DuplicatePolicy.NONE, DuplicatePolicy.FAIL):
        raise duplicate_ids(report.conflicts, at.where)
    return report


def delete(at: ElasticIndex, ids: Sequence[str]) -> None:
    """Delete the documents with these ids; see `ReviewStore.delete_documents`."""
    if not ids or at.state() is None:
        return
    report = write(at, [], DuplicatePolicy.OVERWRITE, ids)
    if report.rejected:
        raise DocumentsRejectedError(report.rejected, report.deleted, at.where)


def existing(at: ElasticIndex, ids: Sequence[str]) -> list[str]:
    """Return those of the ids that have a document, be it found by searches already or not."""
    found: list[str] = []
    for start in range(0, len(ids), IDS_AT_ONCE):
        with explained(at.where):
            answer = at.client.mget(
                index=at.name, ids=ids[start : start + IDS_AT_ONCE], source=False
            )
        found += [each["_id"] for each in answer["docs"] if each.get("found")]
    return found


def update(at: ElasticIndex, selected: Query, meta: dict[str, Any]) -> int:
    """Merge metadata into documents; see `ReviewStore.update_by_filter`."""
    updated = 0
    for _ in range(MOST_ROUNDS):
        at.refresh()
        report = WriteReport()
        hits = pages(at.client, at.name, selected, READ_WHOLE, seq_no_primary_term=True)
        while batch := list(islice(hits, CHANGED_AT_ONCE)):
            report.add(at.writer().write(_merged(at, batch, meta)))
        at.refresh()
        updated += report.written
        if report.rejected:
            raise DocumentsRejectedError(report.rejected, updated, at.where)
        if not report.conflicts:
            return updated
        again: Query = {"ids": {"values": report.conflicts}}
        selected = {"bool": {"filter": [selected, again]}}
    raise StoreError(
        f"{counted(updated, 'document')} updated; {len(report.conflicts):,} are changed by "
        "somebody else all the time",
        where=at.where,
        remedy="Update again when that has stopped.",
    )


def _check_documents(documents: Sequence[Document]) -> None:
    if not isinstance(documents, list | tuple):
        raise DocumentTypeError(f"documents are a list, not {type(documents).__name__}")
    for each in documents:
        if not isinstance(each, Document):
            raise DocumentTypeError(f"a Haystack Document was expected, not {type(each).__name__}")
        try:
            each.id.encode()
        except (AttributeError, UnicodeEncodeError):
            raise DocumentTypeError(f"the id {each.id!r} is not text that UTF-8 can hold") from None


def _write(
    at: ElasticIndex,
    documents: Sequence[Document],
    passages: Mapping[str, Passages],
    policy: DuplicatePolicy,
    state: IndexState,
    report: WriteReport,
) -> None:
    overwrite = policy is DuplicatePolicy.OVERWRITE
    chosen: dict[str, Document] = {}
    twice: list[str] = []
    for document in documents:
        if document.id in chosen:
            twice.append(document.id)
            if not overwrite:
                continue
            del chosen[document.id]
        chosen[document.id] = document
    if policy in (DuplicatePolicy.NONE, DuplicatePolicy.FAIL):
        there = existing(at, list(chosen))
        if there or twice:
            raise duplicate_ids([*dict.fromkeys([*there, *twice])], at.where)
    rejected: list[RejectedDocument] = []
    actions = _actions(at, list(chosen.values()), passages, state, rejected, overwrite=overwrite)
    report.add(at.writer().write(actions))
    report.rejected += rejected


def _actions(
    at: ElasticIndex,
    documents: Sequence[Document],
    passages: Mapping[str, Passages],
    state: IndexState,
    rejected: list[RejectedDocument],
    *,
    overwrite: bool,
) -> Iterator[Action]:
    """Encode documents one by one; those that cannot be are set aside."""
    dimension, is_required = state.dimension, state.encoder is not None
    for stamp, document in enumerate(documents, at.stamps(len(documents))):
        own = passages.get(document.id)
        try:
            source = encode(
                document, stamp, dimension, embedding_required=is_required, passages=own
            )
        except (StoreError, ValueError) as error:
            reason = error.what if isinstance(error, StoreError) else str(error)
            rejected.append(RejectedDocument(document.id, reason))
            continue
        if dimension is None:
            dimension = _dimension(document, own)
            if dimension is not None:
                at.fix_dimension(state, dimension)
        yield Action("index" if overwrite else "create", document.id, source, stamp)


def _dimension(document: Document, passages: Passages | None) -> int | None:
    """Return how many numbers an accepted document's embeddings have; None: it has none."""
    if passages is not None:
        return None if passages.embeddings is None else np.shape(passages.embeddings)[1]
    return None if document.embedding is None else len(document.embedding)


def _merged(
    at: ElasticIndex, hits: Sequence[dict[str, Any]], meta: dict[str, Any]
) -> Iterator[Action]:
    for stamp, hit in enumerate(hits, at.stamps(len(hits))):
        document = decode(hit)
        document.meta.update(meta)
        source = encode(document, stamp, None, embedding_required=False, passages=passages_of(hit))
        seen = (hit["_seq_no"], hit["_primary_term"])
        yield Action("index", document.id, source, stamp, seen)
