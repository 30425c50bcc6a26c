"""A filter as SQL over the ledger's documents.

What SQLite compares as Python does (texts, whole numbers, None) becomes plain SQL, so that the
indexes on `meta.item_id` and `meta.review_id` are used. Everything else (dates, fractions at a
comparison's very edge, lists, keys that a JSON path cannot spell) is compared by
`filters.values`, registered on the connection as the SQL function `value_matches`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import orjson

from qa_system.stores.filters.tree import Comparison, Node
from qa_system.stores.filters.values import iso_date, predicate

__all__ = ["Condition", "Matcher", "json_extract", "to_sql"]

ALWAYS: Final = "1"
NEVER: Final = "0"
EXACT_INTEGER: Final = 2**53

_PRESENCE_OF: Final = {
    "blob": "blob",
    "sparse_embedding": "sparse_embedding",
    "embedding": "vector",
}
_UNSPELLABLE = re.compile(r'["\\\x00-\x1f\x7f]')


@dataclass(frozen=True, slots=True)
class Condition:
    """A WHERE clause over `documents`, and its parameters."""

    sql: str
    parameters: tuple[Any, ...] = ()


def json_extract(keys: Sequence[str]) -> str | None:
    """Spell the SQL expression for a value inside `meta`, or None where SQLite has no way to.

    The same text stands in the indexes' definitions: SQLite uses an index on an expression only
    for the expression as it was written there.

    >>> json_extract(["item_id"])
    'json_extract(meta,\\'$."item_id"\\')'
    """
    if not keys or any(not key or _UNSPELLABLE.search(key) for key in keys):
        return None
    path = "".join(f'."{key}"' for key in keys).replace("'", "''")
    return f"json_extract(meta,'${path}')"


def to_sql(tree: Node) -> Condition:
    """Translate what a filter says.

    >>> to_sql(Comparison("meta", ("price",), "in", (None,))).sql
    'json_extract(meta,\\'$."price"\\') IS NULL'
    """
    if isinstance(tree, Comparison):
        positive = _comparison(tree)
        # A comparison with a missing value is NULL in SQL, and NOT NULL is NULL: here it is true.
        return _wrapped("NOT ifnull({},0)", positive) if tree.is_negated else positive
    parts = [to_sql(part) for part in tree.parts]
    return _joined(parts, "AND", ALWAYS) if tree.every else _joined(parts, "OR", NEVER)


def _joined(parts: Sequence[Condition], word: str, of_none: str) -> Condition:
    if not parts:
        return Condition(of_none)
    if len(parts) == 1:
        return parts[0]
    sql = f" {word} ".join(part.sql for part in parts)
    return Condition(f"({sql})", tuple(value for part in parts for value in part.parameters))


def _wrapped(sql: str, condition: Condition) -> Condition:
    return Condition(sql.format(condition.sql), condition.parameters)


def _comparison(comparison: Comparison) -> Condition:
    column, values = comparison.column, comparison.values
    if column in _PRESENCE_OF:
        return Condition(f"{_PRESENCE_OF[column]} IS NULL" if values else NEVER)
    is_meta = column == "meta"
    place = json_extract(comparison.keys) if is_meta else column
    if place is None:
        return _compared(comparison, values)
    if comparison.operator == "in":
        return _is_one_of(comparison, place)
    return _is_ordered(comparison, place)


def _compared(comparison: Comparison, values: Sequence[Any]) -> Condition:
    """Leave the comparison with some of its values to Python."""
    keys = comparison.keys if comparison.column == "meta" else None
    condition = json.dumps([keys, comparison.operator, list(values)])
    return Condition(f"value_matches(?,{comparison.column})", (condition,))


def _listed(comparison: Comparison, place: str, values: Sequence[Any]) -> Condition:
    """Compare the values of lists, whose text begins with a bracket."""
    compared = _compared(comparison, values)
    return Condition(f"({place}>='[' AND {place}<'\\' AND {compared.sql})", compared.parameters)


def _is_one_of(comparison: Comparison, place: str) -> Condition:
    values = [each for each in comparison.values if each is not None]
    texts = [each for each in values if _is_plain_text(each)]
    numbers = [each for each in values if _is_exact(each)]
    others = [each for each in values if not _is_plain_text(each) and not _is_exact(each)]
    parts = []
    if len(values) < len(comparison.values):
        parts.append(Condition(f"{place} IS NULL"))
    if len(texts) == 1:
        parts.append(Condition(f"{place}=?", (texts[0],)))
    elif texts:
        parts.append(Condition(f"{place} IN ({_EACH})", (orjson.dumps(texts).decode(),)))
    if comparison.column == "meta":
        if numbers:
            parts.append(_is_one_of_numbers(comparison, place, numbers))
        if values and not others:
            parts.append(_listed(comparison, place, values))
    if others:
        compared = _compared(comparison, values)
        parts.append(Condition(f"({place} IS NOT NULL AND {compared.sql})", compared.parameters))
    return _joined(parts, "OR", NEVER)


_EACH: Final = "SELECT value FROM json_each(?)"


def _is_one_of_numbers(comparison: Comparison, place: str, numbers: Sequence[float]) -> Condition:
    # SQLite may read two decimal fractions as one: those that it finds are compared once more.
    compared = _compared(comparison, numbers)
    return Condition(
        f"({place} IN ({_EACH}) AND (typeof({place})='integer' OR {compared.sql}))",
        (orjson.dumps(numbers).decode(), *compared.parameters),
    )


def _is_ordered(comparison: Comparison, place: str) -> Condition:
    [value] = comparison.values
    if value is None:
        return Condition(NEVER)
    compared = _compared(comparison, comparison.values)
    if isinstance(value, str):
        # Dates begin with a digit, lists with a bracket.
        return Condition(f"({place}>='0' AND {place}<'\\' AND {compared.sql})", compared.parameters)
    if comparison.column != "meta" or value != value:
        return Condition(NEVER)
    listed = _listed(comparison, place, comparison.values)
    if abs(value) >= EXACT_INTEGER:
        sql = f"CASE typeof({place}) WHEN 'null' THEN 0 WHEN 'text' THEN {listed.sql}"
        return Condition(
            f"{sql} ELSE {compared.sql} END", (*listed.parameters, *compared.parameters)
        )
    # SQLite reads a decimal fraction up to one unit in the last place off: beyond that distance
    # its answer is Python's, within it Python is asked.
    low, high = _neighbours(value)
    above = "1" if comparison.operator[0] == ">" else "0"
    below = "0" if comparison.operator[0] == ">" else "1"
    return Condition(
        f"CASE typeof({place}) WHEN 'null' THEN 0 WHEN 'text' THEN {listed.sql} ELSE"
        f" CASE WHEN {place}>? THEN {above} WHEN {place}<? THEN {below}"
        f" ELSE {compared.sql} END END",
        (*listed.parameters, high, low, *compared.parameters),
    )


def _neighbours(value: float) -> tuple[float, float]:
    """Return two numbers a few units in the last place below and above."""
    low = high = float(value)
    for _ in range(4):
        low, high = math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
    return low, high


def _is_plain_text(value: Any) -> bool:
    """Whether SQL equality is ours: no date with other spellings, no array's own text."""
    return (
        isinstance(value, str)
        and not value.startswith(("[", "{"))
        and "\0" not in value
        and iso_date(value) is None
    )


def _is_exact(value: Any) -> bool:
    return isinstance(value, int | float) and abs(value) < EXACT_INTEGER


class Matcher:
    """The SQL function `value_matches(condition, source)` of one connection.

    SQLite tells no more of a failing function than that it failed: `error` keeps the reason.
    """

    def __init__(self) -> None:
        self.error: BaseException | None = None

    def __call__(self, condition: str, source: str | None) -> bool:
        """Compare what a condition names inside a document's column with the condition's values."""
        try:
            keys, matches = _matching(condition)
            found: Any = source
            if keys is not None and source is not None:
                found = orjson.loads(source)
                for key in keys:
                    found = found.get(key) if isinstance(found, dict) else None
            return matches(found)
        except BaseException as error:
            self.error = error
            raise


@lru_cache(maxsize=256)
def _matching(condition: str) -> tuple[list[str] | None, Callable[[Any], bool]]:
    keys, operator, values = json.loads(condition)
    return keys, predicate(operator, values)
