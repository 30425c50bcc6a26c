"""What an embedded store holds, and how far its derived indexes have got."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qa_system.records import EncoderIdentity, Similarity
from qa_system.stores.embedded.derived.ann import IndexKind
from qa_system.stores.embedded.folder import StoreFolder
from qa_system.stores.embedded.ledger import digests as digest_index
from qa_system.stores.embedded.ledger import labels as label_index
from qa_system.stores.embedded.ledger.database import Ledger
from qa_system.stores.embedded.ledger.snapshot import Snapshot

__all__ = ["StoreStatus", "read_status", "stored_similarity"]


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What a store holds, and how far its derived indexes have got.

    Args:
        path: its folder.
        documents: how many there are.
        items: distinct `meta.item_id`s.
        embedded: documents with an embedding.
        sentences: documents whose sentences are stored; of the others they are found anew for
            every question.
        labels: labelled questions beside them.
        digests: items with a digest, be it stale or not.
        embedding_dim: numbers in an embedding; None before the first.
        similarity: how embeddings are compared.
        index: the kind of vector index asked for.
        generation: counts the writes.
        encoder: who made the embeddings; None where it is not known.
        bytes_on_disk: of the whole folder.
        lexical_generation: that of the lexical index; -1 where there is none.
        vectors_generation: that of the vector files; -1 where there are none.
    """

    path: str
    documents: int
    items: int
    embedded: int
    sentences: int
    labels: int
    digests: int
    embedding_dim: int | None
    similarity: Similarity
    index: IndexKind
    generation: int
    encoder: EncoderIdentity | None
    bytes_on_disk: int
    lexical_generation: int
    vectors_generation: int


def read_status(
    folder: StoreFolder, snapshot: Snapshot, index: IndexKind, dimension: int | None
) -> StoreStatus:
    """Return what a store holds.

    Args:
        folder: the store's files.
        snapshot: of the ledger.
        index: the kind of vector index asked for.
        dimension: numbers in an embedding; None before the first.
    """
    state = snapshot.state
    return StoreStatus(
        path=str(folder.path),
        documents=snapshot.count(),
        items=snapshot.count_items(),
        embedded=snapshot.count_embedded(),
        sentences=snapshot.count_divided(),
        labels=label_index.count(snapshot, None, None),
        digests=digest_index.count(snapshot),
        embedding_dim=dimension,
        similarity=state.similarity,
        index=index,
        generation=state.generation,
        encoder=state.encoder,
        bytes_on_disk=folder.size(),
        lexical_generation=folder.lexical.generation(),
        vectors_generation=folder.vectors.generation(snapshot),
    )


def stored_similarity(path: Path) -> Similarity | None:
    """Return the similarity that a store was made with, None if there is no store."""
    ledger = Ledger(path, "dot_product")
    if not ledger.exists():
        return None
    try:
        with ledger.snapshot() as snapshot:
            return snapshot.state.similarity
    finally:
        ledger.close()
