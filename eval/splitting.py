"""Data sets divided, and kept as SQuAD JSON: what `qa-eval split` writes and `adapt` trains on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from eval.runs.storage import check_places
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
    """Give every pair of question and review once, in no split, with all of its annotators.

    A data set may ask the same pair in several splits, of other annotators: of the 1,659 pairs of
    SubjQA's electronics, 249. Divided as they are, a question could be learnt and tested on.

    Raises:
        DataError: an id stands for two questions or two texts.

    >>> label = Label("q", "How is it?", "B00", "r", "Good.", (), ((),), split="train")
    >>> [one] = undivided([label, replace(label, split="test")])
    >>> one.split, one.annotations
    (None, ((), ()))
    """
    return join_annotators(replace(label, split=None) for label in labels)


def group_of(labels: Iterable[Label]) -> Group:
    """Name what labels are divided by if nobody says: items, where there are items.

    >>> group_of([Label("q", "How is it?", None, "r", "Good.", ())])
    'paragraph'
    """
    return "item" if all(label.item_id for label in labels) else "paragraph"


def division_of(labels: Sequence[Label]) -> dict[str, dict[str, int]]:
    """Count what stands in each split.

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
    check_places(folder)
    places = {split: folder / f"{split}.json" for split in splits}
    for split, labels in splits.items():
        write_squad(labels, places[split])
    return places


def write_divided(labels: Sequence[Label], path: Path) -> tuple[Label, ...]:
    """Write labels of all splits into one file.

    Args:
        labels: each pair of question and review once.
        path: a `.json` becomes SQuAD, which cannot hold an answer whose place is not known; a
            `.jsonl` holds everything.

    Returns:
        What was written: all but the labels with such answers alone, where SQuAD is written.

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
    """Say in a line for each split what `division_of` counted."""
    for split, counts in division.items():
        yield f"{split}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())
