"""What a review answers to a polar question, from whether both speak well of the item.

A small judge reads "Is the room clean?" and "Is the room dirty?" much alike, so that its stance on
two opposite questions is often the same. Whether a text is good or bad for a buyer it tells better,
also of the question, put as a statement: "the room dirty". Where both are clearly good or bad, a
review that speaks as the question does says yes, and one that speaks against it says no.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from qa_system.opinions import Stance

if TYPE_CHECKING:
    from qa_system.judging import Judgements

__all__ = ["parted", "stances_of", "statement_of"]

CLEAR: Final = 0.3
"""From which product on of question and text, each from -1 (bad) to 1 (good), a stance is decided.
Of 207 pairs with a stance, on which the judge was trained, 79 % reach it, and 96 % of these are
right; of the judge's own stances, 87 % of all."""
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


def stances_of(judged: Judgements, statement: Judgements, decided: float) -> list[Stance | None]:
    """Return what each text answers to a polar question; None: it is not decided.

    Args:
        judged: of the texts.
        statement: of the question as a statement, alone.
        decided: the probability that the judge's own stance needs; it counts where the question
            is neither good nor bad ("Does it come with a case?"), or what it says is both.
    """
    from qa_system.judging import STANCES

    good = judged.polarity[:, 0] - judged.polarity[:, 1]
    asked = float(statement.polarity[0, 0] - statement.polarity[0, 1])
    own = judged.stance.argmax(axis=1)
    found: list[Stance | None] = []
    for at, product in enumerate((asked * good).tolist()):
        stance: Stance | None = STANCES[own[at]] if judged.stance[at, own[at]] >= decided else None
        if abs(product) >= CLEAR:
            stance = "yes" if product > 0 else "no"
        elif abs(asked) >= CLEAR and stance != "mixed":
            stance = None  # the judge's own is what is not to be relied on here
        found.append(stance)
    return found


def parted(judged: Judgements) -> tuple[Judgements, Judgements]:
    """Return the judgements of all texts but the last, and that of the last."""
    return _part(judged, slice(None, -1)), _part(judged, slice(-1, None))


def _part(judged: Judgements, part: slice) -> Judgements:
    from qa_system.judging import Judgements

    return Judgements(
        judged.answers[part], judged.stance[part], judged.polarity[part], judged.subjective[part]
    )
