"""Aspects of an item: phrases that its reviews share, those that mean the same put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qa_system.aspects.phrases import Catalogue, Phrase, Stems, phrases_of
from qa_system.consensus.points import similarity

__all__ = ["FEWEST_REVIEWS", "Found", "find_aspects"]

FEWEST_REVIEWS: Final = 2
"""Reviews that speak of an aspect; what one customer speaks of is not yet one."""
CANDIDATES: Final = 60
"""The best phrases, which are compared with each other."""
SURELY_NO_NOUN: Final = 0.4
"""How surely the last word of an aspect's name has to be a noun, at least."""
SAME_MEANING: Final = 0.66
"""The cosine of two phrases' embeddings from which on they mean the same: "price" and "cost" have
.73, "battery" and "charge" .67, "bag" and "zipper" .62."""
RARITY: Final = 6.0
"""Bits of rarity that count as much as being frequent."""

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


@dataclass(slots=True)
class Found:
    """What reviews speak of.

    Args:
        label: as most of them write it.
        reviews: the places of those that name it.
        forms: the stems of the phrases that name it.
        score: how good an aspect it is, to choose by.
    """

    label: str
    reviews: set[int]
    forms: set[Stems]
    score: float


def find_aspects(
    texts: Sequence[str],
    catalogue: Catalogue,
    embed: Embed | None,
    number: int,
    names: Collection[str] = (),
) -> list[Found]:
    """Return what several of an item's reviews speak of, the best first.

    Args:
        texts: of the item's reviews, copies left out.
        catalogue: how all reviews use words.
        embed: returns an embedding of each of some phrases, (n, dimension); None: none mean the
            same.
        number: how many are returned, at most.
        names: stems of the item's own name, which is no aspect of it.
    """
    phrases = phrases_of(texts)
    fewest = max(FEWEST_REVIEWS, len(texts) // 100)
    named = {stems[-1] for stems, phrase in phrases.items() if phrase.is_item} | set(names)
    chosen = {
        stems: phrase
        for stems, phrase in phrases.items()
        if len(phrase.reviews) >= fewest
        and phrase.nominal
        and stems[-1] not in named
        and not catalogue.is_name(stems[-1])
        and catalogue.noun(stems[-1]) >= SURELY_NO_NOUN
    }
    scores = {stems: _score(phrase, catalogue) for stems, phrase in chosen.items()}
    best = sorted(chosen, key=lambda stems: (-scores[stems], stems))[:CANDIDATES]
    found = _without_parts([chosen[stems] for stems in best], scores)
    merged = found if embed is None else _of_one_meaning(found, embed)
    return sorted(merged, key=lambda each: (-each.score, each.label))[:number]


def _score(phrase: Phrase, catalogue: Catalogue) -> float:
    """Return how good an aspect a phrase is: of many reviews, rare elsewhere, a part's name."""
    head = phrase.stems[-1]
    rarity = max(map(catalogue.rarity, phrase.stems))
    return (
        len(phrase.reviews)
        * (1 + rarity / RARITY)
        * catalogue.noun(head)
        * (0.2 + catalogue.part(head))
        * (0.3 + catalogue.said(head))
    )


def _without_parts(phrases: Sequence[Phrase], scores: dict[Stems, float]) -> list[Found]:
    """Put a phrase into one that it is a part of, or that into it where it is the head.

    "Life" is part of "battery life" where nobody speaks of another. A "chest strap" is a strap.
    """
    found = {
        each.stems: Found(_label(each.spelled), set(each.reviews), {each.stems}, scores[each.stems])
        for each in phrases
    }
    for long in sorted(found, key=len, reverse=True):
        for short in [each for each in found if len(each) < len(long) and _is_in(each, long)]:
            whole, part = found.get(long), found[short]
            if whole is None:
                break
            if len(part.reviews - whole.reviews) < FEWEST_REVIEWS:
                _join(whole, found.pop(short))
            elif long[-len(short) :] == short:
                _join(part, found.pop(long))
    return list(found.values())


def _of_one_meaning(found: list[Found], embed: Embed) -> list[Found]:
    if len(found) < 2:
        return found
    alike = similarity(embed([each.label for each in found]))
    np.fill_diagonal(alike, -1)
    left = set(range(len(found)))
    while True:
        one, other = divmod(int(alike.argmax()), len(found))
        if alike[one, other] < SAME_MEANING:
            return [found[at] for at in sorted(left)]
        if found[other].score > found[one].score:
            one, other = other, one
        sizes = len(found[one].forms), len(found[other].forms)
        row = np.average(alike[[one, other]], axis=0, weights=sizes)
        row[one] = -1
        alike[one] = alike[:, one] = row
        alike[other] = alike[:, other] = -1
        _join(found[one], found[other])
        left.discard(other)


def _join(kept: Found, gone: Found) -> None:
    added = len(gone.reviews - kept.reviews)
    kept.score += gone.score * added / max(len(gone.reviews), 1)
    kept.reviews |= gone.reviews
    kept.forms |= gone.forms


def _label(spelled: Counter[str]) -> str:
    return max(spelled, key=lambda each: (spelled[each], -len(each), each))


def _is_in(short: Stems, long: Stems) -> bool:
    return any(long[at : at + len(short)] == short for at in range(len(long) - len(short) + 1))
