"""Splits of a data set, written as SQuAD JSON or JSON Lines: for `qa-eval split` and `adapt`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.runs.storage import make_folder
from qa_system.datasets.jsonl import write_labels_jsonl
from qa_system.datasets.splitting import Group
from qa_system.datasets.squad import write_squad
from qa_system.errors import DataError
from qa_system.labels import is_answered, join_annotators
from qa_system.records import Label

__all__ = [
    "SPLITS",
    "described",
    "division_of",
    "group_of",
    "undivided",
    "write_divided",
    "write_splits",
]

SPLITS = ("train", "dev", "test")


def undivided(labels: Iterable[Label]) -> tuple[Label, ...]:
    """Return every pair of question and review once, without a split, with all of its annotators.

    A data set may have the same pair in several splits, with other annotators: 249 of the 1,659
    pairs of SubjQA's electronics. Otherwise a question could be in training and test.

    Raises:
        DataError: two questions or two texts have the same id.

    >>> label = Label("q", "How is it?", "B00", "r", "Good.", (), ((),), split="train")
    >>> [one] = undivided([label, replace(label, split="test")])
    >>> one.split, one.annotations
    (None, ((), ()))
    """
    return join_annotators(replace(label, split=None) for label in labels)


def group_of(labels: Iterable[Label]) -> Group:
    """Return the default group that labels are divided by: items, where there are items.

    >>> group_of([Label("q", "How is it?", None, "r", "Good.", ())])
    'paragraph'
    """
    return "item" if all(label.item_id for label in labels) else "paragraph"


def division_of(labels: Sequence[Label]) -> dict[str, dict[str, int]]:
    """Count questions, items and texts of each split.

    >>> division_of([Label("q", "How is it?", "B00", "r", "Good.", (), split="train")])["train"]
    {'questions': 1, 'answerable': 0, 'items': 1, 'texts': 1}
    """
    return {
        split: {
            "questions": len(part),
            "answerable": sum(map(is_answered, part)),
            "items": len({label.item_id for label in part if label.item_id is not None}),
            "texts": len({label.context for label in part}),
        }
        for split in SPLITS
        if (part := [label for label in labels if label.split == split])
    }


def write_splits(splits: Mapping[str, Sequence[Label]], folder: Path) -> dict[str, Path]:
    """Write a SQuAD file for each split: `folder/train.json` and so on.

    Raises:
        DataError: the folder cannot be written, or SQuAD cannot hold the labels.
    """
    make_folder(folder)
    places = {split: folder / f"{split}.json" for split in splits}
    for split, labels in splits.items():
        write_squad(labels, places[split])
    return places


def write_divided(labels: Sequence[Label], path: Path) -> tuple[Label, ...]:
    """Write the labels of all splits into one file.

    Args:
        labels: each pair of question and review once.
        path: `.json` for SQuAD, which cannot hold an answer whose place is not known, or
            `.jsonl`, which holds everything.

    Returns:
        The labels written: for SQuAD, all but those that have only such answers.

    Raises:
        DataError: the suffix is another, or the file cannot be written.
    """
    if path.suffix == ".jsonl":
        write_labels_jsonl(labels, path)
        return tuple(labels)
    if path.suffix != ".json":
        raise DataError(
            f"a data set cannot be written as {path.suffix or 'a file without suffix'}",
            where=str(path),
            remedy="Name a file that ends in .json (SQuAD) or .jsonl.",
        )
    write_squad(labels, path)
    return tuple(label for label in labels if label.answers or not is_answered(label))


def described(division: Mapping[str, Mapping[str, Any]]) -> Iterable[str]:
    """Write a line for each split of what `division_of` counted."""
    for split, counts in division.items():
        yield f"{split}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())
