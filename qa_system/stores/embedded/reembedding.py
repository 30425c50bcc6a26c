"""Another encoder for a store that is in use: its embeddings fill a space of their own first.

Until the swap, which is one transaction, every search is answered from the old space. What was
embedded before an interruption is kept for the same encoder and dropped for another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from qa_system.errors import EmbeddingError
from qa_system.records import EncoderIdentity
from qa_system.stores.contract import PassageEncoder
from qa_system.stores.documents import Vector
from qa_system.stores.embedded.folder import StoreFolder
from qa_system.stores.embedded.ledger.snapshot import Transaction

__all__ = ["reembed"]


def reembed(
    folder: StoreFolder,
    encoder: PassageEncoder,
    batch_size: int,
    on_progress: Callable[[int], None] | None,
) -> int:
    """Embed every document that has content, then swap; return the number embedded just now.

    If only the question encoder is another one, the embeddings stay.
    """
    identity = encoder.identity
    with folder.writing(searchable=False) as transaction:
        bound = transaction.state.encoder
        if bound is not None and bound.differs_in_questions(identity):
            transaction.set(encoder=identity)
            return 0
        space = _begin(transaction, identity)
    done = 0
    while True:
        with folder.reading() as snapshot:
            batch = snapshot.unembedded(space, batch_size)
        if batch:
            encoded = _encode(encoder, batch)
            with folder.writing(searchable=False) as transaction:
                # A document may have been deleted while it was being encoded.
                still = set(transaction.still_there([row for row, _ in encoded]).tolist())
                transaction.add_vectors(space, [pair for pair in encoded if pair[0] in still])
            done += len(batch)
            if on_progress is not None:
                on_progress(len(batch))
            continue
        with folder.reading() as snapshot:
            folder.vectors.write_space(snapshot, space, identity.dimension)
        with folder.writing() as transaction:
            if not transaction.unembedded(space, 1):
                _swap(transaction, space, identity)
                return done


def _begin(transaction: Transaction, identity: EncoderIdentity) -> int:
    pending = transaction.state.pending_space
    if pending is not None:
        if transaction.state.pending_encoder == identity:
            return pending
        transaction.drop_space(pending)
    space = transaction.begin_space()
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


def _encode(
    encoder: PassageEncoder, batch: Sequence[tuple[int, Sequence[str]]]
) -> list[tuple[int, Vector]]:
    identity = encoder.identity
    texts = [text for _, passages in batch for text in passages]
    matrix = np.asarray(encoder.encode_passages(texts), np.float32)
    if matrix.shape != (len(texts), identity.dimension) or not np.isfinite(matrix).all():
        raise EmbeddingError(
            f"the encoder gave an array of shape {matrix.shape} instead of"
            f" ({len(texts)}, {identity.dimension}), or numbers that are not finite",
            where=identity.name,
            remedy="Check the encoder; the store still answers from its old embeddings.",
        )
    encoded, first = [], 0
    for row, passages in batch:
        last = first + len(passages)
        encoded.append((row, (matrix[first:last].tobytes(), len(passages))))
        first = last
    return encoded
