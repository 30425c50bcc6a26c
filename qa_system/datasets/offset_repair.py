"""Find answers that are not at their offsets in the review."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal

from qa_system.records import AnswerSpan

__all__ = ["GivenUp", "RepairCounts", "RepairTally", "SpanFinder"]

Found = Literal["exact", "repaired", "no_answer"]

_WORD = re.compile(r"[^\W_]+")
_NOT = re.compile(r"n['’]t\b", re.IGNORECASE)
"""The tokeniser of SubjQA makes a word of its own of it: `is n't`."""


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An answer whose place in its review could not be found."""

    split: str | None
    question_id: str
    review_id: str
    text: str


@dataclass(frozen=True, slots=True)
class RepairCounts:
    """What became of the annotators' rows.

    Args:
        exact: answers that equal the review at their indices as they come.
        repaired: answers whose offsets were found by alignment.
        given_up: answers that are nowhere in their review, or in several places that are as near.
        no_answer: annotators that say "not answerable".
        given_up_rows: the rows behind `given_up`.
    """

    exact: int
    repaired: int
    given_up: int
    no_answer: int
    given_up_rows: tuple[GivenUp, ...] = ()


class RepairTally:
    """Count what becomes of answers, one after the other.

    >>> tally = RepairTally()
    >>> tally.add("exact", 2)
    >>> tally.give_up(GivenUp("test", "q", "r", "loud"))
    >>> tally.counts.exact, tally.counts.given_up
    (2, 1)
    """

    def __init__(self) -> None:
        self._found: Counter[Found] = Counter()
        self._given_up: list[GivenUp] = []

    def add(self, found: Found, number: int = 1) -> None:
        """Count answers that were found, or annotators that say "not answerable"."""
        self._found[found] += number

    def give_up(self, row: GivenUp) -> None:
        """Count an answer that was not found."""
        self._given_up.append(row)

    def update(self, other: RepairTally) -> None:
        """Count what another tally counted, too."""
        self._found.update(other._found)
        self._given_up += other._given_up

    @property
    def counts(self) -> RepairCounts:
        """The counts so far."""
        return RepairCounts(
            exact=self._found["exact"],
            repaired=self._found["repaired"],
            given_up=len(self._given_up),
            no_answer=self._found["no_answer"],
            given_up_rows=tuple(self._given_up),
        )


class SpanFinder:
    """Find tokenised answers in the review that they were marked in.

    A tokeniser adds spaces (`is n't`), changes quotes and drops some signs, but keeps letters and
    digits. So the answer is searched for with all white space removed from both sides, then with
    everything but letters and digits removed. A place begins and ends at word borders, and has no
    more words than the answer: a tokeniser cuts words and joins none. The review is reduced once,
    so that many answers from one review cost one pass over it.

    Args:
        text: the review.

    >>> SpanFinder("It isn't bitter/acidic.").find("is n't bitter / acidic", 3)
    AnswerSpan(text="isn't bitter/acidic", start=3, end=22)
    """

    _LEVELS: tuple[Callable[[str], bool], ...] = (lambda char: not char.isspace(), str.isalnum)

    def __init__(self, text: str) -> None:
        self.text = text
        self._reduced: list[tuple[str, list[int]]] = []

    def find(self, span: str, start: int) -> AnswerSpan | None:
        """Locate an answer; of several places, return the one that starts nearest to `start`."""
        return min(self._places(span), key=lambda found: abs(found.start - start), default=None)

    def find_clearly(self, span: str, start: int | None) -> AnswerSpan | None:
        """Locate an answer by an offset that may count other units than characters.

        Args:
            span: the answer.
            start: where it begins, in characters, UTF-16 units or UTF-8 bytes, or near that; None
                or below 0: unknown.

        Returns:
            If `start` is unknown, the first place where the answer stands as it is, else the first
            place. Otherwise the place that `start` names in one
            of the units, or the nearest, if it is less than half as far away as the next. None if
            there is no such place.

        >>> finder = SpanFinder("👍👍 Loud. Not too loud.")
        >>> finder.find_clearly("Loud", 5), finder.find_clearly("quiet", 5)
        (AnswerSpan(text='Loud', start=3, end=7), None)
        >>> SpanFinder("good, good").find_clearly("good", 3) is None
        True
        """
        if start is None or start < 0:
            exact = ((at, at + len(span)) for at in _occurrences(self.text, span))
            whole = (AnswerSpan(span, *place) for place in exact if self._is_whole(*place))
            return next(chain(whole, self._places(span)), None)
        for at in _in_characters(self.text, start):
            if self.text.startswith(span, at):
                return AnswerSpan(span, at, at + len(span))
        nearest = sorted(self._places(span), key=lambda found: abs(found.start - start))[:2]
        away = [abs(found.start - start) for found in nearest]
        is_clear = len(nearest) == 1 or (len(nearest) == 2 and 2 * away[0] < away[1])
        return nearest[0] if is_clear else None

    def _places(self, span: str) -> list[AnswerSpan]:
        """Return where an answer stands, by the strictest level at which it is anywhere."""
        for level, keep in enumerate(self._LEVELS):
            wanted = "".join(filter(keep, span))
            if not wanted:
                return []
            kept, positions = self._at(level)
            places = (
                (positions[at], positions[at + len(wanted) - 1] + 1)
                for at in _occurrences(kept, wanted)
            )
            words = len(_WORD.findall(span))
            found = [
                AnswerSpan(self.text[start:end], start, end)
                for start, end in places
                if self._is_whole(start, end) and _spaced(self.text[start:end]) <= words
            ]
            if found:
                return found
        return []

    def _is_whole(self, start: int, end: int) -> bool:
        return not (_is_in_word(self.text, start) or _is_in_word(self.text, end))

    def _at(self, level: int) -> tuple[str, list[int]]:
        while len(self._reduced) <= level:
            keep = self._LEVELS[len(self._reduced)]
            positions = [at for at, char in enumerate(self.text) if keep(char)]
            self._reduced.append(("".join(self.text[at] for at in positions), positions))
        return self._reduced[level]


def _occurrences(text: str, wanted: str) -> Iterator[int]:
    at = text.find(wanted)
    while at >= 0:
        yield at
        at = text.find(wanted, at + 1)


def _is_in_word(text: str, at: int) -> bool:
    """Tell whether a word goes on from before a position to behind it.

    Letters without capitals are in no word: such scripts may write no spaces between words.
    """
    if not 0 < at < len(text) or _NOT.match(text, at):
        return False
    return all(
        char.isalnum() and unicodedata.category(char) != "Lo" for char in text[at - 1 : at + 1]
    )


def _spaced(text: str) -> int:
    """Count the words that white space sets apart."""
    return sum(_WORD.search(part) is not None for part in text.split())


def _in_characters(text: str, start: int) -> Iterator[int]:
    """Return an offset that counts UTF-16 units, and one that counts UTF-8 bytes, in characters."""
    if text.isascii():
        return
    for encoding, size in (("utf-16-le", 2), ("utf-8", 1)):
        before = text.encode(encoding, "surrogatepass")[: size * start]
        yield len(before.decode(encoding, "ignore"))
