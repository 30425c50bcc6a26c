"""What a store tells of its metadata: the types, extremes and distinct values of fields."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from typing import Any

import orjson

__all__ = ["common_type", "distinct", "extremes", "page_of", "type_of", "values_of"]


def type_of(value: Any) -> str:
    """Return a value's type: boolean, int, float, date, or keyword for everything else."""
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    return "date" if isinstance(value, date) else "keyword"


def common_type(types: set[str]) -> str:
    """Return the type of a field with values of these types.

    >>> common_type({"int", "float"}), common_type({"int", "date"})
    ('float', 'keyword')
    """
    if len(types) == 1:
        return next(iter(types))
    return "float" if types == {"int", "float"} else "keyword"


def values_of(metas: Iterable[Mapping[str, Any]], field: str) -> Iterator[Any]:
    """Stream a field's values; the field is named with or without `meta.`."""
    keys = field.removeprefix("meta.").split(".")
    for meta in metas:
        value: Any = meta
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value is not None:
            yield value


def extremes(values: Iterable[Any]) -> dict[str, Any]:
    """Return `min` and `max`; None and None where there are no values, or values without order."""
    ordered = [value for value in values if not isinstance(value, list | dict)]
    try:
        return {"min": min(ordered, default=None), "max": max(ordered, default=None)}
    except TypeError:
        return {"min": None, "max": None}


def distinct(values: Iterable[Any]) -> list[Any]:
    """Return each value once; they differ by type, too: 1, 1.0, "1" and True are four."""
    found: dict[tuple[type, bytes], Any] = {}
    for value in values:
        key = orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str)
        found.setdefault((type(value), key), value)
    return list(found.values())


def page_of(
    values: Iterable[Any], search_term: str | None, start: int, size: int
) -> tuple[list[Any], int]:
    """Return a page of the distinct values in the order of their text, and the number of all.

    Args:
        values: as often as they come.
        search_term: leaves out those whose text does not have it, in any case of letters.
        start: of the page.
        size: of the page.
    """
    found = distinct(values)
    if search_term is not None:
        wanted = search_term.lower()
        found = [value for value in found if wanted in str(value).lower()]
    found.sort(key=lambda value: (str(value), type(value).__name__))
    return found[start : start + size], len(found)
