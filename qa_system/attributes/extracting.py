"""One attribute of one item: from what reviews answer to its questions to a value, or to none.

All forms of a question are asked. A review counts once, with the first form that finds a value in
it; so a value's support is a number of reviews, as a point's is.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Any, Final, Literal

from qa_system.attributes.quantities import numbers_in, quantities_in, unit_of
from qa_system.attributes.specification import Attribute
from qa_system.consensus.intervals import wilson
from qa_system.consensus.verdict import verdict_of
from qa_system.opinions import Point, Quote, Stance
from qa_system.records import Answers

__all__ = ["Extraction", "Status", "Value", "extract"]

Value = str | float
Status = Literal["said", "unsure", "not_said"]
"""A value is given; none is sure enough; or, surely enough, no review says it."""

ALIKE: Final = 0.05
"""Numbers that differ by this share at most are one value."""
NEGATION: Final = re.compile(
    r"\b(?:not|no|never|hardly|without|nor|\w+n['’]?t)\b(?:\W+\w+){0,2}\W*$"
)


@dataclass(frozen=True, slots=True)
class Extraction:
    """What reviews say of one attribute of one item.

    Args:
        value: words, yes, no or divided, a number in the attribute's unit, or one of its values;
            None: none is given.
        status: said, unsure (no value is sure enough, nor that there is none) or not_said.
        support: reviews that say the value.
        speaking: reviews that say any value.
        interval: the 95 % interval of `share`.
        confidence: of the surest review that says it, the probability that it answers; None: there
            is none.
        quotes: of the reviews that say the value, the surest first.
        counts: how many reviews say each value.

    >>> Extraction("quiet", "said", 3, 4, (0.3, 0.95), 0.8).share
    0.75
    """

    value: Value | None
    status: Status
    support: int = 0
    speaking: int = 0
    interval: tuple[float, float] = (0.0, 1.0)
    confidence: float | None = None
    quotes: tuple[Quote, ...] = ()
    counts: Mapping[str, int] | None = None

    @property
    def share(self) -> float | None:
        """`support` of `speaking`; None: no review says anything."""
        return self.support / self.speaking if self.speaking else None

    def withheld_below(self, threshold: float) -> Extraction:
        """Return it without its value if its confidence is below a threshold."""
        if self.value is None or (self.confidence or 0.0) >= threshold:
            return self
        return replace(self, value=None, status="unsure")

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "value": self.value,
            "status": self.status,
            "support": self.support,
            "speaking": self.speaking,
            "share": self.share,
            "interval": list(self.interval),
            "confidence": self.confidence,
            "counts": dict(self.counts or {}),
            "quotes": [quote.to_dict() for quote in self.quotes],
        }


@dataclass(frozen=True, slots=True)
class _Said:
    """What one review says."""

    quote: Quote
    confidence: float
    stance: Stance | None


def extract(attribute: Attribute, answers: Sequence[Answers], not_said: float = 0.0) -> Extraction:
    """Return what reviews say of an attribute.

    Args:
        attribute: how it is asked, and what its values are.
        answers: to each form of its question, with the answers of all reviews.
        not_said: reviews are told not to say it if the best answer's score to every form is below
            this, or there is none.

    Returns:
        The value that most reviews say, where the system answers at least one of the forms and
        `min_support` reviews say it. Of a yes_no attribute it is the side of two thirds of the
        reviews, and otherwise divided; so is one_of whose first two values have equal support.
    """
    given = [each for each in answers if not each.abstained]
    said = _said(given)
    valued = list(_valued(attribute, given, said))
    groups = _grouped(valued)
    if not groups:
        best = max((each.score for each in answers if each.score is not None), default=None)
        is_not_said = not given and (best is None or best < not_said)
        return Extraction(None, "not_said" if is_not_said else "unsure")
    value, members = _consensus(attribute, groups)
    speaking = sum(len(own) for _, own in groups)
    members = sorted(members, key=lambda each: -each.confidence)
    is_enough = len(members) >= attribute.min_support
    return Extraction(
        value=value if is_enough else None,
        status="said" if is_enough else "unsure",
        support=len(members),
        speaking=speaking,
        interval=wilson(len(members), speaking),
        confidence=members[0].confidence,
        quotes=tuple(each.quote for each in members),
        counts={_written(name): len(own) for name, own in groups},
    )


def _said(answers: Sequence[Answers]) -> dict[str, list[_Said]]:
    """Return of each review what it says, form by form."""
    found: dict[str, list[_Said]] = {}
    for each in answers:
        sure = {answer.review_id: answer.confidence for answer in reversed(each.answers)}
        for point in each.points:
            # A quote that repeats another one's words is no answer of its own.
            of_point = max((sure.get(quote.review_id, 0.0) for quote in point.quotes), default=0.0)
            for quote in point.quotes:
                confidence = sure.get(quote.review_id, of_point)
                said = _Said(quote, confidence, point.stance)
                found.setdefault(quote.review_id, []).append(said)
    return found


def _valued(
    attribute: Attribute, answers: Sequence[Answers], said: Mapping[str, Sequence[_Said]]
) -> Iterator[tuple[Value, _Said]]:
    """Yield what each review says, as a value; a review that says none is left out."""
    if attribute.type == "text":
        yield from _words_of(answers, {review: own[0] for review, own in said.items()})
        return
    for own in said.values():
        for each in own:
            if (value := _value_of(attribute, each)) is not None:
                yield value, each
                break


def _value_of(attribute: Attribute, said: _Said) -> Value | None:
    match attribute.type:
        case "yes_no":
            return said.stance
        case "number":
            return _number_in(said.quote, attribute)
        case _:
            return _value_in(said.quote, attribute.values)


def _words_of(
    answers: Sequence[Answers], said: Mapping[str, _Said]
) -> Iterator[tuple[Value, _Said]]:
    """Yield each review with the point that it makes, in the words of the point's surest review."""
    points: list[Point] = [point for each in answers for point in each.points]
    points.sort(key=lambda each: -each.support)
    taken: set[str] = set()
    for point in points:
        new = [said[each.review_id] for each in point.quotes if each.review_id not in taken]
        if not new:
            continue
        taken |= {each.quote.review_id for each in new}
        surest = max(new, key=lambda each: each.confidence)
        text = " ".join(surest.quote.text.split())
        yield from ((text, each) for each in new)


