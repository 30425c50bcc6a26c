"""The verdict on a question that yes or no answers, from the stances of reviews."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from qa_system.opinions import Stance, Verdict, VerdictAnswer

__all__ = ["verdict_of"]


def verdict_of(stances: Iterable[Stance | None], least: int) -> Verdict | None:
    """Return the verdict of some reviews, each of which counts once.

    All are one way: yes, or no. Two thirds at least: mostly yes, or mostly no. Otherwise they are
    divided. A review that says both counts for neither side, but keeps the others from being all.

    Args:
        stances: of each review that speaks of it; None: it was not decided, and counts nowhere.
        least: reviews whose stance is decided that a verdict needs.

    Returns:
        The verdict; "not_said" if no review speaks of it, None if too few are decided.

    >>> verdict_of(["yes", "yes", "no", None], least=2)
    Verdict(answer='mostly_yes', yes=2, no=1)
    >>> verdict_of([], least=2), verdict_of(["yes", None], least=2)
    (Verdict(answer='not_said', yes=0, no=0), None)
    """
    counts = Counter(stances)
    yes, no, decided = counts["yes"], counts["no"], counts.total() - counts[None]
    if not counts:
        return Verdict("not_said", 0, 0)
    if decided < least:
        return None
    return Verdict(_answer(yes, no, decided), yes, no)


def _answer(yes: int, no: int, decided: int) -> VerdictAnswer:
    if yes == decided:
        return "yes"
    if no == decided:
        return "no"
    # In whole numbers: two of three are exactly two thirds.
    if 3 * yes >= 2 * decided:
        return "mostly_yes"
    if 3 * no >= 2 * decided:
        return "mostly_no"
    return "divided"
