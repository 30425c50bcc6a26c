"""A job as the command that runs it, for messages that say what to run instead."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from qa_system.config import Settings
from qa_system.console.app import flag_of

__all__ = ["command_of"]

WHOLE: Final = frozenset(("indexing.types", "generator.options"))
"""Settings whose keys are data."""


def command_of(settings: Settings) -> str:
    """Spell the command that runs a job with these settings, wherever they came from.

    >>> command_of(Settings.model_validate({"indexing": {"sources": ["my reviews.csv"]}}))
    "qa-index run --source 'my reviews.csv'"
    """
    return shlex.join(["qa-index", "run", *_words(settings.model_dump(exclude_defaults=True))])


def _words(tree: Mapping[str, Any]) -> Iterator[str]:
    for key, value in _leaves(tree, ""):
        match key:
            case "indexing.sources":
                for source in value:
                    yield from ("--source", source)
            case "store.path":
                yield from ("--store", value)
            case "indexing.item" | "indexing.encoding":
                yield from (flag_of(key), value)
            case "indexing.embed":
                yield "--no-embed"
            case _ if key.startswith("indexing.columns."):
                yield from ("--column", f"{key.removeprefix('indexing.columns.')}={value}")
            case _:
                said = value if isinstance(value, str) else orjson.dumps(value).decode()
                yield from ("--set", f"{key}={said}")


def _leaves(tree: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key not in WHOLE:
            yield from _leaves(value, f"{key}.")
        else:
            yield key, value
