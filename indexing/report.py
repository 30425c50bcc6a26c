"""What a job reports: counts, how the writing went, and what it was made with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from indexing.checkpoint import Counts
from qa_system.records import EncoderIdentity

if TYPE_CHECKING:
    from qa_system.stores.contract import WriteReport

__all__ = ["JobReport", "Writing"]


@dataclass(slots=True)
class Writing:
    """How the writing to the store went, in one run.

    Args:
        documents: sent to the store.
        seconds: that it took.
        requests: to a server.
        bytes: in them.
        retried: documents sent again, because the server had no time or was not there.

    >>> Writing(documents=200, seconds=0.5, retried=1).to_dict()["documents_per_second"]
    400.0
    """

    documents: int = 0
    seconds: float = 0.0
    requests: int = 0
    bytes: int = 0
    retried: int = 0

    def add(self, report: WriteReport) -> None:
        """Count one write."""
        self.documents += report.documents
        self.seconds += report.seconds
        self.requests += report.requests
        self.bytes += report.bytes
        self.retried += report.retried

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values, with throughput and the share of retries."""
        return {
            **asdict(self),
            "seconds": round(self.seconds, 3),
            "documents_per_second": round(self.documents / self.seconds if self.seconds else 0, 1),
            "share_retried": round(self.retried / self.documents if self.documents else 0.0, 4),
        }


@dataclass(frozen=True, slots=True)
class JobReport:
    """What a run did, over all the runs that it took if it was resumed.

    Args:
        counts: of reviews and passages.
        seconds: that it took.
        resumed: rows of `counts.read` that an earlier, unfinished run had done.
        rejects_file: where the rejects are; None if there are none.
        store: where the reviews are.
        version: the version of the store that a rebuild has built; None: it was no rebuild.
        encoder: what embedded them; None if nothing did.
        files: the sources' files: format, encoding, delimiter, and which columns were taken for
            what.
        types: of the metadata columns.
        writing: how it went, in the last of those runs.
        made_with: versions and settings that the run was made with.
    """

    counts: Counts
    seconds: float
    resumed: int
    rejects_file: str | None
    store: str
    version: str | None
    encoder: EncoderIdentity | None
    writing: Writing
    files: tuple[dict[str, Any], ...] = ()
    types: Mapping[str, str] = field(default_factory=dict)
    made_with: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON values, the counts on top."""
        return {
            **asdict(self.counts),
            "seconds": round(self.seconds, 3),
            "resumed": self.resumed,
            "rejects_file": self.rejects_file,
            "store": self.store,
            "version": self.version,
            "encoder": None if self.encoder is None else asdict(self.encoder),
            "writing": self.writing.to_dict(),
            "files": list(self.files),
            "types": dict(self.types),
            "made_with": self.made_with,
        }
