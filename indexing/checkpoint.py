"""What a job remembers between runs: how far it came, and which reviews it has seen.

One SQLite file a job. It is written after the store has acknowledged a batch, so that it can
only ever be behind the store: a batch done twice is told by its content hashes, and a batch
forgotten does not happen.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import orjson
from filelock import FileLock, Timeout

from indexing.rows import Position
from qa_system.errors import JobError

__all__ = ["Checkpoint", "CheckpointFile", "Counts", "Seen", "read_checkpoints"]

LOCK_SECONDS = 0.5
SCHEMA = """
CREATE TABLE IF NOT EXISTS progress (one INTEGER PRIMARY KEY CHECK (one = 1), checkpoint BLOB);
CREATE TABLE IF NOT EXISTS attempt (review_id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS seen (
    review_id TEXT PRIMARY KEY, digest BLOB, file TEXT, line INTEGER
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS missing (document_id TEXT PRIMARY KEY, review_id TEXT) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Counts:
    """What a run has counted so far; all are reviews but for
    `passages` and `truncated`.

    Args:
        read: rows taken from the sources; `written + unchanged + rejected`.
        written: reviews that the store did not have, or had otherwise.
        unchanged: reviews that the store had already.
        duplicates: those of `unchanged` that the source held before, in the same run.
        rejected: rows set aside.
        deleted: reviews that the sources hold no more.
        passages: that the written reviews are found by; one each, unless reviews are split.
        truncated: those of `passages` that the encoder could not read to their end.
        reasons: rows set aside, by reason.
    """

    read: int = 0
    written: int = 0
    unchanged: int = 0
    duplicates: int = 0
    rejected: int = 0
    deleted: int = 0
    passages: int = 0
    truncated: int = 0
    reasons: dict[str, int] = field(default_factory=dict)


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
        version: the version of the store that a rebuild fills; None: it is no rebuild.
        finished: whether the run came to its end.
    """

    fingerprint: str
    position: Position = field(default_factory=Position)
    counts: Counts = field(default_factory=Counts)
    seconds: float = 0.0
    rejects_bytes: int = 0
    last: tuple[str, ...] = ()
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
    """A review that the run has read: a digest of item and text (None: it was a reject)."""

    review_id: str
    digest: bytes | None
    file: str
    line: int | None


class CheckpointFile:
    """The checkpoint of one job, and its lock: a job runs once at a time.

    Args:
        folder: where the checkpoints are; made if it is not there.
        job: the job's name.

    Raises:
        JobError: the same job is running, or the file cannot be used.
    """

    def __init__(self, folder: Path, job: str) -> None:
        self.path = folder / f"{job}.sqlite"
        self._lock = _lock(self.path)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # Who only looks whether the job is running holds the lock for a moment.
            self._lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise JobError(
                "this job is running already",
                where=str(self.path),
                remedy="Wait for it, or end it; it can be resumed.",
            ) from None
        except OSError as error:
            raise _unwritable(self.path, error) from error
        try:
            self._db = self._open()
        except BaseException:
            self._lock.release()
            raise

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError:
            # Nothing is lost with it: what the store has is told by content hashes.
            try:
                for suffix in ("", "-wal", "-shm"):
                    Path(f"{self.path}{suffix}").unlink(missing_ok=True)
                return self._connect()
            except (OSError, sqlite3.DatabaseError) as error:
                raise _unwritable(self.path, error) from error

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.path, isolation_level=None)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            db.execute("PRAGMA synchronous = NORMAL")
            db.executescript(SCHEMA)
            self._read(db)
        except (sqlite3.DatabaseError, ValueError, TypeError, KeyError) as error:
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

    def attempted(self) -> set[str]:
        """Return the reviews that were about to be written when the last run ended."""
        return {review_id for (review_id,) in self._db.execute("SELECT review_id FROM attempt")}

    def begin(self, checkpoint: Checkpoint) -> None:
        """Forget the last run and begin another."""
        with self._transaction():
            for table in ("attempt", "seen", "missing"):
                self._db.execute(f"DELETE FROM {table}")
            self._save(checkpoint)

    def attempt(self, review_ids: Iterable[str]) -> None:
        """Note which reviews are about to be written."""
        with self._transaction():
            self._db.execute("DELETE FROM attempt")
            self._db.executemany(
                "INSERT INTO attempt VALUES (?)", ((review_id,) for review_id in review_ids)
            )

    def commit(self, checkpoint: Checkpoint, seen: Iterable[Seen]) -> None:
        """Move the checkpoint, after the store and the reject file have what lies before it."""
        with self._transaction():
            self._db.executemany(
                "INSERT INTO seen VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                "digest = excluded.digest, file = excluded.file, line = excluded.line "
                "WHERE digest IS NULL",
                seen,
            )
            self._save(checkpoint)

    def finish(self, checkpoint: Checkpoint) -> None:
        """Note that the run is complete; what it had seen is not needed any more."""
        self.begin(replace(checkpoint, finished=True))
        self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def seen(self, review_ids: Sequence[str]) -> dict[str, Seen]:
        """Find which of these reviews the run has read already."""
        rows = self._db.execute(
            "SELECT review_id, digest, file, line FROM seen "
            "WHERE review_id IN (SELECT value FROM json_each(?))",
            (orjson.dumps(review_ids).decode(),),
        )
        return {row[0]: Seen(*row) for row in rows}

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
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
        except sqlite3.Error as error:
            raise _unwritable(self.path, error) from error


def _lock(path: Path) -> FileLock:
    return FileLock(path.with_suffix(".lock"))


def _is_running(path: Path) -> bool:
    try:
        with _lock(path).acquire(blocking=False):
            return False
    except Timeout:
        return True
    except OSError:
        # Whoever may only read the folder cannot tell.
        return False


def _unwritable(path: Path, error: Exception) -> JobError:
    return JobError(
        f"the checkpoint cannot be written: {error}",
        where=str(path),
        remedy="Make room, or name another folder: --state FOLDER.",
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
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            row = db.execute("SELECT checkpoint FROM progress").fetchone()
            checkpoint = None if row is None else Checkpoint.loads(row[0])
        except (sqlite3.DatabaseError, ValueError, TypeError, KeyError):
            # A damaged one: the next run of the job starts anew.
            continue
        finally:
            db.close()
        if checkpoint is not None:
            found[path.stem] = {
                "finished": checkpoint.finished,
                "running": not checkpoint.finished and _is_running(path),
                "seconds": checkpoint.seconds,
                **asdict(checkpoint.counts),
            }
    return found
