"""A digest, and the aspects in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from qa_system.opinions import Quote

__all__ = ["MOST_QUOTES", "Aspect", "Digest"]

MOST_QUOTES: Final = 100
"""Of an aspect: for it, against it, and of neither kind, each."""


@dataclass(frozen=True, slots=True)
class Aspect:
    """What several reviews of an item speak of.

    Args:
        label: its name in the words of reviews.
        for_: reviews that speak well of it.
        against: reviews that speak ill of it.
        support: reviews that speak of it at all; copies of a review count once.
        share: `support` of all the item's reviews, copies counted once: of `reviews - copies`.
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
        reviews: how many it had, copies among them.
        generation: of the embedded store whose reviews were read; None: a server has none.
        aspects: those of most reviews first; none: there are too few reviews.
        versions: the content hash of each of the reviews, by which a later change is found.
        copies: how many of the reviews are copies of another one.
    """

    item_id: str
    reviews: int
    generation: int | None
    aspects: tuple[Aspect, ...]
    versions: Mapping[str, str] = field(default_factory=dict, repr=False)
    copies: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return the digest as JSON values, without the versions of the reviews."""
        return {
            "item_id": self.item_id,
            "reviews": self.reviews,
            "copies": self.copies,
            "generation": self.generation,
            "aspects": [aspect.to_dict() for aspect in self.aspects],
        }
