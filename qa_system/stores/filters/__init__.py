"""Metadata filters in Haystack's syntax: what they say, how values compare, and their SQL."""

from __future__ import annotations

from qa_system.stores.filters.sql import Condition, Matcher, compile_filters, json_extract
from qa_system.stores.filters.tree import InvalidFilterError, of_item, parse_filters

__all__ = [
    "Condition",
    "InvalidFilterError",
    "Matcher",
    "compile_filters",
    "json_extract",
    "of_item",
    "parse_filters",
]
