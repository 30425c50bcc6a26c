"""Metadata filters in Haystack's syntax: what they say, how values compare, and their SQL."""

from __future__ import annotations

from qa_system.stores.filters.sql import Condition, Matcher, compile_filters, json_extract
from qa_system.stores.filters.tree import InvalidFilterError, parse_filters

__all__ = [
    "Condition",
    "InvalidFilterError",
    "Matcher",
    "compile_filters",
    "json_extract",
    "parse_filters",
]
