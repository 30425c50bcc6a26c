"""The vectors of the embedded store: a memory-mapped file, derived from the ledger.

`vectors-SPACE-EPOCH.f32` holds rows of 32-bit floats (of length 1 where the similarity is the
cosine), `vectors-SPACE-EPOCH.rows` their row numbers in ascending order, and
`vectors-SPACE.json` says how many of them count, with which checksums, and of which generation they
are. Files are only
ever appended to; deleted rows are skipped until so many are dead that the rest is copied into
the next epoch's files. A reader therefore needs no lock: what it has mapped stays as it was.
Files that cannot be appended to are written anew as the next epoch's, too.
"""

from __future__ import annotations

import logging
import os
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qa_system.stores.documents import decode_vectors
from qa_system.stores.embedded.access import append_to
from qa_system.stores.embedded.checksums import Checker, record_of
from qa_system.stores.embedded.derived.vector_view import (
    Matrix,
    VectorView,
    normalized,
    positions_of,
)
from qa_system.stores.embedded.layout import VECTORS_FILE, VECTORS_STAMP
from qa_system.stores.embedded.ledger.snapshot import Rows, Snapshot
from qa_system.stores.embedded.stamps import FILES, read_stamp, write_stamp

__all__ = ["StaleSnapshotError", "VectorFiles"]

log = logging.getLogger(__name__)

LONG_TAIL: Final = 4_000
DEAD_SHARE: Final = 0.25
FEWEST_DEAD: Final = 1_000
_STAMP: Final[dict[str, type]] = {
    "store_id": str,
    "epoch": int,
    "since": int,
    "generation": int,
    "count": int,
    "last_row": int,
    "dimension": int,
}


class StaleSnapshotError(Exception):
    """The files have moved on from the snapshot; a new one will fit them."""


