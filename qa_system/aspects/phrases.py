"""Phrases that may name an aspect: nouns, alone or after others, as reviews write them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from math import log2
from typing import Final

from qa_system.aspects.words import (
    Word,
    is_content,
    is_name,
    is_nominal,
    is_of_product,
    is_pointed_at,
    is_topic,
    runs,
    words,
)

__all__ = ["Catalogue", "Phrase", "Stems", "phrases_of"]

Stems = tuple[str, ...]
MOST_WORDS: Final = 3
TITLED: Final = 0.6
"""The share of capitals from which on a word is a name: in reviews of electronics, "Canon" has .94,
"Kindle" .80, "Bluetooth" .46, "app" .08."""
FEWEST_TITLED: Final = 3
POINTED_AT: Final = 0.15
"""The share of "this" among the determiners of a noun from which on it is the item itself: over
items, "router" has .28, "tablet" .25, "price" .10, "battery" .06."""
FEWEST_POINTED_AT: Final = 2


def _occurrences(text: str) -> Iterator[tuple[list[Word], Word | None, Word | None]]:
    """Yield the words of each phrase of a text, with the word before and the word after it."""
    found = words(text)
    for first, last in runs(text, found):
        for start in range(first, last):
            for end in range(start + 1, min(start + MOST_WORDS, last) + 1):
                if not is_content(found[end - 1]):
                    break
                before = found[start - 1] if start > first else None
                after = found[end] if end < last else None
                if is_name(found[start:end]):
                    yield found[start:end], before, after


@dataclass
class Catalogue:
    """How the reviews of a store use words.

    Args:
        reviews: how many were counted.
        having: reviews that have a stem.
        nominal: how often it stands where nouns do.
        other: how often it stands where other words do.
        parts: how often it stands behind "the" or "its".
        topic: how often something is said of it: "the lid is".
        pointed: how often behind one of these, "this", "my" or the like.
        titled: how often it is written with a capital inside a sentence.
        plain: how often it is not.
    """

    reviews: int = 0
    having: Counter[str] = field(default_factory=Counter)
    nominal: Counter[str] = field(default_factory=Counter)
    other: Counter[str] = field(default_factory=Counter)
    parts: Counter[str] = field(default_factory=Counter)
    pointed: Counter[str] = field(default_factory=Counter)
    topic: Counter[str] = field(default_factory=Counter)
    titled: Counter[str] = field(default_factory=Counter)
    plain: Counter[str] = field(default_factory=Counter)

    def add(self, text: str) -> None:
        """Count a review."""
        self.reviews += 1
        seen: set[str] = set()
        for phrase, before, after in _occurrences(text):
            stem = phrase[-1].stem
            seen.update(word.stem for word in phrase)
            if before is not None:
                (self.titled if phrase[-1].is_titled else self.plain)[stem] += 1
            is_noun = is_nominal(before, after)
            if is_noun is not None:
                (self.nominal if is_noun else self.other)[stem] += 1
            self.topic[stem] += is_topic(after)
            is_part = is_of_product(before)
            if is_noun and is_part is not None:
                self.pointed[stem] += 1
                self.parts[stem] += is_part
        self.having.update(seen)

    def noun(self, stem: str) -> float:
        """Return how surely a word is a noun, from 0 to 1; 0.5 where nothing is known."""
        yes, no = self.nominal[stem], self.other[stem]
        return (yes + 0.5) / (yes + no + 1)

    def part(self, stem: str) -> float:
        """Return how surely a noun is of the product, from 0 to 1; 0.5 where nothing is known."""
        return (self.parts[stem] + 1) / (self.pointed[stem] + 2)

    def said(self, stem: str) -> float:
        """Return how often something is said of a noun, from 0 to 1."""
        return (self.topic[stem] + 0.5) / (self.nominal[stem] + self.topic[stem] + 2)

    def is_name(self, stem: str) -> bool:
        """Tell whether a word is a name, of a brand or the like: it has a capital."""
        titled = self.titled[stem]
        return titled >= FEWEST_TITLED and titled >= TITLED * (titled + self.plain[stem])

    def rarity(self, stem: str) -> float:
        """Return how rare a word is, in bits."""
        return log2((self.reviews + 1) / (self.having[stem] + 1))


@dataclass
class Phrase:
    """A phrase in the reviews of an item.

    Args:
        stems: of its words.
        reviews: the places of the reviews that have it.
        nominal: of those in which it stands where nouns do.
        spelled: how often it is written how.
        this: how often it stands behind "this" or "these".
        determined: how often behind any determiner.
    """

    stems: Stems
    reviews: set[int] = field(default_factory=set)
    nominal: set[int] = field(default_factory=set)
    spelled: Counter[str] = field(default_factory=Counter)
    this: int = 0
    determined: int = 0

    @property
    def is_item(self) -> bool:
        """Whether it is what the reviews call the item itself: "this router"."""
        return self.this >= max(FEWEST_POINTED_AT, POINTED_AT * self.determined)


def phrases_of(texts: Sequence[str]) -> dict[Stems, Phrase]:
    """Return the phrases of an item's reviews, by the stems of their words."""
    found: dict[Stems, Phrase] = {}
    for place, text in enumerate(texts):
        for phrase, before, after in _occurrences(text):
            stems = tuple(word.stem for word in phrase)
            known = found.setdefault(stems, Phrase(stems))
            known.reviews.add(place)
            known.spelled[" ".join(word.text for word in phrase)] += 1
            if is_nominal(before, after):
                known.nominal.add(place)
            is_this = is_pointed_at(before)
            if is_this is not None and is_nominal(before, after) is not None:
                known.this += is_this
                known.determined += 1
    return found
