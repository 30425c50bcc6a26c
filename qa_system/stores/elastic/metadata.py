"""What Haystack asks of metadata, answered by the server: fields, types, values, extremes.

Lists and dictionaries are fields, but have no values here; a field whose texts all are ISO dates
counts as a date.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.documents import decode
from qa_system.stores.elastic.filters import Query
from qa_system.stores.elastic.mapping import KEYWORDS
from qa_system.stores.elastic.search import hits_of_each

if TYPE_CHECKING:
    from elasticsearch import Elasticsearch

__all__ = ["count_values", "extremes", "field_types", "unique_values"]

_PAGE: Final = 5_000
_TYPES: Final = {"boolean": "boolean", "long": "int", "double": "float", "keyword": "keyword"}


def field_types(client: Elasticsearch, index: str) -> dict[str, dict[str, str]]:
    """Give each field's type: boolean, int, float, date, or keyword for everything else."""
    with explained(index):
        found = client.search(
            index=index, size=0, aggs={"fields": {"terms": {"field": "fields", "size": 10_000}}}
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
        counted = client.search(
            index=index, size=0, aggs={"types": {"filters": {"filters": filters}}}
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


def extremes(client: Elasticsearch, index: str, field: str) -> dict[str, Any]:
    """Give a field's `min` and `max`; None and None where it has no values that can be ordered."""
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
        for hits in hits_of_each(client, index, bodies)
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


def unique_values(
    client: Elasticsearch, index: str, field: str, selected: Query | None
) -> Iterator[Any]:
    """Stream a field's distinct values, type by type, each in its own order."""
    for place in _places(field.removeprefix("meta.")):
        for value in _distinct(client, index, place, selected):
            yield bool(value) if place.startswith("boolean.") else value


def count_values(client: Elasticsearch, index: str, field: str, selected: Query | None) -> int:
    """Count a field's distinct values, exactly."""
    return sum(1 for _ in unique_values(client, index, field, selected))


def _places(name: str) -> list[str]:
    return [name] if name in KEYWORDS else [f"{tree}.{name}" for tree in _TYPES]


def _distinct(
    client: Elasticsearch, index: str, place: str, selected: Query | None
) -> Iterator[Any]:
    composite: dict[str, Any] = {"size": _PAGE, "sources": [{"value": {"terms": {"field": place}}}]}
    while True:
        with explained(index):
            found = client.search(
                index=index,
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
