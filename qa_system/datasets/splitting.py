"""Split labels into train, dev and test, or folds, by group: no item or text is in two of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from typing import Literal

from qa_system.errors import DataError
from qa_system.records import Label

__all__ = ["Group", "drawn_groups", "folds", "hold_out", "split_labels"]

Group = Literal["item", "article", "paragraph"]
"""What is not divided: an item's reviews, a SQuAD article, or one text."""


def split_labels(
    labels: Sequence[Label], by: Group, *, test: float, dev: float = 0.0, seed: int = 13
) -> tuple[Label, ...]:
    """Assign each label to `train`, `dev` or `test`, depending only on the seed and its group.

    Args:
        labels: their present splits are ignored.
        by: labels of one group go to one split.
        test: the size of `test`: below 1 a share of the groups, otherwise their number.
        dev: likewise the size of `dev`.
        seed: of the random order.

    Raises:
        DataError: a label has no such group, a part is negative or smaller than one group, or
            nothing would be left for `train`.

    >>> labels = [Label(f"q{n}", "?", f"B{n}", f"r{n}", "Good.", ()) for n in range(10)]
    >>> divided = split_labels(labels, "item", test=0.2, dev=1)
    >>> sorted(label.split for label in divided)[:4]
    ['dev', 'test', 'test', 'train']
    """
    groups = _shuffled(labels, by, seed)
    tested, tuned = (_part_of(len(groups), part) for part in (test, dev))
    if tested + tuned >= len(groups):
        raise DataError(
            f"{tested} groups to test on and {tuned} to tune on leave nothing to train on, "
            f"of {len(groups)} by {by}",
            remedy="Set smaller parts.",
        )
    split_of = dict.fromkeys(groups, "train")
    split_of |= dict.fromkeys(groups[:tested], "test")
    split_of |= dict.fromkeys(groups[tested : tested + tuned], "dev")
    return tuple(replace(label, split=split_of[_group_of(label, by)]) for label in labels)


def hold_out(
    labels: Sequence[Label], share: float, seed: int = 13
) -> tuple[tuple[Label, ...], tuple[Label, ...]]:
    """Divide labels by item into those to learn from and those to hold out.

    Args:
        labels: of one data set; they are divided by text if the first of them has no item.
        share: of the items to hold out, below 1.
        seed: of the random order.

    Raises:
        DataError: only some labels have an item, or one part would be empty.

    >>> labels = [Label(f"q{n}", "?", f"B{n}", f"r{n}", "Good.", ()) for n in range(4)]
    >>> [len(part) for part in hold_out(labels, 0.25)]
    [3, 1]
    """
    by: Group = "item" if labels and labels[0].item_id is not None else "paragraph"
    divided = split_labels(labels, by, test=share, seed=seed)
    learnt, held_out = (
        tuple(label for label in divided if label.split == part) for part in ("train", "test")
    )
    return learnt, held_out


def folds(
    labels: Sequence[Label], number: int, by: Group = "item", *, seed: int = 13
) -> list[tuple[tuple[Label, ...], tuple[Label, ...]]]:
    """Divide labels for cross-validation into pairs of training and test labels.

    Every label is tested on once, and a group is never on both sides.

    Args:
        labels: all of them.
        number: of folds, 2 or more.
        by: labels of one group go to one fold.
        seed: of the random order.

    Raises:
        DataError: there are fewer groups than folds, or a label has no such group.

    >>> labels = [Label(f"q{n}", "?", f"B{n}", f"r{n}", "Good.", ()) for n in range(4)]
    >>> [(len(train), len(test)) for train, test in folds(labels, 2)]
    [(2, 2), (2, 2)]
    """
    groups = _shuffled(labels, by, seed)
    if not 2 <= number <= len(groups):
        raise DataError(
            f"{len(groups)} groups by {by} cannot make {number} folds",
            remedy=f"Ask for 2 to {len(groups)}.",
        )
    fold_of = {group: place % number for place, group in enumerate(groups)}
    return [
        (
            tuple(label for label in labels if fold_of[_group_of(label, by)] != fold),
            tuple(label for label in labels if fold_of[_group_of(label, by)] == fold),
        )
        for fold in range(number)
    ]


def drawn_groups(groups: Collection[str], share: float, seed: int = 13) -> frozenset[str]:
    """Draw a share of groups, depending only on the seed and their names.

    Args:
        groups: distinct names, for example of items.
        share: of them, below 1.
        seed: of the random order.

    Raises:
        DataError: none would be drawn, or all.

    >>> sorted(drawn_groups(["B0", "B1", "B2", "B3"], 0.25))
    ['B2']
    """
    part = _part_of(len(groups), share)
    if part >= len(groups):
        raise DataError(
            f"{part} of {len(groups)} groups to set apart leave none",
            remedy="Set a smaller share.",
        )
    return frozenset(_in_order(groups, seed)[:part])


def _part_of(groups: int, part: float) -> int:
    """Return the number of groups in a part; a part above 0 has at least one."""
    is_part = math.isfinite(part) and part >= 0
    number = round(part * groups if part < 1 else part) if is_part else 0
    if not is_part or (part > 0 and number == 0):
        raise DataError(
            f"{part:g} of {groups} groups is not a part to set apart",
            remedy="Set 0, a share that makes a group at least, or a number of groups.",
        )
    return number


def _shuffled(labels: Iterable[Label], by: Group, seed: int) -> list[str]:
    """Return the groups in an order that depends on their names and the seed only."""
    return _in_order({_group_of(label, by) for label in labels}, seed)


def _in_order(groups: Iterable[str], seed: int) -> list[str]:
    return sorted(groups, key=lambda group: hashlib.sha256(f"{seed}\0{group}".encode()).digest())


def _group_of(label: Label, by: Group) -> str:
    group = _GROUPS[by](label)
    if not group:
        raise DataError(
            f"question {label.question_id!r} belongs to no {by}",
            remedy=f"Choose another of {', '.join(_GROUPS)}.",
        )
    return group


_GROUPS: dict[Group, Callable[[Label], str | None]] = {
    "item": lambda label: label.item_id,
    "article": lambda label: label.meta.get("title"),
    "paragraph": lambda label: label.context,
}
