"""The sentences of a review, by rules for the way that customers write.

Customers leave out the space after a full stop ("works well.The cord is short"), write lists in a
line ("Pros: light Cons: loud", "* small * cheap"), begin sentences in lower case, and write
hundreds of words without a full stop. Every rule is here; `benchmarks/sentences.py` compares them
with other splitters on boundaries that were marked by hand.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import Final

__all__ = ["MAX_WORDS", "sentences"]

MAX_WORDS: Final = 60
"""A longer sentence is cut, so that the amount of text in a sentence has a bound."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ABBREVIATIONS: Final = _words(
    "mr mrs ms dr st ave blvd mt ft jr sr prof vs approx no vol fig incl excl max min ca eg ie"
)
"""Never the last word of a sentence."""
_BEFORE_CAPITALS: Final = _words(
    "etc inc ltd co corp oz lb lbs in cm mm hr hrs min mins sec secs p.m a.m am pm u.s"
)
"""The last word of a sentence only if a capital follows."""
_DOMAINS: Final = _words("com net org co io de uk")

_MARKS: Final = ".!?\u2026\u3002\uff01\uff1f\u061f\u06d4\u203c\u2047\u2049\uff61"
_FULL_WIDTH: Final = frozenset("\u3002\uff01\uff1f\u061f\u06d4\uff61")
_SMILEY: Final = r"[:;=][-'^]?[)(DPp](?!\w)"
_EMOJI: Final = "[\u2600-\u27bf\U0001f000-\U0001faff\ufe0f\u200d\u2b50]"
_CLOSING: Final = r"[\"'\u201d\u2019\u00bb)\]\u300d\u300f]"

_CANDIDATE: Final = re.compile(
    rf"(?P<line>(?<!\s)\s*\n\s*)"
    rf"|(?P<marks>[{_MARKS}]+)(?P<closing>(?:{_CLOSING}|\s?{_SMILEY}|\s?{_EMOJI}|[{_MARKS}])*)(?P<gap>\s*)"
    rf"|(?P<face>{_SMILEY}|(?<!{_EMOJI}){_EMOJI}+)(?P<after>\s*)(?=[A-Z])"
    rf"|(?P<bracket>(?<=[a-z])\))(?=[A-Z][a-z])"
    rf"|(?P<bullet>(?<=[\w.,:!?)])\s*(?=[*\u2022\u2023\u25aa\u25cf\u00b7]\s))"
    rf"|(?P<number>(?<=[\w.,:!?)])\s+(?=\(?[1-9]\d?[.)]\s+\S))"
    rf"|(?P<label>(?<=\S)\s*(?=(?:Pros?|Cons?|PROS?|CONS?)\s*:))"
)
_WORD_BEFORE: Final = re.compile(r"[\w.'\u2019]*\w$")
_WORD: Final = re.compile(r"\S{1,64}")
_WORD_AFTER: Final = re.compile(r"\w+")
_CUT: Final = re.compile(r"[,;:\u060c\u3001\uff0c]$")
_JOINS: Final = _words("and but so because or then also however although which")


def sentences(text: str, max_words: int = MAX_WORDS) -> list[tuple[int, int]]:
    """Divide a review into sentences.

    Args:
        text: the review; a title stands on a line of its own.
        max_words: a sentence of more words is cut, at a comma or before a joining word if there is
            one in its second half.

    Returns:
        Start and end characters of each sentence, in order. No sentence begins or ends with white
        space, and only white space lies between them.

    >>> text = "Nice style.Pros: light, cheap Cons: 5.5 cm too long! would buy again :) Thanks"
    >>> [text[start:end] for start, end in sentences(text)]
    ['Nice style.', 'Pros: light, cheap', 'Cons: 5.5 cm too long!', 'would buy again :)', 'Thanks']
    """
    found: list[tuple[int, int]] = []
    for start, end in pairwise([0, *_breaks(text), len(text)]):
        piece = text[start:end]
        if piece.strip():
            start += len(piece) - len(piece.lstrip())
            found.extend(_cut(text, start, start + len(piece.strip()), max_words))
    return found


def _breaks(text: str) -> Iterator[int]:
    """Yield the offsets at which a sentence may begin, in order."""
    has_bullets = len(re.findall(r"[*\u2022\u2023\u25aa\u25cf\u00b7]\s", text)) > 1
    one = re.search(r"(?<!\w)1[.)]\s", text)
    has_numbers = one is not None and re.search(r"(?<!\w)2[.)]\s", text[one.end() :]) is not None
    last = 0
    for match in _CANDIDATE.finditer(text):
        end = match.end()
        if end <= last:
            continue
        match match.lastgroup:
            case "gap":
                if not _ends(text, match):
                    continue
            case "bullet" if not has_bullets:
                continue
            case "number" if not has_numbers:
                continue
            case _:
                pass
        last = end
        yield end


def _ends(text: str, match: re.Match[str]) -> bool:
    """Tell whether a sentence ends at its marks and what closes them."""
    marks, closing, gap = match["marks"], match["closing"], match["gap"]
    following = text[match.end() : match.end() + 1]
    if not following or marks[-1] in _FULL_WIDTH:
        return True
    is_ellipsis = "\u2026" in marks or ".." in marks
    if re.search(f"{_SMILEY}|{_EMOJI}", closing):
        return True
    if not gap:
        return _ends_without_space(text, match, is_ellipsis=is_ellipsis)
    if closing and following.islower():
        # '"Wow!" she said', "(really?) and"
        return False
    if is_ellipsis:
        return not following.islower()
    return marks != "." or _ends_at_stop(text, match.start(), following)


def _ends_at_stop(text: str, stop: int, following: str) -> bool:
    """Tell whether a full stop, with white space behind it, ends a sentence."""
    before = _WORD_BEFORE.search(text, max(0, stop - 20), stop)
    word = "" if before is None else before[0].lower()
    if word in _ABBREVIATIONS or (len(word) == 1 and word.isalpha() and word != "i"):
        return False
    if "." in word and not any(character.isdigit() for character in word):
        # "e.g.", "i.e.", "U.S."
        return following.isupper() and word not in ("e.g", "i.e")
    return not (word in _BEFORE_CAPITALS and following.islower())


def _ends_without_space(text: str, match: re.Match[str], *, is_ellipsis: bool) -> bool:
    """Tell whether a sentence ends at marks with no space behind them."""
    after = _WORD_AFTER.match(text, match.end())
    if after is None:
        return False
    word, marks, before = after[0], match["marks"], text[match.start() - 1 : match.start()]
    if not word[0].isupper() or word.lower() in _DOMAINS:
        return False
    if is_ellipsis:
        return word[1:2].islower()
    if marks[-1] != "." or match["closing"]:
        return True
    return (before.islower() or before.isdigit() or before in "%)") and not (
        len(word) == 1 and word != "I" and word != "A"
    )


def _cut(text: str, start: int, end: int, max_words: int) -> Iterator[tuple[int, int]]:
    """Cut a sentence that is too long."""
    words = [match.span() for match in _WORD.finditer(text, start, end)]
    first = 0
    while len(words) - first > max_words:
        last = first + max_words
        half = first + (max_words + 1) // 2
        cut = next((n for n in range(last, half, -1) if _CUT.search(text[slice(*words[n - 1])])), 0)
        cut = cut or next(
            (n for n in range(last, half, -1) if text[slice(*words[n])].lower() in _JOINS), last
        )
        yield words[first][0], words[cut - 1][1]
        first = cut
    yield words[first][0], words[-1][1]
