"""What shoppers say of answers: kept in a file of its own, which is only ever appended to."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from qa_system.errors import StoreUnavailableError
from qa_system.opinions import VerdictAnswer

__all__ = ["Feedback", "FeedbackFile"]

LONGEST_WAIT: Final = 5.0
"""Seconds for which a writer waits for another."""
_PRIVATE: Final = 0o600
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS feedback (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL,
  entry TEXT NOT NULL CHECK (json_valid(entry))
);
CREATE TRIGGER IF NOT EXISTS append_only BEFORE UPDATE ON feedback
BEGIN SELECT RAISE(ABORT, 'feedback is only appended'); END;
"""

Id = Annotated[str, Field(min_length=1, max_length=512)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Span(_Strict):
    """Words of a review, by the offsets that the answer had."""

    review_id: Id
    start: Annotated[int, Field(ge=0)]
    end: Annotated[int, Field(ge=0)]


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
    generation: Annotated[int | None, Field(ge=0)] = None
    """Of the answer."""


class FeedbackFile:
    """A SQLite file of feedback; several processes may write to it and read it.

    Args:
        path: the file; a new one is made for its owner alone.

    Raises:
        StoreUnavailableError: it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        with self._connected() as connection:
            connection.executescript(_SCHEMA)

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
        with self._connected() as connection:
            added = connection.execute("INSERT INTO feedback (at, entry) VALUES (?, ?)", values)
            return int(added.lastrowid or 0)

    def entries(self, after: int = 0) -> Iterator[dict[str, Any]]:
        """Return the entries in their order, each with its `number` and `at`.

        Args:
            after: only those with a higher number.
        """
        with self._connected() as connection:
            rows = connection.execute(
                "SELECT number, at, entry FROM feedback WHERE number > ? ORDER BY number", (after,)
            )
            for number, at, entry in rows:
                yield {"number": number, "at": at, **orjson.loads(entry)}

    def forget(self, reviews: Sequence[str]) -> int:
        """Erase the entries about answers that quoted one of these reviews; return how many.

        Raises:
            StoreUnavailableError: it cannot be written.
        """
        with self._connected() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            erased = connection.execute(
                "DELETE FROM feedback WHERE EXISTS ("
                " SELECT 1 FROM json_tree(feedback.entry)"
                " WHERE key = 'review_id' AND value IN (SELECT value FROM json_each(?)))",
                (orjson.dumps(list(reviews)).decode(),),
            ).rowcount
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return erased

    @contextmanager
    def _connected(self) -> Iterator[sqlite3.Connection]:
        try:
            os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, _PRIVATE))
            with closing(
                sqlite3.connect(self._path, timeout=LONGEST_WAIT, isolation_level=None)
            ) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.execute("PRAGMA synchronous = FULL")
                yield connection
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailableError(
                f"the feedback file cannot be used: {error}",
                where=str(self._path),
                remedy="Free the disk, or set serving.feedback to a file that can be written.",
            ) from error
