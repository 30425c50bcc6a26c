"""The contract of a store of reviews, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, ClassVar, NamedTuple, Protocol, Self

import numpy as np
from haystack.dataclasses import Document
from numpy.typing import NDArray

from qa_system.records import EncoderIdentity, Label, Similarity
from qa_system.stores.digests import DigestStore
from qa_system.stores.searchable import SearchableStore
from qa_system.stores.writes import (
    NO_PASSAGES,
    NO_SENTENCES,
    Forgotten,
    Passages,
    Sentences,
    WriteReport,
)

__all__ = ["Generation", "PassageEncoder", "ReviewStore", "Status"]


class Generation(NamedTuple):
    """What a store holds at a time: two that are equal hold the same.

    Args:
        store: tells the store, on a server also its refreshes, from others.
        number: counts the writes.
    """

    store: str
    number: int


class Status(Protocol):
    """What every store can tell of itself: a dataclass, with more fields of its own."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def path(self) -> str:
        """Where it is."""
        ...

    @property
    def documents(self) -> int:
        """How many there are."""
        ...

    @property
    def items(self) -> int:
        """Distinct `meta.item_id`s."""
        ...

    @property
    def embedded(self) -> int:
        """Documents with an embedding."""
        ...

    @property
    def sentences(self) -> int:
        """Documents whose sentences are stored."""
        ...

    @property
    def labels(self) -> int:
        """Labelled questions beside them."""
        ...

    @property
    def digests(self) -> int:
        """Items with a digest, be it stale or not."""
        ...

    @property
    def embedding_dim(self) -> int | None:
        """Numbers in an embedding."""
        ...

    @property
    def similarity(self) -> Similarity:
        """How embeddings are compared."""
        ...

    @property
    def encoder(self) -> EncoderIdentity | None:
        """Who made the embeddings."""
        ...


