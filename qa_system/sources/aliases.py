"""Which column holds what: by its own name, by the names that review files use, or as told.

Names are compared without case, spaces and punctuation: `Review Text`, `reviewText` and
`review_text` are one.
"""

from __future__ import annotations

import logging
import re
import shlex
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from qa_system.errors import ConfigError
from qa_system.sources.rows import Columns
from qa_system.sources.values import MisfitError, convert

__all__ = [
    "ALIASES",
    "UnknownColumnsError",
    "check_columns",
    "check_reserved",
    "count_known",
    "find_columns",
]

logger = logging.getLogger(__name__)

ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "review_id": ("reviewid", "reviewsid"),
    "item_id": (
        *("itemid", "asin", "parentasin", "productid", "item", "product", "sku", "productcode"),
        *("businessid", "bookid", "movieid", "hotelid", "restaurantid", "placeid", "gmapid"),
        *("appid", "gameid", "listingid", "clothingid", "productname", "itemname", "asins"),
        *("hotelname", "businessname"),
    ),
    "text": (
        *("text", "reviewtext", "reviewbody", "review", "body", "content", "reviewcontent"),
        *("comment", "comments", "reviewstext", "reviewcomment", "feedback", "message"),
    ),
    "title": (
        *("title", "summary", "headline", "reviewtitle", "reviewheadline", "reviewsummary"),
        *("reviewstitle", "subject", "heading"),
    ),
    "stars": (
        *("stars", "starrating", "rating", "overall", "reviewrating", "score", "reviewsrating"),
        *("reviewscore", "reviewstars", "userrating", "ratingvalue", "overallrating"),
    ),
    "date": (
        *("date", "reviewdate", "reviewtime", "reviewsdate", "createdat", "createddate"),
        *("submissiondate", "dateadded", "posteddate", "timestamp", "unixreviewtime", "time"),
    ),
    "author": (
        *("author", "reviewerid", "userid", "customerid", "authorid", "reviewername"),
        *("username", "profilename", "authorname", "reviewer", "user", "reviewsusername"),
    ),
}
"""By field, the names of columns that are taken for it, first the one that is preferred."""
SUBJQA_OF_THE_HUB: Final = frozenset(("title", "context", "question", "answers"))
SHOWN_COLUMNS: Final = 50
WHICH: Final = "COLUMN"
_PUNCTUATION: Final = re.compile(r"[\W_]+")
_WORD: Final = re.compile(r"[A-Z]?[a-z]+|[A-Z]+")
_ITEM_WORDS: Final = frozenset(
    (
        *("item", "product", "asin", "sku", "article", "model", "name", "id"),
        *("business", "hotel", "place", "restaurant", "book", "movie", "film", "game", "app"),
    )
)


class UnknownColumnsError(ConfigError):
    """A file has no column for the item or the text that could be recognised.

    Args:
        what: the error.
        where: the file.
        columns: by field, the column that may be meant; None: no column is.
    """

    def __init__(self, what: str, where: str, columns: Mapping[str, str | None]) -> None:
        self.columns = columns
        super().__init__(what, where=where)

    def with_command(self, command: str) -> ConfigError:
        """Return the error with the whole command to use.

        Args:
            command: that was run, with all its options.
        """
        flags = [
            "--item NAME"
            if field == "item_id" and column is None
            else f"--column {shlex.quote(f'{field}={column or WHICH}')}"
            for field, column in self.columns.items()
        ]
        other = ""
        if "item_id" in self.columns:
            other = " (--column item_id=COLUMN; of one product only: --item NAME)"
        return ConfigError(
            self.what,
            where=self.where,
            remedy=f"Say which column it is{other}: {' '.join([command, *flags])}",
        )


