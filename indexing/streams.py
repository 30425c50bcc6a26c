"""The physical lines of a byte stream, and where they end."""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import IO

from indexing.rows import Position
from qa_system.errors import DataError

__all__ = ["BOM", "Lines", "PhysicalLine"]

PhysicalLine = tuple[bytes, int]
BOM = b"\xef\xbb\xbf"


class Lines:
    """The physical lines of a byte stream, which can be pushed back, and where they end.

    An iteration gives pairs of a line and its size in bytes. A line longer than `max_bytes` is
    cut there, and only its size tells: what follows is read over, never held.

    Args:
        stream: the bytes, uncompressed.
        name: how messages name it.
        max_bytes: of one line.
    """

    def __init__(self, stream: IO[bytes], name: str, max_bytes: int) -> None:
        self._stream = stream
        self._pushed: deque[PhysicalLine] = deque()
        self.name = name
        self.max_bytes = max_bytes
        self.offset = 0
        self.line = 0

    def __iter__(self) -> Iterator[PhysicalLine]:
        return self

    def __next__(self) -> PhysicalLine:
        data, size = self._pushed.popleft() if self._pushed else self._read()
        if not size:
            raise StopIteration
        self.offset += size
        self.line += 1
        return data, size

    def _read(self) -> PhysicalLine:
        try:
            data = self._stream.readline(self.max_bytes)
            size = len(data)
            last = data
            while len(last) == self.max_bytes and not last.endswith(b"\n"):
                last = self._stream.readline(self.max_bytes)
                size += len(last)
        except (EOFError, OSError, zlib.error) as error:
            raise DataError(
                f"the file cannot be read on: {error}",
                where=f"{self.name}, line {self.line + 1}",
                remedy="Fetch or compress it again, then run the same command: it goes on "
                "where it stopped.",
            ) from error
        return data, size

    def push_back(self, lines: Sequence[PhysicalLine]) -> None:
        """Push lines back, to be read again."""
        self._pushed.extendleft(reversed(lines))
        self.offset -= sum(size for _, size in lines)
        self.line -= len(lines)

    def head(self, count: int = 100) -> list[bytes]:
        """Look at the first lines without reading them; a byte order mark is dropped."""
        first = list(islice(self, count))
        if first and first[0][0].startswith(BOM):
            first[0] = (first[0][0].removeprefix(BOM), first[0][1])
        self.push_back(first)
        return [data for data, _ in first]

    def seek(self, position: Position) -> None:
        """Go to a position of the stream."""
        self._stream.seek(position.offset)
        self._pushed.clear()
        self.offset, self.line = position.offset, position.line
