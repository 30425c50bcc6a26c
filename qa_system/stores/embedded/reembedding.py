"""Another encoder for a store that is in use: its embeddings fill a space of their own first.

Until the swap, which is one transaction, every search is answered from the old space. What was
embedded before an interruption is kept for the same encoder and dropped for another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import EmbeddingError
from qa_system.records import EncoderIdentity
from qa_system.stores.contract import PassageEncoder
from qa_system.stores.documents import Vector
from qa_system.stores.embedded.folder import StoreFolder
from qa_system.stores.embedded.ledger.snapshot import Transaction
from qa_system.stores.sentences import SentenceColumns, columns_of
from qa_system.texts.sentences import sentences

__all__ = ["reembed"]


def reembed(
    folder: StoreFolder,
    encoder: PassageEncoder,
    batch_size: int,
    on_progress: Callable[[int], None] | None,
    *,
    divide: bool,
) -> int:
    """Embed every document that has content, then swap; return the number embedded just now.

    If only the question encoder is another one, the embeddings stay.

    Args:
        folder: the store's files.
        encoder: encodes the documents' contents.
        batch_size: documents encoded and written at a time.
        on_progress: told the number of documents of each batch done.
        divide: whether the documents are divided into sentences, too, which are embedded.
    """
    identity = encoder.identity
    with folder.writing(searchable=False) as transaction:
        bound = transaction.state.encoder
        if bound is not None and bound.differs_in_questions(identity):
            transaction.set(encoder=identity)
            return 0
        space = _begin(folder, transaction, identity, divide=divide)
    done = 0
    while True:
        with folder.reading() as snapshot:
            batch = snapshot.unembedded(space, batch_size)
        if batch:
            encoded = _encode(encoder, batch)
            divided = _divide(encoder, batch) if divide else []
            with folder.writing(searchable=False) as transaction:
                # A document may have been deleted while it was being encoded.
                still = set(transaction.still_there([row for row, _ in encoded]).tolist())
                transaction.add_vectors(space, [pair for pair in encoded if pair[0] in still])
                kept = [(row, columns) for row, columns in divided if row in still]
                places = folder.sentences.append(transaction, [each for _, each in kept], space)
                transaction.add_places(space, zip([row for row, _ in kept], places, strict=True))
            done += len(batch)
            if on_progress is not None:
                on_progress(len(batch))
            continue
        folder.write_space(space, identity.dimension)
        with folder.writing() as transaction:
            if not transaction.unembedded(space, 1):
                _swap(transaction, space, identity)
                return done


def _begin(
    folder: StoreFolder, transaction: Transaction, identity: EncoderIdentity, *, divide: bool
) -> int:
    pending = transaction.state.pending_space
    if pending is not None:
        is_divided = str(pending) in transaction.state.sentences
        if transaction.state.pending_encoder == identity and is_divided == divide:
            return pending
        transaction.drop_space(pending)
    space = transaction.begin_space()
    if divide:
        folder.sentences.begin(transaction, space, identity.dimension)
    transaction.set(pending_space=space, pending_encoder=identity)
    return space


def _swap(transaction: Transaction, space: int, identity: EncoderIdentity) -> None:
    old = transaction.state.space
    transaction.set(
        space=space,
        embedding_dim=identity.dimension,
        encoder=identity,
        pending_space=None,
        pending_encoder=None,
    )
    transaction.drop_space(old)


def _divide(
    encoder: PassageEncoder, batch: Sequence[tuple[int, str, Sequence[str]]]
) -> list[tuple[int, SentenceColumns]]:
    """Return the sentences of documents, embedded; equal ones are encoded once."""
    spans = [sentences(content) for _, content, _ in batch]
    texts = [
        content[start:end]
        for (_, content, _), own in zip(batch, spans, strict=True)
        for start, end in own
    ]
    distinct = {text: place for place, text in enumerate(dict.fromkeys(texts))}
    matrix = _embed(encoder, list(distinct))[[distinct[text] for text in texts]]
    parts = np.split(matrix, np.cumsum([len(own) for own in spans])[:-1])
    return [
        (row, columns_of(row, content, own, part))
        for (row, content, _), own, part in zip(batch, spans, parts, strict=True)
    ]


def _encode(
    encoder: PassageEncoder, batch: Sequence[tuple[int, str, Sequence[str]]]
) -> list[tuple[int, Vector]]:
    matrix = _embed(encoder, [text for *_, passages in batch for text in passages])
    encoded, first = [], 0
    for row, _, passages in batch:
        last = first + len(passages)
        encoded.append((row, (matrix[first:last].tobytes(), len(passages))))
        first = last
    return encoded


def _embed(encoder: PassageEncoder, texts: list[str]) -> NDArray[np.float32]:
    identity = encoder.identity
    if not texts:
        return np.empty((0, identity.dimension), np.float32)
    matrix = np.asarray(encoder.encode_passages(texts), np.float32)
    if matrix.shape != (len(texts), identity.dimension) or not np.isfinite(matrix).all():
        raise EmbeddingError(
            f"the encoder gave an array of shape {matrix.shape} instead of"
            f" ({len(texts)}, {identity.dimension}), or numbers that are not finite",
            where=identity.name,
            remedy="Check the encoder; the store still answers from its old embeddings.",
        )
    return matrix
