"""The truth of the embedded store: SQLite, which holds documents, metadata and embeddings.

Every write is one transaction and begins a new *generation*. A document never changes in its
row: an overwrite deletes the row and inserts another with a higher number, and the deleted
number goes into `tombstones`. An index that remembers a generation and the last row that it has
seen is therefore brought up to date by the rows above and the tombstones since, unless the
history that it needs has been dropped (`history`), in which case it is built anew.
"""

from __future__ import annotations

import os
import sqlite3
import uuid
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from qa_system.errors import StoreError, StoreLockedError, StoreMismatchError
from qa_system.records import Similarity
from qa_system.stores.embedded.access import PRIVATE, create_file, share_file
from qa_system.stores.embedded.layout import LEDGER
from qa_system.stores.embedded.ledger.snapshot import (
    ITEM,
    REVIEW,
    Snapshot,
    Transaction,
    embeddings_table,
)
from qa_system.stores.embedded.ledger.state import FORMAT
from qa_system.stores.filters import Matcher

__all__ = ["Ledger"]

PAGE_BYTES: Final = 8192
"""Five 384-number embeddings fill one; of 4,096 bytes, two would waste a quarter."""
INSTRUCTIONS_BETWEEN_SIGNALS: Final = 500_000
"""Some milliseconds of SQLite's work."""

_SCHEMA: Final = f"""
CREATE TABLE store (key TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;
CREATE TABLE documents (
    row INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    meta TEXT NOT NULL,
    dates TEXT,
    content TEXT,
    blob BLOB,
    blob_info TEXT,
    sparse_embedding TEXT,
    passages TEXT
) STRICT;
CREATE INDEX documents_by_item ON documents ({ITEM});
CREATE INDEX documents_by_review ON documents ({REVIEW});
CREATE TABLE tombstones (row INTEGER PRIMARY KEY, generation INTEGER NOT NULL) STRICT;
CREATE INDEX tombstones_by_generation ON tombstones (generation);
"""


