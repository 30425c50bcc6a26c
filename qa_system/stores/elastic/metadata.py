"""What Haystack asks of metadata: fields, types, values, extremes; see `stores.fields`.

Values are read from the documents. The server counts those that are in a field of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

import orjson

from qa_system.stores.documents import decode_meta
from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.facts import TEXT
from qa_system.stores.elastic.filters import ALL, Query
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.mapping import FORMAT, KEYWORDS
from qa_system.stores.elastic.search import WINDOW, pages
from qa_system.stores.fields import common_type, distinct, extremes, page_of, type_of, values_of

__all__ = ["count_unique", "count_values", "field_types", "minimum_and_maximum", "unique_values"]

_PAGE: Final = 5_000
_NAME = re.compile(r"\w+")
_PLAIN: Final = frozenset((TEXT, "int", "float", "boolean"))


def field_types(at: ElasticIndex) -> dict[str, dict[str, str]]:
    """Return each field's type: boolean, int, float, date, or keyword for everything else."""
    return {
        name: {"type": common_type({"keyword" if each == TEXT else each for each in types})}
        for name, types in _types(at).items()
    }


def minimum_and_maximum(at: ElasticIndex, field: str) -> dict[str, Any]:
    """Return a field's `min` and `max`; None, None where it has no values that can be ordered."""
    return extremes(_values(at, field, None))


def unique_values(
    at: ElasticIndex,
    field: str,
    search_term: str | None,
    start: int,
    size: int,
    selected: Query | None,
) -> tuple[list[Any], int]:
    """Return a page of a field's distinct values, in the order of their text, and their number."""
    return page_of(_values(at, field, selected), search_term, start, size)


def count_unique(at: ElasticIndex, fields: Sequence[str], selected: Query | None) -> dict[str, int]:
    """Count each field's distinct values, exactly; the fields are named without `meta.`."""
    return {field.removeprefix("meta."): count_values(at, field, selected) for field in fields}


def count_values(at: ElasticIndex, field: str, selected: Query | None) -> int:
    """Count a field's distinct values, exactly."""
    return len(distinct(_values(at, field, selected)))


def _values(at: ElasticIndex, field: str, selected: Query | None) -> Iterator[Any]:
    name = field.removeprefix("meta.")
    types = _types(at).get(name, set())
    if name in KEYWORDS and types == {TEXT}:
        return _terms(at, name, selected)
    if at.state() is not None and _NAME.fullmatch(name) and types <= _PLAIN:
        # No dates, whose places stand beside the whole metadata.
        hits = pages(at.client, at.name, selected, [f"meta.{name}"], size=WINDOW)
        return values_of((hit["_source"].get("meta", {}) for hit in hits), name)
    return values_of(_metas(at, selected), field)


def _metas(at: ElasticIndex, selected: Query | None) -> Iterator[dict[str, Any]]:
    if at.state() is None:
        return
    for hit in pages(at.client, at.name, selected, ["meta", "meta_dates"], size=WINDOW):
        source = hit["_source"]
        yield decode_meta(orjson.dumps(source["meta"]).decode(), source.get("meta_dates"))


def _types(at: ElasticIndex) -> dict[str, set[str]]:
    """Return the types of each field's values."""
    found: dict[str, set[str]] = {}
    state = at.state()
    if state is None:
        return found
    if state.format < FORMAT:
        for meta in _metas(at, None):
            for name, value in meta.items():
                if value is not None:
                    found.setdefault(name, set()).add(
                        TEXT if isinstance(value, str) else type_of(value)
                    )
        return found
    for each in _terms(at, "types", None):
        kind, name = each.split(" ", 1)
        found.setdefault(name, set()).add(kind)
    return found


def _terms(at: ElasticIndex, field: str, selected: Query | None) -> Iterator[str]:
    """Stream the distinct values of a keyword, in their order."""
    if at.state() is None:
        return
    composite: dict[str, Any] = {"size": _PAGE, "sources": [{"value": {"terms": {"field": field}}}]}
    while True:
        with explained(at.where):
            found = at.client.search(
                index=at.name,
                size=0,
                query=selected or ALL,
                aggs={"values": {"composite": composite}},
                track_total_hits=False,
            )
        values = found["aggregations"]["values"]
        for bucket in values["buckets"]:
            yield bucket["key"]["value"]
        if "after_key" not in values:
            return
        composite["after"] = values["after_key"]
