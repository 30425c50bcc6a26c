"""Haystack's metadata filters as Elasticsearch queries.

The syntax, and what is wrong with a filter, are the embedded store's (`stores.filters`). What a
filter selects is the same, too, but for this: a document whose value cannot be ordered against
the filter's (text against a number) is passed over here and an error there; dates are ordered by
the millisecond, and against whole ISO dates only; `content` and `id` have no order, and the whole
of `meta` no value.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from qa_system.stores.elastic.documents import (
    SMALLEST_LONG,
    content_token,
    date_tokens,
    field_name,
    iso_date,
    server_date,
    token,
)
from qa_system.stores.elastic.mapping import KEYWORDS
from qa_system.stores.filters import InvalidFilterError, compile_filters, plain_value

__all__ = ["NOTHING", "Query", "compile_query"]

Query = dict[str, Any]

ALL: Final[Query] = {"match_all": {}}
NOTHING: Final[Query] = {"match_none": {}}
MOST_TERMS: Final = 65_536
"""Values in one `terms` query (index.max_terms_count)."""
_ATTRIBUTES: Final = ("embedding", "blob", "sparse_embedding")
_RANGES: Final = {">": "gt", ">=": "gte", "<": "lt", "<=": "lte"}


def compile_query(filters: Mapping[str, Any] | None) -> Query | None:
    """Translate a Haystack filter; None and `{}` select everything and return None.

    Raises:
        InvalidFilterError: the filter is malformed, or asks what the index cannot tell.

    >>> compile_query({"field": "meta.item_id", "operator": "==", "value": "B00"})
    {'term': {'item_id': 'B00'}}
    """
    if compile_filters(filters) is None or not filters:
        return None
    return _node(filters)


def _node(node: Mapping[str, Any]) -> Query:
    if "field" in node:
        return _comparison(node)
    parts = [_node(part) for part in node["conditions"]]
    if node["operator"] == "OR":
        return _any(parts)
    every = _every(parts)
    return _not(every) if node["operator"] == "NOT" else every


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


def _comparison(node: Mapping[str, Any]) -> Query:
    operator, value = node["operator"], plain_value(node["value"], node)
    if operator == "!=":
        return _not(_positive(node, "==", value))
    if operator == "not in":
        return _not(_positive(node, "in", value))
    return _positive(node, operator, value)


def _positive(node: Mapping[str, Any], operator: str, value: Any) -> Query:
    """Translate a comparison that is no negation."""
    field: str = node["field"]
    if operator == "in":
        return _is_one_of(node, value)
    root, *keys = field.split(".")
    if field in ("id", "content"):
        if operator != "==":
            raise _impossible(node, f"{field!r} has no order here")
        return _attribute_equals(field, value)
    if field in _ATTRIBUTES:
        return _lacks("parts", field)
    if field == "score" or (keys and root != "meta"):
        # A document has no such attribute, or is not scored yet.
        return ALL if operator == "==" and value is None else NOTHING
    if field == "meta":
        raise _impossible(node, "the whole of 'meta' cannot be compared here")
    name = field_name(tuple(keys) if keys else (field,))
    if name is None:
        raise _impossible(node, f"the server cannot hold a field called {field!r}")
    if operator == "==":
        return _equals(name, value)
    return NOTHING if value is None else _is_ordered(node, name, operator, value)


def _attribute_equals(field: str, value: Any) -> Query:
    if field == "id":
        return {"ids": {"values": [value]}} if isinstance(value, str) and value else NOTHING
    if value is None:
        return _lacks("parts", "content")
    if not isinstance(value, str):
        return NOTHING
    return {"term": {"exact": content_token(value)}}


def _lacks(field: str, name: str) -> Query:
    return _not({"term": {field: name}})


def _equals(name: str, value: Any) -> Query:
    if value is None:
        return _lacks("fields", name)
    if name in KEYWORDS:
        return _text_equals(name, value, name) if isinstance(value, str) else NOTHING
    if isinstance(value, str):
        return _text_equals(name, value, f"keyword.{name}")
    if isinstance(value, int | float):
        return _number_equals(name, value)
    return {"term": {"exact": token(name, value)}}


def _text_equals(name: str, value: str, field: str) -> Query:
    same: Query = {"term": {field: value}}
    when = iso_date(value)
    if when is None:
        return same
    # The first token is of the clock, the others of what that clock stands for.
    clock, *others = date_tokens(name, when)
    if when.tzinfo is None:
        return _any([same, {"term": {"exact": clock}}])
    naive = date_tokens(name, when.replace(tzinfo=None))[1]
    return _any([same, {"terms": {"exact": [*others, naive]}}])


def _number_equals(name: str, value: float) -> Query:
    if isinstance(value, float) and not math.isfinite(value):
        return NOTHING
    if abs(value) >= -SMALLEST_LONG and value != SMALLEST_LONG:
        return {"term": {"exact": token(name, value)}}
    parts: list[Query] = []
    if value == int(value):
        parts.append({"term": {f"long.{name}": int(value)}})
    if float(value) == value:
        parts.append({"term": {f"double.{name}": float(value)}})
    if value in (0, 1):
        parts.append({"term": {f"boolean.{name}": bool(value)}})
    return _any(parts)


def _is_one_of(node: Mapping[str, Any], values: list[Any]) -> Query:
    """Look texts up in one query, however many; compare each of the other values."""
    field: str = node["field"]
    texts = [value for value in values if isinstance(value, str) and iso_date(value) is None]
    if field == "id":
        texts = [value for value in texts if value]  # nobody's, and refused by the server
    name = _indexed_text(field)
    if name is None:
        return _any([_positive(node, "==", value) for value in values])
    others = [value for value in values if not isinstance(value, str) or iso_date(value)]
    parts = [_positive(node, "==", value) for value in others]
    starts = range(0, len(texts), MOST_TERMS)
    parts += [{"terms": {name: texts[start : start + MOST_TERMS]}} for start in starts]
    return _any(parts)


def _indexed_text(field: str) -> str | None:
    """Return where the texts of a filter's field are indexed as they are; None: nowhere."""
    root, *keys = field.split(".")
    if field == "id":
        return "_id"
    if field in ("content", "meta", "score", *_ATTRIBUTES) or (keys and root != "meta"):
        return None
    name = field_name(tuple(keys) if keys else (field,))
    return name if name is None or name in KEYWORDS else f"keyword.{name}"


