"""Rules for questions: does yes or no answer one, and is it one question or several?

The rules are of English. A question in another language is one question that yes or no does not
answer, so that it has points and no verdict.
"""

from __future__ import annotations

import re
from typing import Final

__all__ = ["is_echo", "is_polar", "parts_of"]

MOST_PARTS: Final = 4
"""Questions that a compound one is divided into; with more it stays whole."""
LONGEST_NAME: Final = 3
"""Words of what a part of "heart rate and battery?" asks about."""


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


_VERB: Final = (
    r"(?:is|are|was|were|am|do|does|dose|did|can|could|will|would|should|shall|has|have|had|may"
    r"|might|must|ain|isn|aren|wasn|weren|don|doesn|didn|won|wouldn|couldn|shouldn|hasn|haven"
    r"|isnt|arent|wasnt|werent|dont|doesnt|didnt|cant|wont|wouldnt|couldnt|shouldnt|hasnt|havent)"
    r"(?:['’]t)?"
)
_ASKING: Final = r"(?:how|what|why|where|when|which|who|whose|whom)(?:['’]?s|['’]re)?"
_BEFORE: Final = re.compile(
    r"(?:(?:hi|hello|hey|so|and|but|also|ok|okay|well|please|question|quick question|just"
    r"|i wonder|wondering|curious)\b[\s,:!.-]*)+"
)
_BEGINS_POLAR: Final = re.compile(rf"{_VERB}\s+\S")
_BEGINS_OPEN: Final = re.compile(rf"(?:\w+\s+){{0,2}}{_ASKING}\b")
"""A preposition and its noun may come first: "for how long", "in what colour"."""
_LATER_POLAR: Final = re.compile(rf",\s*{_VERB}\s+(?!not\b)\S")
"""After what it is about: "For flat feet, are they comfortable?"; also a tag: ", isn't it?"."""
_EMBEDDED: Final = re.compile(
    rf"{_VERB}\s+(?:you|anyone|anybody|someone|somebody|i)\s+(?:please\s+)?(?:know|tell|say|explain"
    r"|describe|find out|remember)\s+(?:(?:me|us)\s+)?(?!if\b|whether\b)"
    rf"(?:\w+\s+){{0,2}}{_ASKING}\b"
)
_WHETHER: Final = re.compile(
    r"(?:does\s+)?(?:any\s?(?:one|body)|some\s?(?:one|body))\s+knows?\s+(?:if|whether)\b"
    r"|(?:if|whether)\s"
)
_INVITES: Final = re.compile(
    r"any\s+(?:suggestion|idea|tip|advice|thought|experience|recommendation|opinion|info)"
)
_ALTERNATIVE: Final = re.compile(
    r"\bor\s+(?!not\b|what\b|no\b)(?:\w+\s+)?\w+\s*$|\b(?:this|these)\s+or\s+th(?:at|ose)\b"
)
"""Which of two: "Is the hole big or small?"."""
_TOLD: Final = re.compile(r"(?:it|they|this|these|those|there|you)\s+\w+(?:['’]t)?\s+\w")
"""A statement with a question mark: "They run big?"."""

_PREDICATES: Final = _words(
    """true good great nice fine bad ok okay worth easy hard safe big small large wide narrow long
    short tall heavy light thick thin loud quiet noisy sturdy strong weak flimsy soft warm cold hot
    cool bright dim dark fast slow cheap expensive clean dirty fresh sweet salty spicy bitter sour
    real genuine authentic original new used accurate sharp clear tight loose stiff smooth rough
    vegan vegetarian gluten-free organic kosher halal sugar-free bpa-free lead-free rechargeable
    wireless cordless compatible suitable available included made able ready same full complete
    family-friendly kid-friendly pet-friendly user-friendly crowded close near open any enough too
    very still actually really also only not fits fit runs run works work comes come includes
    include has have holds hold makes make smells smell tastes taste feels feel looks look lasts
    last leaks leak shrinks shrink needs need charges supports support"""
)
"""With these, a question without its verb asks whether: "True to size?", "Runs big?", "Any leaks?".
"""
_NOUNS: Final = _words("fit run work hold smell taste feel look light cover")
"""Of those, what alone names something to ask about: "Fit?"."""
_ENDINGS: Final = ("able", "ible", "proof", "ful", "less", "resistant", "friendly", "ous")

_PAIRS: Final = _words(
    """pros/cons fish/chips fish/chip salt/pepper bed/breakfast macaroni/cheese mac/cheese
    food/drink plug/play wear/tear rock/roll point/shoot wash/wear black/white peanut/jelly
    up/down on/off back/forth drag/drop cut/paste trial/error"""
)
"""Two words that name one thing."""
_SENTENCE_END: Final = re.compile(r"(?<=[.!?])\s+")
_DEPENDS: Final = re.compile(r"(?:if (?:not|so|yes|no)|or|and|otherwise|then)\b", re.IGNORECASE)
"""The beginning of a question that leans on the one before."""
_NEXT_CLAUSE: Final = re.compile(
    rf",?\s+(?:and|or)\s+(?=(?:{_VERB}\s+(?:it|they|you|i|we|he|she|the|this|that|these|those|there"
    rf"|its|my|your|a|an)\b)|{_ASKING}\s)",
    re.IGNORECASE,
)
_SHARED_HEAD: Final = re.compile(
    r"(how(?:['’]s|\s+(?:is|are|was|were)))\s+((?:(?:the|its|their|this|these|your)\s+)?"
    r"(?:\w+\s+)?\w+)\s+and\s+((?:(?:the|its|their|this|these|your)\s+)?\w+(?:\s+\w+)*)\s*\?*\s*",
    re.IGNORECASE,
)
"""What is asked alike of two things: "How is the taste and texture?"."""
_NAMES: Final = re.compile(r"\s*,\s*(?:and\s+)?|\s+(?:and|&)\s+", re.IGNORECASE)
_WORD: Final = re.compile(r"[\w'’/-]+")
_SPELLED: Final = re.compile(r"[\w\s'’/,&-]+\?*\s*")
_PREPOSITIONS: Final = _words("of for in on at with to from by about without after before than")
_SENTENCE_WORDS: Final = _words(
    """is are was were am do does did can could will would should has have had how what why where
    when which who whose it they you i we he she if that there and or not"""
)


