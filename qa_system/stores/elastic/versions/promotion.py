"""The next version of an index: begun aside, checked, put in the place of the one that is read.

Nobody reads a version before it is promoted, and the one that it replaces is kept for a rollback.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qa_system.console.wording import counted
from qa_system.errors import StoreError, StoreNotFoundError
from qa_system.records import EncoderIdentity, Similarity
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.documents import READ_WHOLE, decode, passages_of
from qa_system.stores.elastic.filters import Query, terms
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.mapping import FORMAT, IndexState
from qa_system.stores.elastic.search import by_vectors, by_words, pages
from qa_system.stores.elastic.status import verify
from qa_system.stores.elastic.versions import aliases

__all__ = ["begin", "promote", "rollback"]

SAMPLES: Final = 10
"""Documents of a new version by which it is asked before it is promoted."""


def begin(at: ElasticIndex, resume: bool | str, encoder: EncoderIdentity | None) -> str:
    """Make the next version, or find the one to go on with, and return its name.

    Args:
        at: the index by any of its names.
        resume: see `ElasticsearchReviewStore.new_version`.
        encoder: that the version will be bound to; None: none.
    """
    base = aliases.base_of(at.name)
    current = at.state(fresh=True)
    if resume:
        left = _unfinished(at, base, current, resume, encoder)
        if left is not None:
            return left
    name = aliases.next_name(at.client, base, at.where)
    similarity = at.new.similarity
    if similarity is None and encoder is None and current is not None:
        similarity = current.similarity
    at.create(encoder, name, similarity=similarity)
    return name


def _unfinished(
    at: ElasticIndex,
    base: str,
    current: IndexState | None,
    resume: bool | str,
    encoder: EncoderIdentity | None,
) -> str | None:
    """Return the newest version that an interrupted rebuild has left; None: there is none."""
    above = 0 if current is None else aliases.number_of(current.index)
    left = [
        each.index
        for each in aliases.versions(at.client, base, at.where)
        if not each.promoted
        and aliases.number_of(each.index) > above
        # What version 0.1 has left may end within a review.
        and each.format == FORMAT
        and resume in (True, each.index)
        and (encoder is None or each.encoder in (None, encoder))
    ]
    return left[-1] if left else None


def promote(at: ElasticIndex, built: ElasticIndex, expected: int | None) -> None:
    """Put a version in the place of the one that is read, and delete those before that.

    Args:
        at: the index by the name that is read.
        built: the version.
        expected: documents that it must hold; None: at least one.

    Raises:
        StoreError: it is not whole, or does not find its own documents; nothing changed.
    """
    built.refresh(always=True)
    new = built.state(fresh=True)
    errors = ["it is not there"] if new is None else _errors(built, new, expected)
    if errors or new is None:
        raise StoreError(
            f"the version {built.name!r} is not fit to be read: {'; '.join(errors)}",
            where=at.where,
            remedy="Finish the rebuild, or begin another; what was read is still read.",
        )
    old = at.state(fresh=True)
    if old is not None and old.index == new.index:
        return
    former = None if old is None else old.index
    aliases.swap(at.client, at.name, former, new, at.where)
    at.forget()
    number = aliases.number_of(new.index)
    for each in aliases.versions(at.client, at.name, at.where):
        if aliases.number_of(each.index) < number and each.index != former:
            with explained(at.where):
                at.client.indices.delete(index=each.index)


def rollback(at: ElasticIndex) -> str:
    """Put the version before the one that is read in its place again, and return its name.

    Raises:
        StoreNotFoundError: there is none.
    """
    current = at.state(fresh=True)
    known = aliases.versions(at.client, at.name, at.where)
    number = 0 if current is None else aliases.number_of(current.index)
    older = [each for each in known if each.promoted and aliases.number_of(each.index) < number]
    if current is None or not older:
        raise StoreNotFoundError(
            "there is no earlier version to go back to",
            where=at.where,
            remedy="Index the reviews anew: promote keeps the version that it replaces.",
        )
    former = older[-1]
    # Whoever has the alias open asks in today's format, and does not look which one it has.
    at.upgrade(former)
    former = replace(former, format=FORMAT)
    aliases.swap(at.client, at.name, current.index, former, at.where)
    at.forget()
    return former.index


def _errors(built: ElasticIndex, state: IndexState, expected: int | None) -> list[str]:
    """Return why a version is not fit to be read: it is not whole, or its sample is not found."""
    documents = built.count(None)
    wanted = documents or 1 if expected is None else expected
    errors = verify(built)
    if documents != wanted:
        errors.append(f"it holds {counted(documents, 'document')} instead of {wanted:,}")
    sample: Query = {"function_score": {"random_score": {}}}
    hits = pages(built.client, built.name, sample, READ_WHOLE, sort=["_score"], limit=SAMPLES)
    for hit in hits:
        errors += _errors_of_document(built, state, hit)
    return errors


def _errors_of_document(built: ElasticIndex, state: IndexState, hit: dict[str, Any]) -> list[str]:
    """Return by which searches a version does not find one of its documents."""
    document, passages = decode(hit), passages_of(hit)
    itself = terms("_id", [document.id])
    words = (document.content or "")[:200]
    errors = []
    found = by_words(built, words, 1, itself)
    # Without a filter nothing is found that shares no word with the question.
    if not found or (by_words(built, words, 1, None) and not found[0].score):
        errors.append(f"it does not find {document.id!r} by its words")
    embeddings = document.embedding if passages is None else passages.embeddings
    if embeddings is not None:
        matrix = np.atleast_2d(np.asarray(embeddings, np.float64))
        asked = matrix[:1].astype(np.float32)
        [near] = by_vectors(built, asked, 1, itself)
        # Any passage will do: of two that are nearly as near, int8_hnsw may take the other.
        own = _own_similarities(matrix, state.similarity)
        if not near or not np.isclose(own, near[0].score or 0.0, rtol=1e-4, atol=1e-4).any():
            errors.append(f"it does not find {document.id!r} by its embedding")
    return errors


def _own_similarities(
    embeddings: NDArray[np.float64], similarity: Similarity
) -> NDArray[np.float64]:
    """Return the scores that a review's embeddings have when the first of them is asked for."""
    scores: NDArray[np.float64] = embeddings @ embeddings[0]
    if similarity == "cosine":
        lengths = np.linalg.norm(embeddings, axis=1)
        scores /= lengths * lengths[0]
    elif similarity == "l2":
        scores = -np.square(embeddings - embeddings[0]).sum(axis=1)
    return scores
