"""Where reviews come from: a source's name to files, and files to rows.

A source is recognised by what it holds, not by what it is called: a SubjQA folder or file, CSV
(comma, semicolon, tab or bar), JSON or Parquet, plain or compressed; a folder or glob of such
files; `-` for standard input.
"""

from __future__ import annotations

import glob
import logging
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from qa_system.arguments import check_text
from qa_system.config import IndexingSettings
from qa_system.datasets import subjqa, subjqa_rows
from qa_system.errors import ConfigError, DataError, InvalidArgumentError
from qa_system.models.locate import data_place
from qa_system.review_ids import ID_RECIPE
from qa_system.sources.aliases import check_columns, check_reserved, find_columns
from qa_system.sources.column_types import SAMPLED_ROWS, ColumnTypes
from qa_system.sources.csv_format import csv_header
from qa_system.sources.formats import Format, SourceFile, read, sample_of
from qa_system.sources.json_format import is_json_lines
from qa_system.sources.parquet_format import parquet_names
from qa_system.sources.rows import BadRow, Columns, Position, RawRow, Reject, Row, shorten
from qa_system.sources.streams import DATA_SUFFIXES, PARQUET, TextSource, failing, open_text

__all__ = ["Sources", "open_sources"]

logger = logging.getLogger(__name__)

STDIN: Final = "-"
COMPRESSED_SUFFIXES: Final = ("", ".gz", ".bz2", ".xz", ".zip")
LOOKAHEAD_BYTES: Final = 1 << 26
"""So much of the rows that decide a type is held at most."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of a run, in the order in which they are read.

    Args:
        files: what was found, recognised and checked.
        settings: that they were opened with.
        recipe: by which an id is made where there is none (`stable_review_id`).
    """

    files: tuple[SourceFile, ...]
    settings: IndexingSettings
    recipe: int = ID_RECIPE

    @property
    def fingerprint(self) -> list[Any] | None:
        """What changes when a file does; None if that cannot be told (standard input)."""
        if any(file.path is None for file in self.files):
            return None
        return [
            [str(file.path), file.weight, file.modified, *file.described().values()]
            for file in self.files
        ]

    @property
    def mapping(self) -> dict[str, list[str]]:
        """The columns that each field is taken from, in all files together."""
        taken: dict[str, dict[str, None]] = {}
        for file in self.files:
            for field, column in (file.found or {}).items():
                taken.setdefault(field, {})[column] = None
        return {field: list(columns) for field, columns in sorted(taken.items())}

    def by_recipe(self, recipe: int) -> Sources:
        """Derive ids by another recipe; by the first one, an id has its own column name."""
        if recipe == self.recipe:
            return self
        files = self.files
        if recipe == 1:
            own = self.settings.columns.get("review_id", "review_id")
            files = tuple(
                file
                if file.format == "subjqa"
                else replace(file, columns=replace(file.columns, review_id=own))
                for file in files
            )
        return replace(self, files=files, recipe=recipe)

    def rows(
        self,
        start: Position = Position(),  # noqa: B008  (immutable)
        types: ColumnTypes | None = None,
    ) -> Iterator[Row]:
        """Read all rows from a position on.

        Args:
            start: where to begin.
            types: of the columns, as far as they are known; None: none is.

        Raises:
            DataError: a file is damaged so that it cannot be read on.
        """
        types = ColumnTypes.of(self.settings) if types is None else types
        raws = self.raw_rows(start)
        ahead: deque[RawRow] = deque()
        typed: dict[int, set[str]] = {file.number: {file.columns.text} for file in self.files}
        while True:
            raw = ahead.popleft() if ahead else next(raws, None)
            if raw is None:
                return
            file = self.files[raw.after.file]
            if isinstance(raw.values, Mapping):
                new = raw.values.keys() - typed[file.number]
                new = {name for name in new if raw.values[name] not in (None, "")} if new else new
                names = {file.columns.name_of(column) for column in new} - types.kinds.keys()
                if names:
                    raws = _look_ahead(raws, ahead)
                    self._learn(names, [raw, *islice(ahead, SAMPLED_ROWS - 1)], types)
                typed[file.number] |= new
            yield self._row(raw, file, types)

    def raw_rows(
        self,
        start: Position = Position(),  # noqa: B008  (immutable)
    ) -> Iterator[RawRow]:
        """Read all rows from a position on as their formats have them, bad ones as well."""
        for file in self.files[start.file :]:
            begin = start if file.number == start.file else Position(file.number)
            yield from read(file, begin)

    def _learn(self, names: set[str], sample: list[RawRow], types: ColumnTypes) -> None:
        """Decide the types of columns, by their names in the store."""
        values: dict[str, list[tuple[Any, bool]]] = {name: [] for name in names}
        for raw in sample:
            if not isinstance(raw.values, Mapping):
                continue
            file = self.files[raw.after.file]
            for column, value in raw.values.items():
                name = file.columns.name_of(column)
                if name in values and column != file.columns.text:
                    values[name].append((value, file.format == "csv"))
        for name, some in values.items():
            types.learn(name, some)

    def _row(self, raw: RawRow, file: SourceFile, types: ColumnTypes) -> Row:
        values = raw.values
        if isinstance(values, Reject):
            return Row(values, raw.line, raw.after)
        try:
            if isinstance(values, BadRow):
                raise values
            review, has_id = file.columns.read(values, types, self.recipe)
            return Row(review, raw.line, raw.after, has_id)
        except BadRow as error:
            shown = None
            if raw.shown is not None:
                shown = shorten(raw.shown.decode(errors="replace"))
            elif isinstance(values, Mapping):
                shown = shorten(repr(values))
            reject = Reject(file.name, raw.line, error.reason, error.detail, shown, error.review_id)
            known = values if isinstance(values, Mapping) else None
            return Row(reject, raw.line, raw.after, values=known)

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


