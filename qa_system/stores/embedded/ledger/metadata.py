"""What Haystack asks of a store's metadata: its fields, their types, values and extremes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from qa_system.stores.documents import decode_meta
from qa_system.stores.embedded.ledger.snapshot import Snapshot
from qa_system.stores.fields import common_type, distinct, extremes, page_of, type_of, values_of
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
                seen.setdefault(key, set()).add(type_of(value))
    return {key: {"type": common_type(types)} for key, types in seen.items()}


def minimum_and_maximum(snapshot: Snapshot, field: str) -> dict[str, Any]:
    """Return a field's extremes; None and None where it has no values, or values without order."""
    return extremes(values_of(_metas(snapshot, None), field))


def unique_values(
    snapshot: Snapshot,
    field: str,
    search_term: str | None,
    start: int,
    size: int,
    condition: Condition | None,
) -> tuple[list[Any], int]:
    """Return a page of a field's distinct values, in the order of their text, and their number."""
    return page_of(values_of(_metas(snapshot, condition), field), search_term, start, size)


def count_unique(
    snapshot: Snapshot, fields: Iterable[str], condition: Condition | None
) -> dict[str, int]:
    """Count the distinct values of each field."""
    return {
        field.removeprefix("meta."): len(distinct(values_of(_metas(snapshot, condition), field)))
        for field in fields
    }


def _metas(snapshot: Snapshot, condition: Condition | None) -> Iterator[dict[str, Any]]:
    for text, dates in snapshot.select("meta, dates", condition):
        yield decode_meta(text, dates)
