"""Whether files are what was written: their size and CRC-32 (which finds damage, not forgery).

A file is read once in a process, before it is used. A large one that has the size and the time of
its last change that were noted when it was written is not read: `verify` reads everything.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

__all__ = ["Checker", "Record", "crc_of", "record_of"]

LARGE: Final = 64_000_000
"""Bytes from which a file is not read when it is opened, if it seems untouched."""
_CHUNK: Final = 1 << 20


class Record(NamedTuple):
    """What is noted of a file when it is written.

    Args:
        size: bytes that count; a file that is appended to may have more.
        crc: CRC-32 of those.
        changed: time of the last change, in nanoseconds.
    """

    size: int
    crc: int
    changed: int


@dataclass(frozen=True, slots=True)
class _Read:
    """How a file was found: what identifies it, and the CRC-32 of its first `size` bytes."""

    inode: int
    bytes: int
    changed: int
    size: int
    crc: int


def crc_of(path: Path, start: int = 0, end: int | None = None, crc: int = 0) -> int:
    """Return the CRC-32 of a stretch of a file, continuing that of what comes before."""
    rest = float("inf") if end is None else end - start
    with path.open("rb") as file:
        file.seek(start)
        while rest > 0 and (chunk := file.read(int(min(_CHUNK, rest)))):
            crc = zlib.crc32(chunk, crc)
            rest -= len(chunk)
    return crc


def record_of(path: Path, size: int, crc: int) -> list[int]:
    """Return the record of a file that was written just now, as a stamp has it."""
    return [*Record(size, crc, path.stat().st_mtime_ns)]


class Checker:
    """Checks files against their records, and remembers what it has read."""

    def __init__(self) -> None:
        self._read: dict[Path, _Read] = {}
        self._trusts_large = True

    def read_again(self) -> None:
        """Read every file from now on, once more, whatever its size."""
        self._read.clear()
        self._trusts_large = False

    def damage(
        self, folder: Path, records: Mapping[str, Any], *, may_grow: bool = False
    ) -> str | None:
        """Return what is wrong with files, as the end of a sentence; None: they are whole.

        Args:
            folder: of the files.
            records: name -> record, as a stamp has it.
            may_grow: whether the files are appended to, so that they may have more bytes.
        """
        for name, noted in records.items():
            if found := self.damage_of(folder / name, Record(*noted), may_grow=may_grow):
                return found
        return None

    def damage_of(self, path: Path, record: Record, *, may_grow: bool = False) -> str | None:
        """Return what is wrong with one file."""
        try:
            if path.is_symlink() or not path.is_file():
                return f"{path.name} is missing"
            found = path.stat()
            if found.st_size < record.size or (found.st_size > record.size and not may_grow):
                return f"{path.name} has {found.st_size} bytes instead of {record.size}"
            if self._crc(path, found, record, may_grow=may_grow) != record.crc:
                return f"{path.name} is damaged: its checksum is not what was noted"
        except OSError as error:
            return f"{path.name} cannot be read: {error.strerror or error}"
        return None

    def _crc(self, path: Path, found: os.stat_result, record: Record, *, may_grow: bool) -> int:
        known, start, crc = self._read.get(path), 0, 0
        if known is not None and known.inode == found.st_ino:
            is_same = (known.bytes, known.changed) == (found.st_size, found.st_mtime_ns)
            is_longer = may_grow and found.st_size > known.bytes
            if known.size <= record.size and (is_same or is_longer):
                start, crc = known.size, known.crc
        untouched = (found.st_size, found.st_mtime_ns) == (record.size, record.changed)
        if start == 0 and untouched and record.size > LARGE and self._trusts_large:
            start, crc = record.size, record.crc
        crc = crc_of(path, start, record.size, crc)
        self._read[path] = _Read(found.st_ino, found.st_size, found.st_mtime_ns, record.size, crc)
        return crc
