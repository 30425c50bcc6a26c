"""The vectors of the embedded store: a memory-mapped file, derived from the ledger.

`vectors-SPACE-EPOCH.f32` holds rows of 32-bit floats (of length 1 where the similarity is the
cosine), `vectors-SPACE-EPOCH.rows` their row numbers in ascending order, and
`vectors-SPACE.json` says how many of them count and of which generation they are. Files are only
ever appended to; deleted rows are skipped until so many are dead that the rest is copied into
the next epoch's files. A reader therefore needs no lock: what it has mapped stays as it was.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import MissingDependencyError
from qa_system.records import Similarity
from qa_system.stores.documents import decode_vectors
from qa_system.stores.embedded.derived.stamps import read_stamp, write_stamp
from qa_system.stores.embedded.ledger.snapshot import Rows, Snapshot

__all__ = ["Candidates", "Found", "StaleSnapshotError", "VectorFiles", "VectorView", "import_faiss"]

log = logging.getLogger(__name__)

Matrix = NDArray[np.float32]
Positions = NDArray[np.int64]
Found = tuple[int, float, int]
"""A row, its score, and which of its passages has that score."""
Candidates = Callable[[Matrix, int, NDArray[np.bool_]], NDArray[np.int64]]
"""An approximate search: (queries, how many, allowed positions) -> positions, -1 for none."""

GATHERED: Final = 4_000
"""Up to so many rows are copied together and scored; more are scored in place by a selector."""
LONG_TAIL: Final = 4_000
DEAD_SHARE: Final = 0.25
FEWEST_DEAD: Final = 1_000


class StaleSnapshotError(Exception):
    """The files have moved on from the snapshot; a new one will fit them."""


def import_faiss() -> Any:
    """Import FAISS.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import faiss
    except ImportError as fault:
        raise MissingDependencyError(
            "searching many vectors needs FAISS",
            remedy="Install it: pip install 'qa-system[cpu]', or [gpu].",
        ) from fault
    return faiss


