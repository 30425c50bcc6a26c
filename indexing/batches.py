"""A batch of rows as reviews, the last row of each id, and what came of them in numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import orjson

from indexing.checkpoint import Counts, Seen
from qa_system.sources.rows import Reason, Reject, Row

if TYPE_CHECKING:
    from indexing.identity import Identities
    from qa_system.records import Review
    from qa_system.sources.formats import SourceFile

__all__ = ["Batch", "ReadReview", "added"]


@dataclass(frozen=True, slots=True)
class ReadReview:
    """A review as its last row in a batch has it.

    Args:
        review: with its id.
        file: the row's file.
        line: the row's line.
        rows: how many rows of the batch have its id.
    """

    review: Review
    file: str
    line: int | None
    rows: int

    def rejected(self, reason: Reason, detail: str) -> Reject:
        """Return the review as a reject."""
        review = self.review
        shown = orjson.dumps([review.id, review.item_id, review.text[:150]]).decode()
        return Reject(self.file, self.line, reason, detail, shown, review.id)


@dataclass(frozen=True, slots=True)
class Batch:
    """What a batch of rows holds.

    Args:
        rows: how many rows it has.
        reviews: the reviews, by id.
        rejects: the rows that are none.
    """

    rows: int
    reviews: Mapping[str, ReadReview]
    rejects: Sequence[Reject]

    @classmethod
    def of(cls, rows: Sequence[Row], files: Sequence[SourceFile], identities: Identities) -> Batch:
        """Divide rows into reviews, of which the last row of each id counts, and rejects.

        Args:
            rows: the rows.
            files: the files that they are from.
            identities: derives the ids of reviews without one.
        """
        reviews: dict[str, ReadReview] = {}
        rejects: list[Reject] = []
        for row in rows:
            if isinstance(row.record, Reject):
                rejects.append(row.record)
                continue
            review = identities.identified(row.record, has_id=row.has_id)
            # Anew: the last row's place is that of the review.
            earlier = reviews.pop(review.id, None)
            count = 1 if earlier is None else earlier.rows + 1
            reviews[review.id] = ReadReview(review, files[row.after.file].name, row.line, count)
        return cls(len(rows), reviews, rejects)


def added(
    counts: Counts,
    batch: Batch,
    seen: Mapping[str, Seen],
    known: Mapping[str, Seen],
    refused: Iterable[Reason],
) -> Counts:
    """Add a batch to the counts, and take back what was counted of earlier rows with its ids.

    Args:
        counts: the counts so far.
        batch: the batch.
        seen: what came of its reviews; without a digest: they were refused.
        known: what had come of earlier rows with the same ids.
        refused: a reason for each review that the store refused.
    """
    new: Counter[str] = Counter(read=batch.rows, rejected=len(batch.rejects))
    reasons: Counter[str] = Counter(counts.reasons)
    reasons.update(reject.reason for reject in batch.rejects)
    reasons.update(refused)
    for review_id, each in batch.reviews.items():
        now, earlier = seen[review_id], known.get(review_id)
        new["duplicates"] += each.rows - 1
        if now.digest is None:
            new["rejected"] += 1
            continue
        if earlier is not None and earlier.digest is not None:
            new["duplicates"] += 1
            new[earlier.outcome] -= 1
            new["passages"] -= earlier.passages * (earlier.outcome != "unchanged")
        new[now.outcome] += 1
        new["passages"] += now.passages * (now.outcome != "unchanged")
    sums = {name: getattr(counts, name) + number for name, number in new.items()}
    return replace(counts, **sums, reasons=dict(reasons))
