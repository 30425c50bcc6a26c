"""A document's metadata as the terms that filters look for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

from qa_system.stores.documents import decode_meta
from qa_system.stores.elastic.mapping import KEYWORDS, LONGEST_KEYWORD
from qa_system.stores.fields import type_of
from qa_system.stores.filters.values import keys_of

__all__ = ["PRESENT", "TEXT", "add_facts", "fact"]

PRESENT: Final = "+"
"""The key of every value."""
TEXT: Final = "text"
"""The type of a text that a keyword can hold."""

Path = tuple[str, ...]
"""A column of a document, and the keys inside it."""


def fact(path: Path, key: str) -> str:
    """Return the term of one value's key.

    Texts are hashed, for a term is limited; other keys keep their order.

    >>> fact(("meta", "stars"), "#1") < fact(("meta", "stars"), "#2")
    True
    >>> len(fact(("meta", "text"), "=s" + "long " * 9_999))
    41
    """
    if key[0] == "=":
        key = "=" + hashlib.blake2b(key.encode(), digest_size=12).hexdigest()
    return _prefix(path) + key


@lru_cache(maxsize=4_096)
def _prefix(path: Path) -> str:
    # Lengths, so that no two paths are one text.
    name = "".join(f"{len(part)}:{part}" for part in path)
    return hashlib.blake2b(name.encode(), digest_size=8).hexdigest()


def add_facts(source: dict[str, Any], document_id: str, meta: str, dates: str | None) -> None:
    """Put what filters look for into a document's source.

    Args:
        source: with the document's content, if it has one.
        document_id: its id.
        meta: its metadata as JSON.
        dates: their places in it.
    """
    values = decode_meta(meta, None)
    whole = keys_of(document_id)[1:]  # but for dates, the id itself is asked for
    facts = [fact(("id",), key) for key in whole]
    if "content" in source:
        facts += [fact(("content",), key) for key in keys_of(source["content"])]
    facts += [fact(("meta",), key) for key in keys_of(values)]
    for path, value in _walk(values, ("meta",)):
        facts += [fact(path, key) for key in (PRESENT, *keys_of(value))]
    source["facts"] = facts
    for name in KEYWORDS:
        texts = [text for text in _texts(values.get(name)) if len(text) <= LONGEST_KEYWORD]
        if texts:
            source[name] = texts if isinstance(values[name], list) else texts[0]
    typed = values if dates is None else decode_meta(meta, dates)
    source["types"] = [
        f"{_type_of(value)} {name}" for name, value in typed.items() if value is not None
    ]


def _texts(value: Any) -> list[str]:
    values = value if isinstance(value, list) else [value]
    return [each for each in values if isinstance(each, str)]


def _type_of(value: Any) -> str:
    is_text = isinstance(value, str) and len(value) <= LONGEST_KEYWORD
    return TEXT if is_text else type_of(value)


def _walk(value: dict[str, Any], path: Path) -> Iterator[tuple[Path, Any]]:
    for key, part in value.items():
        if part is not None:
            yield (*path, key), part
        if isinstance(part, dict):
            yield from _walk(part, (*path, key))
