"""Documents with another encoder's embeddings, for the next version of an index."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from itertools import islice
from typing import Any

from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy

from qa_system.stores.contract import PassageEncoder
from qa_system.stores.elastic.documents import READ, decode, passages_of
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.search import pages
from qa_system.stores.elastic.writing import existing, write
from qa_system.stores.reembedded import embeddings_of
from qa_system.stores.writes import DocumentsRejectedError, Passages, Sentences
from qa_system.texts.sentences import sentences

__all__ = ["reembed"]


def reembed(
    at: ElasticIndex,
    built: ElasticIndex,
    encoder: PassageEncoder,
    batch_size: int,
    on_progress: Callable[[int], None] | None,
    *,
    divide: bool,
) -> int:
    """Fill the next version of an index with another encoder's embeddings.

    Args:
        at: the index that is read.
        built: the next version; documents that it has already are left as they are.
        encoder: encodes the documents' contents.
        batch_size: documents encoded and written at a time.
        on_progress: told the number of documents of each batch done.
        divide: whether the documents are divided into sentences, too, which are embedded.

    Returns:
        How many documents were embedded.

    Raises:
        EmbeddingError: the encoder returns arrays of the wrong shape, or not finite.
        DocumentsRejectedError: the new version does not take some of them.
    """
    done = 0
    read = at.state()
    if read is not None:
        built.note(read.notes)
    hits = pages(at.client, at.name, None, READ, size=batch_size)
    with built.loading():
        while batch := list(islice(hits, batch_size)):
            there = set(existing(built, [hit["_id"] for hit in batch], divided=divide))
            left = [hit for hit in batch if hit["_id"] not in there]
            documents, passages, divided = _embedded(encoder, left, divide=divide)
            report = write(built, documents, DuplicatePolicy.OVERWRITE, (), passages, divided)
            if report.rejected:
                raise DocumentsRejectedError(report.rejected, report.written, built.name)
            done += sum(document.content is not None for document in documents)
            if on_progress is not None and left:
                on_progress(len(left))
    return done


def _embedded(
    encoder: PassageEncoder, hits: Iterable[Mapping[str, Any]], *, divide: bool
) -> tuple[list[Document], dict[str, Passages], dict[str, Sentences]]:
    """Return documents embedded anew; of those that have any, passages and sentences by id."""
    found = [(decode(hit), passages_of(hit)) for hit in hits]
    spans = [sentences(document.content or "") if divide else [] for document, _ in found]
    texts: list[list[str]] = []
    for (document, split), own in zip(found, spans, strict=True):
        text = document.content or ""
        texts += [_texts(document, split), [text[start:end] for start, end in own]]
    parts = iter(embeddings_of(encoder, texts))
    documents, passages, divided = [], {}, {}
    for (document, split), own in zip(found, spans, strict=True):
        rows, of_sentences = next(parts), next(parts)
        if split is not None:
            passages[document.id] = Passages(split.spans, rows)
        if divide and document.content is not None:
            divided[document.id] = Sentences(own, of_sentences)
        embedding = rows[0].tolist() if len(rows) and split is None else None
        documents.append(replace(document, embedding=embedding))
    return documents, passages, divided


def _texts(document: Document, passages: Passages | None) -> list[str]:
    if document.content is None:
        return []
    if passages is None:
        return [document.content]
    return [document.content[start:end] for start, end in passages.spans]
