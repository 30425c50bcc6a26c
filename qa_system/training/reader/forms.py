"""Labelled questions in the forms in which shoppers ask: "How is the bass?" -> "Bass good?".

Annotators write whole questions, and many of one form ("How is the ...?" is a third of SubjQA). A
shopper writes "does it buffer", "any usb port?", "battery life". Each template keeps what the label
says: an answer to the question is one to its other form, and a text that does not answer the one
does not answer the other.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from qa_system.training.reader.examples import Example, drawn
from qa_system.training.recipes import QuestionForms

__all__ = ["ADJECTIVE", "misspelt", "other_forms", "with_forms"]

_BE = r"(?P<be>is|are|was|were)"
_DET = r"(?P<det>the|your|their|this|its|these|those) "
_NO_NOUN = r"(?!(?:very|really|so|extremely|like|now|of|\w+(?:ed|ly))\b)"
_NOUN = rf"{_NO_NOUN}[\w'’-]+"
_X = rf"(?P<x>{_NOUN}(?: (?:(?:of|for|in) )?(?:the )?{_NOUN}){{0,2}}?)"
"""What is asked about: up to three nouns."""
_REST = r"(?P<y>[\w'’ -]+)"
ADJECTIVE = (
    r"(?P<a>bad|big|bright|clean|clear|close|comfortable|deep|durable|easy|expensive|far|fast"
    r"|friendly|fresh|hard|heavy|helpful|large|light|long|loud|nice|noisy|quick|quiet|reliable"
    r"|safe|sharp|sharply|short|slow|small|smooth|soft|solid|spicy|strong|sturdy|sweet|tall|tasty"
    r"|thick|thin|tight|useful|warm|wide)"
)

_TEMPLATES: Final = tuple(
    (re.compile(rf"^{pattern}$", re.IGNORECASE), forms)
    for pattern, forms in (
        # Opinions: what praises or blames X says whether it is good.
        (
            rf"how (?:good )?{_BE} {_DET}{_X}",
            ("{be} {det} {x} good", "{x} good", "{x}", "{be} {det} {x} any good", "{x} ok"),
        ),
        (
            rf"(?:how|what) about {_DET}{_X}",
            ("how is {det} {x}", "is {det} {x} good", "{x} good"),
        ),
        (
            rf"(?:how|what) do you (?:think (?:about|of)|like) {_DET}{_X}",
            ("{x} good", "is {det} {x} good", "what about {det} {x}"),
        ),
        (rf"what is {_DET}{_X} like", ("is {det} {x} good", "{x} good", "how is {det} {x}")),
        (rf"{_BE} {_DET}{_X} good", ("how {be} {det} {x}", "{x} good", "good {x}", "{x} any good")),
        # Degrees: "how loud" and "is it loud" are answered by the same words.
        (
            rf"how {ADJECTIVE} {_BE} {_DET}{_X}",
            ("{be} {det} {x} {a}", "{x} {a}", "{a} {x}", "{be} {det} {x} very {a}"),
        ),
        (rf"how {ADJECTIVE} {_BE} it", ("{be} it {a}", "{a}", "is this {a}")),
        (
            rf"{_BE} {_DET}{_X} {ADJECTIVE}",
            ("how {a} {be} {det} {x}", "{x} {a}", "{a} {x}", "{be} {det} {x} very {a}"),
        ),
        (rf"{_BE} (?:it|this) {ADJECTIVE}", ("how {a} {be} it", "{a}", "is this thing {a}")),
        # What there is.
        (
            rf"do(?:es)? (?:it|this|the \w+) have (?P<a>an?|any) {_REST}",
            (
                "is there {a} {y}",
                "any {y}",
                "has it got {a} {y}",
                "{y}",
                "does it come with {a} {y}",
            ),
        ),
        (
            rf"(?:is|are) there (?P<a>an?|any) {_REST}",
            ("does it have {a} {y}", "any {y}", "has it got {a} {y}"),
        ),
        # What it does.
        (
            rf"do(?:es)? (?P<s>it|this|they|the \w+) (?P<v>work|fit|last|come|hold|look) {_REST}",
            ("will {s} {v} {y}", "would {s} {v} {y}", "{v} {y}"),
        ),
        (
            rf"can (?P<s>it|this|i|you|we) {_REST}",
            ("is it possible to {y}", "could {s} {y}", "able to {y}"),
        ),
        (rf"is it possible to {_REST}", ("can i {y}", "can you {y}", "able to {y}")),
        # Facts. Nothing that narrows the question may go: what has no answer could get one.
        (
            rf"what (?P<k>kind|type|sort) of (?P<y>{_NOUN}) do(?:es)? (?:it|this|the \w+) have",
            ("which {k} of {y}", "{y} {k}", "{k} of {y}", "what {y} does it have"),
        ),
        (
            rf"what (?P<k>size|colou?r|material) {_BE} {_DET}{_X}",
            ("{k} of {det} {x}", "which {k} {be} {det} {x}", "{x} {k}"),
        ),
        (
            rf"what is {_DET}(?P<k>quality|price|size|weight|colou?r|range) of (?:the )?{_X}",
            ("{x} {k}", "whats {det} {k} of the {x}", "{k} of {x}"),
        ),
    )
)

_WORD = re.compile(r"[^\W\d_]{4,}")
_SPACES = re.compile(r"\s+")


def other_forms(question: str) -> list[str]:
    """Return other forms of a question, none of them twice; no template fits: none.

    >>> other_forms("Does it have a USB port?")[:3]
    ['Is there a USB port?', 'Any USB port?', 'Has it got a USB port?']
    >>> other_forms("Why?")
    []
    """
    bare = _SPACES.sub(" ", question).strip().rstrip("?.! ")
    found = (form for form in _filled(bare) if form.casefold() != bare.casefold())
    return list(dict.fromkeys(f"{form[0].upper()}{form[1:]}?" for form in found))


def _filled(bare: str) -> Iterator[str]:
    for pattern, forms in _TEMPLATES:
        if (match := pattern.match(bare)) is not None:
            for form in forms:
                yield form.format_map(_words(match))
            return


def _words(match: re.Match[str]) -> dict[str, str]:
    """Return the parts of a match; in a form they stand inside, so a first capital goes."""
    words = {key: value or "" for key, value in match.groupdict().items()}
    for key in ("be", "det", "a", "k", "s"):
        if words.get(key, "") != "I":
            words[key] = words.get(key, "").lower()
    return words


def misspelt(question: str, draw: random.Random) -> str:
    """Return a question as it is typed in haste: one slip, or marks and capitals left out.

    >>> misspelt("Is the battery good?", random.Random(7))
    'Is the battry good?'
    """
    words = list(_WORD.finditer(question))
    kinds = ["bare", "lower"] + ["drop", "swap", "twice"] * bool(words)
    kind = draw.choice(kinds)
    if kind == "bare":
        return question.rstrip("?!. ").replace("'", "").replace("’", "").lower() or question
    if kind == "lower":
        return question.lower()
    word = draw.choice(words)
    at = draw.randrange(word.start() + 1, word.end() - 1)
    here, following = question[at], question[at + 1]
    typed = {"drop": following, "swap": following + here, "twice": here + here + following}[kind]
    return question[:at] + typed + question[at + 2 :]


def with_forms(
    examples: Sequence[Example], forms: QuestionForms, seed: int
) -> tuple[list[Example], Counter[str]]:
    """Return examples, and as many more in other forms as `forms` says, with the same answers.

    Args:
        examples: labelled or not.
        forms: how many.
        seed: of the draw.

    Returns:
        The examples with the new ones behind them, and counts: `reworded`, `misspelt`.
    """
    draw = random.Random(seed)
    counts: Counter[str] = Counter()
    added = []
    if forms.reworded:
        fitting = [(each, found) for each in examples if (found := other_forms(each.question))]
        wanted = round(forms.reworded * len(examples))
        for each, found in drawn(fitting, wanted / len(fitting), draw) if fitting else ():
            added.append(replace(each, question=draw.choice(found)))
        counts["reworded"] = len(added)
    if forms.misspelt:
        for each in drawn([*examples, *added], forms.misspelt, draw):
            added.append(replace(each, question=misspelt(each.question, draw)))
            counts["misspelt"] += 1
    return [*examples, *added], counts
