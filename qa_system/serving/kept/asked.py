"""The questions that are asked most of an item, counted without knowing who asked."""

from __future__ import annotations

import hashlib
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from threading import Lock
from typing import Final

from qa_system.config import AskedSettings
from qa_system.serving.kept.clock import CLOCK, LEAP, is_believed
from qa_system.serving.kept.file import KeptFile, in_transaction
from qa_system.serving.kept.traces import Traces

__all__ = ["AskedFile"]

LONGEST: Final = 120
"""Characters of a question that is shown: longer ones make no button."""
_SCHEMA: Final = f"""{CLOCK}
CREATE TABLE IF NOT EXISTS askings (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  item_id TEXT NOT NULL,
  question TEXT NOT NULL,
  day TEXT NOT NULL,
  client INTEGER NOT NULL
);
CREATE UNIQUE INDEX IF NOT EXISTS askings_once ON askings (item_id, question, day, client);
CREATE INDEX IF NOT EXISTS askings_day ON askings (day);
"""


class AskedFile:
    """A SQLite file of questions that reviews answered, which several workers write.

    A client who asks the same again on the same day is not counted again. Of a client there are
    16 bits of a hash, which thousands of addresses share.

    Args:
        path: the file; a new one is made for its owner alone.
        settings: from how many askings on a question is shown, and how long they count.

    Raises:
        StoreUnavailableError: it cannot be written.
    """

    def __init__(self, path: Path, settings: AskedSettings) -> None:
        self._settings = settings
        self._file = KeptFile(path, _SCHEMA, "serving.asked.file", durable=False)
        with self._file.explained():
            self._connection = self._file.connect()
        self._lock = Lock()

    def count(self, item_id: str, question: str, client: str, day: date | None = None) -> None:
        """Count that a question was asked.

        Args:
            item_id: the item.
            question: as the cache knows it: spaces that mean nothing are left out.
            client: who asked, for example an address.
            day: of the asking; None: today.

        Raises:
            StoreUnavailableError: the file cannot be written.
        """
        if len(question) > LONGEST:
            return
        today = day or datetime.now(UTC).date()
        when = today.isoformat()
        hashed = hashlib.blake2b(
            "\n".join((when, item_id, question, client)).encode(), digest_size=2
        )
        with self._file.explained(), self._lock:
            self._connection.execute(
                "INSERT OR IGNORE INTO askings (item_id, question, day, client)"
                " VALUES (?, ?, ?, ?)",
                (item_id, question, when, int.from_bytes(hashed.digest())),
            )
        self.prune(day)

    def most(self, item_id: str, day: date | None = None) -> list[str]:
        """Return the questions that are asked most of an item, the most asked first.

        Args:
            item_id: the item.
            day: until when; None: today.

        Raises:
            StoreUnavailableError: the file cannot be read.
        """
        oldest = self._oldest(day or datetime.now(UTC).date())
        with self._file.explained(), self._lock:
            rows = self._connection.execute(
                "SELECT question FROM askings WHERE item_id = ? AND day >= ? GROUP BY question"
                " HAVING count(*) >= ? ORDER BY count(*) DESC, question LIMIT ?",
                (item_id, oldest, self._settings.askings, self._settings.shown),
            ).fetchall()
        return [question for (question,) in rows]

    def prune(self, day: date | None = None) -> None:
        """Drop the askings that do not count any more, and those of days to come.

        Raises:
            StoreUnavailableError: the file cannot be written.
        """
        now = datetime.now(UTC) if day is None else datetime.combine(day, time(12), UTC)
        today = now.date()
        with self._file.explained(), self._lock, in_transaction(self._connection):
            if is_believed(self._connection, now):
                self._connection.execute(
                    "DELETE FROM askings WHERE day < ? OR day > ?",
                    (self._oldest(today), (today + LEAP).isoformat()),
                )

    def forget(self, traces: Traces) -> int:
        """Erase the askings that quote a forgotten review; return their number.

        Raises:
            StoreUnavailableError: the file cannot be written.
        """
        return self._file.erase("askings", "json_quote(question)", traces)

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()

    def _oldest(self, day: date) -> str:
        return (day - timedelta(days=self._settings.days)).isoformat()