class VectorFiles:
    """The files: mapped by readers, brought up to date by the writer.

    Args:
        folder: the store's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._view: VectorView | None = None
        self._unusable: dict[str, Any] | None = None
        self._checker = Checker()

    def view(self, snapshot: Snapshot) -> VectorView:
        """Return the vectors at the snapshot's generation, wherever the files have got to.

        Rows that the files lack are read from the ledger, rows that are too new for the
        snapshot are left out.

        Raises:
            StaleSnapshotError: the files were compacted after the snapshot.
        """
        state, known = snapshot.state, self._view
        if known is not None and (known.store_id, known.generation) != (
            state.store_id,
            state.generation,
        ):
            known = None
        if known is not None and not len(known.tail):
            return known
        stamp = self._read_stamp(snapshot)
        if stamp is not None and stamp == self._unusable:
            stamp = None
        if known is not None and (stamp is None or stamp["generation"] < state.generation):
            return known
        rows, matrix = np.empty(0, np.int64), np.empty((0, state.embedding_dim or 1), np.float32)
        epoch = since = -1
        covered = 0
        if stamp is not None:
            try:
                rows, matrix = self._map(state.space, stamp)
            except (OSError, ValueError) as error:
                if self._read_stamp(snapshot) != stamp:
                    raise StaleSnapshotError from error
                self._unusable = stamp
                log.warning("the vectors in %s cannot be used: %s", self._folder, error)
            else:
                epoch, since, covered = stamp["epoch"], stamp["since"], stamp["last_row"]
                if since > state.generation:
                    raise StaleSnapshotError
        newer = int(np.searchsorted(rows, snapshot.last_row(), "right"))
        rows, matrix = rows[:newer], matrix[:newer]
        tail_rows, tail = _read_tail(snapshot, covered)
        if len(tail_rows):
            rows = np.concatenate([rows, tail_rows])
        view = VectorView(
            store_id=state.store_id,
            generation=state.generation,
            space=state.space,
            epoch=epoch,
            since=since,
            similarity=state.similarity,
            rows=rows,
            matrix=matrix,
            tail=tail,
            live=self._live(snapshot, rows, epoch, since),
        )
        self._view = view
        return view

    def find_damage(self, snapshot: Snapshot) -> str | None:
        """Read the files again, and return what is wrong with them; None: nothing.

        Files that are damaged are not searched any more.
        """
        self._checker.read_again()
        stamp = self._read_stamp(snapshot)
        found = None if stamp is None else self._damage(snapshot.state.space, stamp)
        if found is None or self._read_stamp(snapshot) != stamp:
            return None
        self._unusable, self._view = stamp, None
        return found

    def has_checksums(self, snapshot: Snapshot) -> bool:
        """Whether it can be told that the files are what was written."""
        return FILES in (self._read_stamp(snapshot) or {})

    def give_up(self, snapshot: Snapshot) -> None:
        """Use the files no more as they are now: they are ahead of the ledger, or contradict it."""
        # Without the view: it is of those files, and would be returned after they are built anew.
        self._unusable, self._view = self._read_stamp(snapshot), None

    def _live(self, snapshot: Snapshot, rows: Rows, epoch: int, since: int) -> NDArray[np.bool_]:
        state, known = snapshot.state, self._view
        live = np.ones(len(rows), np.bool_)
        if since < state.history:
            sql = f"SELECT row FROM embeddings_{state.space}"
            existing = np.fromiter((row for (row,) in snapshot.execute(sql)), np.int64)
            return np.isin(rows, existing)
        same = (
            known is not None
            and (known.store_id, known.space, known.epoch) == (state.store_id, state.space, epoch)
            and state.history <= known.generation <= state.generation
            and not len(known.tail)
        )
        if known is not None and same:
            live[: len(known.live)] = known.live
            since = known.generation
        dead = snapshot.tombstones(since)
        live[positions_of(rows, dead)] = False
        return live

    def lag(self, snapshot: Snapshot) -> bool:
        """Whether the files lack so much that it is better waited for than read elsewhere."""
        state, known = snapshot.state, self._view
        if state.embedding_dim is None:
            return False
        if known is not None and known.generation == state.generation:
            return len(known.tail) > LONG_TAIL
        stamp = self._read_stamp(snapshot)
        if stamp is None or stamp == self._unusable or self._damage(state.space, stamp) is not None:
            return True
        return bool(snapshot.last_row() - stamp["last_row"] > LONG_TAIL)

    def catch_up(self, snapshot: Snapshot) -> None:
        """Bring the files to the snapshot's generation; the caller holds the writer's lock.

        Files that cannot follow are written anew, beside the old ones.

        Raises:
            OSError: they cannot be written anew either.
        """
        state = snapshot.state
        if state.embedding_dim is None:
            return
        try:
            is_kept, reason = self._follow(snapshot)
        except (OSError, ValueError) as error:
            is_kept, reason = False, str(error)
        if not is_kept:
            self.write_space(snapshot, state.space, state.embedding_dim)
            if reason is not None:
                log.warning("the vectors in %s were built anew: %s", self._folder, reason)
        self._sweep(snapshot)

    def _follow(self, snapshot: Snapshot) -> tuple[bool, str | None]:
        """Bring the files that count to the snapshot's generation.

        Returns:
            Whether they are there now, and the reason why not, if a user should know it.

        Raises:
            OSError: they cannot be written.
            ValueError: the same.
        """
        state = snapshot.state
        stamp = self._read_stamp(snapshot)
        if stamp is None:
            is_new = all(space != state.space for space, *_ in self._files())
            return False, None if is_new else "their stamp is missing, damaged or of another store"
        if FILES not in stamp and stamp["generation"] < state.generation:
            return False, None  # of version 0.1: from now on they have checksums
        found = self._damage(state.space, stamp)
        if found is not None:
            return False, found
        if stamp["generation"] > state.generation:
            return False, "they were newer than the ledger"
        if stamp == self._unusable:
            return False, "they contradicted the ledger"
        if stamp["since"] < state.history or self._is_worn(snapshot, stamp):
            return False, None
        if stamp["generation"] < state.generation:
            self._append(snapshot, state.space, stamp)
        return True, None

    def write_space(self, snapshot: Snapshot, space: int, dimension: int) -> None:
        """Write the vectors of a space into files of a new epoch."""
        epoch = 1 + max((known for of, known, _ in self._files() if of == space), default=-1)
        stamp = {
            "store_id": snapshot.state.store_id,
            "epoch": epoch,
            "since": snapshot.state.generation,
            "count": 0,
            "last_row": 0,
            "dimension": dimension,
        }
        try:
            self._append(snapshot, space, stamp)
        except Exception:
            for path in self._paths(space, epoch):
                path.unlink(missing_ok=True)
            raise

    def since(self, snapshot: Snapshot) -> int | None:
        """Return the generation since which the files need the tombstones; None if they don't."""
        stamp = self._read_stamp(snapshot)
        return None if stamp is None else int(stamp["since"])

    def generation(self, snapshot: Snapshot) -> int:
        """Return the generation that the files say they are of, -1 if they say nothing."""
        stamp = self._read_stamp(snapshot)
        return -1 if stamp is None else int(stamp["generation"])

    def close(self) -> None:
        """Let the files go."""
        self._view = self._unusable = None

    def _append(self, snapshot: Snapshot, space: int, stamp: dict[str, Any]) -> None:
        state, dimension = snapshot.state, stamp["dimension"]
        paths, count = self._paths(space, stamp["epoch"]), stamp["count"]
        known = stamp.get(FILES, {})
        sums = [known.get(path.name, (0, 0))[1] for path in paths]
        ends = (4 * count * dimension, 8 * count)
        with append_to(paths[0], ends[0]) as vectors, append_to(paths[1], ends[1]) as rows:
            for chunk, packed in snapshot.iter_vectors(space, stamp["last_row"]):
                matrix = decode_vectors(packed, dimension)
                if state.similarity == "cosine":
                    matrix = normalized(matrix)
                parts = (matrix.tobytes(), chunk.tobytes())
                for place, (file, part) in enumerate(zip((vectors, rows), parts, strict=True)):
                    file.write(part)
                    sums[place] = zlib.crc32(part, sums[place])
                count += len(chunk)
            for file in (vectors, rows):
                file.flush()
                os.fsync(file.fileno())
        sizes = (4 * count * dimension, 8 * count)
        files = {
            path.name: record_of(path, size, crc)
            for path, size, crc in zip(paths, sizes, sums, strict=True)
        }
        now = {"generation": state.generation, "count": count, "last_row": snapshot.last_row()}
        write_stamp(self._stamp_path(space), stamp | now | {FILES: files})

    def _is_worn(self, snapshot: Snapshot, stamp: dict[str, Any]) -> bool:
        dead = snapshot.count_tombstones(stamp["since"])
        return bool(dead > max(FEWEST_DEAD, DEAD_SHARE * stamp["count"]))

    def _damage(self, space: int, stamp: dict[str, Any]) -> str | None:
        """Return what is wrong with the files, as the end of a sentence; None: they are whole.

        Those of version 0.1 have no checksums: their sizes are compared.
        """
        count, dimension = stamp["count"], stamp["dimension"]
        records = stamp.get(FILES)
        if records is not None:
            return self._checker.damage(self._folder, records, may_grow=True)
        sizes = (4 * count * dimension, 8 * count)
        for path, size in zip(self._paths(space, stamp["epoch"]), sizes, strict=True):
            if path.is_symlink() or not path.is_file() or path.stat().st_size < size:
                return f"{path.name} is missing or too short"
        return None

    def _sweep(self, snapshot: Snapshot) -> None:
        """Remove the files of earlier epochs and of spaces that are no more."""
        state = snapshot.state
        stamps = {
            space: read_stamp(self._stamp_path(space), **_STAMP)
            for space in (state.space, state.pending_space)
            if space is not None
        }
        for path in list(self._folder.iterdir()):
            found = VECTORS_FILE.fullmatch(path.name) or VECTORS_STAMP.fullmatch(path.name)
            if found is None or not path.is_file():
                continue
            space = int(found[1])
            if space in stamps:
                stamp = stamps[space]
                if found.re is VECTORS_STAMP or stamp is None or int(found[2]) == stamp["epoch"]:
                    continue
            with suppress(OSError):  # it is tried again after the next write
                path.unlink()

    def _files(self) -> Iterator[tuple[int, int, Path]]:
        """Yield the space, the epoch and the path of every file of vectors or rows."""
        for path in self._folder.iterdir():
            found = VECTORS_FILE.fullmatch(path.name)
            if found is not None:
                yield int(found[1]), int(found[2]), path

    def _map(self, space: int, stamp: dict[str, Any]) -> tuple[Rows, Matrix]:
        found = self._damage(space, stamp)
        if found is not None:
            raise ValueError(found)
        count, dimension = stamp["count"], stamp["dimension"]
        if count == 0:
            return np.empty(0, np.int64), np.empty((0, dimension), np.float32)
        vectors_path, rows_path = self._paths(space, stamp["epoch"])
        matrix = np.memmap(vectors_path, np.float32, "r", shape=(count, dimension))
        rows = np.memmap(rows_path, np.int64, "r", shape=(count,))
        # Plain arrays over the maps: indexing a memmap costs more than scoring ten rows.
        return rows.view(np.ndarray), matrix.view(np.ndarray)

    def _paths(self, space: int, epoch: int) -> tuple[Path, Path]:
        stem = self._folder / f"vectors-{space}-{epoch}"
        return stem.with_suffix(".f32"), stem.with_suffix(".rows")

    def _stamp_path(self, space: int) -> Path:
        return self._folder / f"vectors-{space}.json"

    def _read_stamp(self, snapshot: Snapshot) -> dict[str, Any] | None:
        stamp = read_stamp(self._stamp_path(snapshot.state.space), **_STAMP)
        known = (snapshot.state.store_id, snapshot.state.embedding_dim)
        if stamp is None or (stamp["store_id"], stamp["dimension"]) != known:
            return None
        return stamp


def _read_tail(snapshot: Snapshot, after: int) -> tuple[Rows, Matrix]:
    state = snapshot.state
    if state.embedding_dim is None:
        return np.empty(0, np.int64), np.empty((0, 1), np.float32)
    rows, parts = [np.empty(0, np.int64)], [np.empty((0, state.embedding_dim), np.float32)]
    for chunk, packed in snapshot.iter_vectors(state.space, after):
        rows.append(chunk)
        parts.append(decode_vectors(packed, state.embedding_dim))
    tail = np.concatenate(parts)
    return np.concatenate(rows), normalized(tail) if state.similarity == "cosine" else tail
