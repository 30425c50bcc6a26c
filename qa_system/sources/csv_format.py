"""CSV as rows: the header found, and a bad row spoils only itself."""

from __future__ import annotations

import csv
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Final

from qa_system.errors import ConfigError, DataError
from qa_system.sources.aliases import count_known
from qa_system.sources.encodings import BOM
from qa_system.sources.rows import BadRow, Columns, Position, RawRow
from qa_system.sources.streams import Lines

__all__ = ["Header", "csv_header", "read_csv"]

DELIMITERS: Final = (",", "\t", ";", "|")
_SEPARATOR_LINE: Final = re.compile(rb"sep=(.)\r?\n")
_BLANK: Final = b" \t\r\n,;|"
"""A line of these alone is empty; a spreadsheet writes the delimiters of its empty cells."""
_UNNAMED: Final = re.compile(r"Unnamed: \d+|")
"""A number of rows that pandas wrote, and any other column without a name."""


@dataclass(frozen=True, slots=True)
class Header:
    """The names of a CSV file's columns.

    Args:
        names: in their order.
        delimiter: that they are read with.
        lines: physical lines up to its end.
        is_quoted: whether quotes are signs of the format; tabs are often told from text without.
    """

    names: tuple[str, ...]
    delimiter: str
    lines: int
    is_quoted: bool = True

    def reader(self, lines: Iterator[str]) -> Iterator[list[str]]:
        """Read lines as rows."""
        return csv.reader(
            lines,
            delimiter=self.delimiter,
            strict=True,
            quoting=csv.QUOTE_MINIMAL if self.is_quoted else csv.QUOTE_NONE,
        )

    @property
    def named(self) -> list[str]:
        """The columns that may say something about a review."""
        return [name for name in self.names if not _UNNAMED.fullmatch(name)]


def csv_header(head: Sequence[bytes], name: str, columns: Columns) -> Header:
    """Read the names of a CSV file's columns, and find the delimiter that they are read with.

    Args:
        head: the first physical lines.
        name: of the file, for messages.
        columns: that are looked for.

    Raises:
        ConfigError: the first row names no columns, or one twice.
    """
    blank = 0
    while blank < len(head) and not head[blank].removeprefix(BOM).strip(_BLANK):
        blank += 1
    delimiters: Sequence[str] = DELIMITERS
    told = _SEPARATOR_LINE.fullmatch(head[blank]) if blank < len(head) else None
    if told is not None:  # Excel's
        delimiters = (told[1].decode("latin-1"),)
        blank += 1
    readings: list[tuple[int, int, int, Header]] = []
    for delimiter in delimiters:
        lines = (line.decode(errors="replace") for line in head[blank:])
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        try:
            names = tuple(field.strip().strip("\ufeff") for field in next(reader, []))
        except csv.Error:
            continue
        header = Header(names, delimiter, blank + reader.line_num)
        readings.append((count_known(names, columns), len(names), -len(readings), header))
    if not readings:
        raise ConfigError(
            "the first row is no CSV header",
            where=name,
            remedy="Begin the file with the names of its columns.",
        )
    header = max(readings, key=lambda reading: reading[:3])[3]
    check_names(header.names, name)
    if header.delimiter == "\t" and _has_bare_quotes(head[header.lines :], header):
        return replace(header, is_quoted=False)
    return header


def _has_bare_quotes(lines: Sequence[bytes], header: Header) -> bool:
    """Whether lines are rows as they stand, and some are not if their quotes mean something."""
    texts = [line.decode(errors="replace") for line in lines if line.endswith(b"\n")]
    if any(text.count("\t") + 1 != len(header.names) for text in texts if not text.isspace()):
        return False
    try:
        return any(len(row) not in (0, len(header.names)) for row in header.reader(iter(texts)))
    except csv.Error:
        return True


def check_names(names: Sequence[str], where: str) -> None:
    """Make sure that no two columns have the same name.

    Raises:
        ConfigError: some have.
    """
    twice = sorted(name for name, count in Counter(names).items() if count > 1 and name)
    if twice:
        raise ConfigError(
            f"the header names {', '.join(map(repr, twice[:10]))} more than once",
            where=where,
            remedy="Rename the columns in the file so that each has a name of its own.",
        )


class _OverLongError(Exception):
    """A row goes on for more than a row can have."""


