"""A data set: labelled questions and their reviews, from a file of any known format."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import orjson

from qa_system.datasets.jsonl import read_labels_jsonl
from qa_system.datasets.normal_form import Reading, Remark
from qa_system.datasets.offset_repair import RepairCounts
from qa_system.datasets.squad import read_squad
from qa_system.datasets.subjqa import is_subjqa, read_subjqa
from qa_system.errors import DataError
from qa_system.labels import gold_texts
from qa_system.models.locate import data_place
from qa_system.records import Label, Review

__all__ = ["WHOLE", "Dataset", "dataset_of", "read_dataset"]

WHOLE = "all"
"""The name, in a folder of SQuAD files, of the one whose labels have no split."""


@dataclass(frozen=True)
class Dataset:
    """Labelled questions and their reviews.

    Args:
        path: where it was read from.
        labels: of all its splits.
        reviews: of all its splits, distinct by id.
        repairs: how its answers' offsets were found; None if it was not read from a file.
        remarks: rows that were set aside, or read otherwise than they are written.
    """

    path: str
    labels: tuple[Label, ...]
    reviews: tuple[Review, ...]
    repairs: RepairCounts | None = None
    remarks: tuple[Remark, ...] = ()

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits of its labels."""
        return tuple(dict.fromkeys(label.split for label in self.labels if label.split is not None))

    @cached_property
    def set_aside(self) -> frozenset[str]:
        """The ids of questions that were set aside on reading, as far as they have one."""
        return frozenset(
            remark.question_id
            for remark in self.remarks
            if remark.kind == "blank" and remark.question_id is not None
        )

    @cached_property
    def sha256(self) -> str:
        """Digest of every question, answer and text, as they were loaded."""
        digest = hashlib.sha256()
        for label in self.labels:
            said = [label.split, label.question_id, label.question, gold_texts(label)]
            about = [label.item_id, label.review_id, label.context]
            digest.update(orjson.dumps(said + about))
        return digest.hexdigest()

    def labels_of(self, split: str | None) -> tuple[Label, ...]:
        """Return the labels of one split, or of all if `split` is None.

        Raises:
            DataError: there is no such split.
        """
        if split is None:
            return self.labels
        chosen = tuple(label for label in self.labels if label.split == split)
        if not chosen:
            raise DataError(
                f"there is no split {split!r}",
                where=self.path,
                remedy=f"Splits there: {', '.join(self.splits)}."
                if self.splits
                else "Name no split: the data set is in one part.",
            )
        return chosen


def read_dataset(path: str | Path) -> Dataset:
    """Read a data set; its content decides the format.

    Rows whose question or context is blank are set aside; that and what else was read otherwise
    than it is written is logged, with an example (`qa_system.datasets.normal_form`).

    Args:
        path: a SubjQA folder (or `hub:subjqa/DOMAIN`); a folder of such folders, all of which
            are read, with the folder's name in a label's `meta["domain"]`; a SQuAD `.json`; your
            own labels as `.jsonl` (`qa_system.datasets.jsonl`); a folder of SQuAD files, one a
            split, as `qa-eval convert` writes it; or `bundled:sample`.

    Raises:
        DataError: the path holds none of these, it is damaged, two questions of one split have
            the same id, there are no rows, or every row was set aside.

    >>> "test" in read_dataset("bundled:sample").splits
    True
    """
    path = data_place(path)
    reading = Reading()
    found = _read(path, reading)
    reading.check_any(path)
    reading.tell(path)
    return replace(found, repairs=reading.repairs, remarks=tuple(reading.remarks))


def dataset_of(path: str, labels: tuple[Label, ...]) -> Dataset:
    """Return a data set of labels and the reviews that they are about."""
    reviews = {label.review_id: _review_of(label) for label in labels}
    return Dataset(path, labels, tuple(reviews.values()))


def _read(path: str, reading: Reading) -> Dataset:
    if is_subjqa(path):
        subjqa = read_subjqa(path, reading=reading)
        return Dataset(path, subjqa.labels, subjqa.reviews)
    if Path(path).suffix == ".jsonl":
        return dataset_of(path, read_labels_jsonl(path, reading))
    if Path(path).suffix == ".json":
        return dataset_of(path, read_squad(path, reading))
    inside = sorted(Path(path).iterdir()) if Path(path).is_dir() else []
    if domains := [folder for folder in inside if is_subjqa(folder)]:
        return _of_domains(path, domains, reading)
    if files := [file for file in inside if file.suffix == ".json"]:
        return _of_splits(path, files, reading)
    raise DataError(
        "there is no data set" if Path(path).exists() else "there is nothing",
        where=path,
        remedy="Name a SubjQA folder (train.csv, dev.csv, test.csv) or a folder of such folders, "
        "hub:subjqa/DOMAIN, bundled:sample, a SQuAD JSON file or a folder of such files, or "
        "labels of your own as .jsonl.",
    )


def _review_of(label: Label) -> Review:
    # A text without an item is an item of its own.
    item_id = label.review_id if label.item_id is None else label.item_id
    return Review(label.review_id, item_id, label.context)


def _of_domains(path: str, folders: Iterable[Path], reading: Reading) -> Dataset:
    joined = _Joined()
    for folder in folders:
        read = read_subjqa(folder, reading=reading)
        for label in read.labels:
            joined.add_label(replace(label, meta={"domain": folder.name, **label.meta}), folder)
        for review in read.reviews:
            joined.add_review(review, folder)
    return joined.dataset(path)


def _of_splits(path: str, files: Iterable[Path], reading: Reading) -> Dataset:
    joined = _Joined()
    for file in files:
        for label in read_squad(file, reading):
            named = label
            if label.split is None and file.stem != WHOLE:
                named = replace(label, split=file.stem)
            joined.add_label(named, file)
            joined.add_review(_review_of(label), file)
    return joined.dataset(path)


class _Joined:
    """Labels and reviews of several places, which must not contradict each other."""

    def __init__(self) -> None:
        self._labels: dict[tuple[str | None, str], tuple[Label, Path]] = {}
        self._reviews: dict[str, tuple[Review, Path]] = {}

    def add_label(self, label: Label, place: Path) -> None:
        _, before = self._labels.setdefault((label.split, label.question_id), (label, place))
        if before is not place:
            raise DataError(
                f"question id {label.question_id!r} occurs twice in split {label.split!r}",
                where=f"{before} and {place}",
                remedy="Give every question of a split an id of its own.",
            )

    def add_review(self, review: Review, place: Path) -> None:
        known, before = self._reviews.setdefault(review.id, (review, place))
        if (known.item_id, known.text) != (review.item_id, review.text):
            raise DataError(
                f"review id {review.id!r} stands for two texts or two items",
                where=f"{before} and {place}",
                remedy="Give every review an id of its own.",
            )

    def dataset(self, path: str) -> Dataset:
        return Dataset(
            path,
            tuple(label for label, _ in self._labels.values()),
            tuple(review for review, _ in self._reviews.values()),
        )
