"""What every answer was made of: kept in a file, so that it can be explained and given again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Lock
from typing import Any, Final

import orjson

from qa_system.config import AuditSettings
from qa_system.serving.kept.clock import CLOCK, LEAP, is_believed
from qa_system.serving.kept.file import KeptFile, in_transaction
from qa_system.serving.kept.traces import Traces

__all__ = ["AuditFile"]

_SCHEMA: Final = f"""{CLOCK}
CREATE TABLE IF NOT EXISTS answers (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  at TEXT NOT NULL,
  request_id TEXT NOT NULL,
  record TEXT NOT NULL CHECK (json_valid(record))
);
CREATE INDEX IF NOT EXISTS answers_at ON answers (at);
CREATE INDEX IF NOT EXISTS answers_request ON answers (request_id);
CREATE TRIGGER IF NOT EXISTS answers_append_only BEFORE UPDATE ON answers
BEGIN SELECT RAISE(ABORT, 'answers are only appended'); END;
"""

Record = Mapping[str, Any]


class AuditFile:
    """A SQLite file of answers, to which several workers append; old ones leave by themselves.

    Args:
        path: the file; a new one is made for its owner alone.
        settings: how many answers are kept, and how long.

    Raises:
        StoreUnavailableError: it cannot be written.
    """

    def __init__(self, path: Path, settings: AuditSettings) -> None:
        self._settings = settings
        self._file = KeptFile(path, _SCHEMA, "serving.audit.file", durable=False)
        with self._file.explained():
            self._connection = self._file.connect()
        self._lock = Lock()

    def append(
        self,
        request_id: str,
        records: Sequence[Record],
        is_sound: Callable[[Record], bool],
        at: datetime | None = None,
    ) -> None:
        """Keep the answers to a request, and drop those that are too many or too old.

        Args:
            request_id: of the request.
            records: JSON values, an answer each.
            is_sound: whether an answer may be kept. It is asked while nobody else writes, so that
                an answer from a review that is erased meanwhile is found by whoever erases it.
            at: when they were given; None: now.

        Raises:
            StoreUnavailableError: the file cannot be written.
        """
        moment = at or datetime.now(UTC)
        with self._file.explained(), self._lock, in_transaction(self._connection):
            self._connection.executemany(
                "INSERT INTO answers (at, request_id, record) VALUES (?, ?, ?)",
                [
                    (_written(moment), request_id, orjson.dumps(each).decode())
                    for each in records
                    if is_sound(each)
                ],
            )
            self._prune(moment)

    def find(
        self, request_id: str, most: int, now: datetime | None = None
    ) -> tuple[list[dict[str, Any]], bool]:
        """Return the answers to a request, each with its `request_id` and `at`.

        Args:
            request_id: of the request; a client may have named several alike.
            most: answers to return, the newest.
            now: the time; None: the clock's.

        Returns:
            The answers in their order, and whether there are older ones.

        Raises:
            StoreUnavailableError: the file cannot be read.
        """
        with self._file.explained(), self._lock:
            rows = self._connection.execute(
                "SELECT at, record FROM answers WHERE request_id = ? AND at >= ?"
                " ORDER BY number DESC LIMIT ?",
                (request_id, self._oldest(now or datetime.now(UTC)), most + 1),
            ).fetchall()
        found = [
            {"request_id": request_id, "at": at, **orjson.loads(each)}
            for at, each in reversed(rows[:most])
        ]
        return found, len(rows) > most

    def prune(self, now: datetime | None = None) -> None:
        """Drop the answers that are too many or too old.

        Raises:
            StoreUnavailableError: the file cannot be written.
        """
        with self._file.explained(), self._lock, in_transaction(self._connection):
            self._prune(now or datetime.now(UTC))

    def forget(self, traces: Traces) -> int:
        """Erase the answers for which a forgotten review was read; return their number.

        Raises:
            StoreUnavailableError: the file cannot be written.
        """
        return self._file.erase("answers", "record", traces)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _oldest(self, now: datetime) -> str:
        days = self._settings.days
        return "" if days is None else _written(now - timedelta(days=days))

    def _prune(self, now: datetime) -> None:
        if is_believed(self._connection, now):
            self._connection.execute("DELETE FROM answers WHERE at < ?", (self._oldest(now),))
            # Kept while the clock was wrong: a time to come would keep them for longer. It is no
            # update, which the table refuses.
            self._connection.execute(
                "INSERT OR REPLACE INTO answers (number, at, request_id, record)"
                " SELECT number, ?, request_id, record FROM answers WHERE at > ?",
                (_written(now), _written(now + LEAP)),
            )
        if self._settings.rows is not None:
            self._connection.execute(
                "DELETE FROM answers WHERE number <= (SELECT max(number) FROM answers) - ?",
                (self._settings.rows,),
            )


def _written(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")
