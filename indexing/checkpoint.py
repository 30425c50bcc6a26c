"""What a job remembers between runs: how far it came, and which reviews it has seen.

One SQLite file a job. It is written after the store has acknowledged a batch, so that it can
only ever be behind the store: a batch done twice is told by its content hashes, and a batch
forgotten does not happen.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from errno import EDQUOT, ENOSPC
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NamedTuple, Self

import orjson
from filelock import FileLock, Timeout

from qa_system.errors import JobError
from qa_system.sources.rows import Position
from qa_system.sources.values import Kind
from qa_system.stores.embedded.access import create_file, file_mode, make_folder

__all__ = [
    "Checkpoint",
    "CheckpointFile",
    "Counts",
    "Outcome",
    "Seen",
    "Told",
    "lock_of",
    "read_checkpoints",
    "unwritable",
]

LOCK_SECONDS = 0.5
LAYOUT = 2
SCHEMA = f"""
CREATE TABLE IF NOT EXISTS progress (one INTEGER PRIMARY KEY CHECK (one = 1), checkpoint BLOB);
CREATE TABLE IF NOT EXISTS attempt (review_id TEXT PRIMARY KEY, before TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
    review_id TEXT PRIMARY KEY, digest TEXT, before TEXT, outcome TEXT, passages INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS alike (key TEXT PRIMARY KEY, number INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS texts (
    key TEXT PRIMARY KEY, review_id TEXT, item_id TEXT
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS missing (document_id TEXT PRIMARY KEY, review_id TEXT) WITHOUT ROWID;
PRAGMA user_version = {LAYOUT};
"""
OF_A_RUN = ("attempt", "seen", "alike", "texts", "missing")

Outcome = Literal["written", "updated", "unchanged"]


@dataclass(frozen=True, slots=True)
class Counts:
    """What a run has counted so far.

    Every row read is in one of `written`, `updated`, `unchanged`, `duplicates` and `rejected`.

    Args:
        read: rows taken from the sources.
        written: reviews that the store did not have.
        updated: reviews that the store had otherwise: another text, title, item or metadata.
        unchanged: reviews that the store had as they are.
        duplicates: rows whose id comes again further down, where the last one counts; and rows
            without an id that say the same as an earlier one in everything.
        rejected: rows set aside.
        deleted: reviews that the sources hold no more.
        passages: that written and updated reviews are found by; one each, unless reviews are
            split.
        truncated: those of `passages` that the encoder could not read to their end.
        reasons: rows set aside, by reason.
        nulls: values left out because they do not fit their column's type, by column.
    """

    read: int = 0
    written: int = 0
    updated: int = 0
    unchanged: int = 0
    duplicates: int = 0
    rejected: int = 0
    deleted: int = 0
    passages: int = 0
    truncated: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    nulls: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How far a run has come.

    Args:
        fingerprint: of the sources and of the settings that decide what is stored.
        position: everything before it is in the store, or in the reject file.
        counts: up to there.
        seconds: spent up to there, over all the runs that it took.
        rejects_bytes: length of the reject file up to there.
        last: some of the reviews stored last, by which a store shows that it is the same one.
        types: of the columns met up to there.
        version: the version of the store that a rebuild fills; None: it is no rebuild.
        finished: whether the run came to its end.
    """

    fingerprint: str
    position: Position = field(default_factory=Position)
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0
    rejects_bytes: int = 0
    last: tuple[str, ...] = ()
    types: dict[str, Kind] = field(default_factory=dict)
    version: str | None = None
    finished: bool = False

    def dumps(self) -> bytes:
        """Write it as JSON."""
        # orjson takes a NamedTuple for no list.
        return orjson.dumps({**asdict(self), "position": tuple(self.position)})

    @classmethod
    def loads(cls, data: bytes) -> Checkpoint:
        """Read what `dumps` wrote."""
        values = orjson.loads(data)
        values["position"] = Position(*values["position"])
        values["counts"] = Counts(**values["counts"])
        values["last"] = tuple(values["last"])
        return cls(**values)


class Seen(NamedTuple):
    """A review that the run has read.

    Args:
        review_id: its id.
        digest: what it says, as the store has it now; None: its row was set aside.
        before: what the store had of it before the run; None: nothing.
        outcome: what came of it.
        passages: that it is found by.
    """

    review_id: str
    digest: str | None = None
    before: str | None = None
    outcome: Outcome = "unchanged"
    passages: int = 0


class Told(NamedTuple):
    """What a batch adds to what the run remembers of reviews beside their ids.

    Args:
        alike: the number of each distinct review among those that would have the same id.
        texts: the first review, and its item, that says a text.
    """

    alike: dict[str, int]
    texts: dict[str, tuple[str, str]]


class CheckpointFile:
    """The checkpoint of one job, and its lock: a job runs once at a time.

    A folder and files that are made are for who may use the store around them, or the owner alone.

    Args:
        folder: where the checkpoints are; made if it is not there.
        job: the job's name.

    Raises:
        JobError: the same job is running, or the file cannot be used.
    """

    def __init__(self, folder: Path, job: str) -> None:
        self.path = folder / f"{job}.sqlite"
        self._lock = lock_of(self.path)
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileExistsError):
                make_folder(folder)
            # Who only looks whether the job is running holds the lock for a moment.
            self._lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise JobError(
                "this job is running already",
                where=str(self.path),
                remedy="Wait for it, or end it; it can be resumed.",
            ) from None
        except OSError as error:
            raise unwritable(self.path, error) from error
        try:
            self._db = self._open()
        except BaseException:
            self._lock.release()
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except (OSError, sqlite3.DatabaseError):
            # Nothing is lost with it: what the store has is told by content hashes.
            try:
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
                return self._connect()
            except (OSError, sqlite3.DatabaseError) as error:
                raise unwritable(self.path, error) from error

    def _connect(self) -> sqlite3.Connection:
        with suppress(FileExistsError):
            create_file(self.path, file_mode(self.path.parent.parent)).close()
        db = sqlite3.connect(self.path, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            (layout,) = db.execute("PRAGMA user_version").fetchone()
            if layout not in (0, LAYOUT) or (layout == 0 and _has_tables(db)):
                raise ValueError("it is of another version")
            (damage,) = db.execute("PRAGMA quick_check(1)").fetchone()
            if damage != "ok":
                raise ValueError(damage)
            db.executescript(SCHEMA)
            self._read(db)
        except sqlite3.DatabaseError:
            db.close()
            raise
        except (ValueError, TypeError, KeyError) as error:
            db.close()
            raise sqlite3.DatabaseError(str(error)) from error
        return db

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._db.close()
        self._lock.release()

    @staticmethod
    def _read(db: sqlite3.Connection) -> Checkpoint | None:
        row = db.execute("SELECT checkpoint FROM progress").fetchone()
        return None if row is None else Checkpoint.loads(row[0])

    def load(self) -> Checkpoint | None:
        """Return the checkpoint of the last run; None if there was none."""
        return self._read(self._db)

    def attempted(self) -> dict[str, str | None]:
        """Return the reviews that were about to be written when the last run ended.

        Returns:
            What the store had before, as `Seen.before`, by review.
        """
        return dict(self._db.execute("SELECT review_id, before FROM attempt").fetchall())

    def begin(self, checkpoint: Checkpoint) -> None:
        """Forget the last run and begin another."""
        with self._transaction():
            for table in OF_A_RUN:
                self._db.execute(f"DELETE FROM {table}")
            self._save(checkpoint)

    def attempt(self, before: Mapping[str, str | None]) -> None:
        """Note which reviews are about to be written, and what the store has of them."""
        with self._transaction():
            self._db.execute("DELETE FROM attempt")
            self._db.executemany("INSERT INTO attempt VALUES (?, ?)", before.items())

    def commit(
        self, checkpoint: Checkpoint, seen: Iterable[Seen] = (), told: Told | None = None
    ) -> None:
        """Move the checkpoint, after the store and the reject file have what lies before it.

        Args:
            checkpoint: where to.
            seen: the reviews read since; a reject takes no other's place.
            told: what else is to be remembered of them.
        """
        with self._transaction():
            self._db.executemany(
                "INSERT INTO seen VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "digest = excluded.digest, before = excluded.before, outcome = excluded.outcome, "
                "passages = excluded.passages WHERE excluded.digest IS NOT NULL",
                seen,
            )
            if told is not None:
                self._db.executemany(
                    "INSERT OR REPLACE INTO alike VALUES (?, ?)", told.alike.items()
                )
                self._db.executemany(
                    "INSERT OR IGNORE INTO texts VALUES (?, ?, ?)",
                    ((key, *first) for key, first in told.texts.items()),
                )
            self._save(checkpoint)

    def finish(self, checkpoint: Checkpoint) -> None:
        """Note that the run is complete; what it had seen is not needed any more."""
        self.begin(replace(checkpoint, finished=True))
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def seen(self, review_ids: Sequence[str]) -> dict[str, Seen]:
        """Find which of these reviews the run has read already."""
        rows = self._db.execute(
            "SELECT review_id, digest, before, outcome, passages FROM seen "
            "WHERE review_id IN (SELECT value FROM json_each(?))",
            (orjson.dumps(review_ids).decode(),),
        )
        return {row[0]: Seen(*row) for row in rows}

    def alike(self, keys: Sequence[str]) -> dict[str, int]:
        """Find the numbers that were given out; see `Told`."""
        return dict(
            self._db.execute(
                "SELECT key, number FROM alike WHERE key IN (SELECT value FROM json_each(?))",
                (orjson.dumps(keys).decode(),),
            ).fetchall()
        )

    def texts(self, keys: Sequence[str]) -> dict[str, tuple[str, str]]:
        """Find the first reviews that say these texts; see `Told`."""
        rows = self._db.execute(
            "SELECT key, review_id, item_id FROM texts "
            "WHERE key IN (SELECT value FROM json_each(?))",
            (orjson.dumps(keys).decode(),),
        )
        return {key: (review_id, item_id) for key, review_id, item_id in rows}

    def find_missing(self, stored: Iterable[Sequence[tuple[str, str]]]) -> int:
        """Compare the store with what the run has seen.

        Args:
            stored: batches of (document id, review id).

        Returns:
            How many reviews were not seen; `missing_documents` names their documents.
        """
        with self._transaction():
            self._db.execute("DELETE FROM missing")
            for batch in stored:
                known = self.seen([review_id for _, review_id in batch])
                self._db.executemany(
                    "INSERT OR IGNORE INTO missing VALUES (?, ?)",
                    (pair for pair in batch if pair[1] not in known),
                )
        (count,) = self._db.execute("SELECT count(DISTINCT review_id) FROM missing").fetchone()
        return int(count)

    def missing_documents(self, batch_size: int) -> Iterator[list[str]]:
        """Return the documents that `find_missing` found, in batches."""
        rows = self._db.execute("SELECT document_id FROM missing")
        while batch := [document_id for (document_id,) in rows.fetchmany(batch_size)]:
            yield batch

    def _save(self, checkpoint: Checkpoint) -> None:
        self._db.execute("INSERT OR REPLACE INTO progress VALUES (1, ?)", (checkpoint.dumps(),))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        try:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                if self._db.in_transaction:  # SQLite ends it itself when the disk is full
                    self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise unwritable(self.path, error) from error


def _has_tables(db: sqlite3.Connection) -> bool:
    return db.execute("SELECT 1 FROM sqlite_master").fetchone() is not None


def lock_of(checkpoint: Path) -> FileLock:
    """Return the lock of a job, which is held while it runs."""
    return FileLock(checkpoint.with_suffix(".lock"), mode=file_mode(checkpoint.parent.parent))


def _is_running(path: Path) -> bool:
    try:
        with lock_of(path).acquire(blocking=False):
            return False
    except Timeout:
        return True
    except OSError:
        # Whoever may only read the folder cannot tell.
        return False


def unwritable(path: Path, error: Exception) -> JobError:
    """Return the error of a checkpoint that cannot be written, with what to do about it."""
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_OK) & 0xFF
    if path.is_dir() or isinstance(error, IsADirectoryError):
        first = "A folder is in its place: move it away"
    elif code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) in (ENOSPC, EDQUOT):
        first = "Make room"
    elif code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
        first = "Run the same command again: it makes the checkpoint anew"
    else:
        first = "Make that place writable"
    return JobError(
        f"the checkpoint cannot be written: {error}",
        where=str(path),
        remedy=f"{first}, or name another folder: --state FOLDER.",
    )


def read_checkpoints(folder: Path) -> dict[str, dict[str, Any]]:
    """Tell how the last run of each job went.

    Returns:
        By job: `finished`, `running`, `seconds`, and the counts.

    >>> read_checkpoints(Path("no/such/folder"))
    {}
    """
    found = {}
    for path in sorted(folder.glob("*.sqlite")):
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
                row = db.execute("SELECT checkpoint FROM progress").fetchone()
            checkpoint = None if row is None else Checkpoint.loads(row[0])
        except (sqlite3.DatabaseError, ValueError, TypeError, KeyError):
            # A damaged one: the next run of the job starts anew.
            continue
        if checkpoint is not None:
            found[path.stem] = {
                "finished": checkpoint.finished,
                "running": not checkpoint.finished and _is_running(path),
                "seconds": checkpoint.seconds,
                **asdict(checkpoint.counts),
            }
    return found
