"""How shoppers ask about an aspect: "How is the {aspect}?", in the forms of the domain."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from random import Random
from typing import Final

from qa_system.aspects.words import is_content, stem, words
from qa_system.errors import DataError
from qa_system.training.reader.forms import ADJECTIVE

__all__ = ["GENERAL", "asked_about", "read_asked", "wordings_of"]

GENERAL: Final = (
    "how {be} the {aspect}",
    "{be} the {aspect} good",
    "what do you think of the {aspect}",
    "how do you like the {aspect}",
    "what about the {aspect}",
    "what {be} the {aspect} like",
)
"""Forms that fit whatever reviews say of an aspect."""

_OF_DEGREE: Final = ("how {adjective} {be} the {aspect}", "{be} the {aspect} {adjective}")
_DEGREE: Final = re.compile(
    rf"\b(?:is|are|was|were)(?:n't| not)? (?:\w+ )?{ADJECTIVE}\b", re.IGNORECASE
)
_FREE_WORDS: Final = """
    how what is are was were be do does did you your people it its this these the think thoughts
    like about of on good bad nice ok okay any anyone that really so with we i can tell me describe
    opinion opinions experience
""".split()  # noqa: SIM905 (read as a text)
"""Words of a form that fits any aspect; one with others asks for something certain."""
_BE: Final = re.compile(r"\b(?:is|are|was|were)\b(?= (?:the|your|this|its|these) \{aspect\})")
_LONGEST: Final = 3


def wordings_of(questions: Iterable[str]) -> Counter[str]:
    """Return the forms of questions that fit any aspect, and how often each occurs.

    >>> wordings_of(["How is the battery life?", "how are the straps ?", "Why is the lid red?"])
    Counter({'how {be} the {aspect}': 2})
    """
    found: Counter[str] = Counter()
    for question in questions:
        bare = " ".join(question.split()).rstrip("?.! ").lower()
        of_content = [word for word in words(bare) if word.text not in _FREE_WORDS]
        if not 1 <= len(of_content) <= _LONGEST or not all(map(is_content, of_content)):
            continue
        start, end = of_content[0].start, of_content[-1].end
        form = f"{bare[:start]}{{aspect}}{bare[end:]}"
        if "the {aspect}" in form and len(bare[start:end].split()) == len(of_content):
            found[_BE.sub("{be}", form)] += 1
    return found


def read_asked(path: Path) -> list[str]:
    """Read questions, one a line; what stands behind a tab does not count.

    Raises:
        DataError: the file cannot be read, or has no question.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"the questions cannot be read: {error}", where=str(path)) from error
    found = [question for line in lines if (question := line.partition("\t")[0].strip())]
    if not found:
        raise DataError(
            "there is no question", where=str(path), remedy="Write one question a line."
        )
    return found


def asked_about(aspect: str, clause: str, own: Counter[str], draw: Random) -> str:
    """Return a question about an aspect, to which a clause may be the answer.

    Args:
        aspect: a noun, or nouns.
        clause: what a review says of it; an adjective of degree in it may be asked for.
        own: forms of the domain, by their numbers; they are drawn beside the general ones.
        draw: draws a form.

    >>> asked_about("straps", "the straps hold", Counter(), Random(1))
    'How are the straps?'
    """
    filled = {"aspect": aspect, "be": "are" if _is_plural(aspect) else "is"}
    degree = _DEGREE.search(clause)
    if degree is not None and draw.random() < 0.5:
        form = draw.choice(_OF_DEGREE).format(adjective=degree["a"].lower(), **filled)
    else:
        weights = Counter(GENERAL) + own
        [chosen] = draw.choices([*weights], [*weights.values()])
        form = chosen.format(**filled)
    return f"{form[0].upper()}{form[1:]}?"


def _is_plural(noun: str) -> bool:
    last = noun.split()[-1]
    return last.endswith("s") and not last.endswith("ss") and stem(last) != last
