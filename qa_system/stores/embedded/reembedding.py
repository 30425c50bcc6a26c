"""Another encoder for a store that is in use: its embeddings fill a space of their own first.

Until the swap, which is one transaction, every search is answered from the old space. What was
embedded before an interruption is kept for the same encoder and dropped for another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from qa_system.records import EncoderIdentity
from qa_system.stores.contract import PassageEncoder
from qa_system.stores.documents import Vector
from qa_system.stores.embedded.folder import StoreFolder
from qa_system.stores.embedded.ledger.snapshot import Transaction
from qa_system.stores.reembedded import embeddings_of
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
            encoded, divided = _encode(encoder, batch, divide=divide)
            with folder.writing(searchable=False) as transaction:
                # A document may have been deleted while it was being encoded.
                still = set(transaction.still_there([row for row, _ in encoded]).tolist())
                transaction.add_vectors(space, [pair for pair in encoded if pair[0] in still])
                kept = [(row, columns) for row, columns in divided if row in still]
                if kept:
                    places = folder.sentences.append(transaction, [each for _, each in kept], space)
                    rows = [row for row, _ in kept]
                    transaction.add_places(space, zip(rows, places, strict=True))
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
        is_sound = folder.sentences.is_sound(transaction.state, pending)
        is_same = transaction.state.pending_encoder == identity and is_divided == divide
        if is_same and is_sound:
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


def _encode(
    encoder: PassageEncoder, batch: Sequence[tuple[int, str, Sequence[str]]], *, divide: bool
) -> tuple[list[tuple[int, Vector]], list[tuple[int, SentenceColumns]]]:
    """Return documents' vectors and their sentences; equal texts are encoded once."""
    spans = [sentences(content) if divide else [] for _, content, _ in batch]
    texts = [
        [*passages, *(content[start:end] for start, end in own)]
        for (_, content, passages), own in zip(batch, spans, strict=True)
    ]
    vectors: list[tuple[int, Vector]] = []
    divided: list[tuple[int, SentenceColumns]] = []
    matrices = embeddings_of(encoder, texts)
    for (row, content, passages), own, matrix in zip(batch, spans, matrices, strict=True):
        count = len(passages)
        vectors.append((row, (matrix[:count].tobytes(), count)))
        if divide:
            divided.append((row, columns_of(row, content, own, matrix[count:])))
    return vectors, divided