class _CsvRecord:
    """The physical lines of the CSV record that is being read."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.parts: list[tuple[bytes, int]] = []
        self.size = 0
        self.is_valid = True

    def begin(self) -> None:
        self.parts = []
        self.size = 0
        self.is_valid = True

    def feed(self) -> Iterator[str]:
        for part in self._lines:
            data, size = part
            self.parts.append(part)
            self.size += size
            if self.size > self._lines.max_bytes:
                raise _OverLongError
            try:
                yield data.decode()
            except UnicodeDecodeError:
                self.is_valid = False
                yield data.decode(errors="replace")

    def is_blank(self) -> bool:
        return len(self.parts) == 1 and self.parts[0][0].isspace()

    def shown(self) -> bytes:
        return b"".join(data for data, _ in self.parts[:5])[:2000]


def read_csv(
    lines: Lines, header: Header, columns: Columns, start: Position, encoding: str = "utf-8"
) -> Iterator[RawRow]:
    """Read the rows of a CSV file.

    Where files were joined into one, their headers in the middle are passed over.

    Args:
        lines: of the file, from `start` on.
        header: the file's.
        columns: where item and text are.
        start: where to begin.
        encoding: that the file is in, for messages.

    Raises:
        DataError: the file is damaged, or in its middle begins another one with other columns.
    """
    # The limit is the process's; ours, on the whole row, is kept by _CsvRecord.
    csv.field_size_limit(max(csv.field_size_limit(), lines.max_bytes))
    if not start.offset:
        deque(islice(lines, header.lines), maxlen=0)
    names = header.names
    unnamed = set(names).difference(header.named)
    record = _CsvRecord(lines)
    reader = header.reader(record.feed())
    while True:
        record.begin()
        line = lines.line + 1
        values: dict[str, str] | BadRow
        try:
            cells = next(reader)
            if not cells or record.is_blank():
                continue
            is_like = columns.text in cells or cells[0].strip("\ufeff ") == names[0]
            if is_like and _is_header(cells, names, columns, f"{lines.name}, line {line}"):
                continue
            values = _values(cells, names, record, encoding)
        except StopIteration:
            return
        except (csv.Error, _OverLongError) as error:
            # A quote that is never closed swallows the rows that follow. They are read again:
            # only the line on which the row began is set aside.
            lines.push_back(record.parts[1:])
            del record.parts[1:]
            reader = header.reader(record.feed())
            values = _broken(error, record.parts[0], lines.max_bytes, encoding)
        if not isinstance(values, BadRow):
            for name in unnamed:
                del values[name]
        yield RawRow(values, line, Position(start.file, lines.offset, lines.line), record.shown())


def _is_header(cells: Sequence[str], names: Sequence[str], columns: Columns, where: str) -> bool:
    """Whether a row is the header once more."""
    found = [cell.strip().strip("\ufeff") for cell in cells]
    if found == list(names):
        return True
    named = set(found).intersection(names)
    if len(named) > 1 and {getattr(columns, field) for field in columns.needed} <= named:
        raise DataError(
            "here begins another header, with other columns or another order of them",
            where=where,
            remedy="Index the files that were joined one by one: --source A.csv --source B.csv",
        )
    return False


def _values(
    cells: Sequence[str], names: Sequence[str], record: _CsvRecord, encoding: str
) -> dict[str, str] | BadRow:
    if not record.is_valid:
        return BadRow("bad encoding", undecodable(b"".join(d for d, _ in record.parts), encoding))
    if len(cells) != len(names):
        return BadRow(
            "malformed",
            f"the row has {len(cells):,} fields where the header has {len(names):,}",
        )
    return dict(zip(names, cells, strict=True))


def _broken(error: Exception, first: tuple[bytes, int], max_bytes: int, encoding: str) -> BadRow:
    data, size = first
    if size > max_bytes:
        return BadRow("over-long", f"the row has {size:,} bytes, at most {max_bytes:,} are read")
    try:
        data.decode()
    except UnicodeDecodeError:
        return BadRow("bad encoding", undecodable(data, encoding))
    if isinstance(error, _OverLongError):
        return BadRow("malformed", f"a quote is opened and not closed within {max_bytes:,} bytes")
    return BadRow("malformed", f"the quotes do not match: {error}")


def undecodable(data: bytes, encoding: str) -> str:
    """Say what is wrong with a line that could not be decoded.

    >>> undecodable(b"bad \\xff byte", "utf-8")
    'not UTF-8: invalid start byte at byte 4'
    """
    if encoding != "utf-8":
        return f"it holds bytes that are not {encoding}"
    try:
        data.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8: {error.reason} at byte {error.start}"
    return "not UTF-8"
