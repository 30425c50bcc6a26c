"""The reject file: one JSON object a line for every row that was set aside."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import orjson

from indexing.rows import Reject
from qa_system.errors import ConfigError

__all__ = ["RejectFile"]


KEYS = Reject("", None, "malformed", "", None).to_dict().keys()


class RejectFile:
    """Rejects as JSON Lines; without a reject there is no file.

    Args:
        path: where it is written; a reject file of an earlier run is overwritten.
        keep: bytes of an unfinished run's file that still hold; what follows them is cut off.

    Raises:
        ConfigError: the file is there and is no reject file, or cannot be written.
    """

    def __init__(self, path: Path, keep: int = 0) -> None:
        self.path = path
        self._stream: IO[bytes] | None = None
        try:
            if path.exists():
                _check_ours(path)
                if keep:
                    with path.open("r+b") as stream:
                        stream.truncate(keep)
                elif path.stat().st_size:
                    path.unlink()
        except OSError as error:
            raise self._unwritable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._stream is not None:
            self._stream.close()

    def write(self, reject: Reject) -> None:
        """Append a reject."""
        if self._stream is None:
            try:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._stream = self.path.open("ab")
            except OSError as error:
                raise self._unwritable(error) from error
        self._stream.write(orjson.dumps(reject.to_dict(), option=orjson.OPT_APPEND_NEWLINE))

    def flush(self) -> int:
        """Hand everything to the operating system; give the file's length."""
        if self._stream is not None:
            self._stream.flush()
        with contextlib.suppress(FileNotFoundError):
            return self.path.stat().st_size
        return 0

    def _unwritable(self, error: OSError) -> ConfigError:
        return ConfigError(
            f"the reject file cannot be written: {error.strerror}",
            where=str(self.path),
            remedy="Name another file: --rejects FILE.",
        )


def _check_ours(path: Path) -> None:
    """Refuse to overwrite something else: every line must be one that `RejectFile` wrote."""
    with path.open("rb") as stream:
        if all(_is_reject(line) for line in stream):
            return
    raise ConfigError(
        "the file is there and is no reject file",
        where=str(path),
        remedy="Name another file: --rejects FILE.",
    )


def _is_reject(line: bytes) -> bool:
    try:
        found = orjson.loads(line)
    except orjson.JSONDecodeError:
        # A run that was killed may have left half of its last line.
        return not line.endswith(b"\n") and line.startswith(b'{"file":')
    return isinstance(found, dict) and found.keys() == KEYS
