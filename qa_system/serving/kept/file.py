"""A SQLite file that several workers write: its owner's alone, without what was dropped."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
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
NO_DATABASE: Final = (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)
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
            is_other = getattr(error, "sqlite_errorcode", None) in NO_DATABASE
            remedy = "Move it away" if is_other else "Free the disk"
            raise StoreUnavailableError(
                f"the file of {self._setting} cannot be used: {error}",
                where=str(self._path),
                remedy=f"{remedy}, or set {self._setting} to a file that can be written.",
            ) from error

    def erase(self, table: str, values: str, traces: Traces, together: Sequence[str] = ()) -> int:
        """Erase the rows with traces of forgotten reviews, and return their number.

        Args:
            table: its rows have numbers.
            values: an SQL expression of its columns, which is JSON.
            traces: of the reviews.
            together: SQL expressions, by an index; rows for which they are those of an erased row
                are erased with it.

        Raises:
            StoreLockedError: somebody reads the file all the time.
            StoreUnavailableError: it cannot be written.
        """
        either = " AND ".join(
            f"{each} = (SELECT {each} FROM {table} WHERE rowid = :row)" for each in together
        )
        deleted = f"DELETE FROM {table} WHERE rowid = :row"
        chosen = f"SELECT rowid, {values} FROM {table} WHERE rowid > ? ORDER BY rowid LIMIT ?"
        last = erased = 0
        with self.connected() as connection:
            # In parts, so that workers write in between; what they append is looked at, too.
            while rows := connection.execute(chosen, (last, ROWS_AT_ONCE)).fetchall():
                last = rows[-1][0]
                found = [{"row": row} for row, value in rows if traces.are_in(orjson.loads(value))]
                if not found:
                    continue
                connection.execute("BEGIN IMMEDIATE")
                if either:
                    same = f"DELETE FROM {table} WHERE rowid <> :row AND {either}"
                    erased += connection.executemany(same, found).rowcount
                erased += connection.executemany(deleted, found).rowcount
                connection.execute("COMMIT")
            is_busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if is_busy:
            raise StoreLockedError(
                f"{erased:,} rows are erased, but the file of {self._setting} is being read: it "
                "still holds their words",
                where=str(self._path),
                remedy="Wait for the export, or end it; then run the same command again.",
            )
        return erased
