"""Texts that were written once and posted more than once."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from math import ceil
from typing import Any, Final

__all__ = ["LEAST_WORDS", "SIMILAR", "duplicates_of", "normalized", "without_repeats"]

SIMILAR: Final = 0.8
"""The Jaccard similarity of two texts' shingles from which on they are duplicates."""
SHINGLE: Final = 3
"""Words in a shingle."""
LEAST_WORDS: Final = 8
"""A shorter text that two customers wrote alike is no copy: "Fits true to size"."""

_WORD: Final = re.compile(r"\w+")


def normalized(text: str) -> str:
    """Return the words of a text, in lower case, without punctuation.

    >>> normalized("  Great—buy it! GREAT... ")
    'great buy it great'
    """
    return " ".join(_WORD.findall(unicodedata.normalize("NFKC", text).casefold()))


def duplicates_of(texts: Sequence[str], least_words: int = LEAST_WORDS) -> list[int]:
    """Return the place of the text that each text is a duplicate of; its own, if it is none.

    Texts are compared with those that share a rare shingle with them, not each with each, so that
    the time grows with the amount of text. The order of the texts changes nothing but the places.

    Args:
        texts: whole reviews, or clauses.
        least_words: a text with fewer words is never a duplicate.

    >>> first = "The zip broke after three days of light use."
    >>> duplicates_of([first, "Good.", "The zip BROKE after three days of light use", "Good."])
    [0, 1, 0, 3]
    """
    words = [normalized(text).split() for text in texts]
    long = [place for place, each in enumerate(words) if len(each) >= least_words]
    shingles = {place: _shingles(words[place]) for place in long}
    having = Counter(shingle for each in shingles.values() for shingle in each)
    originals = list(range(len(texts)))
    seen: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for place in sorted(long, key=lambda each: words[each]):
        own = shingles[place]
        rarest = sorted(own, key=lambda each: (having[each], each))
        # Of two similar texts, so many of the rarest shingles of each cannot all differ.
        rarest = rarest[: len(own) - ceil(SIMILAR * len(own)) + 1]
        candidates = dict.fromkeys(one for each in rarest for one in seen[each])
        original = next((one for one in candidates if _are_similar(own, shingles[one])), None)
        if original is None:
            for each in rarest:
                seen[each].append(place)
        else:
            originals[place] = original
    return _first_places(originals)


def without_repeats(texts: Sequence[str]) -> list[int]:
    """Return the places of the texts that do not have the words of an earlier one, or nearly so.

    Each is compared with each: they are few, and short.

    Args:
        texts: as they are shown, one below the other.

    >>> without_repeats(["Runs small.", "They run small", "runs  SMALL"])
    [0, 1]
    """
    kept: dict[int, frozenset[str]] = {}
    for place, text in enumerate(texts):
        own = frozenset(normalized(text).split())
        if not any(_are_similar(own, other) for other in kept.values()):
            kept[place] = own
    return list(kept)


def _shingles(words: Sequence[str]) -> frozenset[tuple[str, ...]]:
    return frozenset(zip(*(words[start:] for start in range(SHINGLE)), strict=False)) or frozenset(
        [tuple(words)]
    )


def _are_similar(one: frozenset[Any], other: frozenset[Any]) -> bool:
    common = len(one & other)
    return common >= SIMILAR * (len(one) + len(other) - common)


def _first_places(originals: Sequence[int]) -> list[int]:
    """Name each group by its first place."""
    first: dict[int, int] = {}
    return [first.setdefault(original, place) for place, original in enumerate(originals)]
