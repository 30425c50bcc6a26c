"""How far annotators agree: Cohen's kappa and the overlap of spans, for each pair of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

from qa_system.annotation.marks import Mark
from qa_system.records import AnswerSpan

__all__ = ["Agreement", "agreements", "kappa", "span_f1"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two annotators agree.

    Args:
        one: an annotator.
        other: another.
        tasks: labelled by both.
        answered: of these, those in which both marked words.
        answerable: kappa of "it says" and "it does not say", over `tasks`; None: undefined.
        judged: of those that both answered, the ones of which both gave the polarity.
        polarity: kappa of the polarity, over `judged`; None: undefined.
        span_f1: mean overlap of the marked words, over `answered`; None: there are none.
    """

    one: str
    other: str
    tasks: int
    answered: int
    answerable: float | None
    judged: int
    polarity: float | None
    span_f1: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return the agreement as JSON values."""
        return asdict(self)


def kappa(pairs: Sequence[tuple[Hashable, Hashable]]) -> float | None:
    """Return Cohen's kappa of two annotators: 1 if they always agree, 0 if by chance.

    Args:
        pairs: what the one and the other said of each task.

    Returns:
        (observed - expected) / (1 - expected) agreement; None where that is undefined: there are
        no tasks, or both said one and the same of all.

    Source: Cohen, 1960, "A coefficient of agreement for nominal scales".

    >>> kappa([(1, 1), (1, 1), (0, 0), (1, 0)])
    0.5
    >>> kappa([]), kappa([(1, 1), (1, 1)])
    (None, None)
    """
    if not pairs:
        return None
    ones, others = (Counter(side) for side in zip(*pairs, strict=True))
    agreed = sum(one == other for one, other in pairs) * len(pairs)
    by_chance = sum(number * others[said] for said, number in ones.items())
    most = len(pairs) ** 2
    return None if by_chance == most else (agreed - by_chance) / (most - by_chance)


def span_f1(one: AnswerSpan, other: AnswerSpan) -> float:
    """Return the F1 of the characters that two spans share, 0 to 1.

    >>> span_f1(AnswerSpan("very loud", 0, 9), AnswerSpan("loud", 5, 9))
    0.6153846153846154
    """
    shared = max(0, min(one.end, other.end) - max(one.start, other.start))
    return 2 * shared / (one.end - one.start + other.end - other.start)


def agreements(marks: Iterable[Mark]) -> list[Agreement]:
    """Return the agreement of each pair of annotators, in the order of their names."""
    said: dict[str, dict[str, Mark]] = {}
    for mark in marks:
        said.setdefault(mark.annotator, {})[mark.task_id] = mark
    return [_agreement(said[one], said[other]) for one, other in combinations(sorted(said), 2)]


def _agreement(ones: dict[str, Mark], others: dict[str, Mark]) -> Agreement:
    both = [(mark, others[task]) for task, mark in ones.items() if task in others]
    spans = [(a.span, b.span) for a, b in both if a.span is not None and b.span is not None]
    judged = [
        (a.polarity, b.polarity)
        for a, b in both
        if a.polarity is not None and b.polarity is not None
    ]
    overlaps = [span_f1(one, other) for one, other in spans]
    return Agreement(
        one=next(iter(ones.values())).annotator,
        other=next(iter(others.values())).annotator,
        tasks=len(both),
        answered=len(spans),
        answerable=kappa([(a.span is not None, b.span is not None) for a, b in both]),
        judged=len(judged),
        polarity=kappa(judged),
        span_f1=sum(overlaps) / len(overlaps) if overlaps else None,
    )
