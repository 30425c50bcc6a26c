"""Haystack's metadata filters as SQL, with exactly Haystack's semantics.

What SQLite compares as Python does (strings, whole numbers, None) becomes plain SQL, so that the
indexes on `meta.item_id` and `meta.review_id` are used. Everything else (dates, fractions at a
comparison's very edge, lists, keys that a JSON path cannot spell) is left to Haystack's own
comparison, registered on the connection as the SQL function `haystack_matches`.

Dates are stored as ISO text and compare as Haystack compares such text; a `date` in a filter
compares as its ISO text.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from functools import lru_cache
from typing import Any, Final

import numpy as np
import orjson
from haystack.errors import FilterError
from haystack.utils.filters import COMPARISON_OPERATORS, LOGICAL_OPERATORS

from qa_system.errors import StoreError

__all__ = [
    "Condition",
    "InvalidFilterError",
    "Matcher",
    "compile_filters",
    "json_extract",
    "plain_value",
]

ALWAYS: Final = "1"
NEVER: Final = "0"
ORDERINGS: Final = frozenset({">", ">=", "<", "<="})
MOST_ALTERNATIVES: Final = 32
"""An `in` with more numbers than this is one call of Haystack's comparison a row."""
EXACT_INTEGER: Final = 2**53

_PRESENCE_OF: Final = {
    "blob": "blob",
    "sparse_embedding": "sparse_embedding",
    "embedding": "vector",
}
_UNSPELLABLE = re.compile(r'["\\\x00-\x1f\x7f]')
_DATE_LIKE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class InvalidFilterError(StoreError, FilterError):
    """A filter is malformed, or compares what cannot be compared."""

    public_message = "The filter is not valid."
    exit_code = 2


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


def compile_filters(filters: Mapping[str, Any] | None) -> Condition | None:
    """Translate a Haystack filter into SQL; None and `{}` select everything and return None.

    Raises:
        InvalidFilterError: the filter is malformed or has an unknown operator; the message
            lists those that exist.

    >>> compile_filters({"field": "meta.item_id", "operator": "==", "value": "B00"}).parameters
    ('B00',)
    """
    if filters is None:
        return None
    if not isinstance(filters, Mapping):
        raise InvalidFilterError(
            f"a filter is a dictionary, not {type(filters).__name__}",
            remedy='Write {"field": "meta.NAME", "operator": "==", "value": ...}.',
        )
    if not filters:
        return None
    if "operator" not in filters:
        raise _missing("operator", filters)
    return _comparison(filters) if "field" in filters else _logic(filters)


def _logic(node: Mapping[str, Any]) -> Condition:
    operator = _known(node, LOGICAL_OPERATORS, "logical")
    if "conditions" not in node:
        raise _missing("conditions", node)
    conditions = node["conditions"]
    if not isinstance(conditions, list) or not all(isinstance(c, Mapping) for c in conditions):
        raise InvalidFilterError("'conditions' is not a list of dictionaries", where=_shown(node))
    parts = [_comparison(c) if "field" in c else _logic(c) for c in conditions]
    if operator == "OR":
        return _joined(parts, "OR", NEVER)
    every = _joined(parts, "AND", ALWAYS)
    return _negated(every) if operator == "NOT" else every


def _joined(parts: Sequence[Condition], word: str, of_none: str) -> Condition:
    """Join as a balanced tree: SQLite allows an expression to be 1,000 deep, not more."""
    if not parts:
        return Condition(of_none)
    if len(parts) == 1:
        return parts[0]
    half = len(parts) // 2
    left, right = _joined(parts[:half], word, of_none), _joined(parts[half:], word, of_none)
    return Condition(f"({left.sql} {word} {right.sql})", left.parameters + right.parameters)


def _negated(condition: Condition) -> Condition:
    # A comparison with a missing value is NULL in SQL, and NOT NULL is NULL: in Haystack, False.
    return Condition(f"NOT ifnull({condition.sql},0)", condition.parameters)


def _comparison(node: Mapping[str, Any]) -> Condition:
    operator = _known(node, COMPARISON_OPERATORS, "comparison")
    if "value" not in node:
        raise _missing("value", node)
    field = node["field"]
    if not isinstance(field, str):
        raise InvalidFilterError("'field' is not a string", where=_shown(node))
    value = plain_value(node["value"], node)
    _refuse_incomparable(operator, value, node)
    if operator in ("!=", "not in"):
        return _negated(_positive(field, "==" if operator == "!=" else "in", value, node))
    return _positive(field, operator, value, node)


