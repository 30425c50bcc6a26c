"""One row of a source: either a review, or a reject with its line and reason."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, Literal, NamedTuple

from qa_system.config import IndexingSettings
from qa_system.records import Review
from qa_system.review_ids import ID_RECIPE, stable_review_id
from qa_system.sources.column_types import ColumnTypes
from qa_system.sources.values import MisfitError, UnusableError, convert

__all__ = [
    "RESERVED",
    "BadRow",
    "Columns",
    "Position",
    "RawRow",
    "Reason",
    "Reject",
    "Row",
    "shorten",
]

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

RESERVED: Final = frozenset(
    ("review_id", "item_id", "content_hash", "passage_start", "passage_end", "sentences")
)
"""Metadata that the store keeps for itself."""
RENAMED: Final = ("title", "stars", "date", "author")
"""Metadata that has the same name in the store, whatever its column is called."""
SHOWN_CHARS: Final = 200
MAX_ID_BYTES: Final = 512
"""In UTF-8; a server takes no longer ids."""


class Position(NamedTuple):
    """How far a reading of the sources has come: what lies before it has been read.

    Args:
        file: number of the file, from 0.
        offset: where the next row starts, in the format's own unit (bytes of UTF-8; rows in
            Parquet and SubjQA).
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


class BadRow(Exception):
    """A row that is no review; whoever knows its place makes it a `Reject`."""

    def __init__(self, reason: Reason, detail: str, review_id: str | None = None) -> None:
        super().__init__(detail)
        self.reason: Reason = reason
        self.detail = detail
        self.review_id = review_id


class RawRow(NamedTuple):
    """A row as its format has it.

    Args:
        values: by column; or why there are none.
        line: the line that it starts on.
        after: the position after it.
        shown: how it begins, as a reject shows it; None: the values themselves.
    """

    values: Mapping[str, Any] | BadRow | Reject
    line: int | None
    after: Position
    shown: bytes | None = None

    @property
    def size(self) -> int:
        """Estimate the bytes that it takes in memory."""
        if not isinstance(self.values, Mapping):
            return 0
        values = self.values.values()
        return 100 * len(values) + sum(len(each) for each in values if isinstance(each, str))


