"""Rate limits that hold for the host: one file counts for all workers."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Final

from qa_system.errors import ConfigError
from qa_system.serving.errors import OverloadedError, RequestTooLargeError

__all__ = ["RateLimits"]

LONGEST_WAIT: Final = 5.0
"""Seconds for which a worker waits for the others to count."""


class RateLimits:
    """A bucket for each API key: it holds a minute's questions, and fills up evenly.

    Any thread may take, one at a time.

    Args:
        path: the file, which all workers of a host open; a new one is made.

    Raises:
        ConfigError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        try:
            self._connection = sqlite3.connect(
                path, timeout=LONGEST_WAIT, isolation_level=None, check_same_thread=False
            )
            # A power cut may forget what was counted; that is no harm.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS buckets "
                "(name TEXT PRIMARY KEY, filled REAL NOT NULL, at REAL NOT NULL) WITHOUT ROWID"
            )
        except sqlite3.Error as error:
            raise ConfigError(
                f"the rate limits cannot be counted: {error}",
                where=str(path),
                remedy="Set serving.state to a folder on this machine that can be written.",
            ) from None

    def take(self, name: str, per_minute: int, questions: int, now: float | None = None) -> float:
        """Take questions out of a key's bucket, and return 0; or the seconds until they are there.

        Args:
            name: of the key.
            per_minute: what the bucket holds.
            questions: to take.
            now: seconds; None: the clock's.

        Raises:
            OverloadedError: another worker has not finished counting.
            RequestTooLargeError: no bucket of this key holds so many.
        """
        if questions > per_minute:
            raise RequestTooLargeError(
                f"this API key may ask {per_minute} questions a minute: send no more in one request"
            )
        moment = time.time() if now is None else now
        with closing(self._connection.cursor()) as cursor:
            try:
                cursor.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError:
                raise OverloadedError(OverloadedError.public_message, retry_after=1) from None
            try:
                cursor.execute("SELECT filled, at FROM buckets WHERE name = ?", (name,))
                filled, at = cursor.fetchone() or (float(per_minute), moment)
                passed = max(0.0, moment - at)
                filled = min(float(per_minute), filled + passed * per_minute / 60)
                wait = max(0.0, (questions - filled) * 60 / per_minute)
                left = filled if wait else filled - questions
                cursor.execute(
                    "INSERT OR REPLACE INTO buckets VALUES (?, ?, ?)", (name, left, moment)
                )
            finally:
                cursor.execute("COMMIT")
        return wait

    def close(self) -> None:
        """Close the file."""
        self._connection.close()
