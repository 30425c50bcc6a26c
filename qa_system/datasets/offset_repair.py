"""Find answers that are not at their offsets in the review."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from qa_system.records import AnswerSpan

__all__ = ["GivenUp", "RepairCounts", "SpanFinder"]


@dataclass(frozen=True, slots=True)
class GivenUp:
    """An answer whose place in its review could not be found."""

    split: str
    question_id: str
    review_id: str
    text: str


@dataclass(frozen=True, slots=True)
class RepairCounts:
    """What became of the annotators' rows.

    Args:
        exact: answers that equal the review at their indices as they come.
        repaired: answers whose offsets were found by alignment.
        given_up: answers that are nowhere in their review.
        no_answer: rows that say "not answerable".
        given_up_rows: the rows behind `given_up`.
    """

    exact: int
    repaired: int
    given_up: int
    no_answer: int
    given_up_rows: tuple[GivenUp, ...] = ()

    def __add__(self, other: RepairCounts) -> RepairCounts:
        """Count two domains together."""
        return RepairCounts(
            exact=self.exact + other.exact,
            repaired=self.repaired + other.repaired,
            given_up=self.given_up + other.given_up,
            no_answer=self.no_answer + other.no_answer,
            given_up_rows=self.given_up_rows + other.given_up_rows,
        )


class SpanFinder:
    """Find tokenised answers in the review that they were marked in.

    A tokeniser adds spaces (`is n't`), changes quotes and drops some signs, but keeps letters and
    digits. So the answer is searched for with all white space removed from both sides, then with
    everything but letters and digits removed. The review is reduced once, so that many answers
    from one review cost one pass over it.

    Args:
        text: the review.

    >>> SpanFinder("It isn't bitter/acidic.").find("is n't bitter / acidic", 3)
    AnswerSpan(text="isn't bitter/acidic", start=3, end=22)
    """

    _LEVELS: tuple[Callable[[str], bool], ...] = (lambda char: not char.isspace(), str.isalnum)

    def __init__(self, text: str) -> None:
        self._text = text
        self._reduced: list[tuple[str, list[int]]] = []

    def find(self, span: str, start: int) -> AnswerSpan | None:
        """Locate an answer; of several places, return the one that starts nearest to `start`."""
        for level, keep in enumerate(self._LEVELS):
            wanted = "".join(filter(keep, span))
            if not wanted:
                return None
            kept, positions = self._at(level)
            found = list(_occurrences(kept, wanted))
            if found:
                distances = [abs(positions[at] - start) for at in found]
                first = found[distances.index(min(distances))]
                start, end = positions[first], positions[first + len(wanted) - 1] + 1
                return AnswerSpan(self._text[start:end], start, end)
        return None

    def _at(self, level: int) -> tuple[str, list[int]]:
        while len(self._reduced) <= level:
            keep = self._LEVELS[len(self._reduced)]
            positions = [at for at, char in enumerate(self._text) if keep(char)]
            self._reduced.append(("".join(self._text[at] for at in positions), positions))
        return self._reduced[level]


def _occurrences(text: str, wanted: str) -> Iterator[int]:
    at = text.find(wanted)
    while at >= 0:
        yield at
        at = text.find(wanted, at + 1)
