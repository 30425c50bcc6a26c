"""Whether the reviews say what was generated: an answer compared with its sources.

A generator can write what no review says. Two measures complement each other: the share of the
answer's content words that the best review has, and, where a reader was asked, the likeness to the
spans that the reader found.

The measures do not see whether an answer made of the reviews' words is true, or answers the
question; whether words of two sentences belong together; what a paraphrase with other words means;
irony; or reversed comparisons ("brighter than the old one"). Stop words, negations and
endings are those of English.
"""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from qa_system.metrics import f1

__all__ = ["Support", "nearest", "support"]

SCOPE = 5
"""Words that a negation applies to, unless its clause ends before: the window of NegEx (Chapman et
al., 2001, https://doi.org/10.1006/jbin.2001.1029)."""

STRETCH = 20
"""Words of a review that are examined together to find the place nearest to an answer."""

_WORD = re.compile(r"\d+(?:[.,]\d+)*|[^\W\d_]+")
_CLAUSE_ENDS = re.compile(r"[.,;:!?()\n]")
_APOSTROPHE = re.compile(r"\s*['’]\s*")


def _set_of(words: str) -> frozenset[str]:
    return frozenset(words.split())


_CONTRASTS = _set_of("although but except however though yet")
_NEGATORS = _set_of(
    "aint arent barely cannot cant couldnt didnt doesnt dont hadnt hardly hasnt havent isnt "
    "neither never no nobody none nor not nothing nowhere shouldnt wasnt werent without wont "
    "wouldnt"
)
_PARTICLES = _set_of("no nope yeah yep yes")
_PRONOUNS = _set_of("he i it she that there these they this those we you")
_FUNCTION_WORDS = (
    _set_of(
        "a about actually all am an and any are as at be been being both by can could d did do "
        "does doing each else even ever for from get gets got had has have having he her here him "
        "his how i if in into is it its just let ll m may me might mine must my of on or other our "
        "ours quite really s shall she should so some such than that the their theirs them then "
        "there these they this those through to up us ve very was we were what when where which "
        "while who whom whose why will with would you your yours"
    )
    | _set_of(  # the part before "n't", and its "t"
        "ain aren couldn didn doesn don hadn hasn haven isn mustn needn shouldn t wasn weren won "
        "wouldn"
    )
    | _CONTRASTS
    | _PARTICLES
    | _NEGATORS
)
_COUNTED = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_NUMBERS = {word: str(number) for number, word in enumerate((*_COUNTED, "eleven", "twelve"))}
_NEGATION = "not"
"""What a negation without a content word behind it counts as: "it never does"."""


@dataclass(frozen=True, slots=True)
class Support:
    """How far the reviews say what an answer says.

    Args:
        words: share of the answer's distinct content words that the best single review has, 0 to
            1; 0 for an answer without content words. A negated word is a different word: "good"
            is not in "not good", nor the reverse.
        agreement: token F1 between the answer and the most similar of the reader's spans; None
            if no reader was asked.
        score: the number that `min_support` is compared with, 0 to 1. Without a reader it is
            `words`. With a reader it is the geometric mean of `words` and `agreement`: a high
            value of one does not make up for a low value of the other, because a review that
            tells a model what to say has every word of it. For an answer without content words
            ("yes") it is `agreement`, or 0 without a reader.
        document: the review that supports the answer best; None if it shares no word with any.
        span: start and end of the answer in that review, word for word, ignoring case, spacing,
            accents and punctuation; None if it is not there.
    """

    words: float
    agreement: float | None
    score: float
    document: int | None
    span: tuple[int, int] | None


def support(
    answer: str,
    texts: Sequence[str],
    spans: Sequence[str] | None = None,
    posterior: Sequence[float] | None = None,
) -> Support:
    """Compare an answer with the reviews that it was written from.

    Args:
        answer: as generated. A "yes" or "no" at its start is ignored: no word of a review can
            support it, so only the rest counts.
        texts: the reviews.
        spans: what a reader found in them. An empty sequence means that it found nothing, None
            that it was not asked.
        posterior: each review's share in the answer; it decides between reviews that support the
            answer equally.

    >>> reviews = ["The strap broke.", "It isn't loud, and the battery lasts ten hours."]
    >>> found = support("The battery lasted 10 hours", reviews)
    >>> found.words, found.document, found.span
    (1.0, 1, None)
    >>> support("loud", reviews).score, support("not loud", reviews).score
    (0.0, 1.0)
    >>> support("ten hours", reviews, spans=["battery lasts", "ten"]).score ** 2
    0.666...
    """
    tokens = _tokens(answer)[_particle(answer) :]
    wanted = set(_contents(answer, tokens))
    shares = [len(wanted & set(_contents(text, _tokens(text)))) for text in texts]
    stands = [_find(answer, text) for text in texts]
    carried = [0.0] * len(texts) if posterior is None else posterior
    best = max(
        range(len(texts)),
        key=lambda place: (shares[place], stands[place] is not None, carried[place], -place),
        default=None,
    )
    if best is not None and not shares[best] and stands[best] is None:
        best = None
    words = 0.0 if best is None or not wanted else shares[best] / len(wanted)
    agreement = None if spans is None else _agreement(answer, spans)
    return Support(
        words,
        agreement,
        words if agreement is None else math.sqrt(words * agreement) if wanted else agreement,
        best,
        None if best is None else stands[best],
    )


