"""The words of reviews: which may be part of an aspect's name, and which stand where nouns do.

There is no list of aspects. There are lists of English words that name no aspect in any domain:
function words, numbers, words for time and people, what people do with any product, and what they
think of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final, NamedTuple

from qa_system.stores.analysis import analyze
from qa_system.stores.function_words import FUNCTION_WORDS

__all__ = [
    "Word",
    "is_content",
    "is_name",
    "is_nominal",
    "is_of_product",
    "is_pointed_at",
    "is_topic",
    "runs",
    "stem",
    "words",
]

_WORD: Final = re.compile(r"[^\W_]+(?:['’][^\W_]+)*")
_JOINS: Final = re.compile(r"[ \t-]{1,2}\Z")
"""What stands between two words of one phrase."""
_SHORTEST: Final = 2
_LONGEST: Final = 30


class Word(NamedTuple):
    """A word of a text.

    Args:
        text: as it is written, in lower case.
        stem: what its forms have in common.
        start: its first character.
        end: the character after its last.
        is_titled: whether a capital begins it, and lower case goes on.
    """

    text: str
    stem: str
    start: int
    end: int
    is_titled: bool


def _listed(text: str) -> frozenset[str]:
    return frozenset(text.split())


_DETERMINERS: Final = _listed(
    """a an the this that these those my your his her its our their some any no every each another
    both"""
)
_PREPOSITIONS: Final = _listed(
    "of for with without on in at by from about under over into inside through around"
)
_BEFORE_VERBS: Final = _listed(
    """i you he she it we they who to will would can could may might must should do does did don't
    doesn't didn't won't can't cannot couldn't wouldn't not never let's and i'll you'll it'll
    they'll i'd you'd i've you've please"""
)
_BEFORE_ADJECTIVES: Final = _listed(
    """very so too really quite is are was were be been am i'm it's they're that's more most less
    pretty extremely rather fairly as somewhat super isn't aren't wasn't weren't feels feel felt
    looks look seems seem gets get got became"""
)
_DEFINITE: Final = _listed("the its")
_DEMONSTRATIVE: Final = _listed("this these")
_POINTING: Final = _DEFINITE | _DEMONSTRATIVE | _listed("this these my our your his her another")
_OBJECTS: Final = _listed(
    "the a an my your his her its our their this these those me you him it us them"
)
"""Behind a verb."""
_LITTLE_SAID: Final = _listed(
    """also really much many one two three four five six seven eight nine ten first second third
    last next still even use uses used using like likes liked cannot within since never ever
    always often sometimes usually already yet though although however maybe perhaps either neither
    instead whether among upon across along away almost enough totally completely absolutely
    definitely probably actually basically simply easily quickly slowly nearly hardly barely
    especially particularly exactly otherwise therefore anyway besides despite except per via vs
    etc ok okay yes nope oh wow well lot lots bit bits little few several plenty whole half part
    parts rest kind sort type types way ways thing things something anything everything nothing
    someone anyone everyone nobody somebody anybody everybody stuff item items product products
    purchase purchases order orders review reviews reviewer reviewers star stars customer customers
    people person guy guys man men woman women wife husband son daughter kid kids child children
    friend friends mother father mom dad brother sister boyfriend girlfriend partner neighbour
    neighbours neighbor neighbors boss colleague colleagues myself
    day days night nights week weeks weekend month months year years hour hours minute
    minutes moment second seconds today yesterday tomorrow morning evening afternoon monday tuesday
    wednesday thursday friday saturday sunday january february march april june july august
    september october november december christmas birthday mm cm kg km ml
    kilometre kilometres kilometer kilometers mile miles yard yards watt watts lb lbs oz ft min mins
    metre metres meter meters inch inches pound pounds gram grams ounce ounces litre litres liter
    liters degree degrees percent dollar dollars euro euros cent cents buck bucks
    amazon seller brand reason reasons problem problems issue issues question questions point
    points pro pros con cons fact case idea example matter sense end place hand hands world
    course thanks thank amount couple pair dozen piece pieces need needs difference experience
    recommendation opinion word words hundred thousand ones
    be do go goes going gone went come comes came coming make makes made making take takes took
    taken taking give gives gave given giving put puts putting say says said saying see sees saw
    seen seeing look looks looked looking find finds found finding know knows knew known knowing
    think thinks thought thinking want wants wanted wanting try tries tried trying keep keeps kept
    keeping let lets leave leaves left leaving feel feels felt seem seems seemed become becomes
    became turn turns turned turning start starts started starting stop stops stopped stopping
    begin begins began happen happens happened work works worked working run runs ran running buy
    buys bought buying purchased purchasing ordered ordering send sends sent sending receive
    received receiving arrive arrived arrives get gets got getting expect expected expecting hope
    hoped hoping wish wished love loves loved loving hate hates hated enjoy enjoyed prefer
    recommend recommended recommends tell tells told telling ask asks asked asking call called
    calling hold holds held holding bring brings brought stay stays stayed stand stands stood sit
    sits sat move moves moved moving open opens opened opening closed help helps helped mean means
    meant hear heard add added pay paid spend spent wear wears wore worn wearing fits fitted break
    breaks broke broken breaking fall falls fell fallen lasts lasted lasting live lived
    slept eat ate drank wait waited waiting watch watched pulled pushed lies lay laid dropped throw
    threw carry carried carrying walked check checked fixed filled poured remember forget forgot
    notice noticed realize realized imagine suppose supposed guess care cared mind understand
    understood plan planned decide decided choose chose chosen compare compared consider considered
    prove proved allow allows allowed include includes included reach reaches reached own owned owns
    replaced returned bigger
    good great nice fine bad better best worse worst excellent amazing awesome wonderful fantastic
    perfect perfectly terrible horrible awful lovely beautiful beautifully cute happy unhappy glad
    sad sorry sure disappointed disappointing pleased satisfied impressed worth worthless useful
    useless easy easier easiest hard harder difficult simple new newer old older young big biggest
    large larger small smaller tiny huge long longer longest short shorter high higher highest low
    lower lowest wide wider narrow thick thin heavy heavier lightweight lighter strong stronger
    weak fast faster quick slow slower hot warm cold cool wet dry soft loud quiet quieter clear
    bright brighter dark dirty cheap cheaper expensive free full empty right wrong real true false
    same different similar other certain single main only extra able unable possible
    impossible ready careful available normal regular usual common special entire rough smooth flat
    deep tight tighter loose solid sturdy flimsy decent average ordinary plain fancy funny weird
    strange silly ugly annoying annoyed favourite favorite important comfortable uncomfortable
    reliable stiff sharp dull rigid steady stable built rare exact far near
    else alone least previous main
    bottom bottoms top tops side sides edge edges front corner corners middle inside outside step
    steps round machine machines gadget gadgets dog dogs cat cats pet pets someone's
    black white red blue green yellow brown grey gray pink purple orange
    fully truly highly incredibly surprisingly honestly unfortunately fortunately luckily sadly
    finally recently originally initially currently immediately later soon early late ago once
    twice straight together apart forward aside properly correctly literally mostly mainly
    generally overall seriously obviously clearly constantly nicely back behind beneath beside
    onto off"""
)
_ONLY_IN_COMPOUNDS: Final = _listed("life lives time times")
""""Battery life" and "waiting time" are aspects, "life" and "time" are none."""
_NO_CONTENT: Final = (
    FUNCTION_WORDS
    | _DETERMINERS
    | _PREPOSITIONS
    | _BEFORE_VERBS
    | _BEFORE_ADJECTIVES
    | _OBJECTS
    | _LITTLE_SAID
)
_NO_NOUN_FOLLOWS: Final = _BEFORE_VERBS | _BEFORE_ADJECTIVES
_SAYING: Final = (_BEFORE_VERBS | _BEFORE_ADJECTIVES) - _listed(
    "i you he she it we they who to let's and i'll you'll it'll they'll i'd you'd i've you've"
    " please very so too really quite more most less as i'm it's they're that's"
) | _listed("has have had works worked needs lasts stays goes comes broke")
_NOUN_FOLLOWS: Final = (_DETERMINERS | _PREPOSITIONS | _LITTLE_SAID) - _NO_NOUN_FOLLOWS


