"""The questions file: a question and its item a row, in any format that reviews are read from."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

import orjson

from qa_system.config import Settings, changed
from qa_system.errors import ConfigError, DataError, RecordError
from qa_system.records import Question
from qa_system.sources.aliases import UnknownColumnsError
from qa_system.sources.column_types import ColumnTypes
from qa_system.sources.files import Sources, open_sources
from qa_system.sources.rows import Reject, Row
from qa_system.sources.values import MisfitError, UnusableError

__all__ = ["Asked", "Questions"]

QUESTION: Final = "question"
ID_COLUMNS: Final = ("id", "question_id")


@dataclass(frozen=True, slots=True)
class Asked:
    """A row of the questions file.

    Args:
        id: what the file has as the row's id; None: it has none.
        question: to be asked, or why the row cannot be used.
        share: estimate of how much of the file lies before the next row, 0 to 1.
        text: what a row that cannot be used has as its question; None: nothing.
        item_id: what it has as its item; None: nothing.
        meta: its other columns.
    """

    id: Any
    question: Question | RecordError
    share: float
    text: str | None = None
    item_id: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)


class Questions:
    """Read a file of questions.

    The column of the item is found by the names that files of reviews use for it, and its ids are
    read as `qa-index run` reads them, so that they are the same.

    Args:
        place: CSV, JSON or Parquet, as for `qa-index run`; `-` is standard input.
        item: that all questions are about, where no column names one.
        encoding: of CSV and JSON; None: detected.
        stdin: what `-` reads; None: the process's.

    Raises:
        ConfigError: the file has no column of questions, or none of items.
        DataError: it cannot be read.
    """

    def __init__(
        self,
        place: str,
        item: str | None = None,
        encoding: str | None = None,
        stdin: IO[bytes] | None = None,
    ) -> None:
        told = {
            "indexing.sources": [place],
            "indexing.columns": {"text": QUESTION},
            "indexing.item": item,
            "indexing.encoding": encoding,
        }
        settings = changed(Settings(), told).indexing
        with _for_questions():
            self._sources: Sources = open_sources(settings, stdin)
        if any(file.format == "subjqa" for file in self._sources.files):
            raise ConfigError(
                "this is a data set of reviews, not a file of questions",
                where=place,
                remedy="Name a file with the columns question and item_id.",
            )

    @property
    def paths(self) -> list[Path]:
        """The files that are read; none: standard input."""
        return [file.path for file in self._sources.files if file.path is not None]

    def digest(self) -> str | None:
        """Return a digest of what is read, and how; None: standard input, which is read once.

        A file that has been moved is the same.
        """
        options = self._sources.settings.model_dump_json(exclude={"sources"})
        whole = hashlib.sha256(options.encode())
        for file in self._sources.files:
            if file.path is None:
                return None
            told = {name: value for name, value in file.described().items() if name != "name"}
            whole.update(orjson.dumps(told))
            with file.path.open("rb") as stream:
                whole.update(hashlib.file_digest(stream, "sha256").digest())
        return whole.hexdigest()

    def __iter__(self) -> Iterator[Asked]:
        types = ColumnTypes.of(self._sources.settings)
        rows = self._sources.rows(types=types)
        while True:
            with _for_questions():
                row = next(rows, None)
            if row is None:
                return
            share = self._sources.share(row.after)
            found = row.record
            if isinstance(found, Reject):
                where = found.file if row.line is None else f"{found.file}, line {row.line}"
                error = RecordError(found.detail, where=where)
                yield Asked(self._id(row, types), error, share, *self._kept(row))
            else:
                own = next((found.meta[name] for name in ID_COLUMNS if name in found.meta), None)
                yield Asked(own, Question(found.text, found.item_id), share, meta=found.meta)

    def _id(self, row: Row, types: ColumnTypes) -> Any:
        """Return the id of a row that cannot be used, of the type that other rows have."""
        values = row.values or {}
        name = next((name for name in ID_COLUMNS if values.get(name) not in (None, "")), None)
        if name is None:
            return None
        try:
            return types.convert(name, values[name], [])
        except (MisfitError, UnusableError):
            return None

    def _kept(self, row: Row) -> tuple[str | None, str | None]:
        """Return the question and the item of a row that cannot be used, where it has them."""
        columns, values = self._sources.files[row.after.file].columns, row.values or {}
        item = columns.item or values.get(columns.item_id)
        kept = (values.get(columns.text), item)
        question, item = (each if isinstance(each, str) and each.strip() else None for each in kept)
        return question, item


@contextmanager
def _for_questions() -> Iterator[None]:
    """Say what to do about a file of questions, where sources say it of reviews."""
    try:
        yield
    except UnknownColumnsError as error:
        raise ConfigError(
            error.what,
            where=error.where,
            remedy="Name the columns question and item_id; for one item only: --item ITEM.",
        ) from error
    except (ConfigError, DataError) as error:
        raise type(error)(
            error.what,
            where=error.where,
            remedy="Check the path; write the questions as CSV, JSON Lines or Parquet, and run the "
            "same command again.",
        ) from error