class Ledger:
    """The SQLite file of a store, for any number of threads.

    Args:
        folder: the store's folder; nothing is touched before the first use.
        similarity: what a store that is not there yet would be made with.
    """

    def __init__(self, folder: Path, similarity: Similarity) -> None:
        self.path = folder / LEDGER
        self._similarity: Similarity = similarity
        self._idle: deque[_Connection] = deque()
        self._pid = os.getpid()

    def exists(self) -> bool:
        """Whether there is a store.

        Raises:
            StoreError: its folder may not be looked into.
        """
        try:
            return self.path.is_file()
        except OSError as error:
            raise _explain_os(error, self.path) from error

    def create(self, group: int | None = None) -> None:
        """Make an empty store, whole or not at all.

        Args:
            group: the number of the group that it is shared with; None: it is its owner's alone.
        """
        fresh = self.path.with_name(f"{LEDGER}.new")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            for leftover in (fresh, *(fresh.with_name(fresh.name + end) for end in _SIDE_FILES)):
                leftover.unlink(missing_ok=True)
            create_file(fresh, PRIVATE).close()
            if group is not None:
                share_file(fresh, group)
            connection = sqlite3.connect(fresh, isolation_level=None)
            connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode = WAL")
            _lay_out(connection, self._similarity)
            connection.close()
            fresh.replace(self.path)
        except sqlite3.Error as error:
            raise _explain(error, self.path) from error
        except OSError as error:
            raise _explain_os(error, self.path) from error

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """Read the store at one generation; one that is not there reads as empty."""
        connection = self._take()
        try:
            connection.execute("BEGIN")
            yield Snapshot(connection)
        except sqlite3.Error as error:
            raise self._told(error, connection.matcher) from error
        finally:
            self._put_back(connection)

    @contextmanager
    def transaction(self, *, searchable: bool = True) -> Iterator[Transaction]:
        """Write; the caller holds the writer's lock.

        Args:
            searchable: whether a search can tell that something was changed; only then does a
                generation begin.
        """
        connection = self._take()
        try:
            connection.execute("BEGIN IMMEDIATE")
            changes = connection.total_changes
            transaction = Transaction(connection)
            yield transaction
            if searchable and connection.total_changes != changes:
                transaction.set(generation=transaction.generation)
            connection.execute("COMMIT")
        except sqlite3.IntegrityError:
            raise
        except sqlite3.Error as error:
            raise self._told(error, connection.matcher) from error
        finally:
            self._put_back(connection)

    def log_bytes(self) -> int:
        """Return the size of SQLite's log, which grows while somebody reads an older generation."""
        try:
            return self.path.with_name(f"{LEDGER}-wal").stat().st_size
        except OSError:
            return 0

    def checkpoint(self) -> None:
        """Write SQLite's log into its file."""
        connection = self._take()
        try:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.Error as error:
            raise _explain(error, self.path) from error
        finally:
            self._put_back(connection)

    def scrub(self) -> None:
        """Write the file anew without what was deleted, and empty SQLite's log.

        Raises:
            StoreLockedError: somebody reads an earlier generation, which is therefore kept.
        """
        connection = self._take()
        try:
            # In a file: a large store is not copied into memory.
            connection.execute("PRAGMA temp_store = FILE")
            connection.execute("VACUUM")
            is_kept, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            raise _explain(error, self.path) from error
        finally:
            connection.close()
        if is_kept:
            raise StoreLockedError(
                "somebody reads an earlier generation, and SQLite's log keeps what was deleted",
                where=str(self.path),
                remedy="Run the same command again when the reading has ended.",
            )

    def close(self) -> None:
        """Close the connections that nobody is using."""
        if self._pid == os.getpid():
            while self._idle:
                self._idle.pop().close()

    def _take(self) -> _Connection:
        if self._pid != os.getpid():
            # SQLite's connections do not survive a fork; closing them here would break the
            # parent's locks, so they are left alone.
            _INHERITED.extend(self._idle)
            self._idle, self._pid = deque(), os.getpid()
        try:
            found = self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return _empty_store(self._similarity)
        except OSError as error:
            raise _explain_os(error, self.path) from error
        file = (found.st_dev, found.st_ino)
        while self._idle:
            with suppress(IndexError):  # another thread may take the last
                connection = self._idle.pop()
                if connection.file == file:
                    return connection
                # The store was deleted, and perhaps made again, under us.
                connection.close()
        try:
            connection = self._connect()
        except sqlite3.Error as error:
            raise _explain(error, self.path) from error
        connection.file = file
        return connection

    def _put_back(self, connection: _Connection) -> None:
        if connection.in_transaction:
            with suppress(sqlite3.Error):
                connection.rollback()
        if connection.file is None:
            connection.close()
        else:
            self._idle.append(connection)

    def _told(self, error: sqlite3.Error, matcher: Matcher) -> BaseException:
        known, matcher.error = matcher.error, None
        if known is not None:
            return known
        # A signal that Python hears as it enters a function is raised before the function's `try`.
        code = getattr(error, "sqlite_errorcode", None)
        is_signal = code == sqlite3.SQLITE_INTERRUPT or str(error) == _RAISED
        return KeyboardInterrupt() if is_signal else _explain(error, self.path)

    def _connect(self) -> _Connection:
        try:
            return self._open("mode=rw")
        except sqlite3.OperationalError as error:
            # SQLite cannot share a log in a folder that it may not write; a store that was
            # closed has no log, and one that nobody can write does not change.
            is_closed = self.log_bytes() == 0 and not os.access(self.path.parent, os.W_OK)
            denials = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)
            if error.sqlite_errorcode & 0xFF not in denials or not is_closed:
                raise
            return self._open("immutable=1")

    def _open(self, mode: str) -> _Connection:
        connection = sqlite3.connect(
            f"file:{quote(str(self.path))}?{mode}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            factory=_Connection,
        )
        try:
            connection.execute("PRAGMA busy_timeout = 10000")
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("PRAGMA cache_size = -16000")
            connection.execute("PRAGMA wal_autocheckpoint = 4000")
            connection.execute("PRAGMA journal_size_limit = 67108864")
            connection.execute("PRAGMA temp_store = MEMORY")
            found = connection.execute("SELECT value FROM store WHERE key = 'format'").fetchone()
        except sqlite3.Error:
            connection.close()
            raise
        version = None if found is None else found[0]
        if not isinstance(version, int) or version > FORMAT:
            connection.close()
            raise StoreMismatchError(
                f"the store has format {version!r}, this version reads up to {FORMAT}",
                where=str(self.path),
                remedy="Install the version of qa-system that wrote it.",
            )
        return connection


