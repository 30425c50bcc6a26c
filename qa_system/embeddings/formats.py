"""Finished vectors as a file: `.npy`, `.parquet` or `.safetensors`, written block by block."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.embeddings.working import Working
from qa_system.errors import ConfigError, MissingDependencyError

__all__ = ["FORMATS", "Vectors", "check_format", "write_file"]

BLOCK_BYTES: Final = 1 << 22
SAFETENSORS_NAMES: Final = {"float32": "F32", "int8": "I8", "uint8": "U8", "int32": "I32"}

Tensor = tuple[str, np.dtype[Any], tuple[int, ...]]
"""A tensor's name, dtype and shape."""


@dataclass(frozen=True)
class Vectors:
    """Vectors as they are written.

    Args:
        working: where they are.
        width: numbers of a vector as it is written.
        dtype: of these numbers.
        change: makes them of the vectors as they were computed.
        by_token: whether a row has a vector for each token.
    """

    working: Working
    width: int
    dtype: np.dtype[Any]
    change: Callable[[NDArray[np.float32]], NDArray[Any]]
    by_token: bool

    def blocks(self) -> Iterator[NDArray[Any]]:
        """Yield all vectors, some at a time."""
        whole = self.working.counts.vectors
        step = max(BLOCK_BYTES // (4 * self.working.dimension), 1)
        for start in range(0, whole, step):
            yield self.change(self.working.vectors(start, min(start + step, whole)))


def check_format(out: Path, *, by_token: bool) -> None:
    """Refuse a name that says no format, and `.npy` for the vectors of tokens.

    Raises:
        ConfigError: naming those that there are.
        MissingDependencyError: Parquet is written without pyarrow.
    """
    known = [name for name in FORMATS if not (by_token and name == ".npy")]
    if out.suffix not in known:
        of = "the vectors of tokens" if by_token else "vectors"
        raise ConfigError(
            f"{of} cannot be written as {out.suffix or 'a file without an ending'!r}",
            where=str(out),
            remedy=f"Name a file that ends in {' or '.join(known)}: --out FILE.",
        )
    if out.suffix == ".parquet":
        _pyarrow()


def write_file(vectors: Vectors, path: Path, suffix: str) -> None:
    """Write vectors to a file.

    Args:
        vectors: to write.
        path: of the file.
        suffix: of the format: `.npy`, `.parquet` or `.safetensors`.
    """
    FORMATS[suffix](vectors, path)


def _write_npy(vectors: Vectors, path: Path) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(vectors.dtype),
        "fortran_order": False,
        "shape": (vectors.working.counts.vectors, vectors.width),
    }
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in vectors.blocks():
            file.write(np.ascontiguousarray(block).data)


def _write_safetensors(vectors: Vectors, path: Path) -> None:
    """Write `embeddings`; of tokens also `lengths` (a number a row) and `offsets` (characters)."""
    counts = vectors.working.counts
    tensors: list[Tensor] = []
    if vectors.by_token:
        tensors.append(("lengths", np.dtype(np.int32), (counts.rows,)))
        tensors.append(("offsets", np.dtype(np.int32), (counts.vectors, 2)))
    # What may have single bytes comes last, so that all numbers are aligned.
    tensors.append(("embeddings", vectors.dtype, (counts.vectors, vectors.width)))
    with path.open("wb") as file:
        file.write(_safetensors_header(tensors))
        if vectors.by_token:
            file.write(vectors.working.lengths().tobytes())
            _copy(vectors.working.folder / "offsets", file)
        for block in vectors.blocks():
            file.write(np.ascontiguousarray(block).data)


def _safetensors_header(tensors: list[Tensor]) -> bytes:
    header: dict[str, Any] = {}
    at = 0
    for name, dtype, shape in tensors:
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        header[name] = {
            "dtype": SAFETENSORS_NAMES[dtype.name],
            "shape": list(shape),
            "data_offsets": [at, at + size],
        }
        at += size
    text = orjson.dumps(header)
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _copy(source: Path, target: IO[bytes]) -> None:
    with source.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            target.write(block)


def _write_parquet(vectors: Vectors, path: Path) -> None:
    """Write a row a text: `id` where there are ids, `embedding`, and of tokens `offsets`."""
    pa, pq = _pyarrow()
    vector = pa.list_(pa.from_numpy_dtype(vectors.dtype), vectors.width)
    fields = [pa.field("embedding", pa.list_(vector) if vectors.by_token else vector)]
    if vectors.by_token:
        fields.append(pa.field("offsets", pa.list_(pa.list_(pa.int32(), 2))))
    has_ids = vectors.working.counts.named > 0
    if has_ids:
        fields.insert(0, pa.field("id", pa.string()))
    schema = pa.schema(fields)
    ids = vectors.working.ids()
    with pq.ParquetWriter(path, schema) as writer:
        for columns, rows in _parquet_blocks(vectors, pa, vector):
            if has_ids:
                columns["id"] = pa.array(list(islice(ids, rows)), pa.string())
            writer.write_table(pa.table(columns, schema=schema))


def _parquet_blocks(vectors: Vectors, pa: Any, vector: Any) -> Iterator[tuple[dict[str, Any], int]]:
    if not vectors.by_token:
        for block in vectors.blocks():
            flat = pa.array(np.ascontiguousarray(block).reshape(-1))
            yield {"embedding": pa.FixedSizeListArray.from_arrays(flat, type=vector)}, len(block)
        return
    working, start = vectors.working, 0
    for lengths in _packed(working.lengths(), BLOCK_BYTES // (4 * working.dimension)):
        stop = start + int(lengths.sum())
        places = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        flat = pa.array(vectors.change(working.vectors(start, stop)).reshape(-1))
        offsets = pa.array(working.offsets(start, stop).reshape(-1))
        pair = pa.list_(pa.int32(), 2)
        columns = {
            "embedding": pa.ListArray.from_arrays(
                places, pa.FixedSizeListArray.from_arrays(flat, type=vector)
            ),
            "offsets": pa.ListArray.from_arrays(
                places, pa.FixedSizeListArray.from_arrays(offsets, type=pair)
            ),
        }
        yield columns, len(lengths)
        start = stop


def _packed(lengths: NDArray[np.int32], most: int) -> Iterator[NDArray[np.int32]]:
    """Divide rows so that each part has about so many vectors."""
    first = size = 0
    for row, length in enumerate(lengths.tolist()):
        if size + length > most and row > first:
            yield lengths[first:row]
            first, size = row, 0
        size += length
    if first < len(lengths):
        yield lengths[first:]


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDependencyError(
            "Parquet is written by pyarrow, which is not installed",
            remedy="Install it: pip install 'qa-system[parquet]', or write .npy or .safetensors.",
        ) from error
    return pa, pq


FORMATS: Final[Mapping[str, Callable[[Vectors, Path], None]]] = {
    ".npy": _write_npy,
    ".parquet": _write_parquet,
    ".safetensors": _write_safetensors,
}
