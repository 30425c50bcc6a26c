"""Approximate indexes over the vectors, for unfiltered searches of large stores.

An approximate index only proposes candidates, more than were asked for; the vectors themselves
score them. It is built over a copy of the first `count` positions of one epoch's file, and the
positions after those are scored exactly, until they are so many that it is built again.
"""

from __future__ import annotations

import logging
import math
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qa_system.config.choices import IndexKind
from qa_system.errors import StoreError
from qa_system.records import Similarity
from qa_system.stores.embedded.access import create_file
from qa_system.stores.embedded.checksums import Checker, crc_of, record_of
from qa_system.stores.embedded.derived.gpu import DEEPEST, NOT_ON_GPU, on_gpu
from qa_system.stores.embedded.derived.vector_view import Found, Matrix, VectorView, import_faiss
from qa_system.stores.embedded.stamps import FILES, read_stamp, replace_file, write_stamp

__all__ = ["ApproximateIndex", "IndexKind", "chosen_kind"]

log = logging.getLogger(__name__)


AUTO_FLAT: Final = 200_000
"""Below this an exact scan takes some 20 ms, and is exact."""
FEWEST: Final = {"hnsw": 1_000, "ivf_flat": 1_000, "ivf_pq": 10_000, "sq8": 1_000}
"""Vectors without which it cannot be trained, or is not worth it."""
OVERSAMPLE: Final = {"flat": 2, "hnsw": 4, "ivf_flat": 2, "ivf_pq": 20, "sq8": 4}
FEWEST_CANDIDATES: Final = 64
TAIL_SHARE: Final = 0.25
BROAD_SHARE: Final = 0.25
"""A filter that leaves less than this is scored exactly: a graph or a list that is mostly
forbidden loses its neighbours."""
HNSW_LINKS: Final = 32
HNSW_BREADTH: Final = 128
TRAINED_PER_LIST: Final = 64
_CHUNK: Final = 50_000
_STAMP: Final[dict[str, type]] = {"kind": str, "space": int, "epoch": int, "count": int}


def chosen_kind(kind: IndexKind, count: int) -> str:
    """Return the kind of index that so many vectors are searched by.

    >>> chosen_kind("auto", 10_000), chosen_kind("auto", 1_000_000), chosen_kind("hnsw", 10)
    ('flat', 'ivf_flat', 'flat')
    """
    if kind == "auto":
        return "flat" if count < AUTO_FLAT else "ivf_flat"
    return kind if kind != "flat" and count >= FEWEST[kind] else "flat"


@dataclass(frozen=True)
class _Loaded:
    index: Any
    kind: str
    space: int
    epoch: int
    count: int
    is_on_gpu: bool


