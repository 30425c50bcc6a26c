"""What a text says of how a garment or a shoe is sized: true to size, large or small.

"Runs small" is neither praise nor complaint, so a model that tells good from bad cannot tell that
it contradicts "true to size" and "runs large". The three exclude each other, and few words say
them.
The rules are of English.
"""

from __future__ import annotations

import re
from typing import Final, Literal

__all__ = ["Sizing", "answer_on_sizing", "sizings_of"]

Sizing = Literal["true", "large", "small"]

_SOME: Final = (
    r"(?:(?:a|an|bit|little|tad|touch|slightly|somewhat|very|too|way|really|quite|so|rather|just|half"
    r"|full|one|two|at|least)\s+)*"
)
_RUNS: Final = (
    r"(?:runs?|running|ran|fits?|fitted|fitting|com(?:e|es|ing)\s+up|came\s+up"
    r"|siz(?:e|es|ing)\s+(?:is|are|was|were|runs?))"
)
_ORDERED: Final = r"(?:order(?:ed|ing)?|go|going|went|buy|bought|get|got|take|took|siz(?:e|ed|ing))"
_SIZE: Final = r"(?:(?:a|one|half|two|full)\s+)*(?:sizes?\s+)?"
_PATTERNS: Final[dict[Sizing, re.Pattern[str]]] = {
    "true": re.compile(
        r"\btrue\s+to\s+(?:its\s+|the\s+)?(?:size|fit)\b|\bfits?\s+as\s+expected\b"
        r"|\bsiz(?:e|es|ing)\s+(?:is|are|was|were)\s+(?:\w+\s+)?(?:accurate|right|correct|perfect"
        r"|spot)\b",
        re.IGNORECASE,
    ),
    "large": re.compile(
        rf"\b{_RUNS}\s+{_SOME}(?:big|bigger|large|larger|loose|wide|roomy)\b"
        rf"|\b{_ORDERED}\s+{_SIZE}(?:down|smaller)\b",
        re.IGNORECASE,
    ),
    "small": re.compile(
        rf"\b{_RUNS}\s+{_SOME}(?:small|smaller|tight|narrow|short)\b"
        rf"|\b{_ORDERED}\s+{_SIZE}(?:up|larger|bigger)\b",
        re.IGNORECASE,
    ),
}
_DENYING: Final = re.compile(
    r"(?:\b(?:not|never|hardly|neither|nor|without)|n['’]t)\s+(?:\w+\s+){0,2}$", re.IGNORECASE
)


def sizings_of(text: str) -> tuple[frozenset[Sizing], frozenset[Sizing]]:
    """Return what a text says of the sizing, and what it denies.

    >>> asserted, denied = sizings_of("Not true to size: it runs a bit small.")
    >>> sorted(asserted), sorted(denied)
    (['small'], ['true'])
    """
    asserted: set[Sizing] = set()
    denied: set[Sizing] = set()
    for sizing, pattern in _PATTERNS.items():
        for found in pattern.finditer(text):
            (denied if _DENYING.search(text[: found.start()]) else asserted).add(sizing)
    return frozenset(asserted), frozenset(denied)


def answer_on_sizing(statement: str, text: str) -> Literal["yes", "no", "mixed"] | None:
    """Return what a text answers to a question about sizing; None: that is not what either is of.

    Args:
        statement: the question as a statement.
        text: of a review.

    >>> answer_on_sizing("run big.", "Fits true to size."), answer_on_sizing("loud.", "Runs big.")
    ('no', None)
    """
    asked, _ = sizings_of(statement)
    if len(asked) != 1:
        return None
    asserted, denied = sizings_of(text)
    if asked & asserted:
        return "mixed" if asserted - asked or asked & denied else "yes"
    return "no" if asserted or asked & denied else None