def _positive(field: str, operator: str, value: Any, node: Mapping[str, Any]) -> Condition:
    root, *keys = field.split(".")
    if field in ("id", "content"):
        return _Field(field, None).compare(operator, value)
    if field in _PRESENCE_OF:
        if operator == "==" and value is None:
            return Condition(f"{_PRESENCE_OF[field]} IS NULL")
        raise InvalidFilterError(
            f"{field!r} can only be compared with None",
            where=_shown(node),
            remedy="Use == or != with None to select by its presence.",
        )
    if keys and root != "meta":
        # Haystack looks for an attribute of the document, which has no such parts.
        keys = []
    elif field == "score":
        keys = []
    elif field == "meta":
        return _Field(None, ()).compare(operator, value)
    else:
        return _Field(None, tuple(keys) if keys else (field,)).compare(operator, value)
    matches = COMPARISON_OPERATORS[operator](
        value=None, filter_value=value, strict_datetime_comparison=False
    )
    return Condition(ALWAYS if matches else NEVER)


class _Field:
    """A column (`id`, `content`), or a place inside `meta` (its keys; none: all of it)."""

    def __init__(self, column: str | None, keys: tuple[str, ...] | None) -> None:
        self._keys = keys
        self._source = "meta" if column is None else column
        self._sql = column if keys is None else json_extract(keys)

    def compare(self, operator: str, value: Any) -> Condition:
        if self._sql is None:
            return self._by_haystack(operator, value)
        if operator == "in":
            return self._is_one_of(value)
        if operator == "==":
            return self._equals(value)
        return self._is_ordered(operator, value)

    def _by_haystack(self, operator: str, value: Any) -> Condition:
        keys = None if self._keys is None else list(self._keys)
        condition = json.dumps([keys, operator, value])
        return Condition(f"haystack_matches(?,{self._source})", (condition,))

    def _equals(self, value: Any) -> Condition:
        if value is None:
            return Condition(f"{self._sql} IS NULL")
        if _is_plain_text(value):
            return Condition(f"{self._sql}=?", (value,))
        if isinstance(value, int | float) and self._keys is None:
            return Condition(NEVER)
        if isinstance(value, int) and abs(value) < EXACT_INTEGER:
            slow = self._by_haystack("==", value)
            low, high = _neighbours(value)
            return Condition(
                f"({self._sql} BETWEEN ? AND ? AND CASE typeof({self._sql})"
                f" WHEN 'integer' THEN {self._sql}=? ELSE {slow.sql} END)",
                (low, high, int(value), *slow.parameters),
            )
        return self._by_haystack("==", value)

    def _is_one_of(self, values: list[Any]) -> Condition:
        texts = [value for value in values if _is_plain_text(value)]
        others = [value for value in values if not _is_plain_text(value)]
        parts = []
        if texts:
            listed = orjson.dumps(texts).decode()
            parts.append(Condition(f"{self._sql} IN (SELECT value FROM json_each(?))", (listed,)))
        if len(others) > MOST_ALTERNATIVES:
            parts.append(self._by_haystack("in", others))
        else:
            parts += [self._equals(value) for value in others]
        return _joined(parts, "OR", NEVER)

    def _is_ordered(self, operator: str, value: Any) -> Condition:
        if value is None:
            return Condition(NEVER)
        slow = self._by_haystack(operator, value)
        if isinstance(value, str) or self._keys is None or abs(value) >= EXACT_INTEGER:
            return Condition(f"({self._sql} IS NOT NULL AND {slow.sql})", slow.parameters)
        # SQLite reads a decimal fraction up to one unit in the last place off: beyond that
        # distance its answer is Python's, within it Haystack is asked.
        low, high = _neighbours(value)
        above = "1" if operator[0] == ">" else "0"
        below = "0" if operator[0] == ">" else "1"
        return Condition(
            f"CASE typeof({self._sql}) WHEN 'null' THEN 0 WHEN 'text' THEN {slow.sql} ELSE"
            f" CASE WHEN {self._sql}>? THEN {above} WHEN {self._sql}<? THEN {below}"
            f" ELSE {slow.sql} END END",
            (*slow.parameters, high, low, *slow.parameters),
        )