def _hear_signals() -> bool:
    return False


_RAISED: Final = "user-defined function raised exception"
"""What `sqlite3` says of an exception of a function in Python."""
_SIDE_FILES: Final = ("-wal", "-shm", "-journal")
_INHERITED: list[sqlite3.Connection] = []


class _Connection(sqlite3.Connection):
    """A connection that knows the comparisons of filters, and can be interrupted."""

    file: tuple[int, int] | None = None

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.matcher = Matcher()
        self.create_function("value_matches", 2, self.matcher, deterministic=True)
        # While SQLite works, Python hears no signal. It looks whenever it is called: an
        # interruption is raised in the call, which lets SQLite give up.
        self.set_progress_handler(_hear_signals, INSTRUCTIONS_BETWEEN_SIGNALS)


def _lay_out(connection: sqlite3.Connection, similarity: Similarity) -> None:
    connection.executescript(f"BEGIN; {_SCHEMA} {embeddings_table(0)}; COMMIT;")
    state = {
        "store_id": uuid.uuid4().hex,
        "similarity": similarity,
        "format": FORMAT,
        "generation": 0,
        "history": 0,
        "space": 0,
        "spaces": 1,
    }
    connection.executemany("INSERT INTO store VALUES (?, ?)", state.items())


def _empty_store(similarity: Similarity) -> _Connection:
    connection = sqlite3.connect(":memory:", factory=_Connection, isolation_level=None)
    _lay_out(connection, similarity)
    return connection


def _explain(error: sqlite3.Error, path: Path) -> StoreError:
    name = getattr(error, "sqlite_errorname", "") or ""
    where = str(path)
    restore = (
        "If the folder is not your store, name another one. If it is, restore it from a"
        " backup, or delete it and index the reviews again: qa-index run."
    )
    signs = ("no such table", "no such column", "decode to UTF-8")
    if name.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")) or any(
        sign in str(error) for sign in signs
    ):
        return StoreError(
            f"the file is damaged, or not a store: {error}", where=where, remedy=restore
        )
    if name.startswith("SQLITE_FULL"):
        return StoreError(
            "the disk is full; nothing of this write was kept",
            where=where,
            remedy="Free some space and write again.",
        )
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return StoreError(
            f"the store cannot be opened or written: {error}",
            where=where,
            remedy="Check the permissions of the folder and of the files in it, or name another.",
        )
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return StoreLockedError(
            "another process holds the SQLite file",
            where=where,
            remedy="Close other programs that have it open, such as the sqlite3 shell.",
        )
    return StoreError(f"SQLite says: {error}", where=where, remedy=f"Check the disk. {restore}")


def _explain_os(error: OSError, path: Path) -> StoreError:
    if isinstance(error, PermissionError):
        return StoreError(
            f"you may not use the store's folder: {error.strerror or error}",
            where=str(path.parent),
            remedy="Check its permissions; its owner can share a store with a group of users"
            " (store.group).",
        )
    return StoreError(
        f"the store's folder cannot be used: {error.strerror or error}",
        where=str(path.parent),
        remedy="Check its permissions and the disk's free space.",
    )