def _look_ahead(raws: Iterator[RawRow], ahead: deque[RawRow]) -> Iterator[RawRow]:
    """Read the rows that decide a column's type; return those that come after them.

    Where the file is damaged, it is what comes after them that says so.
    """
    size = sum(raw.size for raw in ahead)
    try:
        while len(ahead) < SAMPLED_ROWS - 1 and size < LOOKAHEAD_BYTES:
            raw = next(raws, None)
            if raw is None:
                break
            ahead.append(raw)
            size += raw.size
    except DataError as error:
        return failing(error)
    return raws


def open_sources(settings: IndexingSettings, stdin: IO[bytes] | None = None) -> Sources:
    """Find, recognise and check every file of the settings' sources before any is read.

    Args:
        settings: all of `indexing` that is about sources.
        stdin: what `-` reads; None takes the process's.

    Raises:
        ConfigError: no source is named, or a file has not the columns needed.
        DataError: a source is missing, a file cannot be read, its name is not UTF-8, or it is of no
            format known.
        MissingDependencyError: Parquet is read without pyarrow.
    """
    if not settings.sources:
        raise ConfigError(
            "no source is named",
            where="indexing.sources",
            remedy="Name a file, a folder, a glob or `-`: qa-index run --source reviews.csv",
        )
    files: list[SourceFile] = []
    for place in dict.fromkeys(place for source in settings.sources for place in _expand(source)):
        _check_name(place)
        file = _recognise(place, len(files), settings, stdin)
        if file is None:
            logger.warning("%s is empty", place)
        else:
            files.append(file)
    return Sources(tuple(files), settings)


def _check_name(place: str) -> None:
    try:
        check_text("the name of a file", place)
    except InvalidArgumentError as error:
        raise DataError(
            error.what, remedy="Rename it: checkpoints and rejects are UTF-8."
        ) from None


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
                f"the folder holds no file that ends in {', '.join(DATA_SUFFIXES)} "
                f"(or one of them with {', '.join(COMPRESSED_SUFFIXES[1:])})",
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
    name = file.name.lower()
    return (
        not name.startswith((".", "_"))
        and any(name.removesuffix(end).endswith(DATA_SUFFIXES) for end in COMPRESSED_SUFFIXES)
        and file.is_file()
    )


def _recognise(
    place: str, number: int, settings: IndexingSettings, stdin: IO[bytes] | None
) -> SourceFile | None:
    """Tell what a file holds, and whether a review can be made of it; None if it is empty."""
    columns = Columns.of(settings)
    if place == STDIN:
        if stdin is None and sys.stdin is not None:
            stdin = sys.stdin.buffer
        text = open_text(None, "standard input", settings.encoding, stdin)
        return _recognise_text(text, number, settings, columns)
    path = Path(place)
    if settings.format == "subjqa" or path.is_dir() or place.startswith(subjqa.HUB_PREFIX):
        return _subjqa_file(place, number, columns)
    if settings.format == "parquet" or (settings.format == "auto" and _is_parquet(path)):
        return _parquet_file(path, number, settings, columns)
    text = open_text(path, place, settings.encoding)
    if settings.format == "auto" and subjqa.is_subjqa(path):
        return _subjqa_file(place, number, columns)
    return _recognise_text(text, number, settings, columns)


