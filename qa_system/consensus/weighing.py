"""What the signals of a sentence mean together: is it a mention, and what does it answer?

Two logistic regressions with few weights, fitted by `qa-eval calibrate --pipeline` on questions
that were labelled over all reviews of their item. No signal's weight is negative: a sentence that a
model finds more probable never becomes less so.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from math import exp
from typing import Any, Final

from qa_system.arguments import number_in
from qa_system.errors import InvalidArgumentError
from qa_system.opinions import Stance

__all__ = ["UNFITTED", "Counting", "Leaning", "Signals", "Weighing"]

LOWEST: Final = -8.0
"""Log-odds of the reader that are lower count as this."""
UNFITTED: Final = 0.7
"""The probability from which on a sentence is a mention, and a stance decided, where nothing was
fitted with the pipeline."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What is known of a sentence, apart from its words.

    Args:
        sentence: how well it fits the question, as the retriever scores it; 1: no other sentence
            of the question's reviews fits better. How high the best score is depends on the words
            of the question more than on whether it answers.
        reader: log-odds of the best span that the reader marked in it; None: it marked none.
        judge: the judge's log-odds that it answers.
        alike: from 1, it speaks of the item as the question does (both well or both badly), to -1,
            it speaks against it.
        own: the judge's own log-odds of yes against no.
        mixed: the judge's own probability that it answers both.
    """

    sentence: float = 0.0
    reader: float | None = None
    judge: float = 0.0
    alike: float = 0.0
    own: float = 0.0
    mixed: float = 0.0


@dataclass(frozen=True, slots=True)
class Weighing:
    """How probably a sentence is a mention.

    Args:
        judge: weight of the judge's log-odds.
        reader: weight of the reader's log-odds, where it marked something.
        marked: what is added there.
        sentence: weight of the retriever's score.
        bias: the log-odds of a sentence whose signals are all 0.
        threshold: the probability from which on a sentence is a mention.

    >>> weighing = Weighing(0.5, reader=0.5, marked=1.5, sentence=3.0, bias=-3.0, threshold=0.2)
    >>> round(weighing.probability(Signals(sentence=0.5, reader=-1.0, judge=1.0)), 3)
    0.5
    """

    judge: float
    reader: float
    marked: float
    sentence: float
    bias: float
    threshold: float

    def probability(self, signals: Signals) -> float:
        """Return the probability that a sentence is a mention."""
        odds = self.bias + self.judge * signals.judge + self.sentence * signals.sentence
        if signals.reader is not None:
            odds += self.marked + self.reader * max(signals.reader, LOWEST)
        return _sigmoid(odds)


@dataclass(frozen=True, slots=True)
class Leaning:
    """What a sentence answers to a polar question.

    It has no bias: were a text's signals the other way round, so would be its answer. So a review
    answers two opposite questions in opposite ways.

    Args:
        alike: weight of whether text and question speak alike of the item.
        own: weight of the judge's own log-odds.
        decided: the probability from which on an answer is decided.

    >>> leaning = Leaning(alike=3.0, own=0.0, decided=0.7)
    >>> [leaning.stance(Signals(alike=each)) for each in (0.5, 0.1, -0.5)]
    ['yes', None, 'no']
    """

    alike: float = 3.0
    own: float = 0.3
    decided: float = UNFITTED

    def probability(self, signals: Signals) -> float:
        """Return the probability that a sentence which says yes or no says yes."""
        return _sigmoid(self.alike * signals.alike + self.own * signals.own)

    def stance(self, signals: Signals) -> Stance | None:
        """Return what a sentence answers; None: it is not decided."""
        yes = self.probability(signals)
        if max(yes, 1 - yes) >= self.decided:
            return "yes" if yes > 0.5 else "no"
        return "mixed" if signals.mixed >= self.decided else None


@dataclass(frozen=True, slots=True)
class Counting:
    """How what reviews say is counted.

    Args:
        mentions: how probably a sentence is a mention.
        stances: what a sentence answers to a polar question.
        not_said: the probability of the surest mention below which reviews are told not to speak of
            what a polar question asks; None: no probability is low enough to know.
    """

    mentions: Weighing
    stances: Leaning
    not_said: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> Counting:
        """Read what `to_dict` returned.

        Raises:
            InvalidArgumentError: a part is missing, something else or out of range.
        """
        try:
            return cls(
                Weighing(**_numbers(tree["mentions"], "threshold")),
                Leaning(**_numbers(tree["stances"], "decided")),
                None if tree["not_said"] is None else number_in(tree, "not_said", 0, 1),
            )
        except (KeyError, TypeError) as error:
            raise InvalidArgumentError(
                f"counting is none that was fitted: {error!r}",
                remedy="Pass what `Counting.to_dict` returned.",
            ) from error


def _numbers(tree: dict[str, Any], probability: str) -> dict[str, float]:
    return {name: number_in(tree, name, *((0, 1) if name == probability else ())) for name in tree}


def _sigmoid(odds: float) -> float:
    # Of large numbers only the negative ones have a power that fits.
    return 1 / (1 + exp(-odds)) if odds >= 0 else exp(odds) / (1 + exp(odds))