class PassageEncoder(Protocol):
    """What turns passages into embeddings."""

    @property
    def identity(self) -> EncoderIdentity:
        """What a store remembers of it."""
        ...

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return an (n, dimension) array, a row for each text."""
        ...


class ReviewStore(SearchableStore, DigestStore, Protocol):
    """A store that is searched, and knows reviews, encoders and labels.

    `FAISSDocumentStore` (the embedded store: a folder) and `ElasticsearchReviewStore` (a server)
    are two. Their methods are described here, in `SearchableStore` and in `DigestStore`; where the
    two differ, the method says so.
    """

    @property
    def encoder(self) -> EncoderIdentity | None:
        """Who made the store's embeddings; None where it is not known."""
        ...

    def bind_encoder(self, identity: EncoderIdentity) -> None:
        """Record who makes the embeddings of a store that has no encoder yet.

        Args:
            identity: the encoder's; a store that has it already stays as it is.

        Raises:
            EncoderMismatchError: the store has another encoder, or embeddings of another
                dimension.
            StoreLockedError: another process is writing (embedded store).
        """
        ...

    def check_encoder(self, identity: EncoderIdentity) -> None:
        """Refuse an encoder whose embeddings do not belong into this store.

        Args:
            identity: the encoder's.

        Raises:
            EncoderMismatchError: naming what differs, and the command that makes the store the
                encoder's.
        """
        ...

    def update_embeddings(
        self,
        encoder: PassageEncoder,
        *,
        batch_size: int = 512,
        on_progress: Callable[[int], None] | None = None,
        sentences: bool = True,
    ) -> int:
        """Embed every document anew; the old embeddings answer until all new ones are there.

        If the store's encoder differs in nothing but the question encoder, the embeddings stay, and
        nothing is embedded. A review in passages keeps them, each with its own new embedding. If
        the call is interrupted, the next one with the same encoder goes on where it ended. A
        server's documents are embedded into a new version of the index; what is written into the
        old one meanwhile is not in the new one.

        Args:
            encoder: encodes the documents' contents; the store is bound to it afterwards.
            batch_size: documents encoded and written at a time.
            on_progress: told the number of documents of each batch done.
            sentences: whether every document is divided into sentences, which are embedded, too.

        Returns:
            How many documents this call embedded.

        Raises:
            EmbeddingError: the encoder returns arrays of the wrong shape, or not finite.
            DocumentsRejectedError: a server's new version does not take some of them.
            StoreLockedError: another process is writing (embedded store).
        """
        ...

    def documents_of_reviews(self, review_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return each document's id and content hash, of those reviews that are there.

        Args:
            review_ids: a document's review is its `meta.review_id`.

        Returns:
            By review, then by document id, `meta.content_hash`; "" where a document has none.

        >>> import tempfile
        >>> from qa_system.stores import FAISSDocumentStore
        >>> meta = {"review_id": "r1", "content_hash": "abc"}
        >>> with FAISSDocumentStore(tempfile.mkdtemp()) as store:
        ...     store.write_documents([Document(id="d1", content="Loud.", meta=meta)])
        ...     store.documents_of_reviews(["r1", "r2"])
        1
        {'r1': {'d1': 'abc'}}
        """
        ...

    def replace(
        self,
        documents: Sequence[Document],
        stale_ids: Sequence[str],
        passages: Mapping[str, Passages] = NO_PASSAGES,
        sentences: Mapping[str, Sentences] = NO_SENTENCES,
    ) -> WriteReport:
        """Write documents over what is there, and delete others.

        The embedded store does both in one transaction, and raises what `write_documents` raises.
        A server writes first and deletes then; a document that it cannot take is in the report's
        `rejected`.

        Args:
            documents: to write.
            stale_ids: of documents to delete.
            passages: of those documents, by id, that a dense search finds by their passages; they
                need no embedding of their own.
            sentences: of those documents, by id, that `search_sentences` need not divide itself.

        Returns:
            What came of the write.
        """
        ...

    def forget(self, review_ids: Sequence[str]) -> Forgotten:
        """Erase reviews, their labels and their items' digests: no file of the store holds them.

        What was deleted or overwritten before is erased with them. It takes as long as building
        the indexes of all that remains. If it is interrupted, it is done again with the same ids.
        Copies elsewhere are not reached: sources, backups, reject files, a file system's
        snapshots, a server's snapshots and the disks of its replicas.

        Args:
            review_ids: of the reviews; ids that are not there are no error.

        Returns:
            What was erased, and what a server keeps for now.

        Raises:
            StoreLockedError: another process writes, or reads an earlier generation meanwhile
                (embedded store).
            StoreError: a file cannot be removed; the remedy says how to go on.

        >>> import tempfile
        >>> from qa_system.stores import FAISSDocumentStore
        >>> with FAISSDocumentStore(tempfile.mkdtemp()) as store:
        ...     store.write_documents([Document(id="r1", content="My name is Ann.")])
        ...     store.forget(["r1", "r2"]).documents
        1
        1
        """
        ...

    def loading(self) -> AbstractContextManager[None]:
        """Let many writes be found only when the block ends, where that makes them cheaper.

        In the embedded store every write is cheap, and the block changes nothing. On a server,
        everything that the store is asked inside the block waits for a server that is down, as
        writes do (`BulkSettings.retry_for`), and what other processes write is found at the
        block's end, too. If the process is killed, `settle` or opening the block again sets
        things right.
        """
        ...

    def settle(self) -> bool:
        """Let everything written be found, also what a killed `loading` has left.

        The embedded store needs no such thing: it is put right when it is opened.

        Returns:
            Whether the refresh of a server's index was off and is on again.
        """
        ...

    def iter_ids(self) -> Generator[tuple[str, str | None], None, None]:
        """Stream every document's id and its review's, None where it names no review."""
        ...

    def notes(self) -> dict[str, Any]:
        """Return what jobs have noted in the store, by name."""
        ...

    def note(self, values: Mapping[str, Any]) -> None:
        """Keep JSON values with the store, each in place of the one of its name.

        Args:
            values: by name, such as the recipe of derived ids and the types of columns.

        >>> import tempfile
        >>> from qa_system.stores import FAISSDocumentStore
        >>> with FAISSDocumentStore(tempfile.mkdtemp()) as store:
        ...     store.note({"recipe": 2})
        ...     store.notes()
        {'recipe': 2}
        """
        ...

    def count_items(self) -> int:
        """Count the distinct `meta.item_id`s."""
        ...

    def has_item(self, item_id: str) -> bool:
        """Tell whether there is a document of an item.

        Args:
            item_id: the documents' `meta.item_id`.
        """
        ...

    def write_labels(self, labels: Iterable[Label]) -> int:
        """Write labelled questions beside the documents.

        A label is told from others by all that it holds: written again it is there once, so a
        job that is run again adds nothing. A label that was changed is another one; delete
        the old ones first. Several annotators may write labels of their own about one question
        and review; `get_labels_aggregated` joins them. The embedded store writes all or none. A
        server keeps them in an index of their own, `<index>-labels`, whatever version of the
        documents is read.

        Args:
            labels: as they were read, before they are aggregated. The embedded store takes one
                at a time from an iterator; for a server all are encoded before one is sent.

        Returns:
            How many were not there yet.

        Raises:
            DataError: a label's `meta` is not JSON, or it was aggregated; none was written.
            DocumentsRejectedError: naming those that a server did not take.
            StoreLockedError: another process is writing (embedded store).

        >>> import tempfile
        >>> from qa_system.stores import FAISSDocumentStore
        >>> label = Label("q1", "How is the sound?", "B00", "r1", "Good sound.", ())
        >>> with FAISSDocumentStore(tempfile.mkdtemp()) as store:
        ...     store.write_labels([label]), store.write_labels([label]), store.count_labels()
        (1, 0, 1)
        """
        ...

    def replace_labels(
        self, labels: Iterable[Label], stale: Iterable[Label], *, check_reviews: bool = False
    ) -> int:
        """Write labels, and delete others.

        The embedded store does both in one transaction; a server writes first and deletes then.

        Args:
            labels: to write, as in `write_labels`.
            stale: to delete: exactly as they were written; those that are not there are no error.
            check_reviews: refuse labels whose reviews the store has not, or with another text.

        Returns:
            How many were not there yet.

        Raises:
            ReviewChangedError: a label's review was deleted or has changed; nothing was changed.
            DataError: a label's `meta` is not JSON, or it was aggregated; nothing was changed.
            DocumentsRejectedError: naming those that a server did not take.
            StoreLockedError: another process is writing (embedded store).
        """
        ...

    def get_labels_aggregated(
        self, split: str | None = None, item_id: str | None = None, *, by_item: bool = True
    ) -> list[Label]:
        """Return labels in the order of writing, those of several annotators as one.

        Args:
            split: of this part of the data set; None: of all.
            item_id: about this item; None: about all.
            by_item: make one label of those that ask the same question about the same item in
                one split, too; see `qa_system.labels.aggregate`.

        Raises:
            DataError: two labels with the same ids have different questions, items or texts.
        """
        ...

    def count_labels(self, split: str | None = None, item_id: str | None = None) -> int:
        """Count the labels as they were written.

        Args:
            split: of this part of the data set; None: of all.
            item_id: about this item; None: about all.
        """
        ...

    def delete_labels(self, split: str | None = None, item_id: str | None = None) -> int:
        """Delete labels, and return their number.

        Args:
            split: of this part of the data set; None: of all.
            item_id: about this item; None: about all.

        Raises:
            StoreLockedError: another process is writing (embedded store).
        """
        ...

    def read_generation(self) -> Generation:
        """Return the generation that a search finds, which changes with every write.

        On a server a write is found after the next refresh; then the generation changes, too.

        Raises:
            StoreNotFoundError: there is no store.
        """
        ...

    def status(self) -> Status:
        """Return what the store holds, and what is special to its kind."""
        ...

    def verify(self) -> list[str]:
        """Look for errors in the store, and return them as a sentence each; none: it is sound.

        The embedded store compares every derived index with the ledger. One that lags behind the
        last write is no error: it is brought up to date, or waited for, first. An error means
        that something else has changed a file; if the file that is named is deleted, it is built
        anew, but for those of sentences, which a re-embedding makes again. A server's index is
        asked for missing shards and missing embeddings. Digests are compared with the reviews that
        they quote.

        Raises:
            StoreMismatchError: a server's index was changed by something else.
        """
        ...

    def close(self) -> None:
        """Release what the store holds open; the next use opens it again.

        The embedded store finishes its indexes first, and gives its files and its lock back; a
        server's connections are closed.
        """
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
