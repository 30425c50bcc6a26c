"""A SQLite file that several workers write: its owner's alone, without what was dropped."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import orjson

from qa_system.errors import StoreLockedError, StoreUnavailableError
from qa_system.serving.kept.traces import Traces

__all__ = ["KeptFile"]

LONGEST_WAIT: Final = 5.0
"""Seconds for which a writer waits for another."""
ROWS_AT_ONCE: Final = 1_000
_PRIVATE: Final = 0o600


class KeptFile:
    """A SQLite file in WAL mode, whose deleted rows are overwritten.

    Args:
        path: the file; a new one is made for its owner alone.
        schema: SQL that makes the tables where they are missing.
        setting: the key that names the file, for errors.
        durable: whether a power cut loses nothing that was written, which takes milliseconds a
            write; otherwise it may lose the last moments. A process that is killed loses nothing.

    Raises:
        StoreUnavailableError: it cannot be written.
    """

    def __init__(self, path: Path, schema: str, setting: str, *, durable: bool) -> None:
        self._path = path
        self._setting = setting
        self._synchronous = "FULL" if durable else "NORMAL"
        with self.connected() as connection:
            connection.executescript(schema)

    def connect(self) -> sqlite3.Connection:
        """Return a connection that any thread may use, one at a time."""
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, _PRIVATE))
        connection = sqlite3.connect(
            self._path, timeout=LONGEST_WAIT, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute("PRAGMA secure_delete = ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    @contextmanager
    def connected(self) -> Iterator[sqlite3.Connection]:
        """Connect for the block; an error of SQLite or of the disk names the file."""
        with self.explained(), closing(self.connect()) as connection:
            yield connection

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Raise errors of SQLite and of the disk as one that names the file."""
        try:
            yield
        except (OSError, sqlite3.Error) as error:
            raise StoreUnavailableError(
                f"the file of {self._setting} cannot be used: {error}",
                where=str(self._path),
                remedy=f"Free the disk, or set {self._setting} to a file that can be written.",
            ) from error

    def erase(self, table: str, values: str, traces: Traces) -> int:
        """Erase the rows with traces of forgotten reviews, and return their number.

        Args:
            table: its rows have numbers.
            values: an SQL expression of its columns, which is JSON.
            traces: of the reviews.

        Raises:
            StoreLockedError: somebody reads the file all the time.
            StoreUnavailableError: it cannot be written.
        """
        chosen = f"SELECT rowid, {values} FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?"
        last = erased = 0
        with self.connected() as connection:
            # In parts, so that workers write in between; what they append is looked at, too.
            while rows := connection.execute(chosen, (last, ROWS_AT_ONCE)).fetchall():
                last = rows[-1][0]
                found = [(row,) for row, value in rows if traces.are_in(orjson.loads(value))]
                connection.execute("BEGIN IMMEDIATE")
                connection.executemany(f"DELETE FROM {table} WHERE rowid = ?", found)
                connection.execute("COMMIT")
                erased += len(found)
            is_busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            raise StoreLockedError(
                "somebody reads the file, whose log may still hold what was erased",
                where=str(self._path),
                remedy="Run the same command again.",
            )
        return erased
