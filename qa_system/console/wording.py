"""Numbers in sentences."""

from __future__ import annotations

__all__ = ["counted"]


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
