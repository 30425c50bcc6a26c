"""The sentences of a review, by rules for the way that customers write.

Customers leave out the space after a full stop ("works well.The cord is short"), write lists in a
line ("Pros: light Cons: loud", "* small * cheap"), begin sentences in lower case, and write
hundreds of words without a full stop. Each rule is a pattern that one pass over the text finds, so
the time grows with the length of the text, whatever it holds. `benchmarks/sentences.py` compares
the rules with other splitters on boundaries that were marked by hand.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterator
from itertools import islice, pairwise
from typing import Final
from unicodedata import category

from qa_system.errors import InvalidArgumentError

__all__ = ["MAX_WORDS", "SPLITTER", "sentences"]

SPLITTER: Final = "sentences-1"
"""The name of these rules: another one as soon as they divide any text otherwise."""
MAX_WORDS: Final = 60
"""A longer sentence is cut, so that the amount of text in a sentence has a bound."""
CHARACTERS_A_WORD: Final = 8
"""`MAX_WORDS` times this is the bound in characters, for text with few spaces or none."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ABBREVIATIONS: Final = _words(
    "mr mrs ms dr st ave blvd mt ft jr sr prof vs approx incl excl max min ca eg ie"
)
"""Never the last word of a sentence."""
_BEFORE_CAPITALS: Final = _words(
    "etc inc ltd co corp oz lb lbs in cm mm hr hrs min mins sec secs p.m a.m am pm u.s"
)
"""The last word of a sentence only if no lower case follows."""
_BEFORE_NUMBERS: Final = _words("no nos fig vol")
"""The last word of a sentence only if no number follows."""
_DOMAINS: Final = _words("com net org co io de uk")
_OPENERS: Final = _words("A But I If It My Our So That The There These They This We When You")
"""Words that begin a sentence where they are glued to the word before."""

_ONLY_ENDS: Final = "\u3002\uff01\uff1f\uff61\u061f\u06d4\u0964\u0965\u0589\u1362\u17d4\u104b"
"""CJK, Arabic, Urdu, Devanagari, Armenian, Ethiopic, Khmer, Burmese: they mean nothing else."""
_ENDS: Final = f".!?\u2026\u203c\u2047\u2049{_ONLY_ENDS}"
_SMILEY: Final = r"[:;=][-'^]?(?:[)(](?![a-z0-9])|[DPp](?!\w))"
_EMOJI: Final = "[\u2600-\u27bf\U0001f000-\U0001faff\ufe0f\u200d\u2b50]"
_CLOSING: Final = r"[\"'\u201d\u2019\u00bb)\]\u300d\u300f]"

# A pattern begins with a set of characters where it can: a search leaps from one to the next.
_MARKS: Final = re.compile(
    rf"([{_ENDS}]+)(?!\w+=)((?:{_CLOSING}|(\s{{0,2}}(?:{_SMILEY}|{_EMOJI}))|[{_ENDS}]){{0,64}})(\s*)(\w*)"
)
"""Marks (not those of "/page?id=1"), what closes them (with a face?), white space, a word."""
_LINE: Final = re.compile(r"[\n\r\u2028\u2029]\s*")
"""A line ends its sentence: titles and lists have no marks."""
_SMILEY_AS_MARK: Final = re.compile(rf"{_SMILEY}\s*(?=[A-Z])")
_EMOJI_AS_MARK: Final = re.compile(rf"{_EMOJI}\s*(?=[A-Z])")
_BRACKET: Final = re.compile(r"\)(?<=[a-z]\))(?=[A-Z][a-z]|I\s)")
"""A bracket with no space behind it: "is it (new)Simple"."""
_GLUED: Final = re.compile(r"[A-Z](?<=[a-z][A-Z])[a-z]*(?=\s)")
"""A capital inside a word: "was easyThe set-up"; also "iPhone", so that `_OPENERS` decide."""
_LABEL: Final = re.compile(r"(?:Pros?|Cons?|PROS?|CONS?)\s?:")
_BULLET: Final = re.compile(r"[*\u2022\u2023\u25aa\u25cf\u00b7](?<!\*\*)\s+(?=[^\s*])")
_EMPHASIS: Final = re.compile(r"\*\w(?:[^*\n]{0,60}\w)?\*")
""""*really* good": its second star is no bullet."""
_NUMBER: Final = re.compile(r"([1-9](?<![\w.,$#-][1-9])\d?)[.)](?=\s)")
_WORD_BEFORE: Final = re.compile(r"[\w.'\u2019]*\w\Z")
_LONGEST_ABBREVIATION: Final = 8
"""Characters before a full stop that are looked at."""

