"""What a run of the job did."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from indexing.checkpoint import Counts
from qa_system.records import EncoderIdentity

if TYPE_CHECKING:
    from qa_system.stores.writes import WriteReport

__all__ = ["JobReport"]


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
        files: the sources' files: format, encoding, delimiter, recognised columns.
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
    writing: WriteReport
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
            "writing": self.writing.figures(),
            "files": list(self.files),
            "types": dict(self.types),
            "made_with": self.made_with,
        }
