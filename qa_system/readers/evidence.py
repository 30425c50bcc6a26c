"""Which stretches of reviews a reader reads: the best sentences with their neighbours, to a budget.

Time is proportional to the tokens of all windows, so these are what is bounded: those of the
question, which each window repeats, and of the stretch that the window holds.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from haystack.dataclasses import Document
from numpy.typing import NDArray

__all__ = ["Candidate", "Stretch", "candidates_of", "choose", "whole"]

AT_ONCE: Final = 16
"""Sentences that are tokenised together, before it is known how many the budget takes."""

Tokens = Sequence[NDArray[np.int32]]
"""The first character of each token, of several texts."""
TokenStarts = Callable[[Sequence[str]], Tokens]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Characters of a review that are read together, `content[start:end]`."""

    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A sentence with its neighbours.

    Args:
        document: its place among a question's documents.
        score: how well the sentence fits the question.
        stretch: from the beginning of the sentence before to the end of the one after.
    """

    document: int
    score: float
    stretch: Stretch


def whole(content: str | None) -> list[Stretch]:
    """Return the stretch of a review that is read whole; none if there is no text.

    >>> whole("Loud.")
    [Stretch(start=0, end=5)]
    """
    return [Stretch(0, len(content))] if content else []


def candidates_of(documents: Sequence[Document]) -> list[Candidate]:
    """Return the sentences that a `SentenceRetriever` found in documents, best first.

    Args:
        documents: with `meta["sentences"]`; one without it has no candidate.
    """
    found = [
        Candidate(place, score, Stretch(before, after))
        for place, document in enumerate(documents)
        for _, _, score, before, after in document.meta.get("sentences", ())
    ]
    return sorted(found, key=lambda each: (-each.score, each.document, each.stretch.start))


def choose(
    candidates: Sequence[Candidate],
    contents: Sequence[str],
    token_starts: TokenStarts,
    budget: int,
    overhead: int,
) -> list[list[Stretch]]:
    """Return the stretches of each document that the budget takes, in the document's order.

    Stretches that touch or overlap are one. The best sentence is taken whatever it costs; the
    first that does not fit ends it, so that a larger budget reads all that a smaller one does.

    Args:
        candidates: best first.
        contents: the documents' texts.
        token_starts: returns the first character of each token, for each of several texts.
        budget: tokens.
        overhead: tokens of a window beside its stretch.

    >>> words = lambda texts: [np.array([0, *(n + 1 for n, c in enumerate(each) if c == " ")])
    ...     for each in texts]
    >>> found = [Candidate(0, 0.9, Stretch(0, 7)), Candidate(0, 0.8, Stretch(8, 15))]
    >>> choose(found, ["One two six ten"], words, budget=4, overhead=0)
    [[Stretch(start=0, end=7), Stretch(start=8, end=15)]]
    >>> choose(found, ["One two six ten"], words, budget=3, overhead=0)
    [[Stretch(start=0, end=7)]]
    """
    taken = [_Taken() for _ in contents]
    spent = 0
    for first in range(0, len(candidates), AT_ONCE):
        batch = candidates[first : first + AT_ONCE]
        texts = [contents[each.document][each.stretch.start : each.stretch.end] for each in batch]
        for each, starts in zip(batch, token_starts(texts), strict=True):
            now = taken[each.document]
            grown = now.with_another(each.stretch, starts + each.stretch.start)
            total = spent - now.cost(overhead) + grown.cost(overhead)
            if total > budget and spent:
                return [list(each.stretches) for each in taken]
            taken[each.document], spent = grown, total
    return [list(each.stretches) for each in taken]


@dataclass(frozen=True, slots=True)
class _Taken:
    """What is read of one document: disjoint stretches in order, and their tokens' starts."""

    stretches: tuple[Stretch, ...] = ()
    tokens: frozenset[int] = frozenset()

    def with_another(self, added: Stretch, starts: NDArray[np.int32]) -> _Taken:
        joined, rest = added, []
        for each in self.stretches:
            if each.start <= joined.end and joined.start <= each.end:
                joined = Stretch(min(each.start, joined.start), max(each.end, joined.end))
            else:
                rest.append(each)
        ordered = sorted([*rest, joined], key=lambda each: each.start)
        return _Taken(tuple(ordered), self.tokens.union(starts.tolist()))

    def cost(self, overhead: int) -> int:
        return len(self.stretches) * overhead + len(self.tokens)