_CLAUSE: Final = re.compile(r"[,;:\u060c]\s+|[\u3001\uff0c\uff1b\uff1a]\s*")
_JOINING: Final = re.compile(
    r"\s+(?=(?:and|but|so|because|or|then|also|however|although|which)\s)", re.IGNORECASE
)
_SPACE: Final = re.compile(r"\s+")
_WORD: Final = re.compile(r"\S+")
_VISIBLE: Final = re.compile(r"\S")
_PLACES_TO_CUT: Final = (_CLAUSE, _JOINING, _SPACE)
"""Where a sentence that is too long is cut, the best first."""
_JOINER: Final = "\u200d"
_JOINED: Final = re.compile("[\u200c\u200d\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]")
"""Joiners, the colours of skin, the letters of a flag."""
_HALVES: Final = re.compile("[\ud800-\udbff][\udc00-\udfff]")
"""A character that was decoded wrongly."""
_FLAG: Final = "".join(map(chr, range(0x1F1E6, 0x1F200)))
"""Two of these letters are a flag."""
_LONGEST_PEEK: Final = 12
"""Characters behind the limit that `_JOINING` may read: a space, "although", a space."""


def sentences(text: str, max_words: int = MAX_WORDS) -> list[tuple[int, int]]:
    """Divide a review into sentences.

    Args:
        text: the review; a title stands on a line of its own.
        max_words: a sentence of more words, or of more than eight characters for each of them, is
            cut: at a comma, before a joining word, or at a space, if its second half has one.

    Returns:
        Start and end characters of each sentence, in order. No sentence begins or ends with white
        space, and only white space lies between them. A letter and its accents, or an emoji and
        its modifiers, stay together, unless there are hundreds of them.

    Raises:
        InvalidArgumentError: `max_words` is not positive.

    >>> text = "Nice style.Pros: light, cheap Cons: 5.5 cm too long! would buy again :) Thanks"
    >>> [text[start:end] for start, end in sentences(text)]
    ['Nice style.', 'Pros: light, cheap', 'Cons: 5.5 cm too long!', 'would buy again :)', 'Thanks']
    """
    if max_words < 1:
        raise InvalidArgumentError(
            f"max_words is {max_words}", remedy="A sentence has at least one word: pass 1 or more."
        )
    found: list[tuple[int, int]] = []
    for start, end in pairwise([0, *_breaks(text), len(text)]):
        piece = text[start:end]
        stripped = piece.strip()
        if not stripped:
            continue
        start += piece.index(stripped[0])
        end = start + len(stripped)
        if len(stripped) < 2 * max_words:
            found.append((start, end))
        else:
            found.extend(_cut(text, start, end, max_words))
    return found


def _breaks(text: str) -> list[int]:
    """Return the offsets at which sentences begin, in order, but for the first."""
    numbers = _numbers(text)
    found = {*numbers.values(), *_bullets(text), *_after_marks(text, numbers)}
    for pattern in (_SMILEY_AS_MARK, _EMOJI_AS_MARK, _BRACKET):
        found.update(match.end() for match in pattern.finditer(text))
    found.update(match.start() for match in _LABEL.finditer(text))
    found.update(match.start() for match in _GLUED.finditer(text) if match[0] in _OPENERS)
    whole = {at for at in found if at < len(text) and not _continues(text, at, max(0, at - 64))}
    return sorted(whole.union(match.end() for match in _LINE.finditer(text)))


def _numbers(text: str) -> dict[int, int]:
    """Return the items of a list that counts 1., 2., ...: where the stop is -> where it begins."""
    found: dict[int, int] = {}
    for match in _NUMBER.finditer(text):
        if int(match[1]) == len(found) + 1:
            start = match.start()
            found[match.end(1)] = start - (text[start - 1 : start] == "(")
    return found if len(found) > 1 else {}


def _bullets(text: str) -> list[int]:
    """Return where the items of a list with bullets begin."""
    found = [match.start() for match in _BULLET.finditer(text)]
    if len(found) < 2:
        return []
    closing = {match.end() - 1 for match in _EMPHASIS.finditer(text)}
    return [at for at in found if at not in closing]


