"""What Haystack asks of metadata, answered by the server: fields, types, values, extremes.

Lists and dictionaries are fields, but have no values here; a field whose texts all are ISO dates
counts as a date.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.documents import decode
from qa_system.stores.elastic.filters import Query
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.mapping import KEYWORDS
from qa_system.stores.elastic.search import hits_of_each

__all__ = ["count_unique", "count_values", "extremes", "field_types", "sorted_values"]

_PAGE: Final = 5_000
_TYPES: Final = {"boolean": "boolean", "long": "int", "double": "float", "keyword": "keyword"}


def field_types(at: ElasticIndex) -> dict[str, dict[str, str]]:
    """Return each field's type: boolean, int, float, date, or keyword for everything else."""
    if at.state() is None:
        return {}
    with explained(at.name):
        found = at.client.search(
            index=at.name, size=0, aggs={"fields": {"terms": {"field": "fields", "size": 10_000}}}
        )
        present = [each["key"] for each in found["aggregations"]["fields"]["buckets"]]
        names = [name for name in present if "." not in name]
        if not names:
            return {}
        filters = {
            f"{tree}.{name}": {"exists": {"field": f"{tree}.{name}"}}
            for name in names
            for tree in (*_TYPES, "date")
        }
        counted = at.client.search(
            index=at.name, size=0, aggs={"types": {"filters": {"filters": filters}}}
        )
    buckets = counted["aggregations"]["types"]["buckets"]
    return {name: {"type": _type_of(name, buckets)} for name in names}


def _type_of(name: str, buckets: Mapping[str, Any]) -> str:
    def count(tree: str) -> int:
        return int(buckets[f"{tree}.{name}"]["doc_count"])

    types = {kind for tree, kind in _TYPES.items() if count(tree)}
    if types == {"keyword"} and count("date") == count("keyword"):
        return "date"
    if len(types) == 1:
        return next(iter(types))
    return "float" if types == {"int", "float"} else "keyword"


def extremes(at: ElasticIndex, field: str) -> dict[str, Any]:
    """Return a field's `min` and `max`; None, None where it has no values that can be ordered."""
    if at.state() is None:
        return {"min": None, "max": None}
    name = field.removeprefix("meta.")
    bodies: list[dict[str, Any]] = []
    for place in _places(name):
        for order in ("asc", "desc"):
            body = {
                "size": 1,
                "query": {"exists": {"field": place}},
                "sort": [{place: {"order": order, "unmapped_type": "keyword"}}],
                "_source": ["meta", "meta_dates"],
            }
            bodies.append(body)
    values = [
        _value(decode(hit).meta, name)
        for hits in hits_of_each(at.client, at.name, bodies)
        for hit in hits
    ]
    try:
        return {"min": min(values, default=None), "max": max(values, default=None)}
    except TypeError:
        return {"min": None, "max": None}


def _value(meta: Any, name: str) -> Any:
    for key in name.split("."):
        meta = meta[key]
    return meta


def sorted_values(
    at: ElasticIndex, field: str, selected: Query | None, search_term: str | None
) -> list[Any]:
    """Return a field's distinct values whose text has the term, in the order of their text."""
    wanted = "" if search_term is None else search_term.lower()
    values = _unique_values(at, field, selected)
    found = [value for value in values if wanted in str(value).lower()]
    return sorted(found, key=lambda value: (str(value), type(value).__name__))


def _unique_values(at: ElasticIndex, field: str, selected: Query | None) -> Iterator[Any]:
    """Stream a field's distinct values, type by type, each in its own order."""
    if at.state() is None:
        return
    for place in _places(field.removeprefix("meta.")):
        for value in _distinct(at, place, selected):
            yield bool(value) if place.startswith("boolean.") else value


def count_values(at: ElasticIndex, field: str, selected: Query | None) -> int:
    """Count a field's distinct values, exactly."""
    return sum(1 for _ in _unique_values(at, field, selected))


def count_unique(at: ElasticIndex, fields: Sequence[str], selected: Query | None) -> dict[str, int]:
    """Count each field's distinct values, exactly; the fields are named without `meta.`."""
    return {field.removeprefix("meta."): count_values(at, field, selected) for field in fields}


def _places(name: str) -> list[str]:
    return [name] if name in KEYWORDS else [f"{tree}.{name}" for tree in _TYPES]


def _distinct(at: ElasticIndex, place: str, selected: Query | None) -> Iterator[Any]:
    composite: dict[str, Any] = {"size": _PAGE, "sources": [{"value": {"terms": {"field": place}}}]}
    while True:
        with explained(at.name):
            found = at.client.search(
                index=at.name,
                size=0,
                query=selected or {"match_all": {}},
                aggs={"values": {"composite": composite}},
                track_total_hits=False,
            )
        values = found["aggregations"]["values"]
        for bucket in values["buckets"]:
            yield bucket["key"]["value"]
        if "after_key" not in values:
            return
        composite["after"] = values["after_key"]
