"""Labelled questions and the reviews behind them, from any data set that can be read."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import orjson

from qa_system.datasets import UNLOCATED
from qa_system.datasets.squad import SquadFile
from qa_system.datasets.subjqa import RepairCounts, is_subjqa, read_subjqa
from qa_system.errors import DataError
from qa_system.models import data_place
from qa_system.records import Label, Review

__all__ = ["Dataset", "gold_documents", "gold_texts", "load_dataset", "load_labels"]


@dataclass(frozen=True)
class Dataset:
    """A data set for evaluation.

    Args:
        path: where it was read from.
        labels: of all its splits.
        reviews: distinct by id, all splits together.
        repairs: how its answers' offsets were found; None where they came exact.
    """

    path: str
    labels: tuple[Label, ...]
    reviews: tuple[Review, ...]
    repairs: RepairCounts | None = None

    @cached_property
    def splits(self) -> tuple[str, ...]:
        """The splits that its labels stand in."""
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
        """Give the labels of one split; None gives all.

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


def load_dataset(path: str | Path) -> Dataset:
    """Read a data set, recognised by what it holds: SubjQA or SQuAD.

    Args:
        path: a SubjQA folder (or `hub:subjqa/DOMAIN`), a SQuAD JSON file, or `bundled:sample`.

    Raises:
        DataError: the path holds neither, or it is damaged.

    >>> "test" in load_dataset("bundled:sample").splits
    True
    """
    path = data_place(path)
    if is_subjqa(path):
        subjqa = read_subjqa(path)
        return Dataset(str(path), subjqa.labels, subjqa.reviews, subjqa.repairs)
    if Path(path).suffix == ".json":
        labels = SquadFile.read(path).labels()
        return Dataset(
            str(path),
            labels,
            tuple({label.review_id: _review_of(label) for label in labels}.values()),
        )
    raise DataError(
        "there is no data set" if Path(path).exists() else "there is nothing",
        where=str(path),
        remedy="Name a SubjQA folder (train.csv, dev.csv, test.csv) or a SQuAD JSON file.",
    )


def _review_of(label: Label) -> Review:
    # A text that belongs to no item is one of its own.
    item_id = label.review_id if label.item_id is None else label.item_id
    return Review(label.review_id, item_id, label.context)


def load_labels(path: str | Path, split: str | None = None) -> tuple[Label, ...]:
    """Read the labels of one split, or of all.

    Raises:
        DataError: the path holds no data set, or there is no such split.
    """
    return load_dataset(path).labels_of(split)


def gold_texts(label: Label) -> tuple[str, ...]:
    """Give the distinct answers that count as right; none if the question has no answer.

    Answers whose place in the review was not found count, as they were written down, only
    where there is no other: a question with such answers is no unanswerable one.

    >>> gold_texts(Label("q", "How is it?", None, "r", "Good.", ()))
    ()
    """
    located = dict.fromkeys(span.text for span in label.answers)
    return tuple(located) if located else tuple(label.meta.get(UNLOCATED, ()))


def gold_documents(label: Label) -> frozenset[str]:
    """Give the ids of the reviews that answer the question; none if it has no answer."""
    return frozenset({label.review_id}) if gold_texts(label) else frozenset()
