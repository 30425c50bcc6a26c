"""Points of a system compared with labelled ones: which is which, and whether the counts hold."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from math import inf
from typing import NamedTuple

__all__ = [
    "Match",
    "best_assignment",
    "count_errors",
    "jaccard",
    "matches",
    "point_f1",
    "repeated",
]

ALIKE = 0.5
"""The Jaccard similarity from which on a point counts as the labelled one."""
SAME_WORDS = 0.8
"""The Jaccard similarity of their words from which on two texts say the same."""


class Match(NamedTuple):
    """A point and the labelled one that it is compared with, by their places."""

    point: int
    gold: int
    similarity: float


def jaccard(one: Collection[str], other: Collection[str]) -> float:
    """Return the share of what is in both sets among what is in either; 0 if both are empty.

    >>> jaccard({"r1", "r2", "r3"}, {"r2", "r3", "r4"})
    0.5
    """
    either = set(one) | set(other)
    return len(set(one) & set(other)) / len(either) if either else 0.0


def best_assignment(gains: Sequence[Sequence[float]]) -> list[tuple[int, int]]:
    """Assign rows to columns, one to one, so that the sum of their gains is largest.

    Args:
        gains: shape (rows, columns), all rows of one length.

    Returns:
        Pairs of places, by row; as many as the shorter side has.

    Source: Kuhn, The Hungarian method, 1955, with the shortest augmenting paths of Jonker and
    Volgenant, 1987.

    >>> best_assignment([[0.9, 0.8], [0.7, 0.1]])
    [(0, 1), (1, 0)]
    """
    rows, columns = len(gains), len(gains[0]) if gains else 0
    if rows > columns:
        turned = best_assignment([[row[at] for row in gains] for at in range(columns)])
        return sorted((row, column) for column, row in turned)
    row_price, column_price = [0.0] * (rows + 1), [0.0] * (columns + 1)
    row_of = [0] * (columns + 1)  # from 1; column 0 holds the row that is being assigned
    for row in range(1, rows + 1):
        row_of[0], column = row, 0
        least, before = [inf] * (columns + 1), [0] * (columns + 1)
        seen = [False] * (columns + 1)
        while row_of[column]:
            seen[column] = True
            own, step, nearest = row_of[column], inf, 0
            for other in range(1, columns + 1):
                if seen[other]:
                    continue
                cost = -gains[own - 1][other - 1] - row_price[own] - column_price[other]
                if cost < least[other]:
                    least[other], before[other] = cost, column
                if least[other] < step:
                    step, nearest = least[other], other
            for other in range(columns + 1):
                if seen[other]:
                    row_price[row_of[other]] += step
                    column_price[other] -= step
                else:
                    least[other] -= step
            column = nearest
        while column:
            row_of[column] = row_of[before[column]]
            column = before[column]
    return sorted((row_of[at] - 1, at - 1) for at in range(1, columns + 1) if row_of[at])


def matches(points: Sequence[Collection[str]], gold: Sequence[Collection[str]]) -> list[Match]:
    """Return which point is which labelled one: the pairs of the best assignment that are alike.

    Args:
        points: the ids of the reviews that make each of the system's points.
        gold: those of each labelled point.

    >>> matches([{"r1", "r2"}, {"r9"}], [{"r5"}, {"r1", "r2", "r3", "r4"}])
    [Match(point=0, gold=1, similarity=0.5)]
    """
    gains = [[jaccard(one, other) for other in gold] for one in points]
    return [
        Match(one, other, gains[one][other])
        for one, other in best_assignment(gains)
        if gains[one][other] >= ALIKE
    ]


def point_f1(points: Sequence[Collection[str]], gold: Sequence[Collection[str]]) -> float:
    """Return the F1 of the points that are labelled ones; 1 if there are none on either side.

    >>> point_f1([{"r1", "r2"}, {"r9"}], [{"r5"}, {"r1", "r2", "r3", "r4"}])
    0.5
    """
    if not points and not gold:
        return 1.0
    return 2 * len(matches(points, gold)) / (len(points) + len(gold))


def count_errors(
    points: Sequence[Collection[str]], counts: Sequence[int], gold: Sequence[Collection[str]]
) -> list[float]:
    """Return by how much the count of each labelled point is wrong, as a share of the right one.

    Args:
        points: the ids of the reviews that make each of the system's points.
        counts: how many reviews the system says that these are.
        gold: the ids of each labelled point.

    Returns:
        |count - right| / right of each labelled point; 1 where no point is that one.

    >>> count_errors([{"r1", "r2"}], [2], [{"r5"}, {"r1", "r2", "r3", "r4"}])
    [1.0, 0.5]
    """
    found: Mapping[int, int] = {each.gold: counts[each.point] for each in matches(points, gold)}
    return [
        abs(found[at] - len(own)) / len(own) if at in found else 1.0 for at, own in enumerate(gold)
    ]


def repeated(texts: Sequence[str]) -> int:
    """Return how many texts have the words of an earlier one, or nearly so.

    >>> repeated(["Runs small.", "They run small", "runs  SMALL"])
    1
    """
    words: list[set[str]] = []
    again = 0
    for text in texts:
        own = set("".join(c if c.isalnum() else " " for c in text.lower()).split())
        again += any(own == each or jaccard(own, each) >= SAME_WORDS for each in words)
        words.append(own)
    return again
