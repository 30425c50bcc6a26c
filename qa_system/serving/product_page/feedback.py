"""What shoppers say of answers: kept in a file of its own, which is only ever appended to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, model_validator

from qa_system.opinions import VerdictAnswer
from qa_system.serving.kept.file import KeptFile
from qa_system.serving.kept.traces import Traces

__all__ = ["Feedback", "FeedbackFile", "latest_feedback"]

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS feedback (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL,
  entry TEXT NOT NULL CHECK (json_valid(entry))
);
CREATE INDEX IF NOT EXISTS of_answer
ON feedback (json_extract(entry, '$.request_id'), json_extract(entry, '$.item_id'));
CREATE TRIGGER IF NOT EXISTS append_only BEFORE UPDATE ON feedback
BEGIN SELECT RAISE(ABORT, 'feedback is only appended'); END;
"""
_SAME_ANSWER: Final = ("json_extract(entry, '$.request_id')", "json_extract(entry, '$.item_id')")

Id = Annotated[str, Field(min_length=1, max_length=512)]
Whole = Annotated[int, Field(ge=0, lt=2**63)]
"""What JSON and SQLite can hold."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Span(_Strict):
    """Words of a review, by the offsets that the answer had."""

    review_id: Id
    start: Whole
    end: Whole

    @model_validator(mode="after")
    def _is_a_span(self) -> Span:
        if self.end < self.start:
            raise ValueError("end is before start")
        return self


class Feedback(_Strict):
    """What a shopper says of an answer. It has ids of reviews, and none of their words."""

    request_id: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,64}$", examples=["6f1c0f2f"])]
    """Of the answer."""
    item_id: Annotated[Id, Field(examples=["jacket-drizzlecrest-shell"])]
    question: Annotated[str, Field(min_length=1, max_length=2000, examples=["How is the zipper?"])]
    verdict: Literal["up", "down"]
    """Whether the answer helped."""
    reason: Annotated[str | None, Field(max_length=1000)] = None
    """In the shopper's own words."""
    answer: VerdictAnswer | None = None
    """The verdict that was shown."""
    shown: Annotated[list[Span], Field(max_length=100)] = []
    """The quotes that were shown."""
    correction: Span | None = None
    """The words that answer, in the shopper's opinion."""
    generation: Whole | None = None
    """Of the answer."""

    @property
    def reviews(self) -> set[str]:
        """The ids of the reviews that it names."""
        named = self.shown if self.correction is None else [*self.shown, self.correction]
        return {each.review_id for each in named}

    def about(self, reviews: Collection[str]) -> Feedback:
        """Return it without what it says of other reviews, which are gone.

        >>> said = {"request_id": "r", "item_id": "lamp", "question": "Loud?", "verdict": "up"}
        >>> shown = [Span(review_id=name, start=0, end=4) for name in ("a", "b")]
        >>> Feedback(**said, shown=shown, correction=shown[0]).about({"b"}).reviews
        {'b'}
        """
        there = [each for each in self.shown if each.review_id in reviews]
        is_there = self.correction is not None and self.correction.review_id in reviews
        return self.model_copy(
            update={"shown": there, "correction": self.correction if is_there else None}
        )


def latest_feedback(entries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what was said of each answer, once: the entries about it are joined into one.

    An answer is a request, an item and a question, since a batch asks several in one request.

    Args:
        entries: in the order in which they were given.

    Returns:
        For each answer, in the order of the first entries, every field as it was last given; a
        later entry without a reason or a correction leaves the earlier one.

    >>> said = {"request_id": "r", "item_id": "lamp", "question": "Loud?"}
    >>> latest_feedback([{**said, "verdict": "down", "reason": "hums"}, {**said, "verdict": "up"}])
    [{'request_id': 'r', 'item_id': 'lamp', 'question': 'Loud?', 'verdict': 'up', 'reason': 'hums'}]
    """
    joined: dict[tuple[str, str, str], dict[str, Any]] = {}
    for entry in entries:
        answer = (entry["request_id"], entry["item_id"], entry["question"])
        given = {name: value for name, value in entry.items() if value not in (None, [])}
        joined.setdefault(answer, dict(entry)).update(given)
    return list(joined.values())


class FeedbackFile:
    """A SQLite file of feedback; several processes may write to it and read it.

    Args:
        path: the file; a new one is made for its owner alone.

    Raises:
        StoreUnavailableError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = KeptFile(path, _SCHEMA, "serving.feedback", durable=True)

    def append(self, given: Mapping[str, Any], at: datetime | None = None) -> int:
        """Keep an entry, and return its number; when it returns, a power cut does not lose it.

        Args:
            given: JSON values.
            at: when it was said; None: now.

        Raises:
            StoreUnavailableError: it cannot be written.
        """
        moment = (at or datetime.now(UTC)).isoformat(timespec="milliseconds")
        values = (moment, orjson.dumps(given).decode())
        with self._file.connected() as connection:
            added = connection.execute("INSERT INTO feedback (at, entry) VALUES (?, ?)", values)
            return int(added.lastrowid or 0)

    def entries(self, after: int = 0) -> Iterator[dict[str, Any]]:
        """Return the entries in their order, each with its `number` and `at`.

        Args:
            after: only those with a higher number.
        """
        with self._file.connected() as connection:
            rows = connection.execute(
                "SELECT number, at, entry FROM feedback WHERE number > ? ORDER BY number", (after,)
            )
            for number, at, entry in rows:
                yield {"number": number, "at": at, **orjson.loads(entry)}

    def forget(self, traces: Traces) -> int:
        """Erase the entries that name or quote a forgotten review; return their number.

        The other entries about the same answer go with them: they may have its reason alone.

        Raises:
            StoreLockedError: somebody reads the file all the time.
            StoreUnavailableError: it cannot be written.
        """
        return self._file.erase("feedback", "entry", traces, together=_SAME_ANSWER)
