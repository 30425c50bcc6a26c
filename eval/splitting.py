"""Splits of a data set, written as SQuAD JSON or JSON Lines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from eval.runs.storage import make_folder, write_files
from qa_system.datasets.dataset import WHOLE, Dataset
from qa_system.datasets.jsonl import write_labels_jsonl
from qa_system.datasets.splitting import Group
from qa_system.datasets.squad import write_squad
from qa_system.errors import DataError
from qa_system.labels import UNLOCATED, is_answered, join_annotators
from qa_system.records import Label

__all__ = [
    "SPLITS",
    "converted",
    "described",
    "division_of",
    "group_of",
    "undivided",
    "write_divided",
    "write_splits",
]

SPLITS = ("train", "dev", "test")
REJECTS = "rejects.jsonl"

_FILE_NAME = re.compile(r"\w[\w.-]*")


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
        split: _counts(part)
        for split in SPLITS
        if (part := [label for label in labels if label.split == split])
    }


def converted(data: Dataset, folder: Path) -> dict[str, Any]:
    """Write a data set as SQuAD JSON: a file for each split, `all.json` for labels without one.

    `read_dataset(folder)` returns the same labels but for those that SQuAD cannot hold: of their
    answers none was found in the context. They, and the rows that were set aside on reading, are
    listed in `rejects.jsonl`, one a line, with the reason.

    Args:
        data: of any format.
        folder: a new or an empty one.

    Returns:
        `files`: split -> its questions, answerable ones, items and texts; `left_out`: how many
        rows; `rejects`: the file that lists them, None if there are none.

    Raises:
        DataError: the folder holds files or cannot be written, or a split's name is no file's.
    """
    splits: dict[str, list[Label]] = {}
    rejects: list[dict[str, Any]] = [
        {"where": remark.where, "question_id": remark.question_id, "reason": remark.what}
        for remark in data.remarks
        if remark.kind == "blank"
    ]
    for label in data.labels:
        name = WHOLE if label.split is None else label.split
        if not _FILE_NAME.fullmatch(name):
            raise DataError(
                f"the split {name!r} cannot be the name of a file",
                where=data.path,
                remedy="Rename it: letters, digits, dots and hyphens.",
            )
        part = splits.setdefault(name, [])
        if label.answers or not is_answered(label):
            part.append(label)
        else:
            about = {"split": label.split, "question_id": label.question_id}
            reason = "none of its answers was found in the context"
            rejects.append({**about, "reason": reason, "answers": label.meta[UNLOCATED]})
    make_folder(folder)
    if any(folder.iterdir()):
        raise DataError(
            "the folder holds files", where=str(folder), remedy="Name a new or an empty folder."
        )
    write_splits(splits, folder)
    if rejects:
        write_files({folder / REJECTS: b"".join(map(_line, rejects))})
    return {
        "files": {split: _counts(part) for split, part in splits.items()},
        "left_out": len(rejects),
        "rejects": str(folder / REJECTS) if rejects else None,
    }


def write_splits(splits: Mapping[str, Sequence[Label]], folder: Path) -> dict[str, Path]:
    """Write a SQuAD file for each split: `folder/train.json` and so on.

    Raises:
        DataError: the folder cannot be written, or SQuAD cannot hold the labels.
    """
    places = {split: folder / f"{split}.json" for split in splits}
    make_folder(folder)
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


def _counts(labels: Sequence[Label]) -> dict[str, int]:
    return {
        "questions": len(labels),
        "answerable": sum(map(is_answered, labels)),
        "items": len({label.item_id for label in labels if label.item_id is not None}),
        "texts": len({label.context for label in labels}),
    }


def _line(reject: Mapping[str, Any]) -> bytes:
    return orjson.dumps(reject, option=orjson.OPT_APPEND_NEWLINE)
