"""An answer that keeps its meaning: a span, widened where it would say something else.

A reader marks the fewest words that answer, and may cut what turns them round: "buffer" of "it
does not buffer", "fluoride" of "fluoride free", "a strap" of "a strap that breaks". Rules over
function words and punctuation find what was cut; no parser is needed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import takewhile
from typing import NamedTuple

__all__ = ["widen"]

MOST_WORDS = 30
"""Of a widened span; where its clause has more, the span stays as it was."""
NEAR = 6
"""Words between a negation and what it negates, at most."""

_WORD = re.compile(r"\w+(?:['’]\w+)*")

_SUBJECTS = r"(?:I|it|they|we|you|he|she|this|that|these|those|there|the|a|an|my|its|our)\b"
_CLAUSE_ENDS = re.compile(
    r"""(?<![.!?;:])[.!?;:]+(?=\s|$) | (?<=[a-z])[.!?]+(?=[A-Z]) | \n | ,(?=\s)
    | \s[-–—]+\s | --+ | […()\[\]"“”]
    | \b(?:but|because|although|though|whereas|however|since|unless)\b"""
    rf"| \b(?:so|and|or|while|that)\b(?=\s+{_SUBJECTS})",
    re.VERBOSE,
)
"""Where a clause ends and the next one begins. A run of punctuation is tried at its first character
only: at each of them, a long run would take quadratic time."""


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_NEGATIONS = _words(
    """not no never none nothing nobody neither nor without hardly barely scarcely lacks lacking
    cannot dont doesnt didnt isnt wasnt arent werent wont wouldnt couldnt cant hasnt havent"""
)
_AUXILIARIES = _words(
    """is are was were be been am do does did can could will would should has have had may might
    must"""
)
_DEGREES = _words("too more less least fewer")
_RELATIVES = _words("that which who whose")
_COMPARATIVES = _words("more less fewer worse rather")
_FREE_OF_NOTHING = (
    _AUXILIARIES
    | _NEGATIONS
    | _words(
        """a an the this my for it its and or very so totally completely almost s got get of with
        feel feels set"""
    )
)
"""What stands before "free" and is not what something is free of."""


class _Word(NamedTuple):
    text: str
    start: int
    end: int

    @property
    def negates(self) -> bool:
        return self.text in _NEGATIONS or self.text.endswith(("n't", "n’t"))


class _Clause(NamedTuple):
    """The words of a clause: before a span, in it, and after it."""

    before: Sequence[_Word]
    inside: Sequence[_Word]
    after: Sequence[_Word]


def widen(text: str, start: int, end: int) -> tuple[int, int]:
    """Widen a span, within its clause, where it would lose what turns its meaning round.

    That is a negation, "without", "too", what something is free of, what it is compared with, and
    a relative clause. A span that loses none of them stays as it is.

    Args:
        text: the review.
        start: the span's first character.
        end: the character after its last.

    Returns:
        The same of the widened span.

    >>> review = "Great, but it does not buffer at all. It is fluoride free."
    >>> [review[slice(*widen(review, review.index(x), review.index(x) + len(x)))]
    ...  for x in ("buffer", "Great", "free")]
    ['it does not buffer at all', 'Great', 'fluoride free']
    """
    span = start, end
    ends = [found.span() for found in _CLAUSE_ENDS.finditer(text)]
    while (wider := _widen_once(text, ends, *span)) != span:
        if len(_WORD.findall(text, *wider)) > MOST_WORDS:
            return start, end
        span = wider
    return span


def _widen_once(
    text: str, ends: Sequence[tuple[int, int]], start: int, end: int
) -> tuple[int, int]:
    clause = _clause_of(text, ends, start, end)
    if not clause.inside:
        return start, end
    if _is_negated(clause):
        words = (*clause.before, *clause.inside, *clause.after)
        return min(start, words[0].start), max(end, words[-1].end)
    return min([start, *_firsts(clause)]), max([end, *_lasts(clause, text)])


def _is_negated(clause: _Clause) -> bool:
    before, inside, after = clause
    words = (*before, *inside)
    for place in range(max(len(before) - NEAR - 1, 0), len(before)):
        if words[place].negates and words[place + 1].text != "only":
            return True
    if not after:
        return False
    follow = after[:2] if after[0].text in _AUXILIARIES else after[:1]
    return any(word.negates for word in follow)


def _firsts(clause: _Clause) -> list[int]:
    """Return where the span should begin, by each rule that says so."""
    before, inside, after = clause
    if not before:
        return []
    found = []
    previous, first = before[-1], inside[0].text
    if previous.text in _DEGREES:
        found.append(previous.start)
    if previous.text == "as" and after and after[0].text == "as":
        found.append(previous.start)
    if "than" in (first, previous.text):
        found.append(before[0].start)
    is_named = any(word.text in ("of", "from") for word in (*inside[1:], *after)[:1])
    if first == "free" and not is_named and previous.text not in _FREE_OF_NOTHING:
        found.append(previous.start)
    if previous.text in ("of", "from") and len(before) > 1 and before[-2].text == "free":
        found.append(before[-2].start)
    return found


def _lasts(clause: _Clause, text: str) -> list[int]:
    """Return where the span should end, by each rule that says so."""
    before, inside, after = clause
    if not after:
        return []
    found = []
    following, clause_end = after[0].text, after[-1].end
    between = text[inside[-1].end : after[0].start]
    if following == "free" and between in (" ", "-") and inside[-1].text not in _FREE_OF_NOTHING:
        found.append(after[0].end)
    goes_on = (
        (inside[-1].text == "free" and following in ("of", "from")),
        (following in _RELATIVES and between == " "),
        (any(word.text == "than" for word in after[:3]) and any(map(_compares, inside))),
        (following == "as" and any(word.text == "as" for word in (*before[-1:], *inside))),
        (inside[0].text == "too" and following in ("to", "for")),
    )
    if any(goes_on):
        found.append(clause_end)
    return found


def _compares(word: _Word) -> bool:
    return word.text in _COMPARATIVES or word.text.endswith("er")


def _clause_of(text: str, ends: Sequence[tuple[int, int]], start: int, end: int) -> _Clause:
    first = max((after for _, after in ends if after <= start), default=0)
    last = min((before for before, _ in ends if before >= end), default=len(text))
    words = [
        _Word(found.group().lower(), found.start(), found.end())
        for found in _WORD.finditer(text, first, last)
    ]
    before = list(takewhile(lambda word: word.end <= start, words))
    after = [word for word in words if word.start >= end]
    return _Clause(before, words[len(before) : len(words) - len(after)], after)
