"""From the nearest labelled texts to labels: votes, and k and the threshold that suit them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from math import fsum
from typing import Any, Final

__all__ = ["Chosen", "Neighbour", "Vote", "choose", "votes_of"]

KS: Final = (1, 2, 3, 5, 8, 13, 21, 34)
"""The numbers of neighbours that are tried."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A labelled text that is like a question.

    Args:
        row: its place among the labelled texts.
        text: as it was labelled.
        labels: what it was labelled with.
        similarity: the cosine of both embeddings.
    """

    row: int
    text: str
    labels: tuple[str, ...]
    similarity: float


@dataclass(frozen=True, slots=True)
class Vote:
    """A label, and how much the neighbours are for it: the sum of their similarities, over k."""

    label: str
    score: float


@dataclass(frozen=True, slots=True)
class Chosen:
    """How labels are decided, as it was chosen on held-out questions.

    Args:
        k: neighbours that vote.
        threshold: the score that a label needs.
        micro_f1: of the labels given to the held-out questions.
        questions: how many these were; 0: nothing was chosen.
    """

    k: int = 1
    threshold: float = 0.0
    micro_f1: float | None = None
    questions: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)


def votes_of(neighbours: Sequence[Neighbour], k: int) -> list[Vote]:
    """Return the votes of the k nearest, the highest first; of equal ones that of the nearest.

    >>> near = [Neighbour(0, "Is it loud?", ("noise",), 0.9), Neighbour(1, "Big?", ("size",), 0.5)]
    >>> votes_of(near, 2)
    [Vote(label='noise', score=0.45), Vote(label='size', score=0.25)]
    """
    shares: dict[str, list[float]] = {}
    for each in neighbours[:k]:
        for label in dict.fromkeys(each.labels):
            shares.setdefault(label, []).append(max(each.similarity, 0.0))
    found = [Vote(label, round(fsum(own) / k, 6)) for label, own in shares.items()]
    return sorted(found, key=lambda vote: -vote.score)


def choose(
    found: Sequence[Sequence[Neighbour]],
    gold: Sequence[Sequence[str]],
    *,
    single: bool,
    is_right: Callable[[str, Sequence[str]], bool],
) -> Chosen:
    """Choose k and the threshold with the highest micro F1 on held-out questions.

    Args:
        found: the neighbours of each question, as many as the largest k.
        gold: its labels; none: no label is right.
        single: whether a question gets one label at most.
        is_right: whether a label is one of some.

    Returns:
        Of equal ones the smallest k and the highest threshold.

    >>> near = [[Neighbour(0, "Is it loud?", ("noise",), 0.9)], [Neighbour(0, "", ("noise",), 0.2)]]
    >>> choose(near, [["noise"], []], single=True, is_right=lambda label, own: label in own)
    Chosen(k=1, threshold=0.9, micro_f1=1.0, questions=2)
    """
    labelled = sum(len(own) if not single else bool(own) for own in gold)
    best = Chosen()
    for k in KS:
        outcomes = [
            (vote.score, is_right(vote.label, own))
            for near, own in zip(found, gold, strict=True)
            for vote in votes_of(near, k)[: 1 if single else None]
        ]
        for threshold, f1 in _f1_by_threshold(outcomes, labelled):
            if best.micro_f1 is None or f1 > best.micro_f1:
                best = Chosen(k, threshold, f1, len(gold))
    return best


def _f1_by_threshold(
    outcomes: Iterable[tuple[float, bool]], labelled: int
) -> Iterable[tuple[float, float]]:
    """Yield each score as a threshold, from the highest on, with its micro F1."""
    ordered = sorted(outcomes, key=lambda each: -each[0])
    right = 0
    for given, (score, is_right) in enumerate(ordered, start=1):
        right += is_right
        if given == len(ordered) or ordered[given][0] < score:
            yield score, round(2 * right / (given + labelled), 6)