@dataclass(frozen=True)
class VectorView:
    """The vectors as they were at one generation.

    Args:
        store_id: of which store.
        generation: which.
        space: the set of embeddings.
        epoch: of the files; -1 where there are none.
        since: the generation that the files were begun at.
        similarity: how they are compared.
        rows: their row numbers, ascending; those of `tail` follow those of `matrix`. The
            passages of one review have its row, in their order.
        matrix: the memory-mapped file, (n, d).
        tail: vectors that are not in the file yet, (m, d).
        live: which positions are not deleted.
    """

    store_id: str
    generation: int
    space: int
    epoch: int
    since: int
    similarity: Similarity
    rows: Rows
    matrix: Matrix
    tail: Matrix
    live: NDArray[np.bool_] = field(repr=False)

    @cached_property
    def count(self) -> int:
        """How many live vectors there are."""
        return int(np.count_nonzero(self.live))

    @cached_property
    def has_passages(self) -> bool:
        """Whether a row has several vectors."""
        return bool((self.rows[1:] == self.rows[:-1]).any())

    def positions(self, rows: Rows) -> Positions:
        """Return the positions of the live vectors of some rows."""
        found = _positions(self.rows, rows)
        live: Positions = found[self.live[found]]
        return live

    def vectors(self, positions: Positions) -> Matrix:
        """Copy vectors together."""
        if not len(self.tail):
            return self.matrix[positions]
        inside = positions < len(self.matrix)
        copied = np.empty((len(positions), self.matrix.shape[1]), np.float32)
        copied[inside] = self.matrix[positions[inside]]
        copied[~inside] = self.tail[positions[~inside] - len(self.matrix)]
        return copied

    def search(
        self,
        queries: Matrix,
        top_k: int,
        allowed: Rows | None,
        candidates: Candidates | None = None,
        covered: int = 0,
    ) -> list[list[Found]]:
        """Return the rows nearest to each query, best first: as many as there are, up to top_k.

        A row is as near as the nearest of its vectors.

        Args:
            queries: (n, d) vectors, as they come from the encoder.
            top_k: how many, at most.
            allowed: the rows that a filter selects, ascending; None: all.
            candidates: an approximate search, used where it can be trusted to find enough.
            covered: the positions, from 0, that the approximate search knows.
        """
        queries = self._prepared(queries)
        if allowed is not None:
            chosen = self.positions(allowed)
            if len(chosen) <= GATHERED:
                scores = self._scores(queries, self.vectors(chosen))
                return [self._best(chosen, row, top_k) for row in scores]
            mask = np.zeros(len(self.rows), np.bool_)
            mask[chosen] = True
        else:
            mask = self.live
        most = int(np.count_nonzero(mask))
        if most == 0:
            return [[] for _ in queries]
        wanted = min(top_k, most)
        while True:
            hits = self._nearest(queries, wanted, mask, candidates, covered)
            # Several of the nearest vectors may be of one row.
            if wanted == most or all(len(found) >= top_k for found in hits):
                return [found[:top_k] for found in hits]
            wanted = min(4 * wanted, most)

    def _nearest(
        self,
        queries: Matrix,
        wanted: int,
        mask: NDArray[np.bool_],
        candidates: Candidates | None,
        covered: int,
    ) -> list[list[Found]]:
        if candidates is None:
            found = self._scan(queries, wanted, mask, 0)
        else:
            rest = self._scan(queries, wanted, mask, covered)
            found = np.hstack([candidates(queries, wanted, mask), rest])
        hits = []
        for query, places in zip(queries, found, strict=True):
            chosen = np.unique(places[places >= 0])
            chosen = chosen[mask[chosen]]
            if len(chosen) < wanted:
                places = self._scan(query[None], wanted, mask, 0)[0]
                chosen = places[places >= 0]
            scores = self._scores(query[None], self.vectors(chosen))[0]
            hits.append(self._best(chosen, scores, wanted, wanted))
        return hits

    def _prepared(self, queries: Matrix) -> Matrix:
        queries = np.ascontiguousarray(queries, np.float32)
        return normalized(queries) if self.similarity == "cosine" else queries

    def _scores(self, queries: Matrix, vectors: Matrix) -> Matrix:
        if self.similarity != "l2":
            return queries @ vectors.T
        scores = np.empty((len(queries), len(vectors)), np.float32)
        for place, query in enumerate(queries):
            difference = vectors - query
            scores[place] = -np.einsum("ij,ij->i", difference, difference)
        return scores

    def _best(
        self, positions: Positions, scores: Matrix, top_k: int, depth: int | None = None
    ) -> list[Found]:
        # Ties go to the older row, so that an answer does not depend on how it was found.
        # Beyond `depth` the positions are not all there, and a row could seem too far away.
        order = np.lexsort((positions, -scores))[:depth]
        if self.has_passages:
            _, first = np.unique(self.rows[positions[order]], return_index=True)
            order = order[np.sort(first)]
        chosen = positions[order[:top_k]]
        rows = self.rows[chosen]
        passages = chosen - np.searchsorted(self.rows, rows)
        scored = scores[order[:top_k]].tolist()
        return list(zip(rows.tolist(), scored, passages.tolist(), strict=True))

    def _scan(
        self, queries: Matrix, top_k: int, mask: NDArray[np.bool_], start: int
    ) -> NDArray[np.int64]:
        """Score every allowed position from `start` on; -1 where there are fewer than top_k."""
        size = len(self.matrix)
        parts = []
        for block, first in ((self.matrix[start:], start), (self.tail, size)):
            if not len(block):
                continue
            places = _nearest(
                queries, block, top_k, mask[first : first + len(block)], self.similarity
            )
            parts.append(np.where(places < 0, -1, places + first))
        return np.hstack(parts) if parts else np.empty((len(queries), 0), np.int64)


