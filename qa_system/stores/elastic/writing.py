"""Documents into an index, and changes to those that are there."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final, Literal

import numpy as np
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy

from qa_system.console.wording import counted
from qa_system.errors import EmbeddingError, StoreError, StoreNotFoundError
from qa_system.stores.documents import DocumentTypeError
from qa_system.stores.elastic.bulk import MOST_ROUNDS, Action
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.documents import (
    PACKED,
    READ_WHOLE,
    decode,
    encode,
    encode_sentences,
    passages_of,
    written_sentences,
)
from qa_system.stores.elastic.filters import Query, with_ids
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.mapping import IndexState
from qa_system.stores.elastic.search import pages
from qa_system.stores.sentences import SentenceColumns
from qa_system.stores.sentences.written import written_columns
from qa_system.stores.writes import (
    NO_PASSAGES,
    NO_SENTENCES,
    DocumentsRejectedError,
    Passages,
    RejectedDocument,
    Sentences,
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
    sentences: Mapping[str, Sentences] = NO_SENTENCES,
) -> WriteReport:
    """Write documents, then delete stale ones; see `ElasticsearchReviewStore.write_bulk`."""
    _check_documents(documents)
    began = time.monotonic()
    report = WriteReport()
    with at.connection.patient(at.bulk.retry_for):
        if documents:
            state = at.ensure()
            if sentences and not state.has_sentences:
                at.add_sentences(state)
            encoding = _Encoding(at, state, passages, sentences)
            try:
                _write(at, documents, encoding, policy, report)
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


def existing(at: ElasticIndex, ids: Sequence[str], *, divided: bool = False) -> list[str]:
    """Return those of the ids that have a document, be it found by searches already or not.

    Args:
        at: the index.
        ids: of documents.
        divided: only of those with sentences.
    """
    found: list[str] = []
    for start in range(0, len(ids), IDS_AT_ONCE):
        with explained(at.where):
            answer = at.client.mget(
                index=at.name,
                ids=ids[start : start + IDS_AT_ONCE],
                source=["sentences.count"] if divided else False,
            )
        found += [
            each["_id"]
            for each in answer["docs"]
            if each.get("found") and (not divided or each["_source"])
        ]
    return found


def update(at: ElasticIndex, selected: Query, meta: dict[str, Any]) -> int:
    """Merge metadata into documents; see `ReviewStore.update_by_filter`."""
    updated = 0
    for _ in range(MOST_ROUNDS):
        at.refresh()
        report = WriteReport()
        options: dict[str, Any] = {"seq_no_primary_term": True, "docvalue_fields": PACKED}
        hits = pages(at.client, at.name, selected, READ_WHOLE, **options)
        while batch := list(islice(hits, CHANGED_AT_ONCE)):
            report.add(at.writer().write(_merged(at, batch, meta)))
        at.refresh()
        updated += report.written
        if report.rejected:
            raise DocumentsRejectedError(report.rejected, updated, at.where)
        if not report.conflicts:
            return updated
        selected = with_ids(report.conflicts, selected)
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
    encoding: _Encoding,
    policy: DuplicatePolicy,
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
    kind: Literal["create", "index"] = "index" if overwrite else "create"
    report.add(at.writer().write(encoding.actions(list(chosen.values()), kind)))
    report.rejected += encoding.rejected


@dataclass(slots=True)
class _Encoding:
    """Documents that are encoded one by one; those that cannot be are set aside in `rejected`."""

    at: ElasticIndex
    state: IndexState
    passages: Mapping[str, Passages]
    sentences: Mapping[str, Sentences]
    rejected: list[RejectedDocument] = field(default_factory=list)

    def actions(
        self, documents: Sequence[Document], kind: Literal["create", "index"]
    ) -> Iterator[Action]:
        """Return what writes the documents; the first embedding fixes the index's dimension."""
        dimension, is_required = self.state.dimension, self.state.encoder is not None
        for stamp, document in enumerate(documents, self.at.stamps(len(documents))):
            passages, sentences = self.passages.get(document.id), self.sentences.get(document.id)
            try:
                kept = None
                if sentences is not None:
                    kept = written_columns(document, sentences, dimension)
                source = encode(
                    document,
                    stamp,
                    dimension,
                    embedding_required=is_required,
                    passages=passages,
                    sentences=None if kept is None else encode_sentences(kept),
                )
                width = _dimension(document, passages, kept)
            except (StoreError, ValueError) as error:
                reason = error.what if isinstance(error, StoreError) else str(error)
                self.rejected.append(RejectedDocument(document.id, reason))
                continue
            if dimension is None and width is not None:
                dimension = width
                self.at.fix_dimension(self.state, width)
            yield Action(kind, document.id, source, stamp)


def _dimension(
    document: Document, passages: Passages | None, sentences: SentenceColumns | None
) -> int | None:
    """Return how many numbers an encoded document's embeddings have; None: it has none.

    Raises:
        EmbeddingError: those of its sentences have another number.
    """
    own: int | None = None
    if passages is not None:
        own = None if passages.embeddings is None else np.shape(passages.embeddings)[1]
    elif document.embedding is not None:
        own = len(document.embedding)
    if sentences is None or not sentences.vectors.size:
        return own
    width: int = sentences.vectors.shape[1]
    if own not in (None, width):
        raise EmbeddingError(
            f"the embeddings of its sentences have {counted(width, 'number')} instead of {own}",
            where=f"document {document.id!r}",
        )
    return width


def _merged(
    at: ElasticIndex, hits: Sequence[dict[str, Any]], meta: dict[str, Any]
) -> Iterator[Action]:
    for stamp, hit in enumerate(hits, at.stamps(len(hits))):
        document = decode(hit)
        document.meta.update(meta)
        source = encode(
            document,
            stamp,
            None,
            embedding_required=False,
            passages=passages_of(hit),
            sentences=written_sentences(hit),
        )
        seen = (hit["_seq_no"], hit["_primary_term"])
        yield Action("index", document.id, source, stamp, seen)