def _neighbours(value: float) -> tuple[float, float]:
    """Return two numbers a few units in the last place below and above."""
    low = high = float(value)
    for _ in range(4):
        low, high = math.nextafter(low, -math.inf), math.nextafter(high, math.inf)
    return low, high


def _is_plain_text(value: Any) -> bool:
    """Whether SQL equality is Haystack's: no date with other spellings, no array's own text."""
    if not isinstance(value, str) or value.startswith(("[", "{")) or _DATE_LIKE.match(value):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def plain_value(value: Any, node: Mapping[str, Any]) -> Any:
    """Return the value as JSON has it, dates as ISO text."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, list):
        return [plain_value(part, node) for part in value]
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {key: plain_value(part, node) for key, part in value.items()}
    raise InvalidFilterError(
        f"a filter cannot compare with {type(value).__name__}",
        where=_shown(node),
        remedy="Use a string, a number, a bool, None, a date, a list or a dictionary of those.",
    )


def _refuse_incomparable(operator: str, value: Any, node: Mapping[str, Any]) -> None:
    if operator in ("in", "not in") and not isinstance(node["value"], list):
        raise InvalidFilterError(
            f"{operator!r} needs a list, not {type(node['value']).__name__}", where=_shown(node)
        )
    if operator in ORDERINGS and isinstance(value, list | dict):
        raise InvalidFilterError(
            f"{operator!r} cannot compare with a {type(value).__name__}",
            where=_shown(node),
            remedy="Compare with a number or a date.",
        )
    if operator in ORDERINGS and isinstance(value, str):
        try:
            # Haystack's own reading of dates, of which it says what it cannot read.
            COMPARISON_OPERATORS[">="](
                value=datetime(2000, 1, 1),  # noqa: DTZ001
                filter_value=value,
                strict_datetime_comparison=False,
            )
        except (FilterError, OverflowError) as error:
            raise InvalidFilterError(
                f"{value!r} is not a date, and other strings have no order",
                where=_shown(node),
                remedy="Compare with a number or an ISO date such as 2024-02-29.",
            ) from error


def _known(node: Mapping[str, Any], operators: Mapping[str, Any], kind: str) -> str:
    if "operator" not in node:
        raise _missing("operator", node)
    operator = node["operator"]
    if not isinstance(operator, str) or operator not in operators:
        raise InvalidFilterError(
            f"unknown {kind} operator {operator!r}",
            where=_shown(node),
            remedy=f"The {kind} operators are: {', '.join(operators)}.",
        )
    return operator


def _missing(key: str, node: Mapping[str, Any]) -> InvalidFilterError:
    return InvalidFilterError(
        f"{key!r} is missing from a filter",
        where=_shown(node),
        remedy=(
            "A comparison has field, operator and value; a logical node operator and conditions."
        ),
    )


def _shown(node: Mapping[str, Any]) -> str:
    text = repr(dict(node))
    return text if len(text) <= 200 else text[:200] + "..."


class Matcher:
    """The SQL function `haystack_matches(condition, source)` of one connection.

    SQLite tells no more of a failing function than that it failed: `error` keeps the reason.
    """

    def __init__(self) -> None:
        self.error: InvalidFilterError | None = None

    def __call__(self, condition: str, source: str | None) -> bool:
        """Compare what a condition names inside a document's column with the condition's value."""
        keys, matches = _matching(condition)
        found: Any = source
        if keys is not None and source is not None:
            found = orjson.loads(source)
            for key in keys:
                found = found.get(key) if isinstance(found, dict) else None
        try:
            return matches(found)
        except (FilterError, TypeError, OverflowError) as error:
            self.error = InvalidFilterError(
                f"a document's {type(found).__name__} cannot be compared: {error}",
                where=condition,
                remedy="Order numbers with numbers and dates with dates.",
            )
            raise self.error from error


@lru_cache(maxsize=256)
def _matching(condition: str) -> tuple[list[str] | None, Callable[[Any], bool]]:
    keys, operator, value = json.loads(condition)
    compare = COMPARISON_OPERATORS[operator]

    def matches(found: Any) -> bool:
        return bool(compare(value=found, filter_value=value, strict_datetime_comparison=False))

    return keys, matches
