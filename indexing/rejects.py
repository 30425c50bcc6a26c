"""The reject file: one JSON object a line for every row that was set aside."""

from __future__ import annotations

import contextlib
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

import orjson

from qa_system.errors import ConfigError
from qa_system.sources.rows import Reject
from qa_system.stores.embedded.access import create_file, file_mode

__all__ = ["RejectFile", "check_reject_file"]

LONGEST_LINE: Final = 1 << 20
KEYS: Final = frozenset(Reject("", None, "malformed", "").to_dict())


class RejectFile:
    """Rejects as JSON Lines; without a reject there is no file.

    Args:
        path: where it is written; a reject file of an earlier run is overwritten, and keeps its
            mode. A new one is for who may use the store that it is in, or for its owner alone.
        keep: bytes of an unfinished run's file that still hold; what follows them is cut off.

    Raises:
        ConfigError: the file is there and is no reject file, or cannot be written.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self.path = path
        self._stream: IO[bytes] | None = None
        check_reject_file(path)
        with _told(path):
            self._mode = file_mode(path.parent.parent)
            if path.exists():
                self._mode = stat.S_IMODE(path.stat().st_mode)
            if keep:
                with path.open("r+b") as stream:
                    stream.truncate(keep)
            elif path.exists() and path.stat().st_size:
                path.unlink()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            with _told(self.path):
                self._stream.close()

    def write(self, reject: Reject) -> None:
        """Append a reject."""
        with _told(self.path):
            if self._stream is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                is_there = self.path.exists()
                self._stream = (
                    self.path.open("ab") if is_there else create_file(self.path, self._mode)
                )
            self._stream.write(orjson.dumps(reject.to_dict(), option=orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> int:
        """Hand everything to the operating system; return the file's length."""
        with _told(self.path):
            if self._stream is not None:
                self._stream.flush()
            return self.path.stat().st_size if self.path.exists() else 0


def check_reject_file(path: Path, sources: Iterable[Path | None] = ()) -> None:
    """Make sure that a file may be overwritten with rejects, before anything is read.

    Args:
        path: the file.
        sources: files that are read.

    Raises:
        ConfigError: it is there and holds something else, or is a source, or cannot be read.
    """
    with _told(path), contextlib.suppress(FileNotFoundError):
        _check_ours(path)
    if any(source is not None and source.resolve() == path.resolve() for source in sources):
        raise _not_ours("the reject file is one of the sources", path)


def _check_ours(path: Path) -> None:
    """Refuse to overwrite something else: every line must be one that `RejectFile` wrote."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise _not_ours("this is no regular file", path)
    with path.open("rb") as stream:
        while line := stream.readline(LONGEST_LINE):
            if not _is_reject(line):
                raise _not_ours("the file is there and is no reject file", path)


def _is_reject(line: bytes) -> bool:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        # A run that was killed may have left half of its last line.
        return not line.endswith(b"\n") and line.startswith(b'{"file":')
    return isinstance(found, dict) and found.keys() == KEYS


def _not_ours(what: str, path: Path) -> ConfigError:
    return ConfigError(what, where=str(path), remedy="Name another file: --rejects FILE.")


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _not_ours(f"the reject file cannot be written: {error.strerror}", path) from error
