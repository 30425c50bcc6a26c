"""What Haystack asks of a store's metadata: its fields, their types, values and extremes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import orjson

from qa_system.stores.documents import decode_meta
from qa_system.stores.embedded.ledger.snapshot import Snapshot
from qa_system.stores.filters import Condition

__all__ = ["count_unique", "field_types", "minimum_and_maximum", "unique_values"]


def field_types(snapshot: Snapshot) -> dict[str, dict[str, str]]:
    """Return each field's type: boolean, int, float, date, or keyword for everything else.

    A field with whole and fractional numbers is a float; any other mixture is a keyword.
    """
    seen: dict[str, set[str]] = {}
    for meta in _metas(snapshot, None):
        for key, value in meta.items():
            if value is not None:
                seen.setdefault(key, set()).add(_type_name(value))
    return {key: {"type": _common_type(types)} for key, types in seen.items()}


def minimum_and_maximum(snapshot: Snapshot, field: str) -> dict[str, Any]:
    """Return a field's extremes; None and None where it has no values, or values without order."""
    values = [
        value for value in _values(snapshot, field, None) if not isinstance(value, list | dict)
    ]
    try:
        return {"min": min(values, default=None), "max": max(values, default=None)}
    except TypeError:
        return {"min": None, "max": None}


def unique_values(
    snapshot: Snapshot,
    field: str,
    search_term: str | None,
    start: int,
    size: int,
    condition: Condition | None,
) -> tuple[list[Any], int]:
    """Return a page of a field's distinct values, in the order of their text, and their number.

    Values are distinct by type, too: 1, 1.0, "1" and True are four.
    """
    values = _distinct(_values(snapshot, field, condition))
    if search_term is not None:
        wanted = search_term.lower()
        values = [value for value in values if wanted in str(value).lower()]
    values.sort(key=lambda value: (str(value), type(value).__name__))
    return values[start : start + size], len(values)


def count_unique(
    snapshot: Snapshot, fields: Iterable[str], condition: Condition | None
) -> dict[str, int]:
    """Count the distinct values of each field."""
    return {
        field.removeprefix("meta."): len(_distinct(_values(snapshot, field, condition)))
        for field in fields
    }


def _distinct(values: Iterable[Any]) -> list[Any]:
    found: dict[tuple[type, bytes], Any] = {}
    for value in values:
        key = orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str)
        found.setdefault((type(value), key), value)
    return list(found.values())


def _values(snapshot: Snapshot, field: str, condition: Condition | None) -> Iterator[Any]:
    keys = field.removeprefix("meta.").split(".")
    for meta in _metas(snapshot, condition):
        value: Any = meta
        for key in keys:
            value = value.get(key) if isinstance(value, dict) else None
        if value is not None:
            yield value


def _metas(snapshot: Snapshot, condition: Condition | None) -> Iterator[dict[str, Any]]:
    for text, dates in snapshot.select("meta, dates", condition):
        yield decode_meta(text, dates)


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int):
        return "int"
    if isinstance(value, float):
        return "float"
    return "date" if isinstance(value, date) else "keyword"


def _common_type(types: set[str]) -> str:
    if len(types) == 1:
        return next(iter(types))
    return "float" if types == {"int", "float"} else "keyword"
