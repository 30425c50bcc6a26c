"""Vectors that are being made, on disk: so that a run that was killed goes on where it was.

A folder beside the output, `OUT.part`, has the vectors as they come, how many each row has, a
digest of each row's text, and `state.json`, which says how much of these files is whole. The state
is written last: what a killed run has left behind it is cut off.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.errors import ConfigError

__all__ = [
    "DIGEST_BYTES",
    "Chunk",
    "Counts",
    "Working",
    "finish",
    "open_working",
    "unwritable",
    "working_folder",
    "write_whole",
]

DIGEST_BYTES: Final = 16
STATE: Final = "state.json"
REMEMBERED: Final = 1_000_000
"""Texts whose vectors are found again; of more, those that came first are made again."""

FloatArray = NDArray[np.float32]
Place = tuple[int, int]
"""The first vector of a row, and how many it has."""


@dataclass(frozen=True, slots=True)
class Counts:
    """How far a run has come.

    Args:
        rows: texts done.
        vectors: of them; tokens where they are not pooled.
        empty: rows without a text.
        copied: rows whose vectors were those of an earlier equal text.
        truncated: texts that were longer than the model reads.
        named: rows with an id.
        ids: bytes of the ids.
    """

    rows: int = 0
    vectors: int = 0
    empty: int = 0
    copied: int = 0
    truncated: int = 0
    named: int = 0
    ids: int = 0


@dataclass(frozen=True, slots=True)
class Chunk:
    """What is written at once: rows, and the new vectors among theirs.

    Args:
        digests: of the rows' texts.
        lengths: how many vectors each row has.
        vectors: of all rows, one after the other.
        offsets: of tokens (vectors, 2); None where they are pooled.
        ids: of the rows; None where one has none.
    """

    digests: list[bytes]
    lengths: list[int]
    vectors: FloatArray
    offsets: NDArray[np.int32] | None
    ids: Sequence[str | None]


class Working:
    """The folder of a run.

    Args:
        folder: is there.
        dimension: numbers in a vector.
        run: what the vectors depend on, as JSON values.
        counts: how far it has come.
    """

    def __init__(
        self, folder: Path, dimension: int, run: Mapping[str, Any], counts: Counts
    ) -> None:
        self.folder = folder
        self.dimension = dimension
        self.counts = counts
        self._run = run
        self._files: dict[str, IO[bytes]] = {}
        for name, size in self._sizes(counts).items():
            path = folder / name
            path.touch()
            file = self._files[name] = path.open("r+b")
            file.truncate(size)
            file.seek(size)
        self.known: dict[bytes, Place] = {}
        self._recall()

    def _sizes(self, counts: Counts) -> dict[str, int]:
        return {
            "vectors": counts.vectors * self.dimension * 4,
            "offsets": counts.vectors * 8,
            "lengths": counts.rows * 4,
            "digests": counts.rows * DIGEST_BYTES,
            "ids": counts.ids,
        }

    def _recall(self) -> None:
        """Find out which texts an earlier run has done."""
        start = 0
        for digest, length in zip(self.digests(), self.lengths().tolist(), strict=True):
            self.remember(digest, (start, length))
            start += length

    def remember(self, digest: bytes, place: Place) -> None:
        """Remember where the vectors of a text are; forget the oldest of too many."""
        if digest not in self.known:
            self.known[digest] = place
            if len(self.known) > REMEMBERED:
                del self.known[next(iter(self.known))]

    def digests(self) -> Iterator[bytes]:
        """Yield the digest of each row's text."""
        with (self.folder / "digests").open("rb") as file:
            for _ in range(self.counts.rows):
                yield file.read(DIGEST_BYTES)

    def lengths(self) -> NDArray[np.int32]:
        """Return how many vectors each row has."""
        return np.fromfile(self.folder / "lengths", np.int32, self.counts.rows)

    def vectors(self, start: int, stop: int) -> FloatArray:
        """Return some vectors (stop - start, dimension)."""
        found = self._part("vectors", np.dtype(np.float32), self.dimension, start, stop)
        return found.astype(np.float32, copy=False)

    def offsets(self, start: int, stop: int) -> NDArray[np.int32]:
        """Return where some tokens begin and end (stop - start, 2)."""
        found = self._part("offsets", np.dtype(np.int32), 2, start, stop)
        return found.astype(np.int32, copy=False)

    def ids(self) -> Iterator[str | None]:
        """Yield the id of each row."""
        with (self.folder / "ids").open("rb") as file:
            for line in file:
                yield orjson.loads(line)

    def _part(
        self, name: str, dtype: np.dtype[Any], width: int, start: int, stop: int
    ) -> NDArray[Any]:
        with (self.folder / name).open("rb") as file:
            file.seek(start * width * dtype.itemsize)
            return np.fromfile(file, dtype, (stop - start) * width).reshape(-1, width)

    def write(self, chunk: Chunk, counts: Counts) -> None:
        """Add rows.

        Args:
            chunk: the rows.
            counts: all that there are with them, but for `ids`.
        """
        ids = b"".join(orjson.dumps(each) + b"\n" for each in chunk.ids)
        written: dict[str, bytes | memoryview] = {
            "vectors": np.ascontiguousarray(chunk.vectors, np.float32).data,
            "offsets": b"" if chunk.offsets is None else np.ascontiguousarray(chunk.offsets).data,
            "lengths": np.array(chunk.lengths, np.int32).data,
            "digests": b"".join(chunk.digests),
            "ids": ids,
        }
        for name, content in written.items():
            file = self._files[name]
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self.counts = replace(counts, ids=self.counts.ids + len(ids))
        write_whole(
            self.folder / STATE, orjson.dumps({"run": self._run, "counts": asdict(self.counts)})
        )

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()


