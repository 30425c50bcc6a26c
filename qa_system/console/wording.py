"""Texts for a terminal: numbers in sentences, and text of users."""

from __future__ import annotations

import unicodedata
from typing import Final

__all__ = ["counted", "printable"]

_TURNING: Final = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """Return a number with its noun, in the singular or in the plural.

    Args:
        number: how many.
        noun: what one of them is called.
        plural: what several are called; None: the noun with an "s".

    >>> counted(1, "document"), counted(1200, "document"), counted(0, "category", "categories")
    ('1 document', '1,200 documents', '0 categories')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


def printable(text: str) -> str:
    """Return a text without the characters that a terminal obeys instead of showing.

    Control characters other than line breaks and tabs, and marks that turn the direction of
    writing, become the replacement character.

    >>> printable("red: \\x1b[31m, two\\nlines") == "red: \\ufffd[31m, two\\nlines"
    True
    """
    return "".join(
        each
        if each in "\n\t" or (unicodedata.category(each) != "Cc" and each not in _TURNING)
        else "\ufffd"
        for each in text
    )
