"""A source's bytes as UTF-8 with line feeds: decompressed, decoded, read in chunks.

gzip, bzip2 and xz are recognised by their first bytes, and so is a zip archive that holds one
file. Whatever goes wrong while reading is a `DataError`.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import re
import zipfile
import zlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final, Never, cast

from qa_system.errors import DataError
from qa_system.sources.encodings import BOM, detect, non_ascii_lines, wide_encoding

__all__ = [
    "DATA_SUFFIXES",
    "PARQUET",
    "Lines",
    "TextSource",
    "failing",
    "is_compressed",
    "open_text",
]

PhysicalLine = tuple[bytes, int]

DATA_SUFFIXES: Final = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")
HEAD_BYTES: Final = 1 << 18
"""How much of a text is looked at to recognise it."""
CHUNK_BYTES: Final = 1 << 16
LAYERS: Final = 3
"""Compressions within each other that are undone."""
PARQUET: Final = b"PAR1"
ZIP: Final = b"PK\x03\x04"
COMPRESSIONS: Final[dict[bytes, Callable[[IO[bytes]], IO[bytes]]]] = {
    b"\x1f\x8b": lambda stream: cast("IO[bytes]", gzip.GzipFile(fileobj=stream)),
    b"BZh": bz2.BZ2File,
    b"\xfd7zXZ\x00": lzma.LZMAFile,
}
OTHER_KINDS: Final = (
    (0, PARQUET, "Parquet", "Parquet is read from a file as it is: not by a pipe, not compressed."),
    (0, b"PK\x05\x06", "an empty zip archive", "Fetch or make it again."),
    (0, ZIP, "a zip archive", "Unpack it: unzip -p FILE | qa-index run --source -"),
    (0, b"\x28\xb5\x2f\xfd", "compressed by zstd", "Decompress it: zstd -d FILE"),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", "Unpack it: 7z x FILE"),
    (0, b"Rar!\x1a\x07", "a RAR archive", "Unpack it: unrar x FILE"),
    (257, b"ustar", "a tar archive", "Unpack it: tar -xf FILE, and name a file that was in it."),
    (0, b"\xd0\xcf\x11\xe0", "an Excel workbook", "Save it as CSV in UTF-8."),
    (0, b"%PDF", "a PDF", "Save the reviews as CSV or JSON Lines."),
    (0, b"SQLite format 3\0", "an SQLite database", "Export its table as CSV with a header."),
    (0, b"<!doctype html", "an HTML page", "Fetch the data file itself, not the page about it."),
    (0, b"<html", "an HTML page", "Fetch the data file itself, not the page about it."),
    (0, b"<?xml", "XML", "Convert it to CSV or JSON Lines."),
)
"""What else a file may be: where its mark stands, the mark, the name, what to do."""
DAMAGE: Final = (
    *(OSError, EOFError, MemoryError, UnicodeError, zlib.error, lzma.LZMAError),
    *(zipfile.BadZipFile, NotImplementedError),
)
"""What the standard library raises over a damaged file."""
_RETURN = re.compile(rb"\r(?!\n)")
_UNDECODABLE = "qa_system.undecodable"
# Such a byte is no UTF-8 either: it spoils its row, not the file.
codecs.register_error(_UNDECODABLE, lambda error: ("\udcff", cast("Any", error).end))


@dataclass(frozen=True, slots=True)
class TextSource:
    """A text that was looked at, and can be read from any place.

    Args:
        name: as messages name it.
        path: None: it is standard input, which is read once.
        encoding: that it is in.
        has_returns: whether its lines end in carriage returns alone.
        head: how it begins, in UTF-8 and without byte order mark.
        mark_bytes: length of the byte order mark in UTF-8.
        is_whole: whether `head` is all that can be read.
        rest: what follows the head on standard input.
    """

    name: str
    path: Path | None
    encoding: str
    has_returns: bool
    head: bytes
    mark_bytes: int
    is_whole: bool
    rest: Iterator[bytes]

    def open(self, offset: int = 0) -> IO[bytes]:
        """Read from a place on.

        Args:
            offset: bytes of UTF-8 after the byte order mark.

        Raises:
            DataError: while it is read, if the file is damaged.
        """
        if self.path is None:
            return _reader(chain([self.head], self.rest))
        return _reader(_told(self._chunks(self.path, offset + self.mark_bytes), self.name))

    def preview(self, *, by_lines: bool) -> IO[bytes]:
        """Read the head; by lines, up to the last one that is whole."""
        if by_lines and not self.is_whole:
            return io.BytesIO(self.head[: self.head.rfind(b"\n") + 1])
        return io.BytesIO(self.head)

    @property
    def size(self) -> int | None:
        """Bytes of the whole text in UTF-8; None where only reading it would tell."""
        if self.path is None or self.encoding != "utf-8":
            return None
        return _plain_size(self.path)

    def _chunks(self, path: Path, skip: int) -> Iterator[bytes]:
        is_as_it_is = self.encoding == "utf-8" and not self.has_returns
        if is_as_it_is and not is_compressed(path):
            with path.open("rb") as stream:
                stream.seek(skip)
                yield from _chunks_of(stream)
            return
        raw = _unpacked_file(path, self.name)
        for chunk in _as_utf8(raw, self.encoding, has_returns=self.has_returns):
            if skip < len(chunk):
                yield chunk[skip:]
            skip = max(skip - len(chunk), 0)


def open_text(
    path: Path | None, name: str, encoding: str | None = None, stdin: IO[bytes] | None = None
) -> TextSource:
    """Look at a text: find out its encoding and how its lines end.

    Args:
        path: the file; None: `stdin` is read.
        name: as messages name it.
        encoding: that it is in; None: it is detected.
        stdin: standard input.

    Raises:
        DataError: it cannot be read, or is no text.
    """
    raw: Iterator[bytes]
    if path is None:
        if stdin is None:
            raise DataError(
                "standard input is closed", where=name, remedy="Name a file: --source FILE"
            )
        first, rest = _take(_told(_unpacked(_chunks_of(stdin), name), name), HEAD_BYTES)
        raw = chain([first], rest)
    else:
        first, _ = _take(_told(_unpacked_file(path, name), name), HEAD_BYTES)
        raw = _told(_unpacked_file(path, name), name)
    _check_kind(first, name)
    chosen = encoding or wide_encoding(first[:4096])
    if chosen is None:
        whole = _undamaged(_told(_unpacked_file(path, name), name)) if path else [first]
        chosen = detect(non_ascii_lines(whole))
    chosen = codecs.lookup(chosen).name.removesuffix("-sig")
    narrow = first if chosen == "utf-8" else first.decode(chosen, "replace").encode()
    has_returns = len(_RETURN.findall(narrow)) > narrow.count(b"\n")
    chunks = _told(_as_utf8(raw, chosen, has_returns=has_returns), name)
    head, rest = _take(chunks, HEAD_BYTES)
    mark_bytes = len(head)
    while head.startswith(BOM):
        head = head.removeprefix(BOM)
    mark_bytes -= len(head)
    is_whole = len(head) + mark_bytes < HEAD_BYTES
    return TextSource(name, path, chosen, has_returns, head, mark_bytes, is_whole, rest)


def is_compressed(path: Path) -> bool:
    """Whether a file is compressed in a way that is undone here.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return stream.read(8).startswith((*COMPRESSIONS, ZIP))