class Row(NamedTuple):
    """A row of a source, the line that it starts on, and the position after it.

    `has_id` is False where the review's id was made from its content. `values` are those of a
    reject, by column, where its format could be read.
    """

    record: Review | Reject
    line: int | None
    after: Position
    has_id: bool = True
    values: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Columns:
    """Which columns of a file hold what, and how a row of them becomes a review.

    All other columns become metadata. A value that is missing (an empty cell or text, null, NaN)
    is left out; dates become ISO 8601 text.

    Args:
        review_id: the column of the id. Where it is missing or empty, the id is derived from
            item, title and text and, where there are any, author and date.
        item_id: the column of the item.
        text: the column of the review's text, which is taken as it is, to the last space.
        title: the column of the review's title.
        stars: the column of the rating, a number.
        date: the column of the day on which it was written.
        author: the column of who wrote it.
        item: the item that every row is about; None: the column says it.
        max_text_chars: characters in a review at most.

    >>> columns = Columns(text="body", stars="overall")
    >>> columns.review({"review_id": 7, "item_id": "B00", "body": "Good.", "overall": "5.0"})
    Review(id='7', item_id='B00', text='Good.', meta={'stars': 5}, title=None)
    """

    review_id: str = "review_id"
    item_id: str = "item_id"
    text: str = "text"
    title: str = "title"
    stars: str = "stars"
    date: str = "date"
    author: str = "author"
    item: str | None = None
    max_text_chars: int = 100_000

    @classmethod
    def of(cls, settings: IndexingSettings, found: Mapping[str, str] | None = None) -> Columns:
        """Take the columns from the settings, and those that were found for other fields."""
        named = {str(field): column for field, column in settings.columns.items()}
        return cls(
            **{**(found or {}), **named},
            item=settings.item,
            max_text_chars=settings.max_text_chars,
        )

    @property
    def needed(self) -> tuple[str, ...]:
        """The fields that a source cannot do without."""
        return ("text",) if self.item is not None else ("item_id", "text")

    @cached_property
    def clashes(self) -> frozenset[str]:
        """Columns that would overwrite what the store keeps for itself, or each other."""
        renamed = {name for name in RENAMED if getattr(self, name) != name}
        return (RESERVED | renamed) - self._own

    @cached_property
    def _own(self) -> frozenset[str]:
        item = () if self.item is not None else (self.item_id,)
        return frozenset((self.review_id, self.text, *item))

    @cached_property
    def _names(self) -> dict[str, str]:
        return {getattr(self, name): name for name in RENAMED}

    def name_of(self, column: str) -> str:
        """Return the name that a column has in the store.

        >>> Columns(stars="overall").name_of("overall")
        'stars'
        """
        if column == self.review_id:
            return "review_id"
        if column == self.item_id and self.item is None:
            return "item_id"
        return self._names.get(column, column)

    def review(
        self, row: Mapping[str, Any], types: ColumnTypes | None = None, recipe: int = ID_RECIPE
    ) -> Review:
        """Make a review of a row, or say why it is none.

        Args:
            row: values by column.
            types: of the columns; None: each value is of its own type.
            recipe: by which an id is made where there is none (`stable_review_id`).

        Raises:
            BadRow: it is none.
        """
        if types is None:
            types = ColumnTypes({})
            for column, value in row.items():
                if column != self.text:
                    types.learn(self.name_of(column), [(value, False)])
        return self.read(row, types, recipe)[0]

    def read(self, row: Mapping[str, Any], types: ColumnTypes, recipe: int) -> tuple[Review, bool]:
        """Make a review of a row, and tell whether it brought its id along; see `review`."""
        given = self._id("review_id", row.get(self.review_id), types, None)
        item = self.item
        if item is None:
            item = self._id("item_id", row.get(self.item_id), types, given)
        if item is None:
            raise BadRow("missing item", f"{self.item_id} is empty", given)
        text = self._text(row.get(self.text), given)
        meta, misfits = self._meta(row, types, given)
        title = " ".join(str(meta.pop("title", None) or "").split()) or None
        types.nulls.update(misfits)
        review_id = given
        if review_id is None:
            about = (title, meta.get("author"), meta.get("date")) if recipe >= 2 else ()
            review_id = stable_review_id(item, text, *about)
        return Review(review_id, item, text, meta, title), given is not None

    def _id(self, name: str, value: Any, types: ColumnTypes, review_id: str | None) -> str | None:
        column = getattr(self, name)
        try:
            text = types.id_text(name, value)
        except (MisfitError, UnusableError) as error:
            raise BadRow(error.reason, f"{column} {error}", review_id) from None
        size = 0 if text is None else len(text.encode(errors="surrogatepass"))
        if size > MAX_ID_BYTES:
            raise BadRow("over-long", f"{column} has {size:,} bytes", review_id)
        return text

    def _text(self, value: Any, review_id: str | None) -> str:
        try:
            text = convert(value, "text")
        except (MisfitError, UnusableError) as error:
            raise BadRow(error.reason, f"{self.text} {error}", review_id) from None
        if text is None:
            raise BadRow("missing text", f"{self.text} is empty", review_id)
        if not text.strip():
            raise BadRow("missing text", "the text is blank", review_id)
        if len(text) > self.max_text_chars:
            raise BadRow(
                "over-long",
                f"the text has {len(text):,} characters; max_text_chars is {self.max_text_chars:,}",
                review_id,
            )
        return str(text)

    def _meta(
        self, row: Mapping[str, Any], types: ColumnTypes, review_id: str | None
    ) -> tuple[dict[str, Any], list[str]]:
        meta: dict[str, Any] = {}
        misfits: list[str] = []
        own = self._own
        names = self._names
        for column, given in row.items():
            if column in own or given is None or given == "":
                continue
            name = names.get(column, column)
            if column in self.clashes:
                raise BadRow("reserved name", f"the store keeps {column!r} for itself", review_id)
            try:
                value = types.convert(name, given, misfits)
            except (MisfitError, UnusableError) as error:
                raise BadRow(error.reason, f"{column} {error}", review_id) from None
            if value is not None:
                meta[name] = value
        return meta, misfits


def shorten(text: str) -> str:
    """Cut a row to what a reject file shows of it.

    >>> len(shorten("x" * 1000))
    201
    """
    text = text.strip("\r\n")
    return text if len(text) <= SHOWN_CHARS else text[:SHOWN_CHARS] + "…"
