"""CSV, JSON Lines, Parquet and SubjQA as rows, read as streams; a bad row spoils only itself.

Every reader starts at a `Position` and gives each row with the position after it, so that a job
goes on where it stopped. Memory is bounded by one row (in Parquet: one batch of rows), whatever
the file holds: a line without an end, a quote that is never closed.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import orjson

from indexing.rows import BadRow, Columns, Position, Reject, Row, shorten
from indexing.streams import Lines, PhysicalLine
from qa_system.datasets import subjqa
from qa_system.errors import ConfigError, DataError, MissingDependencyError, RecordError

__all__ = ["Format", "SourceFile", "check_columns", "csv_header", "open_parquet", "read"]

Format = Literal["subjqa", "csv", "jsonl", "parquet"]
MIN_ROW_BYTES = 1 << 20
PARQUET_BATCH = 512
DELIMITERS = (",", "\t", ";", "|")
_PLACE = re.compile(r"(?P<file>.*), line (?P<line>\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source, recognised.

    Args:
        number: its place among the files of the run.
        name: as messages and rejects name it.
        path: where it is; None for standard input.
        format: what it holds.
        delimiter: of a CSV file.
        size: its length in the unit of `Position.offset`; None if that is not known.
        weight: its bytes on disk.
        modified: its time of last change, in nanoseconds.
        stdin: the lines of standard input.
    """

    number: int
    name: str
    path: Path | None
    format: Format
    delimiter: str = ","
    size: int | None = None
    weight: int = 0
    modified: int = 0
    stdin: Lines | None = None


def read(file: SourceFile, columns: Columns, start: Position, lines: Lines | None) -> Iterator[Row]:
    """Read a file's rows from a position on.

    Args:
        file: the file.
        columns: how a row becomes a review.
        start: where to begin; its `file` is the file's number.
        lines: the file's lines, for CSV and JSON Lines.

    Raises:
        DataError: the file is damaged so that it cannot be read on.
    """
    if lines is None:
        return (_read_subjqa if file.format == "subjqa" else _read_parquet)(file, columns, start)
    return (_read_csv if file.format == "csv" else _read_jsonl)(file, columns, start, lines)


def check_columns(name: str, there: Sequence[str], columns: Columns) -> None:
    """Make sure that a file has the columns that a review needs.

    Raises:
        ConfigError: it has not, or it has one that the store keeps for itself.
    """
    missing = [column for column in columns.needed if column not in there]
    if missing:
        fields = [field for field in ("item_id", "text") if getattr(columns, field) in missing]
        raise ConfigError(
            f"there is no column {' and no column '.join(map(repr, missing))}; "
            f"there are: {', '.join(map(repr, there))}",
            where=name,
            remedy="Say which column it is: "
            + " ".join(f"--column {field}=NAME" for field in fields)
            + ", or indexing.columns in the configuration.",
        )
    clashes = sorted(columns.clashes & set(there))
    if clashes:
        raise ConfigError(
            f"the store keeps the names {', '.join(clashes)} for itself",
            where=name,
            remedy="Rename the column in the source, or say what it is with --column.",
        )


def csv_header(head: Sequence[bytes], name: str, columns: Columns) -> tuple[list[str], str, int]:
    """Read the names of a CSV file's columns, and find the delimiter that they are read with.

    Returns:
        The names, the delimiter, and how many physical lines they take.

    Raises:
        ConfigError: the first row names no columns.
    """
    readings: list[tuple[int, int, int, list[str], str, int]] = []
    for delimiter in DELIMITERS:
        reader = csv.reader((_decode(line)[0] for line in head), delimiter=delimiter, strict=True)
        try:
            names = [field.strip() for field in next(reader, [])]
        except csv.Error:
            continue
        known = sum(name in names for name in (*columns.needed, columns.review_id))
        readings.append((known, len(names), -len(readings), names, delimiter, reader.line_num))
    if not readings:
        raise ConfigError(
            "the first row is no CSV header",
            where=name,
            remedy="Begin the file with the names of its columns.",
        )
    _, _, _, names, delimiter, lines = max(readings)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ConfigError(
            f"the header names {', '.join(map(repr, twice))} more than once",
            where=name,
            remedy="Give every column a name of its own.",
        )
    return names, delimiter, lines


