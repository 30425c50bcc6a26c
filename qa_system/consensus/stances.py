"""What a review answers to a polar question, from whether both speak well of the item.

A small judge reads "Is the room clean?" and "Is the room dirty?" much alike, so that its stance on
two opposite questions is often the same. Whether a text is good or bad for a buyer it tells better,
also of the question, put as a statement: "the room dirty". Where both are clearly good or bad, a
review that speaks as the question does says yes, and one that speaks against it says no.
"""

from __future__ import annotations

import re
from dataclasses import replace
from math import log
from typing import TYPE_CHECKING, Final

from qa_system.consensus.weighing import Signals
from qa_system.readers.calibration import log_odds_of

if TYPE_CHECKING:
    from qa_system.judging import Judgements

__all__ = ["parted", "signals_of", "statement_of"]

LEAST: Final = 1e-3
"""Added to the probabilities of yes and no, so that their log-odds stay within 7."""
VERB: Final = re.compile(
    r"(?:is|are|was|were|does|do|did|can|could|will|would|has|have|had|should)\s+(?=\S)",
    re.IGNORECASE,
)


def statement_of(question: str) -> str:
    """Return a polar question without the verb that asks: what it says of the item.

    >>> statement_of("Is the room dirty?"), statement_of("Runs big?")
    ('the room dirty.', 'Runs big.')
    """
    return f"{_said(question.strip().rstrip('? '))}."


def _said(asked: str) -> str:
    verb = VERB.match(asked)
    return asked if verb is None else asked[verb.end() :]


def signals_of(
    known: Signals, judged: Judgements, at: int, statement: Judgements | None
) -> Signals:
    """Return the signals of a text, with those of the judge.

    Args:
        known: its signals so far.
        judged: of several texts.
        at: its place among them.
        statement: of the question as a statement, alone; None: yes or no does not answer it.
    """
    answers = log_odds_of(float(judged.answers[at]))
    if statement is None:
        return replace(known, judge=answers)
    yes, no, mixed = judged.stance[at].tolist()
    return replace(
        known,
        judge=answers,
        alike=_goodness(statement, 0) * _goodness(judged, at),
        own=log((yes + LEAST) / (no + LEAST)),
        mixed=mixed,
    )


def _goodness(judged: Judgements, at: int) -> float:
    """Return how good what a text says is for a buyer, from -1 (bad) to 1 (good)."""
    return float(judged.polarity[at, 0] - judged.polarity[at, 1])


def parted(judged: Judgements) -> tuple[Judgements, Judgements]:
    """Return the judgements of all texts but the last, and that of the last."""
    return _part(judged, slice(None, -1)), _part(judged, slice(-1, None))


def _part(judged: Judgements, part: slice) -> Judgements:
    from qa_system.judging import Judgements

    return Judgements(
        judged.answers[part], judged.stance[part], judged.polarity[part], judged.subjective[part]
    )
