"""Files as rows, whatever their format; read as streams, and from any position on.

A bad row spoils only itself. Memory is bounded by one row (in Parquet: one batch of rows), whatever
the file holds: a line without an end, a quote that is never closed.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final, Literal, assert_never, cast

from qa_system.datasets import subjqa
from qa_system.errors import DataError, RecordError
from qa_system.sources.csv_format import Header, read_csv
from qa_system.sources.json_format import read_json_lines, read_json_values
from qa_system.sources.parquet_format import read_parquet
from qa_system.sources.rows import Columns, Position, RawRow, Reject
from qa_system.sources.streams import Lines, TextSource

__all__ = ["Format", "SourceFile", "read", "sample_of"]

Format = Literal["subjqa", "csv", "jsonl", "json", "parquet"]
"""`jsonl` has an object a line; `json` is a list of objects, or objects over several lines."""

SAMPLED_ROWS: Final = 100
SAMPLED_BYTES: Final = 1 << 24
MIN_ROW_BYTES: Final = 1 << 20
_PLACE: Final = re.compile(r"(?P<file>.*), line (?P<line>\d+)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a source, recognised.

    Args:
        number: its place among the files of the run.
        name: as messages and rejects name it.
        path: where it is; None for standard input.
        format: what it holds.
        columns: how a row of it becomes a review.
        text: its text, unless it is Parquet or SubjQA.
        header: of a CSV file.
        size: its length in the unit of `Position.offset`; None if that is not known.
        weight: its bytes on disk.
        modified: its time of last change, in nanoseconds.
        found: those of the columns that were recognised by another name than the field's.
    """

    number: int
    name: str
    path: Path | None
    format: Format
    columns: Columns
    text: TextSource | None = None
    header: Header | None = None
    size: int | None = None
    weight: int = 0
    modified: int = 0
    found: Mapping[str, str] | None = None

    def described(self) -> dict[str, Any]:
        """Return what was found out about the file, as JSON values."""
        return {
            "name": self.name,
            "format": self.format,
            "encoding": None if self.text is None else self.text.encoding,
            "delimiter": None if self.header is None else self.header.delimiter,
            "columns": dict(self.found or {}),
        }


def read(file: SourceFile, start: Position, stream: IO[bytes] | None = None) -> Iterator[RawRow]:
    """Read a file's rows from a position on.

    Args:
        file: the file.
        start: where to begin; its `file` is the file's number.
        stream: read this in place of the file's text.

    Raises:
        DataError: the file is damaged so that it cannot be read on.
    """
    match file.format:
        case "subjqa":
            return islice(_read_subjqa(file), start.offset, None)
        case "parquet":
            return read_parquet(cast("Path", file.path), start)
        case "csv" | "json" | "jsonl":
            return _read_text(file, start, stream)
        case _:
            assert_never(file.format)


def _read_text(file: SourceFile, start: Position, stream: IO[bytes] | None) -> Iterator[RawRow]:
    text = cast("TextSource", file.text)
    stream = text.open(start.offset) if stream is None else stream
    # A character has at most 4 bytes in UTF-8, and 6 or 12 as a JSON escape.
    max_bytes = max(MIN_ROW_BYTES, 12 * file.columns.max_text_chars)
    if file.format == "json":
        return read_json_values(stream, file.name, max_bytes, start, text.encoding)
    lines = Lines(stream, file.name, max_bytes, start.offset, start.line)
    if file.format == "jsonl":
        return read_json_lines(lines, start, text.encoding)
    return read_csv(lines, cast("Header", file.header), file.columns, start, text.encoding)


def sample_of(file: SourceFile) -> list[Mapping[str, Any]]:
    """Read the first rows of a file, without those that are bad."""
    stream = None if file.text is None else file.text.preview(by_lines=file.format != "json")
    rows: list[Mapping[str, Any]] = []
    # The preview may end within an object; and a damaged file is told when it is read.
    with suppress(DataError):
        size = 0
        for raw in islice(read(file, Position(file.number), stream), SAMPLED_ROWS):
            if isinstance(raw.values, Mapping):
                rows.append(raw.values)
            size += raw.size
            if size >= SAMPLED_BYTES:
                break
    return rows


def _read_subjqa(file: SourceFile) -> Iterator[RawRow]:
    rejects: deque[Reject] = deque()

    def records() -> Iterator[Mapping[str, Any] | Reject]:
        def set_aside(error: RecordError) -> None:
            rejects.append(_subjqa_reject(file.name, error))

        for review in subjqa.iter_reviews(file.name, on_error=set_aside):
            while rejects:
                yield rejects.popleft()
            own = {"review_id": review.id, "item_id": review.item_id, "text": review.text}
            # What SubjQA calls a title is the product's id.
            yield {key: value for key, value in review.meta.items() if key != "title"} | own
        yield from rejects

    for number, record in enumerate(records(), start=1):
        line = record.line if isinstance(record, Reject) else None
        yield RawRow(record, line, Position(file.number, number, number))


def _subjqa_reject(name: str, error: RecordError) -> Reject:
    place = None if error.where is None else _PLACE.fullmatch(error.where)
    where = name if place is None else place["file"]
    line = None if place is None else int(place["line"])
    return Reject(where, line, error.reason, error.what)