def _decode(data: bytes) -> tuple[str, str | None]:
    """Decode a line, and say what is wrong with it."""
    try:
        return data.decode(), None
    except UnicodeDecodeError as error:
        return data.decode(errors="replace"), f"not UTF-8: {error.reason} at byte {error.start}"


class _OverLongError(Exception):
    """A row goes on for more than a row can have."""


class _CsvRecord:
    """The physical lines of the CSV record that is being read."""

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self.parts: list[PhysicalLine] = []
        self.size = 0
        self.error: str | None = None

    def begin(self) -> None:
        self.parts = []
        self.size = 0
        self.error = None

    def feed(self) -> Iterator[str]:
        for part in self._lines:
            data, size = part
            self.parts.append(part)
            self.size += size
            if self.size > self._lines.max_bytes:
                raise _OverLongError
            text, error = _decode(data)
            if error is not None and self.error is None:
                self.error = error
            yield text

    def shown(self) -> str:
        return shorten(b"".join(data for data, _ in self.parts[:5]).decode(errors="replace"))


def _read_csv(file: SourceFile, columns: Columns, start: Position, lines: Lines) -> Iterator[Row]:
    # The limit is the process's; ours, on the whole row, is kept by _CsvRecord.
    csv.field_size_limit(max(csv.field_size_limit(), lines.max_bytes))
    header, delimiter, header_lines = csv_header(lines.head(), file.name, columns)
    if start.offset:
        lines.seek(start)
    else:
        deque(islice(lines, header_lines), maxlen=0)
    record = _CsvRecord(lines)
    reader = csv.reader(record.feed(), delimiter=delimiter, strict=True)
    while True:
        record.begin()
        line = lines.line + 1
        try:
            cells = next(reader)
            if not cells:
                continue
            if record.error is not None:
                raise BadRow("bad encoding", record.error)
            if len(cells) != len(header):
                raise BadRow(
                    "malformed",
                    f"the row has {len(cells):,} fields where the header has {len(header):,}",
                )
            found = columns.review(dict(zip(header, cells, strict=True)), untyped=True)
        except StopIteration:
            return
        except (csv.Error, _OverLongError) as error:
            # A quote that is never closed swallows the rows that follow. They are read again:
            # only the line on which the row began is set aside.
            lines.push_back(record.parts[1:])
            del record.parts[1:]
            reader = csv.reader(record.feed(), delimiter=delimiter, strict=True)
            bad = _csv_error(error, record.parts[0], lines.max_bytes)
            yield _rejected(file, line, bad, record.shown(), lines)
        except BadRow as error:
            yield _rejected(file, line, error, record.shown(), lines)
        else:
            yield Row(found, line, Position(file.number, lines.offset, lines.line))


def _csv_error(error: Exception, first: PhysicalLine, max_bytes: int) -> BadRow:
    data, size = first
    if size > max_bytes:
        return BadRow("over-long", f"the row has {size:,} bytes, at most {max_bytes:,} are read")
    _, encoding = _decode(data)
    if encoding is not None:
        return BadRow("bad encoding", encoding)
    if isinstance(error, _OverLongError):
        return BadRow("malformed", f"a quote is opened and not closed within {max_bytes:,} bytes")
    return BadRow("malformed", f"the quotes do not match: {error}")


def _read_jsonl(file: SourceFile, columns: Columns, start: Position, lines: Lines) -> Iterator[Row]:
    lines.head(1)
    if start.offset:
        lines.seek(start)
    for data, size in lines:
        if data.isspace():
            continue
        try:
            if size > lines.max_bytes:
                raise BadRow(
                    "over-long",
                    f"the line has {size:,} bytes, at most {lines.max_bytes:,} are read",
                )
            found = columns.review(_json_object(data))
        except BadRow as error:
            shown = shorten(data[:2000].decode(errors="replace"))
            yield _rejected(file, lines.line, error, shown, lines)
        else:
            yield Row(found, lines.line, Position(file.number, lines.offset, lines.line))