class Lines:
    """The physical lines of a byte stream, which can be pushed back, and where they end.

    An iteration gives pairs of a line and its size in bytes. A line longer than `max_bytes` is
    cut there, and only its size tells: what follows is read over, never held.

    Args:
        stream: the bytes.
        name: how messages name it.
        max_bytes: of one line.
        offset: bytes before the stream's first.
        line: lines before it.
    """

    def __init__(
        self, stream: IO[bytes], name: str, max_bytes: int, offset: int = 0, line: int = 0
    ) -> None:
        self._stream = stream
        self._pushed: deque[PhysicalLine] = deque()
        self.name = name
        self.max_bytes = max_bytes
        self.offset = offset
        self.line = line

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
        except DataError as error:
            where = f"{self.name}, line {self.line + 1}"
            raise DataError(error.what, where=where, remedy=error.remedy) from error
        return data, size

    def push_back(self, lines: Sequence[PhysicalLine]) -> None:
        """Return lines to the stream, to be read again."""
        self._pushed.extendleft(reversed(lines))
        self.offset -= sum(size for _, size in lines)
        self.line -= len(lines)


class _Chunks(io.RawIOBase):
    """Chunks as a stream, which `io.BufferedReader` reads lines from."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = memoryview(chunk)
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size


def _reader(chunks: Iterator[bytes]) -> IO[bytes]:
    return cast("IO[bytes]", io.BufferedReader(_Chunks(chunks), CHUNK_BYTES))


def _chunks_of(stream: IO[bytes]) -> Iterator[bytes]:
    # What was decompressed before a damaged place comes first, and is not lost with it.
    read = getattr(stream, "read1", stream.read)
    while chunk := read(CHUNK_BYTES):
        yield chunk


def _take(chunks: Iterator[bytes], size: int) -> tuple[bytes, Iterator[bytes]]:
    """Read at least so many bytes, if there are so many; and return what comes after them.

    Where a file is damaged after its first bytes, it is what comes after them that says so.
    """
    taken: list[bytes] = []
    length = 0
    try:
        for chunk in chunks:
            taken.append(chunk)
            length += len(chunk)
            if length >= size:
                break
    except DataError as error:
        if not length:
            raise
        return b"".join(taken), failing(error)
    return b"".join(taken), chunks


def failing(error: DataError) -> Iterator[Never]:
    """Return an iterator that yields nothing and raises an error."""
    yield from ()
    raise error


def _undamaged(chunks: Iterator[bytes]) -> Iterator[bytes]:
    with suppress(DataError):
        yield from chunks


def _told(chunks: Iterator[bytes], name: str) -> Iterator[bytes]:
    """Pass chunks on, and what goes wrong as our error."""
    try:
        yield from chunks
    except DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise DataError(
                f"the file cannot be read: {error.strerror}", where=name, remedy="Check it."
            ) from error
        raise DataError(
            f"the file cannot be read on: {error or type(error).__name__}",
            where=name,
            remedy="Fetch or compress it again, then run the same command: it starts anew. What "
            "was stored of the damaged file may be wrong; --delete-missing deletes all reviews "
            "that the sources do not hold.",
        ) from error


def _unpacked_file(path: Path, name: str) -> Iterator[bytes]:
    with path.open("rb") as stream:
        if stream.read(len(ZIP)) == ZIP:
            with zipfile.ZipFile(stream) as archive:
                member = _only_member(archive, name)
                with archive.open(member) as content:
                    yield from _unpacked(_chunks_of(content), name)
            return
        stream.seek(0)
        yield from _unpacked(_chunks_of(stream), name)


def _only_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    members = [
        each
        for each in archive.infolist()
        if not each.is_dir()
        and not each.filename.startswith("__MACOSX/")
        and not PurePosixPath(each.filename).name.startswith(".")
    ]
    if any(each.filename == "[Content_Types].xml" for each in members):
        raise DataError(
            "the file is a document of an office program",
            where=name,
            remedy="Save the sheet as CSV in UTF-8.",
        )
    data = [
        each
        for each in members
        if each.filename.lower().removesuffix(".gz").endswith(DATA_SUFFIXES)
    ]
    chosen = data if len(data) == 1 else members
    if len(chosen) != 1:
        shown = ", ".join(repr(each.filename) for each in chosen[:5]) or "none"
        raise DataError(
            f"the archive holds {len(chosen)} files where one is read: {shown}",
            where=name,
            remedy=f"Unpack it: unzip '{name}' -d FOLDER, then qa-index run --source FOLDER",
        )
    if chosen[0].flag_bits & 1:
        raise DataError(
            "the archive asks for a password",
            where=name,
            remedy=f"Unpack it: unzip '{name}', and name the file that was in it.",
        )
    return chosen[0]


def _unpacked(chunks: Iterator[bytes], name: str, layers: int = LAYERS) -> Iterator[bytes]:
    first, rest = _take(chunks, max(map(len, COMPRESSIONS)))
    opener = next((made for magic, made in COMPRESSIONS.items() if first.startswith(magic)), None)
    chunks = chain([first], rest)
    if opener is None or not layers:
        yield from filter(None, chunks)
        return
    with closing(opener(_reader(chunks))) as stream:
        yield from _unpacked(_chunks_of(stream), name, layers - 1)


def _as_utf8(raw: Iterable[bytes], encoding: str, *, has_returns: bool) -> Iterator[bytes]:
    decoded = iter(raw) if encoding == "utf-8" else _decoded(raw, encoding)
    if not has_returns:
        yield from decoded
        return
    pending = b""
    for chunk in decoded:
        text = pending + chunk
        # A carriage return at the end may be the half of a pair.
        pending = text[-1:] if text.endswith(b"\r") else b""
        yield _RETURN.sub(b"\n", text[: len(text) - len(pending)])
    if pending:
        yield b"\n"


def _decoded(raw: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder(encoding)(_UNDECODABLE)
    for chunk in raw:
        yield decoder.decode(chunk).encode("utf-8", "surrogateescape")
    yield decoder.decode(b"", final=True).encode("utf-8", "surrogateescape")


def _check_kind(first: bytes, name: str) -> None:
    for place, mark, kind, remedy in OTHER_KINDS:
        if first[place : place + len(mark)].lower() == mark.lower():
            raise DataError(f"the file is {kind}, not a text", where=name, remedy=remedy)


def _plain_size(path: Path) -> int | None:
    """Return a file's length uncompressed; gzip keeps it, modulo 4 GB, in its last four bytes."""
    on_disk = path.stat().st_size
    if not is_compressed(path):
        return on_disk
    with path.open("rb") as stream:
        if stream.read(2) != b"\x1f\x8b" or on_disk < 18:
            return None
        stream.seek(-4, 2)
        size = int.from_bytes(stream.read(4), "little")
    return size if size >= on_disk // 2 else None