def _is_parquet(path: Path) -> bool:
    try:
        with path.open("rb") as stream:
            return stream.read(len(PARQUET)) == PARQUET
    except OSError as error:
        raise DataError(
            f"the file cannot be read: {error.strerror}", where=str(path), remedy="Check it."
        ) from error


def _recognise_text(
    text: TextSource, number: int, settings: IndexingSettings, columns: Columns
) -> SourceFile | None:
    beginning = text.head.lstrip()
    if not beginning:
        return None
    first = beginning.partition(b"\n")[0]
    if b"\0" in first:
        raise DataError(
            "the file is binary: its first line holds a NUL character",
            where=text.name,
            remedy="Export it as CSV or JSON Lines. If it is a text: --encoding NAME",
        )
    is_json = settings.format == "jsonl" or (
        settings.format == "auto" and beginning.startswith((b"{", b"["))
    )
    format_: Format = "csv"
    if is_json:
        format_ = "jsonl" if is_json_lines(text.head) else "json"
    header = None
    if format_ == "csv":
        header = csv_header(text.head.splitlines(keepends=True), text.name, columns)
    file = SourceFile(number, text.name, text.path, format_, columns, text, header)
    if text.encoding != "utf-8" and settings.encoding is None:
        logger.info(
            "%s: read as %s; --encoding NAME names another encoding",
            text.name,
            text.encoding,
        )
    there = None if header is None else header.named
    if settings.format == "auto" and set(there or ()) >= set(subjqa_rows.REQUIRED):
        raise DataError(
            "this is a file of SubjQA, which is read from its folder, not compressed",
            where=text.name,
            remedy="Decompress it, and name its folder: --source FOLDER",
        )
    file = _with_columns(file, there, settings)
    if text.path is None:
        return file
    stat = text.path.stat()
    return replace(
        file,
        path=text.path.absolute(),
        size=text.size,
        weight=stat.st_size,
        modified=stat.st_mtime_ns,
    )


def _with_columns(
    file: SourceFile, there: list[str] | None, settings: IndexingSettings
) -> SourceFile:
    """Find out which columns hold what.

    Args:
        file: recognised so far.
        there: its columns; None: its rows say it.
        settings: what is told about columns.

    Raises:
        ConfigError: it has not the columns needed, or one that the store keeps for itself.
    """
    sample = sample_of(file)
    names = list(dict.fromkeys(name for row in sample for name in row)) if there is None else there
    told = {str(field): column for field, column in settings.columns.items()}
    found = find_columns(names, sample, told)
    if settings.item is not None:
        found.pop("item_id", None)
    columns = Columns.of(settings, found)
    if names:
        check_columns(file.name, names, columns, sample)
    if there is not None:
        check_reserved(file.name, there, columns)
    others = {field: column for field, column in found.items() if field != column}
    if others:
        logger.info(
            "%s: %s; --column FIELD=COLUMN says otherwise",
            file.name,
            ", ".join(f"{field} is {column!r}" for field, column in others.items()),
        )
    return replace(file, columns=columns, found={**found, **told})


def _subjqa_file(place: str, number: int, columns: Columns) -> SourceFile:
    path = Path(place)
    parts = [path] if path.is_file() else sorted(path.glob("*.csv")) + sorted(path.glob("*/*.csv"))
    stats = [part.stat() for part in parts]
    local = path.exists()
    return SourceFile(
        number,
        place,
        path.absolute(),
        "subjqa",
        Columns(max_text_chars=columns.max_text_chars),
        # A domain is small: to count its reviews costs less than a progress bar without an end.
        size=sum(1 for _ in subjqa.iter_reviews(place, on_error=lambda _: None)) if local else None,
        weight=sum(stat.st_size for stat in stats),
        modified=max((stat.st_mtime_ns for stat in stats), default=0),
    )


def _parquet_file(
    path: Path, number: int, settings: IndexingSettings, columns: Columns
) -> SourceFile:
    names, rows = parquet_names(path)
    stat = path.stat()
    file = SourceFile(
        number,
        str(path),
        path.absolute(),
        "parquet",
        columns,
        size=rows,
        weight=stat.st_size,
        modified=stat.st_mtime_ns,
    )
    return _with_columns(file, names, settings)