def _positions(rows: Rows, wanted: Rows) -> Positions:
    """Return the positions of some rows among rows that ascend and may repeat."""
    first = np.searchsorted(rows, wanted)
    counts = np.searchsorted(rows, wanted, "right") - first
    before = np.cumsum(counts) - counts
    return np.repeat(first - before, counts) + np.arange(counts.sum())


def _nearest(
    queries: Matrix, vectors: Matrix, top_k: int, mask: NDArray[np.bool_], similarity: Similarity
) -> NDArray[np.int64]:
    faiss = import_faiss()
    bits = np.packbits(mask, bitorder="little")
    selector = faiss.IDSelectorBitmap(len(mask), faiss.swig_ptr(bits))
    scores = np.empty((len(queries), top_k), np.float32)
    places = np.empty((len(queries), top_k), np.int64)
    out = (top_k, faiss.swig_ptr(scores), faiss.swig_ptr(places))
    shape = (vectors.shape[1], len(queries), len(vectors))
    pointers = (faiss.swig_ptr(queries), faiss.swig_ptr(vectors))
    if similarity == "l2":
        faiss.knn_L2sqr(*pointers, *shape, *out, None, selector)
    else:
        faiss.knn_inner_product(*pointers, *shape, *out, selector)
    return places


def normalized(vectors: Matrix) -> Matrix:
    """Give the vectors with length 1; a zero vector stays one.

    >>> normalized(np.array([[3.0, 4.0], [0.0, 0.0]], np.float32)).tolist()
    [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    wide = vectors.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    return (wide / np.where(lengths == 0, 1, lengths)).astype(np.float32)


class VectorFiles:
    """The files: mapped by readers, brought up to date by the writer.

    Args:
        folder: the store's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._view: VectorView | None = None

    def view(self, snapshot: Snapshot) -> VectorView:
        """Give the vectors at the snapshot's generation, wherever the files have got to.

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
        if known is not None and (stamp is None or stamp["generation"] < state.generation):
            return known
        rows, matrix = np.empty(0, np.int64), np.empty((0, state.embedding_dim or 1), np.float32)
        epoch = since = -1
        covered = 0
        if stamp is not None:
            try:
                rows, matrix = self._map(state.space, stamp)
            except (OSError, ValueError) as fault:
                if self._read_stamp(snapshot) != stamp:
                    raise StaleSnapshotError from fault
                log.warning("the vectors in %s cannot be read: %s", self._folder, fault)
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
        live[_positions(rows, dead)] = False
        return live

    def lag(self, snapshot: Snapshot) -> bool:
        """Whether the files lack so much that it is better waited for than read elsewhere."""
        state, known = snapshot.state, self._view
        if state.embedding_dim is None:
            return False
        if known is not None and known.generation == state.generation:
            return len(known.tail) > LONG_TAIL
        stamp = self._read_stamp(snapshot)
        if stamp is None or not self._is_sound(state.space, stamp):
            return True
        return bool(snapshot.last_row() - stamp["last_row"] > LONG_TAIL)

    def catch_up(self, snapshot: Snapshot) -> None:
        """Bring the files to the snapshot's generation; the caller holds the writer's lock."""
        state = snapshot.state
        if state.embedding_dim is None:
            return
        stamp = self._read_stamp(snapshot)
        if stamp is not None and not self._is_sound(state.space, stamp):
            stamp = None
        if stamp is None or not stamp["generation"] <= state.generation:
            if stamp is not None or any(self._folder.glob("vectors-*")):
                log.warning("the vectors in %s are built anew from the ledger", self._folder)
            self.write_space(snapshot, state.space, state.embedding_dim)
        elif stamp["since"] < state.history or self._is_worn(snapshot, stamp):
            self.write_space(snapshot, state.space, state.embedding_dim)
        elif stamp["generation"] < state.generation:
            self._append(snapshot, state.space, stamp)
        self._sweep(snapshot)

    def write_space(self, snapshot: Snapshot, space: int, dimension: int) -> None:
        """Write the vectors of a space into files of a new epoch."""
        epochs = [int(path.stem.split("-")[2]) for path in self._folder.glob(f"vectors-{space}-*")]
        stamp = {
            "store_id": snapshot.state.store_id,
            "epoch": max(epochs, default=-1) + 1,
            "since": snapshot.state.generation,
            "count": 0,
            "last_row": 0,
            "dimension": dimension,
        }
        self._append(snapshot, space, stamp)

    def since(self, snapshot: Snapshot) -> int | None:
        """Give the generation since which the files need the tombstones; None if they don't."""
        stamp = self._read_stamp(snapshot)
        return None if stamp is None else int(stamp["since"])

    def generation(self, snapshot: Snapshot) -> int:
        """Give the generation that the files say they are of, -1 if they say nothing."""
        stamp = self._read_stamp(snapshot)
        return -1 if stamp is None else int(stamp["generation"])

    def close(self) -> None:
        """Let the files go."""
        self._view = None

    def _append(self, snapshot: Snapshot, space: int, stamp: dict[str, Any]) -> None:
        state, dimension = snapshot.state, stamp["dimension"]
        vectors_path, rows_path = self._paths(space, stamp["epoch"])
        count = stamp["count"]
        with _at(vectors_path, 4 * count * dimension) as vectors, _at(rows_path, 8 * count) as rows:
            for chunk, packed in snapshot.iter_vectors(space, stamp["last_row"]):
                matrix = decode_vectors(packed, dimension)
                if state.similarity == "cosine":
                    matrix = normalized(matrix)
                vectors.write(matrix.tobytes())
                rows.write(chunk.tobytes())
                count += len(chunk)
            for file in (vectors, rows):
                file.flush()
                os.fsync(file.fileno())
        now = {"generation": state.generation, "count": count, "last_row": snapshot.last_row()}
        write_stamp(self._stamp_path(space), stamp | now)

    def _is_worn(self, snapshot: Snapshot, stamp: dict[str, Any]) -> bool:
        dead = snapshot.count_tombstones(stamp["since"])
        return bool(dead > max(FEWEST_DEAD, DEAD_SHARE * stamp["count"]))

    def _is_sound(self, space: int, stamp: dict[str, Any]) -> bool:
        vectors_path, rows_path = self._paths(space, stamp["epoch"])
        try:
            sizes = vectors_path.stat().st_size, rows_path.stat().st_size
        except OSError:
            return False
        count = int(stamp["count"])
        return sizes[0] >= 4 * count * stamp["dimension"] and sizes[1] >= 8 * count

    def _sweep(self, snapshot: Snapshot) -> None:
        """Remove the files of earlier epochs and of spaces that are no more."""
        state = snapshot.state
        spaces = {state.space, state.pending_space}
        for path in self._folder.glob("vectors-*"):
            space, *epoch = path.stem.removeprefix("vectors-").split("-")
            stamp = read_stamp(self._stamp_path(int(space))) if epoch else None
            is_old = stamp is not None and int(epoch[0]) != stamp["epoch"]
            if is_old or int(space) not in spaces:
                path.unlink(missing_ok=True)

    def _map(self, space: int, stamp: dict[str, Any]) -> tuple[Rows, Matrix]:
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
        stamp = read_stamp(self._stamp_path(snapshot.state.space))
        known = (snapshot.state.store_id, snapshot.state.embedding_dim)
        if stamp is None or (stamp.get("store_id"), stamp.get("dimension")) != known:
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


@contextmanager
def _at(path: Path, size: int) -> Iterator[BinaryIO]:
    """Open a file for appending after its first `size` bytes; what a crash left there goes."""
    path.touch()
    with path.open("r+b") as file:
        file.truncate(size)
        file.seek(size)
        yield file