class ApproximateIndex:
    """The approximate index of a store, in a file beside the vectors.

    Args:
        folder: the store's folder.
        kind: which.
        gpu: search on the first GPU what it can hold; what it cannot is logged.
    """

    def __init__(self, folder: Path, kind: IndexKind, *, gpu: bool) -> None:
        self._path = folder / "ann.faiss"
        self._stamp_path = folder / "ann.json"
        self._kind: IndexKind = kind
        self._gpu = gpu
        if kind in NOT_ON_GPU and gpu:
            self._gpu = False
            log.warning(
                "FAISS has no %s index for a GPU, a CPU searches it; store.index has flat,"
                " ivf_flat and ivf_pq for a GPU",
                kind,
            )
        self._loaded: _Loaded | None = None
        self._unusable: dict[str, Any] | None = None
        self._checker = Checker()

    def is_due(self, view: VectorView) -> bool:
        """Whether the files lack the index that the view should be searched by."""
        kind = chosen_kind(self._kind, view.count)
        if kind == "flat" or not len(view.matrix):
            return False
        stamp = self._stamp(view, kind)
        return stamp is None or len(view.rows) - stamp["count"] > TAIL_SHARE * stamp["count"]

    def build(self, view: VectorView) -> None:
        """Build the index over the view's file; the caller holds the writer's lock.

        Raises:
            StoreError: it cannot be written; the vectors are searched exactly then.
        """
        faiss = import_faiss()
        kind, matrix = chosen_kind(self._kind, view.count), view.matrix
        log.info("building the %s index over %d vectors", kind, len(matrix))
        index = _new_index(faiss, kind, view.similarity, *matrix.shape)
        if not index.is_trained:
            most = TRAINED_PER_LIST * max(getattr(index, "nlist", 0), 256)
            sample = np.linspace(0, len(matrix) - 1, min(most, len(matrix))).astype(np.int64)
            index.train(matrix[sample])
        for start in range(0, len(matrix), _CHUNK):
            index.add(matrix[start : start + _CHUNK])
        fresh = self._path.with_name(f"{self._path.name}.new")
        try:
            fresh.unlink(missing_ok=True)
            create_file(fresh).close()  # FAISS would make it for everybody to read
            faiss.write_index(index, str(fresh))
            crc, size = crc_of(fresh), fresh.stat().st_size
            self._stamp_path.unlink(missing_ok=True)
            replace_file(fresh, self._path)
            stamp = {
                "store_id": view.store_id,
                "kind": kind,
                "space": view.space,
                "epoch": view.epoch,
                "count": len(matrix),
                FILES: {self._path.name: record_of(self._path, size, crc)},
            }
            write_stamp(self._stamp_path, stamp)
        except (OSError, RuntimeError) as error:  # FAISS raises RuntimeError on a full disk
            with suppress(OSError):
                fresh.unlink(missing_ok=True)
            raise StoreError(
                f"the {kind} index cannot be written: {error}",
                where=str(self._path),
                remedy="Check the folder's permissions and the disk's free space; until it is"
                " built, the vectors are searched exactly.",
            ) from error
        self._loaded = self._unusable = None

    def search(
        self, view: VectorView, queries: Matrix, top_k: int, allowed: Any
    ) -> list[list[Found]]:
        """Search the view, by the index where it can be trusted to find enough."""
        narrow = allowed is not None and len(allowed) < BROAD_SHARE * view.count
        loaded = None if narrow else self._load(view)
        if loaded is None:
            return view.search(queries, top_k, allowed)

        def candidates(queries: Matrix, wanted: int, mask: NDArray[np.bool_]) -> NDArray[np.int64]:
            return _candidates(loaded, queries, wanted, mask)

        return view.search(queries, top_k, allowed, candidates, loaded.count)

    def find_damage(self, view: VectorView) -> str | None:
        """Read the file again, and return what is wrong with it; None: nothing, or it is not used.

        A file that is damaged is not searched any more.
        """
        self._checker.read_again()
        known = read_stamp(self._stamp_path, **_STAMP)
        if chosen_kind(self._kind, view.count) == "flat" or known is None or FILES not in known:
            return None
        found = self._damage(known)
        if found is not None:
            self._loaded = None
        return found

    def close(self) -> None:
        """Let the index go."""
        self._loaded = self._unusable = None

    def _stamp(self, view: VectorView, kind: str) -> dict[str, Any] | None:
        stamp = read_stamp(self._stamp_path, **_STAMP)
        wanted = (kind, view.space, view.epoch)
        if stamp is None or (stamp["kind"], stamp["space"], stamp["epoch"]) != wanted:
            return None
        is_other = stamp.get("store_id", view.store_id) != view.store_id
        if is_other or stamp == self._unusable or stamp["count"] > len(view.matrix):
            return None
        if FILES not in stamp:
            return None  # of version 0.1: a damaged file can keep FAISS reading for ever
        found = self._damage(stamp)
        if found is None:
            return stamp
        if stamp == read_stamp(self._stamp_path, **_STAMP):
            self._give_up(stamp, found)
        return None

    def _read(self, faiss: Any, stamp: dict[str, Any], view: VectorView) -> Any:
        """Return the index, None if the file is not what the stamp says, which is logged once."""
        try:
            index = faiss.read_index(str(self._path), faiss.IO_FLAG_MMAP)
        except RuntimeError as error:
            reason = str(error)
        else:
            if (index.ntotal, index.d) == (stamp["count"], view.matrix.shape[1]):
                return index
            reason = f"it holds {index.ntotal} vectors of {index.d} numbers"
        if stamp == read_stamp(self._stamp_path):
            self._give_up(stamp, reason)
        return None

    def _give_up(self, stamp: dict[str, Any], reason: str) -> None:
        self._unusable = stamp
        log.warning(
            "the index %s cannot be used: %s; the vectors are searched exactly until a writer"
            " builds it anew",
            self._path,
            reason,
        )

    def _damage(self, stamp: dict[str, Any]) -> str | None:
        return self._checker.damage(self._path.parent, stamp[FILES])

    def _load(self, view: VectorView) -> _Loaded | None:
        kind, known = chosen_kind(self._kind, view.count), self._loaded
        if kind == "flat" and not self._gpu:
            return None
        if (
            known is not None
            and (known.kind, known.space, known.epoch) == (kind, view.space, view.epoch)
            and known.count <= len(view.matrix)
            and len(view.rows) - known.count <= TAIL_SHARE * known.count
        ):
            return known
        faiss = import_faiss()
        if kind == "flat":
            index, count = _flat(faiss, view), len(view.matrix)
        else:
            stamp = self._stamp(view, kind)
            if stamp is None:
                return None
            found = self._read(faiss, stamp, view)
            if found is None or stamp != self._stamp(view, kind):
                return None  # unusable, or replaced since the stamp was read
            index, count = found, stamp["count"]
        if hasattr(index, "nprobe"):
            index.nprobe = min(max(8, index.nlist // 32), DEEPEST)
        copied = on_gpu(faiss, index, kind) if self._gpu else None
        if self._gpu and copied is None:
            self._gpu = False
            return self._load(view)
        is_on_gpu, index = copied is not None, index if copied is None else copied
        self._loaded = _Loaded(index, kind, view.space, view.epoch, count, is_on_gpu)
        return self._loaded


def _metric(faiss: Any, similarity: Similarity) -> Any:
    return faiss.METRIC_L2 if similarity == "l2" else faiss.METRIC_INNER_PRODUCT


def _new_index(faiss: Any, kind: str, similarity: Similarity, count: int, dimension: int) -> Any:
    metric = _metric(faiss, similarity)
    lists = max(1, min(int(4 * math.sqrt(count)), count // 39))
    if kind == "hnsw":
        index = faiss.IndexHNSWFlat(dimension, HNSW_LINKS, metric)
        index.hnsw.efConstruction = HNSW_BREADTH
        return index
    if kind == "sq8":
        return faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_8bit, metric)
    description = f"IVF{lists},Flat"
    if kind == "ivf_pq":
        parts = max(part for part in range(1, dimension // 4 + 2) if dimension % part == 0)
        # np: without polysemous training, which takes minutes and is not used by an IVF search.
        description = f"IVF{lists},PQ{parts}np"
    return faiss.index_factory(dimension, description, metric)


def _flat(faiss: Any, view: VectorView) -> Any:
    index = faiss.IndexFlat(view.matrix.shape[1], _metric(faiss, view.similarity))
    for start in range(0, len(view.matrix), _CHUNK):
        index.add(view.matrix[start : start + _CHUNK])
    return index


def _candidates(
    loaded: _Loaded, queries: Matrix, wanted: int, mask: NDArray[np.bool_]
) -> NDArray[np.int64]:
    depth = min(max(OVERSAMPLE[loaded.kind] * wanted, FEWEST_CANDIDATES), loaded.count)
    if loaded.is_on_gpu:
        if wanted > DEEPEST:
            return np.empty((len(queries), 0), np.int64)  # who asked scores all vectors then
        depth = min(depth, DEEPEST)
        # A GPU knows no selector; who asked leaves out what is not allowed.
        return np.asarray(loaded.index.search(queries, depth)[1], np.int64)
    faiss = import_faiss()
    bits = np.packbits(mask[: loaded.count], bitorder="little")
    selector = faiss.IDSelectorBitmap(loaded.count, faiss.swig_ptr(bits))
    if loaded.kind == "hnsw":
        options = faiss.SearchParametersHNSW(sel=selector, efSearch=max(HNSW_BREADTH, 2 * depth))
    elif loaded.kind in ("flat", "sq8"):
        options = faiss.SearchParameters(sel=selector)
    else:
        options = faiss.SearchParametersIVF(sel=selector, nprobe=loaded.index.nprobe)
    return np.asarray(loaded.index.search(queries, depth, params=options)[1], np.int64)
