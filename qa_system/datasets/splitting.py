"""Labels -> train, dev and test, or folds: by group, so that no text or item is in two of them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Literal

from qa_system.errors import DataError
from qa_system.records import Label

__all__ = ["Group", "folds", "hold_out", "split_labels"]

Group = Literal["item", "article", "paragraph"]
"""What stays together: an item's reviews, a SQuAD article, or one text."""


def split_labels(
    labels: Sequence[Label], by: Group, *, test: float, dev: float = 0.0, seed: int = 13
) -> tuple[Label, ...]:
    """Give every label a split, `train`, `dev` or `test`; which, depends on seed and group alone.

    Args:
        labels: whatever split they stand in.
        by: labels of one group come into one split.
        test: how much is tested on: below 1 a share of the groups, else their number.
        dev: likewise, what is tuned on.
        seed: of the draw.

    Raises:
        DataError: a label has no such group, a part is less than nothing or less than a group,
            or nothing would be left to train on.

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
    """Part labels into those that are learnt from and those that are not, by item.

    Args:
        labels: of one data set; by text, if the first of them has no item.
        share: of the items that nothing is learnt from, below 1.
        seed: of the draw.

    Raises:
        DataError: some labels have an item and some have none, or one part would be empty.

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
    """Divide labels for cross-validation: pairs of what is trained on and what is tested on.

    Every label is tested on once, and a group is never on both sides.

    Args:
        labels: all of them.
        number: of folds, from 2.
        by: labels of one group come into one fold.
        seed: of the draw.

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


def _part_of(groups: int, part: float) -> int:
    """Give how many groups a part is; a part that was asked for is at least one of them."""
    is_part = math.isfinite(part) and part >= 0
    number = round(part * groups if part < 1 else part) if is_part else 0
    if not is_part or (part > 0 and number == 0):
        raise DataError(
            f"{part:g} of {groups} groups is not a part to set apart",
            remedy="Set 0, a share that makes a group at least, or a number of groups.",
        )
    return number


def _shuffled(labels: Iterable[Label], by: Group, seed: int) -> list[str]:
    """Give the groups in an order that a group's name and the seed decide, not the file's."""
    groups = {_group_of(label, by) for label in labels}
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