@contextmanager
def open_working(
    out: Path, dimension: int, run: Mapping[str, Any], *, restart: bool = False
) -> Iterator[Working]:
    """Open the folder of a run behind the rows that an earlier one has done.

    Args:
        out: the file that is to be made.
        dimension: numbers in a vector.
        run: what the vectors depend on; an earlier run with another is refused.
        restart: begin anew, whatever an earlier run has left.

    Raises:
        ConfigError: an earlier run was of something else; or another process writes the same; or
            nothing can be written there.
    """
    folder = working_folder(out)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("wb") as lock:
            _refuse_second_writer(lock, out)
            state = {} if restart else _state_of(folder)
            if state and state["run"] != run:
                raise _of_another_run(folder, state["run"], run)
            working = Working(folder, dimension, run, Counts(**state.get("counts", {})))
            try:
                yield working
            finally:
                working.close()
    except OSError as error:
        raise unwritable(out, error) from error


def working_folder(out: Path) -> Path:
    """Return the folder of the run that makes a file."""
    return out.with_name(f"{out.name}.part")


def finish(working: Working, made: Path, out: Path) -> None:
    """Put the finished file in its place, and remove the folder."""
    made.replace(out)
    shutil.rmtree(working.folder)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there as a whole or not at all."""
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)


def unwritable(out: Path, error: OSError) -> ConfigError:
    """Return the error of an output that cannot be written."""
    return ConfigError(
        f"the vectors cannot be written: {error.strerror}",
        where=str(out),
        remedy="Name another file: --out FILE; or mend that, and run the same command again.",
    )


def _state_of(folder: Path) -> dict[str, Any]:
    try:
        state = orjson.loads((folder / STATE).read_bytes())
    except FileNotFoundError:
        return {}
    except orjson.JSONDecodeError:
        raise ConfigError(
            "what an earlier run has left cannot be read",
            where=str(folder),
            remedy="Begin anew: --restart.",
        ) from None
    return dict(state)


def _of_another_run(
    folder: Path, earlier: Mapping[str, Any], now: Mapping[str, Any]
) -> ConfigError:
    names = sorted(name for name in {*earlier, *now} if earlier.get(name) != now.get(name))
    return ConfigError(
        f"{' and '.join(names)} changed since these vectors were begun",
        where=str(folder),
        remedy="Embed all texts again: --restart. Or keep what is there: --out FILE.",
    )


def _refuse_second_writer(lock: IO[bytes], out: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            "another process is writing these vectors",
            where=str(out),
            remedy="Wait for it, or end it; the same command goes on from there.",
        ) from None
