"""One type a column: declared, or decided by the first rows that have it, and kept.

Types are decided while rows stream by: when a row brings a column that has no type yet, the
`SAMPLED_ROWS` rows from there on decide. A job that is resumed at that row, or before it, decides
the same; what was decided before is in its checkpoint and in the store.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from qa_system.config import IndexingSettings
from qa_system.sources.values import (
    Kind,
    Look,
    MisfitError,
    convert,
    day_first,
    has_day_and_month,
    id_text,
    is_whole,
    look_of,
)

__all__ = ["IDS", "SAMPLED_ROWS", "ColumnTypes", "decide"]

logger = logging.getLogger(__name__)

SAMPLED_ROWS: Final = 1_000
IDS: Final = frozenset(("review_id", "item_id"))
_OWN: Final[dict[str, Kind]] = {"title": "text", "author": "text", "stars": "rating"}
_SHOWN_KINDS: Final[dict[Kind, str]] = {
    "rating": "number",
    "day_first_date": "date",
    "json": "list or object",
}


class ColumnTypes:
    """The types of a job's metadata columns, by the names that they have in the store.

    Args:
        declared: by the user; these win.
        known: decided earlier: by this job, or by another one that filled the store.
        reject_misfits: set the row of a value aside that does not fit; False: leave the value
            out and count it.
    """

    def __init__(
        self,
        declared: Mapping[str, Kind],
        known: Mapping[str, Kind] | None = None,
        *,
        reject_misfits: bool = False,
    ) -> None:
        self._declared = declared
        self._reject = reject_misfits
        self.kinds: dict[str, Kind] = {**_OWN, **(known or {}), **declared}
        self.nulls: Counter[str] = Counter()

    @classmethod
    def of(cls, settings: IndexingSettings, known: Mapping[str, Kind] | None = None) -> ColumnTypes:
        """Take what is declared, and what to do with a misfit, from the settings."""
        reject = settings.misfits == "reject"
        return cls(settings.types, known, reject_misfits=reject)

    @property
    def decided(self) -> dict[str, Kind]:
        """The types that a later run has to know: all but those that are always the same."""
        return {name: kind for name, kind in self.kinds.items() if _OWN.get(name) != kind}

    def learn(self, name: str, values: Iterable[tuple[Any, bool]]) -> None:
        """Decide a column's type, if it is not decided yet.

        Args:
            name: of the column in the store.
            values: some of it, each with whether it is a CSV cell.
        """
        if name in self.kinds:
            return
        kind = _decide_date(values) if name == "date" else decide(values, ids=name in IDS)
        self.kinds[name] = kind or "text"

    def convert(self, name: str, value: Any, misfits: list[str]) -> Any:
        """Make a JSON value of a column's type; None for what is missing or does not fit.

        Args:
            name: of the column in the store.
            value: as the file holds it.
            misfits: the name is added to them if it does not fit.

        Raises:
            MisfitError: it does not fit, and such rows are set aside.
            UnusableError: its row cannot be kept.
        """
        kind = self.kinds.get(name, "text")
        # What most values are, at once.
        own = type(value)
        if (own is str and kind == "text" and "\0" not in value) or (
            own is int and kind == "number" and -(2**63) <= value < 2**63
        ):
            return value
        try:
            return convert(value, kind, is_declared=name in self._declared)
        except MisfitError as misfit:
            if self._reject:
                raise
            if name not in self.nulls and name not in misfits:
                logger.warning(
                    "%s %s: it is left out, as are all that do not fit; their number is told at "
                    "the end. The column is a %s: --type %s=TYPE says otherwise",
                    name,
                    misfit,
                    _SHOWN_KINDS.get(kind, kind),
                    name,
                )
            misfits.append(name)
            return None

    def id_text(self, name: str, value: Any) -> str | None:
        """Make the text of an id; None where it is missing.

        Raises:
            MisfitError: it is no id.
            UnusableError: its row cannot be kept.
        """
        return id_text(value, self.kinds.get(name))


def decide(values: Iterable[tuple[Any, bool]], *, ids: bool = False) -> Kind | None:
    """Decide a column's type by some of its values; None: none of them says anything.

    A column is a number (or true and false) if every value looks like one, and text as soon as
    one does not: then nothing is lost. Text of JSON and Parquet is text, whatever it looks like,
    unless there are numbers in the column, too.

    Args:
        values: each with whether it is a CSV cell.
        ids: the column is one of ids.

    >>> decide([("19.99", True), ("4.50", True)]), decide([("10115", True), ("007", True)])
    ('number', 'text')
    >>> decide([("5", False)]), decide([("5", False), (4, False)])
    ('text', 'number')
    """
    looks: set[Look] = set()
    is_told = False
    whole = True
    for value, is_cell in values:
        look = look_of(value)
        if value is None or value == "":
            continue
        looks.add(look)
        is_told |= is_cell or not isinstance(value, str)
        whole = whole and (not ids or look != "number" or _is_whole(value))
    if not looks or looks == {"missing"}:
        return None
    if "json" in looks:
        return "json"
    if is_told and looks <= {"number", "not a number", "missing"}:
        if ids:
            return "whole" if whole else "text"
        return "number"
    if is_told and looks <= {"boolean", "missing"}:
        return "boolean"
    return "text"


def _is_whole(value: Any) -> bool:
    return is_whole(value) if isinstance(value, str) else value == int(value)


def _decide_date(values: Iterable[tuple[Any, bool]]) -> Kind:
    texts = [value for value, _ in values if isinstance(value, str) and has_day_and_month(value)]
    orders = {day_first(text) for text in texts} - {None}
    if texts and len(orders) != 1:
        logger.warning(
            "dates such as %r do not say which number is the month: the first is taken for it; "
            "--type date=day_first_date says otherwise",
            texts[0],
        )
    return "day_first_date" if orders == {True} else "date"