@lru_cache(maxsize=100_000)
def stem(word: str) -> str:
    """Return what the forms of a word have in common.

    >>> stem("batteries") == stem("battery")
    True
    """
    return "".join(analyze(word)) or word


def words(text: str) -> list[Word]:
    """Return the words of a text, in order.

    >>> [word.text for word in words("The USB-port isn't loose.")]
    ['the', 'usb', 'port', "isn't", 'loose']
    """
    found = []
    for match in _WORD.finditer(text):
        lowered = match[0].lower().replace("’", "'").removesuffix("'s")
        found.append(Word(lowered, stem(lowered), match.start(), match.end(), match[0].istitle()))
    return found


def is_content(word: Word) -> bool:
    """Tell whether a word may be part of an aspect's name."""
    return (
        _SHORTEST <= len(word.text) <= _LONGEST
        and word.text not in _NO_CONTENT
        and "'" not in word.text
        and word.text.isalpha()
        and not (word.text.endswith("ed") and word.stem != word.text)
    )


def is_name(phrase: Sequence[Word]) -> bool:
    """Tell whether words that may each be part of an aspect's name can be the whole of it."""
    return len(phrase) > 1 or phrase[0].text not in _ONLY_IN_COMPOUNDS


def runs(text: str, found: list[Word]) -> list[tuple[int, int]]:
    """Return the first and last places of words that stand beside each other without punctuation.

    Args:
        text: that they are in.
        found: its words.

    >>> text = "Great sound, short cable"
    >>> runs(text, words(text))
    [(0, 2), (2, 4)]
    """
    ends = [
        at
        for at in range(1, len(found))
        if not _JOINS.match(text, found[at - 1].end, found[at].start)
    ]
    starts = [0, *ends]
    return [(start, end) for start, end in zip(starts, [*ends, len(found)], strict=True) if end]


def is_nominal(before: Word | None, after: Word | None) -> bool | None:
    """Tell whether a phrase stands where nouns do; None: its neighbours do not say.

    Args:
        before: the word before it in its run; None: it is the first.
        after: the word after it; None: it is the last.
    """
    if before is not None and before.text in _NO_NOUN_FOLLOWS:
        return False
    if after is not None and (after.text in _OBJECTS or is_content(after)):
        return False if after.text in _OBJECTS else None
    return True if before is not None and before.text in _NOUN_FOLLOWS else None


def is_pointed_at(before: Word | None) -> bool | None:
    """Tell whether the word before a noun points at it ("this"); None: it is no determiner."""
    return (
        before.text in _DEMONSTRATIVE if before is not None and before.text in _POINTING else None
    )


def is_topic(after: Word | None) -> bool:
    """Tell whether something is said of a noun: "the lid is", "the battery doesn't".

    Args:
        after: the word after it; None: it is the last of its run.
    """
    return after is not None and after.text in _SAYING


def is_of_product(before: Word | None) -> bool | None:
    """Tell whether the word before a noun is that of a product's parts ("the lid", "its lid").

    None: it does not say. "This kettle" is the product, "my kitchen" is the customer's.
    """
    if before is None or before.text not in _POINTING or before.text in ("a", "an"):
        return None
    return before.text in _DEFINITE
