"""What the house asks of a store of reviews, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
from haystack.dataclasses import Document
from haystack.document_stores.errors import DuplicateDocumentError
from haystack.document_stores.types import DuplicatePolicy
from numpy.typing import NDArray

from qa_system.errors import StoreError
from qa_system.records import EncoderIdentity, Label, Similarity

if TYPE_CHECKING:
    from qa_system.stores.reembedding import PassageEncoder

__all__ = [
    "DocumentsRejectedError",
    "DuplicateIdError",
    "Passages",
    "RejectedDocument",
    "ReviewStore",
    "Status",
    "WriteReport",
    "duplicate_ids",
]

SHOWN = 5


class DuplicateIdError(StoreError, DuplicateDocumentError):
    """A document with the same id is there already."""


def duplicate_ids(ids: Sequence[str], where: str) -> DuplicateIdError:
    """Make the error that names the ids that are there already.

    >>> duplicate_ids(["r1"], "reviews").what
    "1 of the documents have an id that is there already: 'r1'"
    """
    shown = ", ".join(map(repr, ids[:SHOWN])) + (", ..." if len(ids) > SHOWN else "")
    return DuplicateIdError(
        f"{len(ids)} of the documents have an id that is there already: {shown}",
        where=where,
        remedy="Write with DuplicatePolicy.SKIP or OVERWRITE, or give other ids.",
    )


@dataclass(frozen=True, slots=True)
class Passages:
    """The passages of one review, by which a dense search finds it.

    Args:
        spans: start and end characters of each in the review's text, in order.
        embeddings: (n, dimension) 32-bit floats, a row for each span; None: not embedded.
    """

    spans: Sequence[tuple[int, int]]
    embeddings: NDArray[np.float32] | None = None


NO_PASSAGES: Mapping[str, Passages] = {}


@dataclass(frozen=True, slots=True)
class RejectedDocument:
    """A document that a store did not take.

    Args:
        id: the document's.
        reason: in the words of who refused it.
    """

    id: str
    reason: str


class DocumentsRejectedError(StoreError):
    """Some documents were not taken; all others of the same write are in the store.

    Args:
        rejected: which, and why.
        written: how many were taken.
        where: the store.

    >>> fault = DocumentsRejectedError([RejectedDocument("r1", "no text")], 2, "reviews")
    >>> str(fault)
    "1 document was rejected, 2 are written: 'r1': no text (reviews). Mend or leave out what ..."
    """

    def __init__(self, rejected: Sequence[RejectedDocument], written: int, where: str) -> None:
        self.rejected = tuple(rejected)
        self.written = written
        shown = "; ".join(f"{one.id!r}: {one.reason}" for one in self.rejected[:SHOWN])
        more = "; ..." if len(self.rejected) > SHOWN else ""
        number = len(self.rejected)
        counted = "1 document was" if number == 1 else f"{number:,} documents were"
        super().__init__(
            f"{counted} rejected, {written:,} are written: {shown}{more}",
            where=where,
            remedy="Mend or leave out what is named; the error's `rejected` has every id and "
            "reason.",
        )


@dataclass(slots=True)
class WriteReport:
    """What came of a write.

    Args:
        documents: that were to be written.
        written: that are in the store now because of it.
        deleted: that it removed.
        conflicts: ids that were there already (create), or had changed meanwhile (index).
        rejected: those that were not taken, and why.
        requests: sent to the server.
        bytes: sent to the server.
        retried: actions that were sent again.
        seconds: that it took.

    >>> WriteReport(documents=100, seconds=0.5, retried=5).share_retried
    0.05
    """

    documents: int = 0
    written: int = 0
    deleted: int = 0
    conflicts: list[str] = field(default_factory=list)
    rejected: list[RejectedDocument] = field(default_factory=list)
    requests: int = 0
    bytes: int = 0
    retried: int = 0
    seconds: float = 0.0

    @property
    def documents_per_second(self) -> float:
        """How fast it was."""
        return self.documents / self.seconds if self.seconds else 0.0

    @property
    def share_retried(self) -> float:
        """Actions sent again for each document."""
        return self.retried / self.documents if self.documents else 0.0

    def add(self, other: WriteReport) -> None:
        """Add what came of another part of the same write; its time is not added."""
        self.documents += other.documents
        self.written += other.written
        self.deleted += other.deleted
        self.conflicts += other.conflicts
        self.rejected += other.rejected
        self.requests += other.requests
        self.bytes += other.bytes
        self.retried += other.retried


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
    def labels(self) -> int:
        """Labelled questions beside them."""
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


class ReviewStore(Protocol):
    """A Haystack document store that also searches, and knows reviews, encoders and labels.

    `FAISSDocumentStore` (embedded) and `ElasticsearchReviewStore` (a server) are two; their
    methods say what each does. Every method up to `search_by_embeddings` has an asynchronous
    twin, `NAME_async`.
    """

    def to_dict(self) -> dict[str, Any]: ...
    def count_documents(self) -> int: ...
    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]: ...
    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int: ...
    def delete_documents(self, document_ids: list[str]) -> None: ...
    def delete_all_documents(self, recreate_index: bool = False) -> None: ...
    def delete_by_filter(self, filters: dict[str, Any]) -> int: ...
    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int: ...
    def count_documents_by_filter(self, filters: dict[str, Any]) -> int: ...
    def count_unique_metadata_by_filter(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]: ...
    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]: ...
    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]: ...
    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]: ...
    def search_bm25(
        self, query: str, top_k: int = 10, filters: dict[str, Any] | None = None
    ) -> list[Document]: ...
    def search_by_embedding(
        self,
        embedding: Sequence[float] | NDArray[Any],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> list[Document]: ...
    def search_by_embeddings(
        self,
        embeddings: NDArray[np.floating[Any]],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> list[list[Document]]: ...

    @property
    def encoder(self) -> EncoderIdentity | None: ...
    def bind_encoder(self, identity: EncoderIdentity) -> None: ...
    def check_encoder(self, identity: EncoderIdentity) -> None: ...
    def update_embeddings(
        self,
        encoder: PassageEncoder,
        *,
        batch_size: int = 512,
        on_progress: Callable[[int], None] | None = None,
    ) -> int: ...
    def documents_of_reviews(self, review_ids: Sequence[str]) -> dict[str, dict[str, str]]: ...
    def replace(
        self,
        documents: Sequence[Document],
        stale_ids: Sequence[str],
        passages: Mapping[str, Passages] = NO_PASSAGES,
    ) -> WriteReport: ...
    def loading(self) -> AbstractContextManager[None]: ...
    def settle(self) -> bool: ...
    def iter_ids(self) -> Iterator[tuple[str, str | None]]: ...
    def notes(self) -> dict[str, Any]: ...
    def note(self, values: Mapping[str, Any]) -> None: ...
    def count_items(self) -> int: ...
    def has_item(self, item_id: str) -> bool: ...
    def write_labels(self, labels: Iterable[Label]) -> int: ...
    def get_labels_aggregated(
        self, split: str | None = None, item_id: str | None = None, *, by_item: bool = True
    ) -> list[Label]: ...
    def count_labels(self, split: str | None = None, item_id: str | None = None) -> int: ...
    def delete_labels(self, split: str | None = None, item_id: str | None = None) -> int: ...
    def status(self) -> Status: ...
    def verify(self) -> list[str]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...
