"""Where reviews come from: a source's name to files, and files to rows.

A source is recognised by what it holds, not by what it is called: a SubjQA folder or file, CSV
(comma, semicolon, tab or bar), JSON Lines or Parquet, plain or gzipped; a folder or glob of such
files; `-` for standard input.
"""

from __future__ import annotations

import glob
import gzip
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import orjson

from indexing.formats import (
    MIN_ROW_BYTES,
    Format,
    SourceFile,
    check_columns,
    csv_header,
    open_parquet,
    read,
)
from indexing.rows import Columns, Position, Row
from indexing.streams import BOM, Lines
from qa_system.config import IndexingSettings
from qa_system.datasets import subjqa
from qa_system.errors import ConfigError, DataError
from qa_system.models.locate import data_place

__all__ = ["Sources", "open_sources"]

logger = logging.getLogger(__name__)

STDIN = "-"
GZIP = b"\x1f\x8b"
PARQUET = b"PAR1"
UTF16 = (b"\xff\xfe", b"\xfe\xff")
SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet")


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a run, in the order in which they are read.

    Args:
        files: what was found, recognised and checked.
        columns: how a row becomes a review.
    """

    files: tuple[SourceFile, ...]
    columns: Columns

    @property
    def fingerprint(self) -> list[Any] | None:
        """What changes when a file does; None if that cannot be told (standard input)."""
        if any(file.stdin is not None for file in self.files):
            return None
        return [
            [str(file.path), file.format, file.delimiter, file.weight, file.modified]
            for file in self.files
        ]

    def rows(self, start: Position = Position()) -> Iterator[Row]:  # noqa: B008  (immutable)
        """Read all rows from a position on.

        Raises:
            DataError: a file is damaged so that it cannot be read on.
        """
        for file in self.files[start.file :]:
            begin = start if file.number == start.file else Position(file.number)
            with ExitStack() as stack:
                lines = file.stdin
                if lines is None and file.format in ("csv", "jsonl"):
                    stream = stack.enter_context(_open(cast("Path", file.path)))
                    lines = Lines(stream, file.name, _row_bytes(self.columns))
                yield from read(file, self.columns, begin, lines)

    def share(self, position: Position) -> float:
        """Estimate how much of the whole lies before a position, 0 to 1, for a progress bar."""
        whole = sum(file.weight for file in self.files)
        if not whole or position.file >= len(self.files):
            return 0.0
        done = float(sum(file.weight for file in self.files[: position.file]))
        file = self.files[position.file]
        if file.size:
            done += file.weight * min(position.offset / file.size, 1.0)
        return done / whole


def open_sources(settings: IndexingSettings, stdin: IO[bytes] | None = None) -> Sources:
    """Find, recognise and check every file of the settings' sources before any is read.

    Args:
        settings: `sources`, `format`, `columns`, `types`, `max_text_chars` and `passages`.
        stdin: what `-` reads; None takes the process's.

    Raises:
        ConfigError: no source is named, or a file has not the columns needed.
        DataError: a source is missing, a file cannot be read, or is of no format known.
        MissingDependencyError: Parquet is read without pyarrow.
    """
    if not settings.sources:
        raise ConfigError(
            "no source is named",
            where="indexing.sources",
            remedy="Name a file, a folder, a glob or `-`: qa-index run --source reviews.csv.",
        )
    columns = Columns.of(settings)
    files: list[SourceFile] = []
    for place in dict.fromkeys(place for source in settings.sources for place in _expand(source)):
        file = _recognise(place, len(files), settings, columns, stdin)
        if file is None:
            logger.warning("%s is empty", place)
        else:
            files.append(file)
    return Sources(tuple(files), columns)


def _expand(source: str) -> list[str]:
    """Return the files that a source means; a SubjQA folder counts as one."""
    source = data_place(source)
    path = Path(source)
    if source == STDIN or path.is_file():
        return [source]
    if path.is_dir() or source.startswith(subjqa.HUB_PREFIX):
        if subjqa.is_subjqa(source):
            return [source]
        inside = [file for file in sorted(path.iterdir()) if _is_data(file)]
        if not inside:
            raise DataError(
                f"the folder holds no file that ends in {', '.join(SUFFIXES)} (or .gz)",
                where=source,
                remedy="Name its files by a glob, for example 'folder/**/*.csv'.",
            )
        return [str(file) for file in inside]
    found = sorted(glob.glob(source, recursive=True))  # noqa: PTH207  (absolute ones too)
    places = [
        place
        for match in found
        if Path(match).is_file() or subjqa.is_subjqa(match)
        for place in _expand(match)
    ]
    if not places:
        raise DataError(
            "no file matches" if glob.has_magic(source) else "there is no such file or folder",
            where=source,
            remedy=f"Check the path; it is taken from {Path.cwd()}.",
        )
    return places


def _is_data(file: Path) -> bool:
    name = file.name.lower().removesuffix(".gz")
    return file.is_file() and not name.startswith((".", "_")) and name.endswith(SUFFIXES)


def _recognise(
    place: str,
    number: int,
    settings: IndexingSettings,
    columns: Columns,
    stdin: IO[bytes] | None,
) -> SourceFile | None:
    """Tell what a file holds, and whether a review can be made of it; None if it is empty."""
    if place == STDIN:
        stream = cast("Any", sys.stdin.buffer if stdin is None else stdin)
        lines = Lines(_plain(stream, stream.peek(2)[:2]), "standard input", _row_bytes(columns))
        return _recognise_lines(lines, number, settings, columns, None)
    path = Path(place)
    if settings.format == "subjqa" or path.is_dir() or place.startswith(subjqa.HUB_PREFIX):
        return _subjqa_file(place, number)
    with _open(path) as stream:
        if settings.format in ("auto", "parquet"):
            is_parquet = stream.read(len(PARQUET)) == PARQUET
            stream.seek(0)
            if is_parquet or settings.format == "parquet":
                return _parquet_file(path, number, columns)
        lines = Lines(stream, place, _row_bytes(columns))
        return _recognise_lines(lines, number, settings, columns, path)


def _recognise_lines(
    lines: Lines,
    number: int,
    settings: IndexingSettings,
    columns: Columns,
    path: Path | None,
) -> SourceFile | None:
    head = lines.head()
    first = next((line.lstrip() for line in head if not line.isspace()), None)
    if first is None:
        return None
    if first.startswith((*UTF16, PARQUET)) or b"\0" in first:
        raise DataError(
            "the file is neither UTF-8 text nor Parquet",
            where=lines.name,
            remedy="Convert it: iconv -f UTF-16 -t UTF-8. Parquet cannot come by a pipe.",
        )
    if first.startswith(b"[") and settings.format in ("auto", "jsonl"):
        raise DataError(
            "the file is one JSON list, which cannot be read as a stream",
            where=lines.name,
            remedy="Write an object a line: jq -c '.[]' FILE | qa-index run --source -.",
        )
    format_: Format = "csv"
    delimiter = ","
    if settings.format == "jsonl" or (settings.format == "auto" and first.startswith(b"{")):
        format_ = "jsonl"
        _check_objects(lines.name, head, columns)
    elif settings.format == "auto" and path is not None and _is_subjqa_csv(path, head):
        return _subjqa_file(str(path), number)
    else:
        names, delimiter, _ = csv_header(head, lines.name, columns)
        check_columns(lines.name, names, columns)
    if path is None:
        return SourceFile(number, lines.name, None, format_, delimiter, stdin=lines)
    stat = path.stat()
    return SourceFile(
        number,
        lines.name,
        path.absolute(),
        format_,
        delimiter,
        size=_plain_size(path, stat.st_size),
        weight=stat.st_size,
        modified=stat.st_mtime_ns,
    )


def _is_subjqa_csv(path: Path, head: Sequence[bytes]) -> bool:
    return b"q_review_id" in head[0].removeprefix(BOM) and subjqa.is_subjqa(path)


def _check_objects(name: str, head: Sequence[bytes], columns: Columns) -> None:
    """Make sure that at least one of the first objects has what a review needs."""
    there: dict[str, None] = {}
    for line in head:
        try:
            value = orjson.loads(line)
        except orjson.JSONDecodeError:
            continue
        if isinstance(value, dict):
            if all(column in value for column in columns.needed):
                return
            there |= dict.fromkeys(value)
    if there:
        check_columns(name, list(there)[:50], columns)


def _subjqa_file(place: str, number: int) -> SourceFile:
    path = Path(place)
    parts = [path] if path.is_file() else sorted(path.glob("*.csv")) + sorted(path.glob("*/*.csv"))
    stats = [part.stat() for part in parts]
    local = path.exists()
    return SourceFile(
        number,
        place,
        path.absolute(),
        "subjqa",
        # A domain is small: to count its reviews costs less than a progress bar without an end.
        size=sum(1 for _ in subjqa.iter_reviews(place, on_error=lambda _: None)) if local else None,
        weight=sum(stat.st_size for stat in stats),
        modified=max((stat.st_mtime_ns for stat in stats), default=0),
    )


def _parquet_file(path: Path, number: int, columns: Columns) -> SourceFile:
    parquet = open_parquet(path)
    import pyarrow as pa

    schema = parquet.schema_arrow
    rows = parquet.metadata.num_rows
    parquet.close()
    check_columns(str(path), schema.names, columns)
    kind = schema.field(columns.text).type
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise ConfigError(
            f"the column {columns.text!r} is {kind}, not text",
            where=str(path),
            remedy="Say which column is the text: --column text=NAME.",
        )
    stat = path.stat()
    return SourceFile(
        number,
        str(path),
        path.absolute(),
        "parquet",
        size=rows,
        weight=stat.st_size,
        modified=stat.st_mtime_ns,
    )


def _row_bytes(columns: Columns) -> int:
    # A character has at most 4 bytes in UTF-8, and 6 or 12 as a JSON escape.
    return max(MIN_ROW_BYTES, 12 * columns.max_text_chars)


def _open(path: Path) -> IO[bytes]:
    try:
        stream = path.open("rb")
    except OSError as error:
        raise DataError(
            f"the file cannot be read: {error.strerror}", where=str(path), remedy="Check it."
        ) from error
    return _plain(stream, stream.peek(2)[:2])


def _plain(stream: IO[bytes], magic: bytes) -> IO[bytes]:
    return cast("IO[bytes]", gzip.GzipFile(fileobj=stream)) if magic == GZIP else stream


def _plain_size(path: Path, bytes_on_disk: int) -> int | None:
    """Tell a file's length uncompressed; gzip keeps it, modulo 4 GB, in its last four bytes."""
    with path.open("rb") as stream:
        if stream.read(2) != GZIP or bytes_on_disk < 18:
            return bytes_on_disk
        stream.seek(-4, 2)
        size = int.from_bytes(stream.read(4), "little")
    return size if size >= bytes_on_disk // 2 else None
