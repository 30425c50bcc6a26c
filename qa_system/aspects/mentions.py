"""Clauses in which reviews name an aspect."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Final

from haystack import Document

from qa_system.aspects.finding import Found
from qa_system.aspects.phrases import MOST_WORDS, Stems
from qa_system.aspects.words import words
from qa_system.consensus.mentions import Mention
from qa_system.consensus.quotes import review_of
from qa_system.texts.sentences import sentences

__all__ = ["clauses", "clauses_naming"]

_TURNS: Final = re.compile(
    r"[\s,;]*(?:;|\s[-–—]+\s|[\s,]\b(?:but|although|though|whereas|however|except)\b)[\s,]*",
    re.IGNORECASE,
)
"""Where a sentence goes on to say something else, and often the opposite."""
FEWEST_WORDS: Final = 3
"""Of a clause; a sentence with a shorter one is left whole."""


def clauses(text: str) -> list[tuple[int, int]]:
    """Divide a review into sentences, and those where they turn: "The lid is fine but it leaks".

    >>> text = "Light, but the lid leaks. Fine though."
    >>> [text[start:end] for start, end in clauses(text)]
    ['Light, but the lid leaks.', 'Fine though.']
    """
    found = []
    for start, end in sentences(text):
        parts = list(_parts(text, start, end))
        is_whole = any(len(text[first:last].split()) < FEWEST_WORDS for first, last in parts)
        found += [(start, end)] if is_whole else parts
    return found


def clauses_naming(aspects: Sequence[Found], documents: Sequence[Document]) -> list[list[Mention]]:
    """Return the clauses that name each aspect, not judged yet.

    Args:
        aspects: what was found in the reviews.
        documents: the reviews, in the order in which they were searched for aspects.
    """
    found: list[list[Mention]] = [[] for _ in aspects]
    for place, document in enumerate(documents):
        content = document.content or ""
        own = [at for at, aspect in enumerate(aspects) if place in aspect.reviews]
        for start, end in clauses(content) if own else ():
            named = _phrases(content[start:end])
            for at in own:
                if not named.isdisjoint(aspects[at].forms):
                    text = content[start:end]
                    mention = Mention(review_of(document), place, start, end, text, 0.0)
                    found[at].append(mention)
    return found


def _parts(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    first = start
    for turn in _TURNS.finditer(text, start, end):
        yield first, turn.start()
        first = turn.end()
    yield first, end


def _phrases(text: str) -> set[Stems]:
    stems = [word.stem for word in words(text)]
    return {
        tuple(stems[at : at + length])
        for length in range(1, MOST_WORDS + 1)
        for at in range(len(stems) - length + 1)
    }