def _is_ordered(node: Mapping[str, Any], name: str, operator: str, value: Any) -> Query:
    if isinstance(value, str):
        return NOTHING if name in KEYWORDS else _date_is_ordered(node, name, operator, value)
    if math.isnan(value):
        return NOTHING
    truths = [truth for truth in (False, True) if _holds(truth, operator, value)]
    parts = [
        _whole_is_ordered(f"long.{name}", operator, value),
        _fraction_is_ordered(f"double.{name}", operator, value),
    ]
    if truths:
        parts.append({"terms": {f"boolean.{name}": truths}})
    return _any(parts)


def _holds(left: float, operator: str, right: float) -> bool:
    if operator == ">":
        return left > right
    if operator == ">=":
        return left >= right
    return left < right if operator == "<" else left <= right


def _whole_is_ordered(field: str, operator: str, value: float) -> Query:
    """Compare whole numbers exactly, with a bound that is one of theirs."""
    is_lower = operator[0] == ">"
    if value >= -SMALLEST_LONG:
        return NOTHING if is_lower else {"exists": {"field": field}}
    if value < SMALLEST_LONG:
        return {"exists": {"field": field}} if is_lower else NOTHING
    bound = math.floor(value) if operator in (">", "<=") else math.ceil(value)
    return {"range": {field: {_RANGES[operator]: bound}}}


def _fraction_is_ordered(field: str, operator: str, value: float) -> Query:
    """Compare 64-bit floats; a whole number that is none of them lies between two."""
    is_lower = operator[0] == ">"
    try:
        near = float(value)
    except OverflowError:
        near = math.inf if value > 0 else -math.inf
    if math.isinf(near):
        is_everything = (near > 0) != is_lower
        return {"exists": {"field": field}} if is_everything else NOTHING
    if near == value:
        return {"range": {field: {_RANGES[operator]: near}}}
    is_included = near > value if is_lower else near < value
    return {"range": {field: {_RANGES[operator[0] + ("=" if is_included else "")]: near}}}


def _date_is_ordered(node: Mapping[str, Any], name: str, operator: str, value: str) -> Query:
    when = iso_date(value)
    if when is None:
        raise _impossible(node, f"{value!r} is no ISO date, and other texts have no order")
    bound = _RANGES[operator]
    by_clock: Query = {"range": {f"date.{name}": {bound: server_date(when, in_utc=False)}}}
    instant = None if when.tzinfo is None else server_date(when, in_utc=True)
    if instant is None:
        return by_clock
    has_zone: Query = {"exists": {"field": f"instant.{name}"}}
    by_instant: Query = {"range": {f"instant.{name}": {bound: instant}}}
    return _any([by_instant, {"bool": {"filter": [by_clock], "must_not": [has_zone]}}])


def _impossible(node: Mapping[str, Any], what: str) -> InvalidFilterError:
    return InvalidFilterError(
        what,
        where=repr(dict(node))[:200],
        remedy="Compare single metadata fields, with numbers or dates such as 2024-02-29.",
    )