def find_columns(
    names: Iterable[str],
    sample: Sequence[Mapping[str, Any]],
    told: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """Find the columns of a file by what they are called.

    A column is only taken for a field if at least half of its values can be read as such: none
    of the others is a list or an object, and a rating or a date can be read. Columns that are
    passed over for that are logged.

    Args:
        names: of the file's columns.
        sample: some of its rows.
        told: columns by field that are known.

    Returns:
        The column by field, for those that were found beside them.

    >>> find_columns(["asin", "Review Text", "overall"], [{"overall": "5.0"}])
    {'item_id': 'asin', 'text': 'Review Text', 'stars': 'overall'}
    """
    there = dict.fromkeys(names)
    told = told or {}
    if there.keys() >= SUBJQA_OF_THE_HUB:
        # There, the title is the product's id.
        return {"item_id": "title", "text": "context"} | (
            {"review_id": "review_id"} if "review_id" in there else {}
        )
    by_alias: dict[str, str] = {}
    for name in there:
        by_alias.setdefault(_plain(name), name)
    found: dict[str, str] = {}
    for field, aliases in ALIASES.items():
        if field in told:
            continue
        candidates = [by_alias[alias] for alias in aliases if alias in by_alias]
        if field in there:
            candidates.insert(0, field)
        for name in candidates:
            is_free = name not in found.values() and name not in told.values()
            if not is_free:
                continue
            if name == field or _can_be(field, name, sample):
                found[field] = name
                break
            logger.info(
                "%s is not taken for the %s: most of its first values cannot be read as one; "
                "--column %s says otherwise",
                name,
                field,
                shlex.quote(f"{field}={name}"),
            )
    return found


def count_known(names: Sequence[str], columns: Columns) -> int:
    """Count the fields that could be found among names of columns.

    >>> count_known(["asin", "body", "brand"], Columns())
    2
    """
    told = {getattr(columns, field) for field in ALIASES}
    return len(set(names) & told) + len(find_columns(names, ()))


def check_columns(
    name: str, there: Sequence[str], columns: Columns, sample: Sequence[Mapping[str, Any]] = ()
) -> None:
    """Make sure that a file has the columns that a review needs.

    Args:
        name: of the file.
        there: its columns.
        columns: that are needed.
        sample: some of its rows, by which a guess is made.

    Raises:
        UnknownColumnsError: it has not.
    """
    missing = [field for field in columns.needed if getattr(columns, field) not in there]
    if missing:
        named = " and no column ".join(repr(getattr(columns, field)) for field in missing)
        shown = ", ".join(f"{each!r:.60}" for each in there[:SHOWN_COLUMNS])
        more = ", ..." if len(there) > SHOWN_COLUMNS else ""
        raise UnknownColumnsError(
            f"there is no column {named}, nor one that is known for it; there are: {shown}{more}",
            name,
            _guess(missing, there, columns, sample),
        )


def check_reserved(name: str, there: Iterable[str], columns: Columns) -> None:
    """Make sure that no column of a file would overwrite what the store keeps for itself.

    Raises:
        ConfigError: one would.
    """
    clashes = sorted(columns.clashes & set(there))
    if clashes:
        raise ConfigError(
            f"the store keeps the names {', '.join(clashes)} for itself",
            where=name,
            remedy="Rename the column in the source, or say what it is with --column.",
        )


def _plain(name: str) -> str:
    return _PUNCTUATION.sub("", name.casefold())


def _can_be(field: str, name: str, sample: Sequence[Mapping[str, Any]]) -> bool:
    values = [value for row in sample if (value := row.get(name)) not in (None, "")]
    return 2 * sum(_reads_as(field, value) for value in values) >= len(values)


def _reads_as(field: str, value: Any) -> bool:
    if isinstance(value, list | dict):
        return False
    if field not in ("stars", "date"):
        return True
    try:
        return convert(value, "rating" if field == "stars" else "date") is not None
    except MisfitError:
        return False


def _guess(
    missing: Iterable[str],
    there: Sequence[str],
    columns: Columns,
    sample: Sequence[Mapping[str, Any]],
) -> dict[str, str | None]:
    """Guess which column is meant: the longest text; what is called like a thing."""
    lengths = {
        name: sum(len(value) for row in sample if isinstance(value := row.get(name), str))
        for name in there
    }
    taken = {getattr(columns, field) for field in ALIASES}
    nested = {
        name for row in sample for name, value in row.items() if isinstance(value, list | dict)
    }
    free = [name for name in there if name and name not in taken and name not in nested]
    guessed: dict[str, str | None] = {}
    for field in sorted(missing, reverse=True):  # the text first: it is the easier one
        others = [name for name in free if name not in guessed.values()]
        if field == "item_id":
            guessed[field] = next(filter(_may_name_an_item, others), None)
        else:
            guessed[field] = max(others, key=lambda name: lengths[name], default=None)
    return guessed


def _may_name_an_item(name: str) -> bool:
    return not _ITEM_WORDS.isdisjoint(word.lower() for word in _WORD.findall(name))
