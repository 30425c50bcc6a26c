"""A data set: labelled questions and their reviews, from a file of any known format."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import orjson

from qa_system.datasets.jsonl import read_labels_jsonl
from qa_system.datasets.squad import SquadFile
from qa_system.datasets.subjqa import RepairCounts, is_subjqa, read_subjqa
from qa_system.errors import DataError
from qa_system.labels import gold_texts
from qa_system.models.locate import data_place
from qa_system.records import Label, Review

__all__ = ["Dataset", "dataset_of", "read_dataset"]


@dataclass(frozen=True)
class Dataset:
    """Labelled questions and their reviews.

    Args:
        path: where it was read from.
        labels: of all its splits.
        reviews: of all its splits, distinct by id.
        repairs: how its answers' offsets were found; None if its format is not SubjQA.
    """

    path: str
    labels: tuple[Label, ...]
    reviews: tuple[Review, ...]
    repairs: RepairCounts | None = None

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits of its labels."""
        return tuple(dict.fromkeys(label.split for label in self.labels if label.split is not None))

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
                remedy=f"Splits there: {', '.join(self.splits) or 'none; leave out --split'}.",
            )
        return chosen


def read_dataset(path: str | Path) -> Dataset:
    """Read a data set; its content decides the format.

    Args:
        path: a SubjQA folder (or `hub:subjqa/DOMAIN`); a folder of such folders, all of which
            are read, with the folder's name in a label's `meta["domain"]`; a SQuAD `.json`; your
            own labels as `.jsonl` (`qa_system.datasets.jsonl`); or `bundled:sample`.

    Raises:
        DataError: the path holds none of these, it is damaged, or two questions of one split have
            the same id.

    >>> "test" in read_dataset("bundled:sample").splits
    True
    """
    path = data_place(path)
    if is_subjqa(path):
        subjqa = read_subjqa(path)
        return Dataset(path, subjqa.labels, subjqa.reviews, subjqa.repairs)
    if Path(path).suffix == ".jsonl":
        return dataset_of(path, read_labels_jsonl(path))
    if Path(path).suffix == ".json":
        return dataset_of(path, SquadFile.read(path).labels())
    inside = sorted(Path(path).iterdir()) if Path(path).is_dir() else []
    domains = [folder for folder in inside if is_subjqa(folder)]
    if domains:
        return _of_domains(path, domains)
    raise DataError(
        "there is no data set" if Path(path).exists() else "there is nothing",
        where=path,
        remedy="Name a SubjQA folder (train.csv, dev.csv, test.csv) or a folder of such folders, "
        "hub:subjqa/DOMAIN, bundled:sample, a SQuAD JSON file, labels of your own as .jsonl, or, "
        "for qa-eval, store:NAME.",
    )


def dataset_of(path: str, labels: tuple[Label, ...]) -> Dataset:
    """Return a data set of labels and the reviews that they are about."""
    reviews = {label.review_id: _review_of(label) for label in labels}
    return Dataset(path, labels, tuple(reviews.values()))


def _review_of(label: Label) -> Review:
    # A text without an item is an item of its own.
    item_id = label.review_id if label.item_id is None else label.item_id
    return Review(label.review_id, item_id, label.context)


def _of_domains(path: str, folders: Iterable[Path]) -> Dataset:
    labels: dict[tuple[str | None, str], tuple[Label, Path]] = {}
    reviews: dict[str, tuple[Review, Path]] = {}
    repairs = RepairCounts(0, 0, 0, 0)
    for folder in folders:
        read = read_subjqa(folder)
        repairs += read.repairs
        for label in read.labels:
            named = replace(label, meta={"domain": folder.name, **label.meta})
            _, before = labels.setdefault((label.split, label.question_id), (named, folder))
            if before is not folder:
                raise DataError(
                    f"question id {label.question_id!r} occurs twice in split {label.split!r}",
                    where=f"{before} and {folder}",
                    remedy="Give every question of a split an id of its own.",
                )
        for review in read.reviews:
            known, before = reviews.setdefault(review.id, (review, folder))
            if (known.item_id, known.text) != (review.item_id, review.text):
                raise DataError(
                    f"review id {review.id!r} stands for two texts or two items",
                    where=f"{before} and {folder}",
                    remedy="Give every review an id of its own.",
                )
    return Dataset(
        path,
        tuple(label for label, _ in labels.values()),
        tuple(review for review, _ in reviews.values()),
        repairs,
    )
