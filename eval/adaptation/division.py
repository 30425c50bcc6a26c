"""Labels that arrive over time, divided by item: one that is held out once stays held out."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from qa_system.records import Label

__all__ = ["Division", "divide", "group_of", "without"]


@dataclass(frozen=True)
class Division:
    """Labels to learn from, and labels to test on.

    Args:
        learnt: labels of items that are not held out.
        held_out: labels of items that are.
        learnt_items: all items, now and before, that were learnt from.
        held_out_items: all items, now and before, that were held out.
    """

    learnt: tuple[Label, ...]
    held_out: tuple[Label, ...]
    learnt_items: frozenset[str]
    held_out_items: frozenset[str]


def group_of(label: Label) -> str:
    """Return the item that a label is about; for a label without an item, its text stands for it.

    >>> group_of(Label("q", "How is it?", "B00", "r", "Good.", ()))
    'B00'
    """
    return label.item_id or f"text {hashlib.sha256(label.context.encode()).hexdigest()[:16]}"


def divide(
    labels: Sequence[Label],
    share: float,
    seed: int,
    *,
    learnt: Collection[str] = (),
    held_out: Collection[str] = (),
) -> Division:
    """Divide labels by item, as they were divided before; only new items are assigned.

    Args:
        labels: all of them, those that were divided before among them.
        share: of the items to hold out.
        seed: of the order of new items, which depends on their names and the seed only.
        learnt: items that were learnt from before.
        held_out: items that were held out before.

    >>> labels = [Label(f"q{n}", "?", f"B{n}", f"r{n}", f"Good {n}.", ()) for n in range(4)]
    >>> first = divide(labels[:2], 0.5, seed=13)
    >>> later = divide(labels, 0.5, 7, learnt=first.learnt_items, held_out=first.held_out_items)
    >>> first.held_out_items < later.held_out_items, len(later.held_out)
    (True, 2)
    """
    there = {group_of(label) for label in labels}
    new = sorted(there - {*learnt, *held_out}, key=lambda group: _place(group, seed))
    wanted = max(round(share * len(there)) - len(there & {*held_out}), 0)
    apart = frozenset(held_out) | frozenset(new[:wanted])
    kept = [label for label in labels if group_of(label) not in apart]
    tested = [label for label in labels if group_of(label) in apart]
    return Division(
        tuple(without(kept, tested)),
        tuple(tested),
        frozenset(learnt) | frozenset(new[wanted:]),
        apart,
    )


def without(labels: Iterable[Label], others: Iterable[Label]) -> list[Label]:
    """Return the labels that share neither item nor text with others."""
    known = list(others)
    items, texts = {group_of(each) for each in known}, {each.context for each in known}
    return [each for each in labels if group_of(each) not in items and each.context not in texts]


def _place(group: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}".encode()).digest()
