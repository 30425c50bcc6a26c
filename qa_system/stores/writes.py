"""What a write takes beside documents, and what comes of it: a report, or an error."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from haystack.document_stores.errors import DuplicateDocumentError
from numpy.typing import NDArray

from qa_system.console.wording import counted
from qa_system.errors import StoreError

__all__ = [
    "NO_PASSAGES",
    "NO_SENTENCES",
    "DocumentsRejectedError",
    "DuplicateIdError",
    "Forgotten",
    "Passages",
    "RejectedDocument",
    "Sentences",
    "WriteReport",
    "duplicate_ids",
]

SHOWN: Final = 5


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
        remedy="Write with DuplicatePolicy.SKIP or OVERWRITE, or use other ids.",
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


NO_PASSAGES: Final[Mapping[str, Passages]] = {}


@dataclass(frozen=True, slots=True)
class Sentences:
    """The sentences of one review, by which `search_sentences` finds what in it answers.

    Args:
        spans: start and end characters of each in the review's text, in order, none overlapping
            another.
        embeddings: (n, dimension) 32-bit floats, a row for each span; None: not embedded.
    """

    spans: Sequence[tuple[int, int]]
    embeddings: NDArray[np.float32] | None = None


NO_SENTENCES: Final[Mapping[str, Sentences]] = {}


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was erased.

    Args:
        documents: of the reviews; 0 where none was there any more.
        labels: whose gold review was one of them.
        remaining: deleted documents that a server still keeps in its files; 0: none.
        digests: of items that had one of the reviews; `qa-index digest` makes them anew.
    """

    documents: int
    labels: int
    remaining: int = 0
    digests: int = 0


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

    >>> error = DocumentsRejectedError([RejectedDocument("r1", "no text")], 2, "reviews")
    >>> str(error)
    "1 document rejected, 2 written: 'r1': no text (reviews). Mend or leave out what ..."
    """

    def __init__(self, rejected: Sequence[RejectedDocument], written: int, where: str) -> None:
        self.rejected = tuple(rejected)
        self.written = written
        shown = "; ".join(f"{one.id!r}: {one.reason}" for one in self.rejected[:SHOWN])
        more = "; ..." if len(self.rejected) > SHOWN else ""
        number = counted(len(self.rejected), "document")
        super().__init__(
            f"{number} rejected, {written:,} written: {shown}{more}",
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

    def figures(self) -> dict[str, float]:
        """Return the figures as JSON values, with throughput and the share of retries.

        >>> WriteReport(documents=200, seconds=0.5, retried=1).figures()["documents_per_second"]
        400.0
        """
        return {
            "documents": self.documents,
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "bytes": self.bytes,
            "retried": self.retried,
            "documents_per_second": round(self.documents_per_second, 1),
            "share_retried": round(self.share_retried, 4),
        }

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