def _after_marks(text: str, numbers: Container[int]) -> Iterator[int]:
    """Yield where sentences begin behind marks that end one, not behind the number of an item."""
    for match in _MARKS.finditer(text):
        marks, closing, face, gap, word = match.groups()
        start = match.start()
        if start in numbers:
            continue
        if (
            face is not None
            or marks[-1] in _ONLY_ENDS
            or (gap and _ends_before_space(text, start, marks, closing, word))
            or (not gap and _ends_without_space(text, start, marks, closing, word))
        ):
            yield match.end(4)


def _ends_before_space(text: str, start: int, marks: str, closing: str, word: str) -> bool:
    """Tell whether a sentence ends at marks with white space and a word behind them."""
    is_lower = word[:1].islower()
    if closing and is_lower:
        # '"Wow!" she said', "(really?) and"
        return False
    if _is_ellipsis(marks):
        return not is_lower
    if marks != ".":
        return True
    match = _WORD_BEFORE.search(text, max(0, start - _LONGEST_ABBREVIATION), start)
    before = match[0].lower() if match else ""
    if before in _ABBREVIATIONS or (len(before) == 1 and before.isalpha() and before != "i"):
        return False
    if before in _BEFORE_NUMBERS:
        return not word[:1].isdigit()
    if "." in before and not any(map(str.isdigit, before)):
        # "e.g.", "i.e.", "U.S."
        return word[:1].isupper() and before not in ("e.g", "i.e")
    return not (is_lower and before in _BEFORE_CAPITALS)


def _ends_without_space(text: str, start: int, marks: str, closing: str, word: str) -> bool:
    """Tell whether a sentence ends at marks with a word right behind them."""
    if not word or not word[0].isalpha() or word.lower() in _DOMAINS:
        return False
    is_lower = word[0].islower()
    if _is_ellipsis(marks):
        return word == "I" or (not is_lower and word[1:2].islower())
    if marks[-1] != ".":
        # "so loud!it broke", but not '"Wow!"she'
        return not (is_lower and closing)
    if is_lower and word.capitalize() not in _OPENERS:
        # "node.js"
        return False
    if closing:
        return not is_lower
    before = text[start - 1 : start]
    is_word_before = before in ("%", ")") or (before.isalnum() and not before.isupper())
    return is_word_before and (len(word) > 1 or word in "IAi")


def _is_ellipsis(marks: str) -> bool:
    return "\u2026" in marks or ".." in marks


def _cut(text: str, start: int, end: int, max_words: int) -> Iterator[tuple[int, int]]:
    """Cut a sentence that may be too long; none of its pieces is."""
    while (limit := _limit(text, start, end, max_words)) < end:
        cut = _place_to_cut(text, start, limit)
        yield start, start + len(text[start:cut].rstrip())
        start = next(_VISIBLE.finditer(text, cut)).start()
    yield start, end


def _limit(text: str, start: int, end: int, max_words: int) -> int:
    """Return how far a sentence may reach: the last offset at which the next one may begin."""
    limit = min(end, start + max_words * CHARACTERS_A_WORD)
    beyond = next(islice(_WORD.finditer(text, start, limit), max_words, None), None)
    return limit if beyond is None else beyond.start()


def _place_to_cut(text: str, start: int, limit: int) -> int:
    """Return the last of the best places in the second half of a sentence up to its limit."""
    half = start + (limit - start + 1) // 2
    for pattern in _PLACES_TO_CUT:
        ends = (match.end() for match in pattern.finditer(text, half, limit + _LONGEST_PEEK))
        places = [end for end in ends if end <= limit and not _continues(text, end, start)]
        if places:
            return places[-1]
    return next((at for at in range(limit, half, -1) if not _continues(text, at, start)), limit)


def _continues(text: str, at: int, since: int) -> bool:
    """Tell whether a character belongs to the one before it; one at `since` does not."""
    before, here = text[at - 1], text[at]
    if here < "\u0300":
        return False
    return (
        category(here)[0] == "M"
        or before == _JOINER
        or _JOINED.match(here) is not None
        or _HALVES.match(before + here) is not None
        or (here in _FLAG and (at - since - len(text[since:at].rstrip(_FLAG))) % 2 == 1)
    )