def _number_in(quote: Quote, attribute: Attribute) -> float | None:
    """Return the first number in the words of a review, or else around them, that may be meant."""
    unit = None if attribute.unit is None else unit_of(attribute.unit)
    least = -inf if attribute.least is None else attribute.least
    most = inf if attribute.most is None else attribute.most
    for text in (quote.text, quote.snippet):
        found = numbers_in(text) if unit is None else quantities_in(text, unit)
        if meant := [number for number in found if least <= number <= most]:
            return meant[0]
    return None


def _value_in(quote: Quote, values: Mapping[str, Sequence[str]]) -> str | None:
    """Return the value whose words a review says without negating them; None: none, or several."""
    for text in (quote.text, quote.snippet):
        found = {name for name, words in values.items() if _says(text, words)}
        if found:
            return found.pop() if len(found) == 1 else None
    return None


def _says(text: str, words: Sequence[str]) -> bool:
    return any(
        NEGATION.search(text[: found.start()].lower()) is None
        for word in words
        for found in re.finditer(rf"\b{re.escape(word)}\b", text, re.IGNORECASE)
    )


def _grouped(valued: Sequence[tuple[Value, _Said]]) -> list[tuple[Value, list[_Said]]]:
    """Return the values, those of most reviews first, then those of the surest."""
    groups: dict[Hashable, tuple[Value, list[_Said]]] = {}
    for value, each in valued:
        alike = next((name for name in groups if _are_alike(name, value)), value)
        groups.setdefault(alike, (value, []))[1].append(each)
    return sorted(
        groups.values(),
        key=lambda group: (
            -len(group[1]),
            -max(each.confidence for each in group[1]),
            str(group[0]),
        ),
    )


def _are_alike(one: Hashable, other: Value) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return abs(one - other) <= ALIKE * max(abs(one), abs(other))
    return one == other


def _consensus(
    attribute: Attribute, groups: Sequence[tuple[Value, list[_Said]]]
) -> tuple[Value, list[_Said]]:
    everyone = [each for _, own in groups for each in own]
    if attribute.type == "yes_no":
        verdict = verdict_of([each.stance for each in everyone], least=1)
        side = "divided" if verdict is None else verdict.answer.removeprefix("mostly_")
        chosen = next((own for name, own in groups if name == side), everyone)
        return side, chosen
    (value, members), *others = groups
    if attribute.type == "one_of" and others and len(others[0][1]) == len(members):
        tied = [own for _, own in groups if len(own) == len(members)]
        return "divided", [each for own in tied for each in own]
    return value, members


def _written(value: Value) -> str:
    return f"{value:g}" if isinstance(value, float) else value