def _json_object(data: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        _, encoding = _decode(data)
        if encoding is not None:
            raise BadRow("bad encoding", encoding) from None
        if "depth limit" in str(error) or "recursion" in str(error):
            raise BadRow("nesting too deep", str(error)) from None
        raise BadRow("malformed", f"not JSON: {error}") from None
    if not isinstance(value, dict):
        raise BadRow("malformed", f"a JSON {type(value).__name__} where an object is needed")
    return value


def _rejected(
    file: SourceFile, line: int | None, error: BadRow, shown: str | None, lines: Lines
) -> Row:
    reject = Reject(file.name, line, error.reason, error.detail, shown, error.review_id)
    return Row(reject, line, Position(file.number, lines.offset, lines.line))


def open_parquet(path: Path) -> Any:
    """Open a Parquet file with pyarrow.

    Raises:
        MissingDependencyError: pyarrow is not installed.
        DataError: the file is not Parquet, or is damaged.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDependencyError(
            "reading Parquet needs pyarrow",
            where=str(path),
            remedy="Install it: pip install 'qa-system[parquet]'.",
        ) from error
    try:
        # Without pre_buffer a row group is read as it is asked for, not held whole.
        return pq.ParquetFile(path, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"the file is not Parquet: {error}", where=str(path), remedy="Write it again."
        ) from error


def _read_parquet(file: SourceFile, columns: Columns, start: Position) -> Iterator[Row]:
    import pyarrow as pa

    assert file.path is not None  # noqa: S101  (standard input is never Parquet)
    parquet = open_parquet(file.path)
    groups = [parquet.metadata.row_group(n).num_rows for n in range(parquet.num_row_groups)]
    first, row = 0, 0
    while first < len(groups) and row + groups[first] <= start.offset:
        row += groups[first]
        first += 1
    batches = parquet.iter_batches(PARQUET_BATCH, row_groups=range(first, len(groups)))
    try:
        for batch in batches:
            skipped = min(max(start.offset - row, 0), batch.num_rows)
            row += skipped
            for values in _parquet_rows(batch.slice(skipped)):
                row += 1
                after = Position(file.number, row, row)
                try:
                    if isinstance(values, BadRow):
                        raise values
                    yield Row(columns.review(values), row, after)
                except BadRow as error:
                    shown = None if isinstance(values, BadRow) else shorten(repr(values))
                    reject = Reject(
                        file.name, row, error.reason, error.detail, shown, error.review_id
                    )
                    yield Row(reject, row, after)
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"the file cannot be read on: {error}",
            where=f"{file.name}, row {row + 1}",
            remedy="Fetch or write it again.",
        ) from error
    finally:
        parquet.close()


def _parquet_rows(batch: Any) -> Iterator[dict[str, Any] | BadRow]:
    import pyarrow as pa

    for number, column in enumerate(batch.schema):
        # What is finer than a microsecond does not fit Python's datetime.
        if pa.types.is_timestamp(column.type) and column.type.unit == "ns":
            micro = pa.timestamp("us", column.type.tz)
            cast = batch.column(number).cast(micro, safe=False)
            batch = batch.set_column(number, column.with_type(micro), cast)
    try:
        yield from batch.to_pylist()
    except (UnicodeDecodeError, ValueError, OverflowError):
        # Something in these rows is no Python value: find out in which.
        for row in range(batch.num_rows):
            try:
                yield batch.slice(row, 1).to_pylist()[0]
            except UnicodeDecodeError as error:
                yield BadRow("bad encoding", f"not UTF-8: {error.reason}")
            except (ValueError, OverflowError) as error:
                yield BadRow("wrong type", str(error))


def _read_subjqa(file: SourceFile, columns: Columns, start: Position) -> Iterator[Row]:
    rejects: deque[Reject] = deque()

    def set_aside(error: RecordError) -> None:
        rejects.append(_subjqa_reject(file, error))

    def records() -> Iterator[Row]:
        number = 0
        for review in subjqa.iter_reviews(file.name, on_error=set_aside):
            while rejects:
                number += 1
                reject = rejects.popleft()
                yield Row(reject, reject.line, Position(file.number, number, number))
            number += 1
            after = Position(file.number, number, number)
            try:
                yield Row(columns.checked(review), None, after)
            except BadRow as error:
                reject = Reject(
                    file.name, None, error.reason, error.detail, shorten(review.text), review.id
                )
                yield Row(reject, None, after)
        for reject in rejects:
            number += 1
            yield Row(reject, reject.line, Position(file.number, number, number))

    return islice(records(), start.offset, None)


def _subjqa_reject(file: SourceFile, error: RecordError) -> Reject:
    place = None if error.where is None else _PLACE.fullmatch(error.where)
    where = file.name if place is None else place["file"]
    line = None if place is None else int(place["line"])
    return Reject(where, line, error.reason, error.what)
