"""A SQLite file that several workers write: its owner's alone, without what was dropped."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Final
from zlib import crc32

import orjson

from qa_system.errors import StoreLockedError, StoreUnavailableError
from qa_system.serving.kept.traces import Traces

__all__ = ["KeptFile", "in_transaction"]

LONGEST_WAIT: Final = 5.0
"""Seconds for which a writer waits for another."""
LONGEST_EMPTYING: Final = 20.0
"""Seconds after which it gives up emptying a log that others use."""
BETWEEN_TRIES: Final = 0.005
"""Seconds between two tries to empty the log."""
ROWS_AT_ONCE: Final = 1_000
REMEDIES: Final = {
    sqlite3.SQLITE_NOTADB: "Move it away, or set {setting} to another file.",
    sqlite3.SQLITE_CORRUPT: "Move it away, or set {setting} to another file.",
    sqlite3.SQLITE_ERROR: "Another program has changed it: move it away, or set {setting} to "
    "another file; then restart the service.",
    sqlite3.SQLITE_BUSY: "Another process holds it: wait for it, or end it, and do the same again.",
    sqlite3.SQLITE_FULL: "Free the disk, or set {setting} to a file on another one.",
    sqlite3.SQLITE_IOERR: "Check the disk, or set {setting} to a file on another one.",
}
"""What to do about errors of SQLite, by their kinds."""
OTHERWISE: Final = "Set {setting} to a file that can be written."
_PRIVATE: Final = 0o600
_OBJECTS: Final = (
    "SELECT type, name, sql FROM sqlite_schema WHERE name NOT LIKE 'sqlite!_%' ESCAPE '!'"
)


class KeptFile:
    """A SQLite file in WAL mode, whose deleted rows are overwritten.

    It is told from files of other programs, and of other settings, by its `application_id`. Nothing
    is written to another file.

    Args:
        path: the file; a new one is made for its owner alone.
        schema: SQL that makes the tables where they are missing.
        setting: the key that names the file, for errors; its hash is the `application_id`.
        durable: whether a power cut loses nothing that was written, which takes milliseconds a
            write; otherwise it may lose the last moments. A process that is killed loses nothing.

    Raises:
        StoreUnavailableError: it cannot be written, or is another program's.
    """

    def __init__(self, path: Path, schema: str, setting: str, *, durable: bool) -> None:
        self._path = path
        self._schema = schema
        self._setting = setting
        self._synchronous = "FULL" if durable else "NORMAL"
        # Positive, so that SQLite returns it as it is.
        self._application = crc32(setting.encode()) >> 1
        with self.connected() as connection:
            connection.executescript(schema)
            connection.execute(f"PRAGMA application_id = {self._application}")

    def connect(self) -> sqlite3.Connection:
        """Return a connection that any thread may use, one at a time.

        Raises:
            StoreUnavailableError: the file is another program's.
        """
        os.close(os.open(self._path, os.O_CREAT | os.O_RDWR, _PRIVATE))
        connection = sqlite3.connect(
            self._path, timeout=LONGEST_WAIT, isolation_level=None, check_same_thread=False
        )
        try:
            self._refuse_others(connection)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            connection.execute("PRAGMA secure_delete = ON")
        except (sqlite3.Error, StoreUnavailableError):
            connection.close()
            raise
        return connection

    def _refuse_others(self, connection: sqlite3.Connection) -> None:
        """Refuse a file that is neither new nor made by this class for the same setting."""
        (application,) = connection.execute("PRAGMA application_id").fetchone()
        if application == self._application:
            return
        with closing(sqlite3.connect(":memory:")) as new:
            new.executescript(self._schema)
            own = set(new.execute(_OBJECTS))
        # Without the number it may be one that is being made, or of an earlier version.
        if application or not own.issuperset(connection.execute(_OBJECTS)):
            raise StoreUnavailableError(
                f"the file is a database of another program, or of another setting than "
                f"{self._setting}",
                where=str(self._path),
                remedy=f"Set {self._setting} to a file of its own.",
            )

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
            code: int = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CANTOPEN)
            remedy = REMEDIES.get(code & 0xFF, OTHERWISE)  # an extended code has its kind there
            raise StoreUnavailableError(
                f"the file of {self._setting} cannot be used: {error}",
                where=str(self._path),
                remedy=remedy.format(setting=self._setting),
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
                with in_transaction(connection):
                    if either:
                        same = f"DELETE FROM {table} WHERE rowid <> :row AND {either}"
                        erased += connection.executemany(same, found).rowcount
                    erased += connection.executemany(deleted, found).rowcount
            is_empty = _empty_log(connection)
        if not is_empty:
            raise StoreLockedError(
                f"{erased:,} rows are erased, but the file of {self._setting} is being read: it "
                "still holds their words",
                where=str(self._path),
                remedy="Wait for the export, or end it; then run the same command again.",
            )
        return erased


def _empty_log(connection: sqlite3.Connection) -> bool:
    """Move the write-ahead log into the file and cut it to nothing; return whether that was done.

    SQLite waits for readers and writers by itself, but not for another checkpoint, which a writer
    runs after every thousand pages.
    """
    until = monotonic() + LONGEST_EMPTYING
    while True:
        is_busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if not is_busy or monotonic() > until:
            return not is_busy
        sleep(BETWEEN_TRIES)


@contextmanager
def in_transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write all that the block writes, or nothing, while nobody else writes."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
