"""What several reviews say together: quotes, points, the verdict; and whether that is an answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final, Literal, Protocol

__all__ = [
    "Decision",
    "Field",
    "Opinion",
    "Point",
    "Polarity",
    "Quote",
    "Stance",
    "Verdict",
    "VerdictAnswer",
    "are_opposed",
]

Stance = Literal["yes", "no", "mixed"]
"""What a review answers to a question that yes or no answers; `mixed`: both."""
Polarity = Literal["for", "against", "neither", "mixed"]
"""Whether what is said is good or bad for the item, to a buyer."""
VerdictAnswer = Literal["yes", "mostly_yes", "divided", "mostly_no", "no", "not_said"]
Field = Literal["title", "text"]
COUNTED_STANCES: Final[Sequence[Stance | Literal["undecided"]]] = (
    "yes",
    "no",
    "mixed",
    "undecided",
)


class Opinion(Protocol):
    """What answers a question in one way and not in another."""

    @property
    def stance(self) -> Stance | None:
        """What it answers to a polar question; None: it was not decided."""

    @property
    def polarity(self) -> Polarity | None:
        """Whether it is good or bad for the item; None: it was not judged."""


def are_opposed(one: Opinion, other: Opinion) -> bool:
    """Tell whether two mentions, or two points, contradict each other.

    Stances decide, where both have one; else polarities.
    """
    if one.stance is not None and other.stance is not None:
        return one.stance != other.stance
    return {one.polarity, other.polarity} == {"for", "against"}


@dataclass(frozen=True, slots=True)
class Quote:
    """The words of one review that make a point.

    Args:
        review_id: the review.
        field: whether they begin in its title or in its text.
        text: `review[start:end]`.
        start: their first character in the whole review.
        end: the character after their last.
        snippet: their surroundings, cut at word boundaries.
        meta: the review's metadata, with stars and date if it has them.
    """

    review_id: str
    field: Field
    text: str
    start: int
    end: int
    snippet: str
    meta: Mapping[str, Any]

    def to_dict(self) -> dict[str, Any]:
        """Return the quote as JSON values."""
        return {
            "review_id": self.review_id,
            "field": self.field,
            "text": self.text,
            "start": self.start,
            "end": self.end,
            "snippet": self.snippet,
            "meta": dict(self.meta),
        }


@dataclass(frozen=True, slots=True)
class Point:
    """What one or more reviews say alike in answer to a question.

    Args:
        label: the quote that is most like the others; its whole sentence, if the quote has fewer
            than three words.
        support: how many reviews say it; duplicates count once.
        share: `support` of all reviews that speak of it.
        interval: the 95 % interval of the share, from low to high.
        polarity: of most of the quotes; None: they were not judged.
        subjective: the share of the quotes that are opinions; None: they were not judged.
        stance: what those of the quotes that are decided answer to a polar question; None: none
            is.
        quotes: one a review, best first.
        part: the part of a compound question that is answered; None: the question is one.
        stances: how many of the quotes answer what; those of "undecided" count for no verdict.
    """

    label: str
    support: int
    share: float
    interval: tuple[float, float]
    polarity: Polarity | None
    subjective: float | None
    stance: Stance | None
    quotes: tuple[Quote, ...]
    part: str | None = None
    stances: Mapping[Stance | Literal["undecided"], int] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return the point as JSON values."""
        return {
            "label": self.label,
            "support": self.support,
            "share": self.share,
            "interval": list(self.interval),
            "polarity": self.polarity,
            "subjective": self.subjective,
            "stance": self.stance,
            "stances": {each: self.stances.get(each, 0) for each in COUNTED_STANCES},
            "part": self.part,
            "quotes": [quote.to_dict() for quote in self.quotes],
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the reviews answer to a question that yes or no answers.

    Args:
        answer: yes, mostly_yes, divided, mostly_no, no; not_said: no review speaks of it.
        yes: reviews that say yes.
        no: reviews that say no.
    """

    answer: VerdictAnswer
    yes: int
    no: int

    def to_dict(self) -> dict[str, Any]:
        """Return the verdict as JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        """Return the verdict in words.

        >>> str(Verdict("mostly_yes", 6, 2)), str(Verdict("not_said", 0, 0))
        ('Mostly yes: 6 yes, 2 no.', 'Not said.')
        """
        told = self.answer.replace("_", " ").capitalize()
        return f"{told}." if self.answer == "not_said" else f"{told}: {self.yes} yes, {self.no} no."


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a question is answered, and the two numbers that say so.

    Both are on the scale of `Answer.confidence`: for extracted answers the probability that the
    answer is right, for generated ones their support. Where nothing was fitted with the pipeline,
    those to the parts of a compound question have the judge's probability that a sentence answers.

    Args:
        score: of the best answer that was found, given or withheld; None if there was none.
        threshold: an answer is given from this score on: as fitted with the pipeline, or else
            `reader.no_answer_threshold`; `answers.mention`; or `generator.min_support`.

    >>> decision = Decision(score=0.29, threshold=0.375)
    >>> decision.abstains, str(decision)
    (True, 'score 29%, threshold 38%')
    """

    score: float | None
    threshold: float

    @property
    def abstains(self) -> bool:
        """Whether the decision is "the reviews don't say"."""
        return self.score is None or self.score < self.threshold

    def to_dict(self) -> dict[str, Any]:
        """Return the decision as JSON values."""
        return {"abstains": self.abstains, "score": self.score, "threshold": self.threshold}

    def __str__(self) -> str:
        if self.score is None:
            return f"no answer found, threshold {self.threshold:.0%}"
        digits = 0  # so many that the two look different where they are
        while digits < MOST_DIGITS and (
            self.score != self.threshold
            and f"{self.score:.{digits}%}" == f"{self.threshold:.{digits}%}"
        ):
            digits += 1
        return f"score {self.score:.{digits}%}, threshold {self.threshold:.{digits}%}"


MOST_DIGITS = 12
