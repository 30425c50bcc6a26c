"""The documents that a filter selects, whatever format the index has.

An index of an older format, which nobody has written to since, has none of the terms that filters
look for. There the documents are read, as far as the filter leaves them, and compared here: right
at any moment, while they are upgraded, too, but slow.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from typing import Any

from qa_system.stores.elastic.connection import explained
from qa_system.stores.elastic.documents import READ
from qa_system.stores.elastic.filters import ALL, Query, is_of_any_format, terms, to_query
from qa_system.stores.elastic.index import ElasticIndex
from qa_system.stores.elastic.mapping import FORMAT
from qa_system.stores.elastic.metadata import field_types
from qa_system.stores.elastic.search import pages
from qa_system.stores.filters import parse_filters
from qa_system.stores.filters.tree import PRESENCES, Comparison, Group, Node
from qa_system.stores.filters.values import predicate

__all__ = ["select", "select_to_change"]

log = logging.getLogger(__name__)


def select(
    at: ElasticIndex, filters: Mapping[str, Any] | None, *, warn: bool = True
) -> Query | None:
    """Translate a filter for an index; None selects everything.

    Args:
        at: the index.
        filters: in Haystack's syntax.
        warn: of fields that no document has.

    Raises:
        InvalidFilterError: see `parse_filters`.
    """
    tree = parse_filters(filters)
    if tree is None:
        return None
    state = at.state()
    if state is not None and state.format < FORMAT:
        state = at.state(fresh=True)
    if warn and state is not None and state.format == FORMAT:
        at.unknown.look(tree, partial(_has, at), partial(field_types, at))
    if state is None or state.format == FORMAT or is_of_any_format(tree):
        return to_query(tree)
    log.warning(
        "%s is of an older format, where this filter is slow; the next qa-index run, or any other "
        "write, upgrades it",
        at.where,
    )
    hits = pages(at.client, at.name, _answerable(tree), [*READ, "parts"])
    return terms("_id", [hit["_id"] for hit in hits if _is_selected(tree, hit)])


def select_to_change(at: ElasticIndex, filters: Mapping[str, Any] | None) -> Query | None:
    """Translate a filter by which documents are changed; None: there is no index.

    An index of an older format is upgraded first, which joins passages to reviews: what a filter
    selected before could be ids that are no more.

    Raises:
        InvalidFilterError: see `parse_filters`; nothing is upgraded.
    """
    parse_filters(filters)
    if at.state_for_writing() is None:
        return None
    return select(at, filters) or ALL


def _has(at: ElasticIndex, tree: Node) -> bool:
    """Tell whether a filter selects a document."""
    with explained(at.where):
        found = at.client.search(
            index=at.name, query=to_query(tree), size=0, terminate_after=1, track_total_hits=1
        )
    return bool(found["hits"]["total"]["value"])


def _answerable(tree: Node) -> Query | None:
    """Return what the index can tell of a filter by itself."""
    if is_of_any_format(tree):
        return to_query(tree)
    if isinstance(tree, Group) and tree.every:
        return to_query(Group(True, tuple(part for part in tree.parts if is_of_any_format(part))))
    return None


def _is_selected(tree: Node, hit: dict[str, Any]) -> bool:
    if isinstance(tree, Group):
        found = (_is_selected(part, hit) for part in tree.parts)
        return all(found) if tree.every else any(found)
    return predicate(tree.operator, tree.values)(_value(tree, hit)) != tree.is_negated


def _value(comparison: Comparison, hit: dict[str, Any]) -> Any:
    source = hit["_source"]
    if comparison.column in PRESENCES:
        return True if comparison.column in source["parts"] else None
    if comparison.column == "id":
        return hit["_id"]
    if comparison.column == "content":
        return source.get("content")
    value = source["meta"]
    for key in comparison.keys:
        value = value.get(key) if isinstance(value, dict) else None
    return value