def nearest(answer: str, text: str) -> int:
    """Find the place in a review that is nearest to an answer.

    Returns:
        The first character of the first shared word in the stretch of the review that shares most
        of the answer's words; 0 if they share none.

    >>> nearest("long battery life", "Small and light. The battery has a long life.")
    21
    """
    wanted = set(map(_stem, (token.key for token in _tokens(answer)))) - _FUNCTION_WORDS
    tokens = _tokens(text)
    shared = [place for place, token in enumerate(tokens) if _stem(token.key) in wanted]
    if not shared:
        return 0

    def found_from(place: int) -> int:
        return len({_stem(token.key) for token in tokens[place : place + STRETCH]} & wanted)

    return tokens[max(shared, key=lambda place: (found_from(place), -place))].start


@dataclass(frozen=True, slots=True)
class _Token:
    key: str
    start: int
    end: int


def _tokens(text: str) -> list[_Token]:
    return [_Token(_folded(m.group()), m.start(), m.end()) for m in _WORD.finditer(text)]


def _folded(word: str) -> str:
    decomposed = unicodedata.normalize("NFKD", word.casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter))


def _particle(answer: str) -> int:
    """Count the words at the start that only say yes or no."""
    tokens = _tokens(answer)
    if not tokens or tokens[0].key not in _PARTICLES:
        return 0
    if tokens[0].key != "no" or len(tokens) == 1 or tokens[1].key in _PRONOUNS:
        return 1
    return int(bool(_CLAUSE_ENDS.search(answer, tokens[0].end, tokens[1].start)))


def _contents(text: str, tokens: Sequence[_Token]) -> list[str]:
    """Return a text's content words as they are compared; negated words are marked.

    Negation is marked as in Pang et al., 2002 (https://aclanthology.org/W02-1011), section 4.
    """
    contents: list[str] = []
    reach, marked, end = 0, True, 0
    for place, token in enumerate(tokens):
        if _CLAUSE_ENDS.search(text, end, token.start) or token.key in _CONTRASTS:
            reach = 0
        end = token.end
        if token.key in _NEGATORS or _contracted(text, tokens, place):
            if not marked:
                contents.append(_NEGATION)
            reach, marked = SCOPE, False
            continue
        reach -= 1
        if token.key in _FUNCTION_WORDS:
            continue
        if reach >= 0:
            contents.append(f"{_NEGATION} {_stem(token.key)}")
            marked = True
        else:
            contents.append(_stem(token.key))
    if not marked:
        contents.append(_NEGATION)
    return contents


def _contracted(text: str, tokens: Sequence[_Token], place: int) -> bool:
    """Tell whether a token is the t of "isn't", which some tokenizers write "isn ' t"."""
    if place == 0 or tokens[place].key != "t" or not tokens[place - 1].key.endswith("n"):
        return False
    between = text[tokens[place - 1].end : tokens[place].start]
    return _APOSTROPHE.fullmatch(between) is not None


def _stem(word: str) -> str:
    """Cut off English endings, more than a grammar would; both sides are cut the same way.

    >>> {_stem(word) for word in ("charge", "charges", "charged", "charging")}
    {'charg'}
    >>> _stem("batteries") == _stem("battery"), _stem("easily") == _stem("easy")
    (True, True)
    >>> _stem("1,200"), _stem("ten")
    ('1200', '10')
    """
    if word[:1].isdigit():
        return word.replace(",", "")
    if word in _NUMBERS:
        return _NUMBERS[word]
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("s") and len(word) > 3 and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed", "ly"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) >= 3 and any(letter in "aeiouy" for letter in stem):
            word = stem[:-1] if stem[-1] == stem[-2] and stem[-1] not in "ls" else stem
            break
    if word.endswith("e") and len(word) > 3:
        word = word[:-1]
    return word[:-1] + "i" if word.endswith("y") and len(word) > 2 else word


def _find(answer: str, text: str) -> tuple[int, int] | None:
    """Find the answer in a review, word for word; the first place of several."""
    wanted = [token.key for token in _tokens(answer)]
    if not wanted:
        return None
    tokens = _tokens(text)
    keys = [token.key for token in tokens]
    for start in range(len(keys) - len(wanted) + 1):
        if keys[start : start + len(wanted)] == wanted:
            return tokens[start].start, tokens[start + len(wanted) - 1].end
    return None


def _agreement(answer: str, spans: Sequence[str]) -> float:
    if not _tokens(answer):
        return 0.0
    plain = _joined(answer)
    return max((f1(plain, [_joined(span)]) for span in spans), default=0.0)


def _joined(text: str) -> str:
    """Fold a text, and close the gaps that a tokenizer leaves around apostrophes."""
    return _APOSTROPHE.sub("'", _folded(text))
