"""The threshold that keeps a promised share of wrong answers, from held-out questions.

The thresholds that answer a tenth, two tenths and so on of the questions are tested one after the
other, from the most cautious on, with an exact binomial test each; the first that fails ends it.
So the probability that the threshold returned has a higher error than promised is 5 % at most
(fixed sequence testing in Learn then Test: Angelopoulos, Bates, Candès, Jordan and Lei, 2021; for
selective prediction: Geifman and El-Yaniv, Selective Classification for Deep Neural Networks,
2017). It holds for questions that are drawn as the held-out ones were.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, exp, fsum, lgamma, log
from typing import Final, NamedTuple

__all__ = ["Trial", "binomial_tail", "lowest_error", "threshold_for", "trials"]

DOUBT: Final = 0.05
"""The probability that a promise may fail."""
STEPS: Final = 10
"""Thresholds that are tested."""


class Trial(NamedTuple):
    """A threshold, and what it did on the held-out questions.

    Args:
        threshold: questions whose answer has this score or more are answered.
        answered: how many these are.
        wrong: how many of their answers are wrong.
    """

    threshold: float
    answered: int
    wrong: int


def trials(outcomes: Sequence[tuple[float, bool]]) -> list[Trial]:
    """Return the thresholds that are tested, from the most cautious on.

    Args:
        outcomes: of each held-out question the score of its best answer, and whether it is right.

    >>> trials([(0.9, True), (0.8, True), (0.8, False), (0.1, False)])[0]
    Trial(threshold=0.9, answered=1, wrong=0)
    """
    scores = sorted((score for score, _ in outcomes), reverse=True)
    places = [ceil(len(scores) * step / STEPS) for step in range(1, STEPS + 1)]
    found = []
    for threshold in dict.fromkeys(scores[place - 1] for place in places if scores):
        given = [right for score, right in outcomes if score >= threshold]
        found.append(Trial(threshold, len(given), given.count(False)))
    return found


def threshold_for(outcomes: Sequence[tuple[float, bool]], max_error: float) -> float | None:
    """Return the lowest threshold that keeps the error, or None if none is known to.

    Args:
        outcomes: as for `trials`.
        max_error: the share of the answers given that may be wrong, between 0 and 1.

    >>> sure = [(0.9, True)] * 40 + [(0.2, False)] * 40
    >>> threshold_for(sure, 0.1), threshold_for(sure, 0.05)
    (0.9, None)
    """
    kept = None
    for trial in _testable(outcomes, max_error):
        if binomial_tail(trial.wrong, trial.answered, max_error) > DOUBT:
            break
        kept = trial.threshold
    return kept


def lowest_error(outcomes: Sequence[tuple[float, bool]]) -> float | None:
    """Return the lowest `max_error`, in whole hundredths, that a threshold keeps; None: none does.

    >>> lowest_error([(0.9, True)] * 40 + [(0.2, False)] * 40)
    0.08
    """
    percents = (percent / 100 for percent in range(1, 100))
    return next((each for each in percents if threshold_for(outcomes, each) is not None), None)


def binomial_tail(most: int, draws: int, share: float) -> float:
    """Return the probability of `most` or fewer successes in so many draws.

    >>> round(binomial_tail(1, 2, 0.5), 6)
    0.75
    """
    if not 0 < share < 1:
        return 1.0 if share <= 0 or most >= draws else 0.0
    whole = lgamma(draws + 1)
    return fsum(
        exp(
            whole
            - lgamma(number + 1)
            - lgamma(draws - number + 1)
            + number * log(share)
            + (draws - number) * log(1 - share)
        )
        for number in range(min(most, draws) + 1)
    )


def _testable(outcomes: Sequence[tuple[float, bool]], max_error: float) -> Iterator[Trial]:
    """Yield the thresholds that answer so many questions that the test could be passed at all.

    How many a threshold answers does not depend on which answers are right, so that leaving some
    out beforehand costs nothing.
    """
    return (
        each for each in trials(outcomes) if binomial_tail(0, each.answered, max_error) <= DOUBT
    )
