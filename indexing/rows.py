"""One row of a source: either a review, or a reject with its line and reason."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from qa_system.config import IndexingSettings
from qa_system.records import Review, stable_review_id

__all__ = ["BadRow", "Columns", "Position", "Reason", "Reject", "Row", "shorten"]

Reason = Literal[
    "missing text",
    "missing item",
    "wrong type",
    "bad encoding",
    "over-long",
    "malformed",
    "nesting too deep",
    "reserved name",
    "duplicate id",
    "refused by the store",
]
ValueType = Literal["text", "number"]

RESERVED = frozenset(("review_id", "item_id", "content_hash", "passage_start", "passage_end"))
"""Metadata that the store keeps for itself."""
SHOWN_CHARS = 200
MAX_ID_CHARS = 512
MAX_DEPTH = 20


class Position(NamedTuple):
    """How far a reading of the sources has come: what lies before it has been read.

    Args:
        file: number of the file, from 0.
        offset: where the next row starts, in the format's own unit (bytes; rows in Parquet and
            SubjQA).
        line: lines (in Parquet and SubjQA: rows) before it.
    """

    file: int = 0
    offset: int = 0
    line: int = 0


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that was set aside.

    Args:
        file: where it stands.
        line: the physical line that it starts on, from 1 (in Parquet its row); None if unknown.
        reason: the kind of error, one of a few.
        detail: the error in words.
        row: the row as it came, shortened.
        review_id: the review that it would have been, where that can be told.
    """

    file: str
    line: int | None
    reason: Reason
    detail: str
    row: str | None = None
    review_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the reject as a line of the reject file."""
        return {
            "file": self.file,
            "line": self.line,
            "reason": self.reason,
            "detail": self.detail,
            "review_id": self.review_id,
            "row": self.row,
        }


class Row(NamedTuple):
    """A row of a source, the line that it starts on, and the position after it."""

    record: Review | Reject
    line: int | None
    after: Position


class BadRow(Exception):
    """A row that is no review; whoever knows its place makes it a `Reject`."""

    def __init__(self, reason: Reason, detail: str, review_id: str | None = None) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail
        self.review_id = review_id


def shorten(text: str) -> str:
    """Cut a row to what a reject file shows of it.

    >>> len(shorten("x" * 1000))
    201
    """
    text = text.strip("\r\n")
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"


@dataclass(frozen=True, slots=True)
class Columns:
    """Which columns hold what, and how a row of them becomes a review.

    All other columns become metadata. A value that is missing (an empty cell, null, NaN) is left
    out; dates become ISO 8601 text. In CSV, where everything is text, a whole number, a decimal
    number or `true`/`false` becomes one if writing it again gives the same text (so `007` and
    `4.50` stay text), unless `types` says which it is.

    Args:
        review_id: the column of the id. Where it is missing or empty, the id is derived from
            item and text.
        item_id: the column of the item.
        text: the column of the review's text, which is taken as it is, to the last space.
        types: metadata columns that are always `text` or always `number`.
        max_text_chars: characters in a review at most.

    >>> Columns(text="body").review({"review_id": 7, "item_id": "B00", "body": "Good.", "stars": 5})
    Review(id='7', item_id='B00', text='Good.', meta={'stars': 5})
    """

    review_id: str = "review_id"
    item_id: str = "item_id"
    text: str = "text"
    types: Mapping[str, ValueType] = field(default_factory=dict)
    max_text_chars: int = 100_000

    @classmethod
    def of(cls, settings: IndexingSettings) -> Columns:
        """Take the columns from the settings."""
        return cls(
            **{str(field): column for field, column in settings.columns.items()},
            types=settings.types,
            max_text_chars=settings.max_text_chars,
        )

    @property
    def needed(self) -> tuple[str, str]:
        """The columns that a source cannot do without."""
        return self.item_id, self.text

    @property
    def clashes(self) -> frozenset[str]:
        """Columns that would overwrite what the store keeps for itself."""
        return RESERVED - {self.review_id, self.item_id, self.text}

    def review(self, row: Mapping[str, Any], *, untyped: bool = False) -> Review:
        """Make a review of a row, or say why it is none.

        Args:
            row: values by column.
            untyped: the values are CSV cells.

        Raises:
            BadRow: it is none.
        """
        given = _id(row.get(self.review_id), self.review_id, None)
        item = _id(row.get(self.item_id), self.item_id, given)
        if item is None:
            raise BadRow("missing item", f"{self.item_id} is empty", given)
        text = row.get(self.text)
        if text is None or text == "":
            raise BadRow("missing text", f"{self.text} is empty", given)
        if not isinstance(text, str):
            raise BadRow("wrong type", f"{self.text} is a {type(text).__name__}, not a text", given)
        return self.checked(
            Review(
                stable_review_id(item, text) if given is None else given,
                item,
                text,
                self._meta(row, given, untyped=untyped),
            )
        )

    def checked(self, review: Review) -> Review:
        """Pass a review that can be indexed.

        Raises:
            BadRow: it cannot.
        """
        if not review.text.strip():
            raise BadRow("missing text", "the text is blank", review.id)
        if len(review.text) > self.max_text_chars:
            raise BadRow(
                "over-long",
                f"the text has {len(review.text):,} characters; "
                f"max_text_chars is {self.max_text_chars:,}",
                review.id,
            )
        if "\0" in review.text:
            raise BadRow("bad encoding", "the text holds a NUL character", review.id)
        return review

    def _meta(
        self, row: Mapping[str, Any], review_id: str | None, *, untyped: bool
    ) -> dict[str, Any]:
        meta = {}
        own = (self.review_id, self.item_id, self.text)
        for column, value in row.items():
            if column in own:
                continue
            if column in RESERVED:
                raise BadRow("reserved name", f"the store keeps {column!r} for itself", review_id)
            try:
                if column in self.types:
                    value = _as_type(_json_value(value), self.types[column])
                else:
                    value = _guess(value) if untyped else _json_value(value)
            except BadRow as error:
                raise BadRow(error.reason, f"{column} {error.detail}", review_id) from None
            if value is not None and (value != "" or not untyped):
                meta[column] = value
        return meta


def _id(value: Any, column: str, review_id: str | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise BadRow("wrong type", f"{column} is a {type(value).__name__}, not an id", review_id)
    text = str(value)  # as it is: ids are compared exactly
    if len(text) > MAX_ID_CHARS:
        raise BadRow("over-long", f"{column} has {len(text):,} characters", review_id)
    if "\0" in text:
        raise BadRow("bad encoding", f"{column} holds a NUL character", review_id)
    return text if text.strip() else None


def _guess(cell: str) -> Any:
    """Return a CSV cell with its type, if writing it again gives the same text.

    >>> [_guess(cell) for cell in ("5", "4.5", "true", "007", "4.50", "1e5", "nan", "")]
    [5, 4.5, True, '007', '4.50', '1e5', 'nan', '']
    """
    if cell in ("true", "True"):
        return True
    if cell in ("false", "False"):
        return False
    # Cheap first: most cells are words.
    if cell[-1:].isdecimal() and len(cell) <= 24:
        for kind in (int, float):
            try:
                number = kind(cell)
            except ValueError:
                continue
            if str(number) == cell and abs(number) < 2**63:
                return number
    return _json_value(cell)


def _as_type(value: Any, kind: ValueType) -> Any:
    if value is None or value == "":
        return None
    if kind == "text":
        if isinstance(value, str):
            return value
        if isinstance(value, bool | int | float):
            return str(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        return value
    elif isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            pass
        else:
            if math.isfinite(number):
                digits = value.strip().lstrip("+-")
                return int(value) if digits.isdecimal() and abs(number) < 2**63 else number
    raise BadRow("wrong type", f"is {shorten(repr(value))}, not a {kind}")


def _json_value(value: Any, depth: int = 0) -> Any:
    """Make a JSON value of what a file holds; None for what is missing.

    Raises:
        BadRow: it is no value that a store can keep.
    """
    match value:
        case None | bool():
            return value
        case str():
            if "\0" in value:
                raise BadRow("bad encoding", "holds a NUL character")
            return value
        case int():
            if not -(2**63) <= value < 2**63:
                raise BadRow("wrong type", f"is {value}, which does not fit 64 bits")
            return value
        case float():
            if math.isinf(value):
                raise BadRow("wrong type", "is infinite")
            return None if math.isnan(value) else value
        case date() | datetime() | time():
            return value.isoformat()
        case Decimal():
            return _as_type(str(value), "number") if value.is_finite() else None
    if depth == MAX_DEPTH:
        raise BadRow("nesting too deep", f"is nested more than {MAX_DEPTH} levels deep")
    match value:
        case list() | tuple():
            return [_json_value(each, depth + 1) for each in value]
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise BadRow("wrong type", "has keys that are not text")
            return {key: _json_value(each, depth + 1) for key, each in value.items()}
    raise BadRow("wrong type", f"is a {type(value).__name__}, which a store cannot keep")
