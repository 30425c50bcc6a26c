"""Whether a digest still is of the reviews that its item has."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from typing import Final

from qa_system.digests.records import Digest

__all__ = ["is_stale", "quotes_gone", "version_of"]

GROWN: Final = 0.20
"""The share of new reviews from which on a digest is stale."""
SHRUNK: Final = 0.05
"""The share of its reviews that are gone, or say something else, from which on it is stale."""


def is_stale(digest: Digest, versions: Mapping[str, str]) -> bool:
    """Tell whether so many reviews changed, or one that it quotes is gone, that it is made anew.

    Args:
        digest: as it was made.
        versions: the content hash of each review that the item has now. One that changed counts as
            gone and as new.

    >>> old = Digest("lamp", 10, 1, (), {f"r{at}": "" for at in range(10)})
    >>> [is_stale(old, {f"r{at}": "" for at in range(number)}) for number in (9, 10, 11, 12)]
    [True, False, False, True]
    """
    if quotes_gone(digest, versions):
        return True
    known = len(digest.versions)
    new = sum(digest.versions.get(review) != version for review, version in versions.items())
    gone = sum(versions.get(review) != version for review, version in digest.versions.items())
    return (new > 0 and new >= GROWN * known) or (gone > 0 and gone >= SHRUNK * known)


def quotes_gone(digest: Digest, reviews: Collection[str]) -> bool:
    """Tell whether a digest quotes a review that the item has no more: it must not be shown.

    Args:
        digest: as it was made.
        reviews: those that the item has now.
    """
    return any(
        quote.review_id not in reviews for aspect in digest.aspects for quote in aspect.quotes
    )


def version_of(content_hash: str | None, content: str | None) -> str:
    """Return what tells a review's version from another: its content hash, as far as it has one.

    >>> version_of("0f", "Loud."), version_of(None, "Loud.") == version_of("", "Loud.")
    ('0f', True)
    """
    if content_hash:
        return content_hash
    encoded = (content or "").encode("utf-8", "surrogatepass")
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()
