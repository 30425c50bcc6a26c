"""Fewer and fewer labels of a data set, each subset within the next, with items in proportion."""

from __future__ import annotations

import random
from collections.abc import Sequence

from qa_system.records import Label

__all__ = ["nested", "taught_and_tuned"]


def nested(labels: Sequence[Label], seed: int) -> list[Label]:
    """Return labels in an order of which each beginning has the same share of every item's.

    An item's labels are drawn into an order, and spread evenly over the whole from an offset that
    is drawn, too: of a beginning, the shares of any two items differ by less than a label of each.

    Args:
        labels: each pair of question and review once; those without an item go by their review.
        seed: of what is drawn.
    """
    generator = random.Random(seed)
    of_item: dict[str, list[Label]] = {}
    for label in labels:
        of_item.setdefault(label.item_id or label.review_id, []).append(label)
    places: list[tuple[float, Label]] = []
    for drawn in of_item.values():
        generator.shuffle(drawn)
        offset = generator.random()
        places += [((at + offset) / len(drawn), label) for at, label in enumerate(drawn)]
    return [label for _, label in sorted(places, key=lambda place: place[0])]


def taught_and_tuned(
    ordered: Sequence[Label], count: int, share: float
) -> tuple[list[Label], list[Label]]:
    """Divide the first labels of an order: those to learn from, those to stop and calibrate by.

    A label of one part is in the same part of every larger subset.

    Args:
        ordered: by `nested`.
        count: of labels in both parts together.
        share: of the second part, above 0.

    >>> label = Label("q", "How is it?", "B00", "r", "Good.", ())
    >>> [len(part) for part in taught_and_tuned([label] * 9, 7, 1 / 3)]
    [5, 2]
    """
    every = max(round(1 / share), 2)
    taken = list(ordered[:count])
    tuned = taken[every - 1 :: every]
    taught = [label for at, label in enumerate(taken, start=1) if at % every]
    return taught, tuned