def is_polar(question: str) -> bool:
    """Tell whether yes or no answers a question.

    >>> [is_polar(each) for each in ("Does it run big?", "True to size?", "Waterproof?")]
    [True, True, True]
    >>> [is_polar(each) for each in ("How big is it?", "Battery?", "Is it hot or cold?")]
    [False, False, False]
    """
    asked = " ".join(_questions_in(question)[-1].lower().split()).rstrip("?!. ")
    asked = _BEFORE.sub("", asked, count=1) if _BEFORE.match(asked) else asked
    if _WHETHER.match(asked):
        return True
    if _BEGINS_POLAR.match(asked):
        return not (_EMBEDDED.match(asked) or _ALTERNATIVE.search(asked))
    if _BEGINS_OPEN.match(asked) or _INVITES.match(asked):
        return False
    if _LATER_POLAR.search(asked) or _TOLD.match(asked):
        return not _ALTERNATIVE.search(asked)
    words = asked.split()
    if not words or (len(words) == 1 and words[0] in _NOUNS):
        return False
    return words[0] in _PREDICATES or words[0].endswith(_ENDINGS)


def parts_of(question: str) -> tuple[str, ...]:
    """Return the questions that a question asks: one, unless it is compound.

    A question is divided where each part is a question by itself: several with question marks,
    clauses with a verb each, names without a verb, and "how is" of two things. What "and" joins
    otherwise may share its head, and is left alone. What is asked twice is one part.

    >>> parts_of("heart rate and battery?")
    ('heart rate?', 'battery?')
    >>> parts_of("Is it loud and does it leak?"), parts_of("How is the taste and texture?")
    (('Is it loud?', 'does it leak?'), ('How is the taste?', 'How is the texture?'))
    >>> parts_of("Is it easy to clean and assemble?")
    ('Is it easy to clean and assemble?',)
    """
    asked = _questions_in(question)
    if len(asked) > 1 and not all(map(_stands_alone, asked)):
        return (question,)
    found = {part.casefold(): part for each in asked for part in _parts(each)}.values()
    return tuple(found) if 1 < len(found) <= MOST_PARTS else (question,)


def _questions_in(text: str) -> list[str]:
    """Return the sentences of a question that ask; all of it, if none has a question mark."""
    return [each for each in _SENTENCE_END.split(text.strip()) if each.endswith("?")] or [text]


def _stands_alone(question: str) -> bool:
    return not _DEPENDS.match(question) and _asks(_BEFORE.sub("", question.lower(), count=1))


def _parts(question: str) -> list[str]:
    clauses = _NEXT_CLAUSE.split(question)
    if len(clauses) > 1 and _asks(clauses[0]):
        return [_asked(clause) for clause in clauses]
    if shared := _SHARED_HEAD.fullmatch(question):
        head, first, second = shared.groups()
        if _are_two(first, second):
            determiner = first.split()[0] if first.split()[0].lower() in _DETERMINERS else ""
            if determiner and second.split()[0].lower() not in _DETERMINERS:
                second = f"{determiner} {second}"
            return [_asked(f"{head} {first}"), _asked(f"{head} {second}")]
    names = _NAMES.split(question.rstrip("? "))
    are_names = len(names) > 1 and _SPELLED.fullmatch(question) and all(map(_is_name, names))
    if are_names and _are_two(names[0], names[1]):
        return [_asked(name) for name in names]
    return [question]


_DETERMINERS: Final = _words("the its their this these your")


def _asks(clause: str) -> bool:
    """Tell whether a clause is a question by itself."""
    asked = clause.lower().strip()
    return " " in asked and bool(_BEGINS_POLAR.match(asked) or _BEGINS_OPEN.match(asked))


def _are_two(first: str, second: str) -> bool:
    is_clause = _SENTENCE_WORDS.intersection(first.lower().split())
    return not is_clause and f"{_last(first)}/{_last(second)}" not in _PAIRS


def _last(name: str) -> str:
    return name.lower().split()[-1]


def _is_name(text: str) -> bool:
    """Tell whether a text names something to ask about: a few words, and no verb among them."""
    words = [word.lower() for word in _WORD.findall(text)]
    plain = not _SENTENCE_WORDS.intersection(words) and not _PREPOSITIONS.intersection(words)
    is_noun = bool(words) and (words[0] not in _PREDICATES or words[0] in _NOUNS)
    return is_noun and len(words) <= LONGEST_NAME and plain


def _asked(part: str) -> str:
    return f"{part.strip(' ,?.!')}?"


def is_echo(question: str, text: str) -> bool:
    """Tell whether a text only names what an open question asks about, as headings do.

    >>> is_echo("How is the noise?", "Noise."), is_echo("How is the noise?", "No noise at all.")
    (True, False)
    >>> is_echo("Is it loud?", "Loud!")  # which is a yes
    False
    """
    asked = set(_WORD.findall(question.casefold()))
    return asked.issuperset(_WORD.findall(text.casefold())) and not is_polar(question)
