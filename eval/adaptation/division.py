"""Labels that arrive over time, divided by item and by text: what is held out once stays so."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from qa_system.consensus.duplicates import normalized
from qa_system.records import Label

__all__ = ["Division", "Side", "divide", "group_of", "without"]


@dataclass(frozen=True)
class Side:
    """What labels to learn from, or labels to test on, are about.

    Args:
        items: see `group_of`.
        texts: digests of texts, the same for texts that have the same words (`normalized`).

    >>> label = Label("q", "How is it?", "B00", "r", "Good one.", ())
    >>> other = Label("q", "How is it?", "B01", "r", "good  ONE.", ())
    >>> both = Side.of([label]) | Side.of([other])
    >>> sorted(both.items), len(both.texts)
    (['B00', 'B01'], 1)
    """

    items: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()

    @classmethod
    def of(cls, labels: Iterable[Label]) -> Side:
        """Return what labels are about."""
        known = list(labels)
        return cls(frozenset(map(group_of, known)), frozenset(map(_text_of, known)))

    def __or__(self, other: Side) -> Side:
        """Return what one of both is about."""
        return Side(self.items | other.items, self.texts | other.texts)


@dataclass(frozen=True)
class Division:
    """Labels to learn from, and labels to test on. They share neither item nor text."""

    learnt: tuple[Label, ...]
    held_out: tuple[Label, ...]


def group_of(label: Label) -> str:
    """Return the item that a label is about; for a label without an item, its text stands for it.

    >>> group_of(Label("q", "How is it?", "B00", "r", "Good.", ()))
    'B00'
    """
    return label.item_id or f"text {_text_of(label)}"


def divide(
    labels: Sequence[Label],
    share: float,
    seed: int,
    *,
    learnt: Side = Side(),
    held_out: Side = Side(),
) -> Division:
    """Divide labels by item, as items and texts were divided before.

    A new item joins the side that all of its texts were on; other new items are assigned. A label
    is left out whose item or text was on the other side before.

    Args:
        labels: old ones may be among them.
        share: of the items to hold out.
        seed: of the order of new items, which depends on their names and the seed only.
        learnt: what was learnt from before.
        held_out: what was held out before.

    >>> labels = [Label(f"q{n}", "?", f"B{n}", f"r{n}", f"Good {n}.", ()) for n in range(4)]
    >>> first = divide(labels[:2], 0.5, seed=13)
    >>> before = {"learnt": Side.of(first.learnt), "held_out": Side.of(first.held_out)}
    >>> later = divide(labels, 0.5, 7, **before)
    >>> first.held_out[0] in later.held_out, len(later.held_out)
    (True, 2)
    """
    texts: defaultdict[str, set[str]] = defaultdict(set)
    for label in labels:
        texts[group_of(label)].add(_text_of(label))
    apart, known = set(), set()
    for group, own in texts.items():
        if group in held_out.items or (group not in learnt.items and own <= held_out.texts):
            apart.add(group)
        elif group in learnt.items or own <= learnt.texts:
            known.add(group)
    new = sorted(texts.keys() - apart - known, key=lambda group: _place(group, seed))
    wanted = max(round(share * len(texts)) - len(apart), 0)
    apart |= set(new[:wanted])
    tested = _untouched((label for label in labels if group_of(label) in apart), learnt)
    kept = _untouched((label for label in labels if group_of(label) not in apart), held_out)
    return Division(tuple(without(kept, tested)), tuple(tested))


def without(labels: Iterable[Label], others: Iterable[Label]) -> list[Label]:
    """Return the labels that share neither item nor text with others."""
    return _untouched(labels, Side.of(others))


def _untouched(labels: Iterable[Label], side: Side) -> list[Label]:
    return [
        each
        for each in labels
        if group_of(each) not in side.items and _text_of(each) not in side.texts
    ]


def _text_of(label: Label) -> str:
    return hashlib.sha256(normalized(label.context).encode()).hexdigest()[:16]


def _place(group: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}".encode()).digest()
