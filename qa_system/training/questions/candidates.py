"""What a question could be asked about: clauses of reviews that name an aspect of their item."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from haystack import Document

from qa_system.aspects.digesting import names_of
from qa_system.aspects.finding import Embed, find_aspects
from qa_system.aspects.mentions import clauses_naming
from qa_system.aspects.phrases import Catalogue
from qa_system.consensus.duplicates import duplicates_of
from qa_system.records import title_end

__all__ = ["Candidate", "candidates_of", "without_copies"]

ASPECTS: Final = 24
"""Of an item, the best ones."""
FEWEST_WORDS: Final = 3
MOST_WORDS: Final = 20
"""Of a clause; a longer one is no short answer."""

_BEGINS: Final = re.compile(
    r"(?:(?:and|but|also|so|because|then|plus|pros?|cons?)\b[\s,:]*)+", re.IGNORECASE
)
_WORD: Final = re.compile(r"\w")


@dataclass(frozen=True, slots=True)
class Candidate:
    """A clause of a review that says something of an aspect.

    Args:
        document: the review.
        start: first character of the clause.
        end: the character after its last.
        aspect: what the item's reviews call it.
    """

    document: Document
    start: int
    end: int
    aspect: str

    @property
    def content(self) -> str:
        """The whole review."""
        return self.document.content or ""

    @property
    def text(self) -> str:
        """The clause."""
        return self.content[self.start : self.end]


def without_copies(documents: Sequence[Document]) -> list[Document]:
    """Return the reviews that have text and repeat no other one."""
    written = [each for each in documents if (each.content or "").strip()]
    originals = duplicates_of([each.content or "" for each in written])
    return [each for at, each in enumerate(written) if originals[at] == at]


def candidates_of(
    documents: Sequence[Document], catalogue: Catalogue, embed: Embed | None
) -> list[Candidate]:
    """Return the clauses of an item's reviews that name its aspects, in the reviews' order.

    A clause that asks, that is very short or long, or that stands in a title is left out.

    Args:
        documents: the item's reviews, copies left out.
        catalogue: how all reviews use words.
        embed: as in `find_aspects`.
    """
    if not documents:
        return []
    texts = [each.content or "" for each in documents]
    found = find_aspects(texts, catalogue, embed, ASPECTS, names=names_of(documents))
    candidates = []
    for aspect, clauses in zip(found, clauses_naming(found, documents), strict=True):
        for clause in clauses:
            document = documents[clause.document]
            content = texts[clause.document]
            start, end = trimmed(content, clause.start, clause.end)
            words = len(content[start:end].split())
            in_title = start < title_end(content, document.meta)
            asks = "?" in content[clause.start : clause.end]
            if FEWEST_WORDS <= words <= MOST_WORDS and not in_title and not asks:
                candidates.append(Candidate(document, start, end, aspect.label))
    return sorted(candidates, key=lambda each: (each.document.id, each.start, each.aspect))


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """Return a clause without the word that joins it to what stands before, and without marks.

    >>> text = "and the lid, sadly, leaks!!"
    >>> start, end = trimmed(text, 0, len(text))
    >>> text[start:end]
    'the lid, sadly, leaks'
    """
    if (joined := _BEGINS.match(text, start, end)) is not None:
        start = joined.end()
    places = [match.start() for match in _WORD.finditer(text, start, end)]
    return (places[0], places[-1] + 1) if places else (start, start)
