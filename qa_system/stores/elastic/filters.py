"""A filter as an Elasticsearch query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from qa_system.stores.elastic.facts import PRESENT, fact
from qa_system.stores.elastic.mapping import KEYWORDS, LONGEST_KEYWORD
from qa_system.stores.filters.tree import PRESENCES, Comparison, Node
from qa_system.stores.filters.values import Range, iso_date, keys_of_filter, ranges_of

__all__ = [
    "ALL",
    "NOTHING",
    "Query",
    "is_of_any_format",
    "terms",
    "to_query",
    "with_ids",
]

Query = dict[str, Any]

ALL: Final[Query] = {"match_all": {}}
NOTHING: Final[Query] = {"match_none": {}}
MOST_TERMS: Final = 65_536
"""Values in one `terms` query (index.max_terms_count)."""
_RANGES: Final = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def to_query(tree: Node) -> Query:
    """Translate what a filter says.

    >>> to_query(Comparison("meta", ("item_id",), "in", ("B00",)))
    {'term': {'item_id': 'B00'}}
    """
    if isinstance(tree, Comparison):
        positive = _is_one_of(tree) if tree.operator == "in" else _is_ordered(tree)
        return _not(positive) if tree.is_negated else positive
    parts = [to_query(part) for part in tree.parts]
    return _every(parts) if tree.every else _any(parts)


def _any(parts: Sequence[Query]) -> Query:
    kept = [part for part in parts if part != NOTHING]
    if not kept:
        return NOTHING
    return kept[0] if len(kept) == 1 else {"bool": {"should": kept, "minimum_should_match": 1}}


def _every(parts: Sequence[Query]) -> Query:
    if not parts:
        return ALL
    return parts[0] if len(parts) == 1 else {"bool": {"filter": list(parts)}}


def _not(query: Query) -> Query:
    return {"bool": {"must_not": [query]}}


def terms(field: str, values: Sequence[str]) -> Query:
    """Look for any of the values, however many.

    >>> terms("_id", ["r1"]), terms("_id", [])
    ({'term': {'_id': 'r1'}}, {'match_none': {}})
    """
    if len(values) == 1:
        return {"term": {field: values[0]}}
    starts = range(0, len(values), MOST_TERMS)
    return _any([{"terms": {field: values[start : start + MOST_TERMS]}} for start in starts])


def _is_one_of(comparison: Comparison) -> Query:
    path = (comparison.column, *comparison.keys)
    values = [each for each in comparison.values if each is not None]
    parts = [_lacks(path)] if len(values) < len(comparison.values) else []
    field = _field_of_texts(path)
    if field is not None:
        texts = [each for each in values if _is_keyword(each)]
        parts.append(terms(field, [each for each in texts if each or field != "_id"]))
        values = [each for each in values if not _is_keyword(each)]
        if field == "_id":
            parts.append(terms(field, [each for each in values if isinstance(each, str)]))
    parts.append(
        terms("facts", [fact(path, key) for each in values for key in keys_of_filter(each)])
    )
    return _any(parts)


def _lacks(path: tuple[str, ...]) -> Query:
    if path == ("content",) or path[0] in PRESENCES:
        return _not({"term": {"parts": path[0]}})
    if path in (("id",), ("meta",)):
        return NOTHING
    return _not({"term": {"facts": fact(path, PRESENT)}})


def _field_of_texts(path: tuple[str, ...]) -> str | None:
    if path == ("id",):
        return "_id"
    return path[1] if len(path) == 2 and path[1] in KEYWORDS else None


def _is_keyword(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_KEYWORD and iso_date(value) is None


def _is_ordered(comparison: Comparison) -> Query:
    path = (comparison.column, *comparison.keys)
    ranges = ranges_of(comparison.operator, comparison.values[0])
    return _any([{"range": {"facts": _bounds(path, each)}} for each in ranges])


def _bounds(path: tuple[str, ...], keys: Range) -> dict[str, str]:
    """Return both ends of a range: the bound, and that of all keys of its kind."""
    bound = {_RANGES[keys.operator]: fact(path, keys.bound)}
    if keys.operator[0] == ">":
        return {**bound, "lt": fact(path, f"{keys.kind}~")}  # after all digits and letters
    return {**bound, "gte": fact(path, keys.kind)}


def with_ids(ids: Sequence[str], selected: Query | None = None) -> Query:
    """Return the query for documents by id, of those that another one selects; None: of all.

    >>> with_ids(["r1"])
    {'ids': {'values': ['r1']}}
    """
    named: Query = {"ids": {"values": list(ids)}}
    return named if selected is None else {"bool": {"filter": [selected, named]}}


def is_of_any_format(tree: Node) -> bool:
    """Tell whether an index answers a filter whatever format it has, even without facts."""
    if not isinstance(tree, Comparison):
        return all(is_of_any_format(part) for part in tree.parts)
    path = (tree.column, *tree.keys)
    if path[0] in PRESENCES:
        return True
    if tree.operator != "in":
        return False
    if path == ("content",):
        return all(each is None for each in tree.values)
    return _field_of_texts(path) is not None and all(_is_keyword(each) for each in tree.values)
