"""Digests: what an item's reviews say of its most mentioned aspects, kept ahead of time."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from qa_system.errors import DataError
from qa_system.opinions import Quote

__all__ = [
    "MOST_QUOTES",
    "Aspect",
    "Digest",
    "decode_digest",
    "encode_digest",
    "is_stale",
    "version_of",
]

GROWN: Final = 0.20
"""The share of new reviews from which on a digest is stale."""
MOST_QUOTES: Final = 100
"""Of an aspect: for it, against it, and of neither kind, each."""
SHRUNK: Final = 0.05
"""The share of its reviews that are gone, or say something else, from which on it is stale."""


@dataclass(frozen=True, slots=True)
class Aspect:
    """What several reviews of an item speak of.

    Args:
        label: its name in the words of reviews.
        for_: reviews that speak well of it.
        against: reviews that speak ill of it.
        support: reviews that speak of it at all; copies of a review count once.
        share: `support` of all the item's reviews, copies counted once.
        quotes: what they say, one a review: those for it, then those against it, then those that
            are neither or both; of each kind at most a hundred, the surest first.
    """

    label: str
    for_: int
    against: int
    support: int
    share: float
    quotes: tuple[Quote, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the aspect as JSON values."""
        return {
            "label": self.label,
            "for": self.for_,
            "against": self.against,
            "support": self.support,
            "share": self.share,
            "quotes": [quote.to_dict() for quote in self.quotes],
        }


@dataclass(frozen=True, slots=True)
class Digest:
    """What the reviews of an item say of its most mentioned aspects.

    Args:
        item_id: the item.
        reviews: how many it had.
        generation: of the embedded store whose reviews were read; None: a server has none.
        aspects: those of most reviews first; none: there are too few reviews.
        versions: the content hash of each of the reviews, by which a later change is found.
    """

    item_id: str
    reviews: int
    generation: int | None
    aspects: tuple[Aspect, ...]
    versions: Mapping[str, str] = field(default_factory=dict, repr=False)

    def to_dict(self) -> dict[str, Any]:
        """Return the digest as JSON values, without the versions of the reviews."""
        return {
            "item_id": self.item_id,
            "reviews": self.reviews,
            "generation": self.generation,
            "aspects": [aspect.to_dict() for aspect in self.aspects],
        }


def is_stale(digest: Digest, versions: Mapping[str, str]) -> bool:
    """Tell whether so many reviews changed that a digest has to be made anew.

    Args:
        digest: as it was made.
        versions: the content hash of each review that the item has now. One that changed counts as
            gone and as new.

    >>> old = Digest("lamp", 10, 1, (), {f"r{at}": "" for at in range(10)})
    >>> [is_stale(old, {f"r{at}": "" for at in range(number)}) for number in (9, 10, 11, 12)]
    [True, False, False, True]
    """
    known = len(digest.versions)
    new = sum(digest.versions.get(review) != version for review, version in versions.items())
    gone = sum(versions.get(review) != version for review, version in digest.versions.items())
    return (new > 0 and new >= GROWN * known) or (gone > 0 and gone >= SHRUNK * known)


def version_of(content_hash: str | None, content: str | None) -> str:
    """Return what tells a review's version from another: its content hash, as far as it has one.

    >>> version_of("0f", "Loud."), version_of(None, "Loud.") == version_of("", "Loud.")
    ('0f', True)
    """
    if content_hash:
        return content_hash
    encoded = (content or "").encode("utf-8", "surrogatepass")
    return hashlib.blake2b(encoded, digest_size=16).hexdigest()


def encode_digest(digest: Digest) -> bytes:
    """Return a digest as a JSON object, with the versions of the reviews.

    Raises:
        DataError: the metadata of a quoted review is not JSON.

    >>> decode_digest(encode_digest(Digest("lamp", 2, 7, ()))).generation
    7
    """
    try:
        return orjson.dumps({**digest.to_dict(), "versions": dict(digest.versions)})
    except TypeError as error:
        raise DataError(
            f"the digest cannot be written: {error}",
            where=f"item {digest.item_id!r}",
            remedy="The metadata of a review may hold what JSON holds.",
        ) from error


def decode_digest(encoded: bytes | str) -> Digest:
    """Return the digest that `encode_digest` wrote."""
    tree = orjson.loads(encoded)
    return Digest(
        item_id=tree["item_id"],
        reviews=tree["reviews"],
        generation=tree["generation"],
        aspects=tuple(_aspect(aspect) for aspect in tree["aspects"]),
        versions=tree["versions"],
    )


def _aspect(tree: Mapping[str, Any]) -> Aspect:
    return Aspect(
        label=tree["label"],
        for_=tree["for"],
        against=tree["against"],
        support=tree["support"],
        share=tree["share"],
        quotes=tuple(Quote(**quote) for quote in tree["quotes"]),
    )
