"""Metadata filters in Haystack's syntax: what they say, how values compare, and their SQL."""

from __future__ import annotations

from qa_system.stores.filters.sql import Condition, Matcher, json_extract, to_sql
from qa_system.stores.filters.tree import (
    InvalidFilterError,
    copies_of,
    of_item,
    parse_filters,
    selects_one_item,
)

__all__ = [
    "Condition",
    "InvalidFilterError",
    "Matcher",
    "copies_of",
    "json_extract",
    "of_item",
    "parse_filters",
    "selects_one_item",
    "to_sql",
]
