"""Ids of reviews: derived from what a review says, where it comes without one."""

from __future__ import annotations

import hashlib

__all__ = ["COPY_OF", "ID_RECIPE", "stable_review_id"]

COPY_OF = "copy_of"
"""Metadata: the review whose text this one repeats about another item."""
ID_RECIPE = 2
"""How the id of a review without one is derived. 1 (version 0.1): from item and text. 2: from
title, author and date, too, and the number of its occurrence."""


def stable_review_id(
    item_id: str,
    text: str,
    title: str | None = None,
    author: str | None = None,
    date: str | None = None,
    occurrence: int = 0,
) -> str:
    """Derive an id for a review that has none: the same content gives the same id.

    Args:
        item_id: the item of the review.
        text: the text of the review.
        title: the title of the review; None: it has none.
        author: the author of the review; None: unknown.
        date: the date of the review; None: unknown.
        occurrence: the number of this review among those that are equal in all this and differ in
            other metadata, from 0.

    Returns:
        32 hex digits; from item and text alone, those that version 0.1 made.

    >>> stable_review_id("B00", "Good.") == stable_review_id("B00", "Good.")
    True
    >>> stable_review_id("B00", "Good.", author="Ann") == stable_review_id("B00", "Good.")
    False
    >>> len(stable_review_id("B00", "Good."))
    32
    """
    more = {"title": title, "author": author, "date": date, "occurrence": occurrence}
    said = [item_id, text, *(f"{name}={value}" for name, value in more.items() if value)]
    return hashlib.sha256("\0".join(said).encode()).hexdigest()[:32]
