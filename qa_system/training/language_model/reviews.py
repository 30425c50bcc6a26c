"""A recipe's sources -> texts of reviews to learn from and to measure on; no item is in both."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qa_system.config import IndexingSettings
from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.splitting import drawn_groups
from qa_system.datasets.subjqa import is_subjqa
from qa_system.errors import ConfigError, DataError
from qa_system.models.locate import data_place
from qa_system.sources.aliases import UnknownColumnsError
from qa_system.sources.files import open_sources
from qa_system.sources.rows import Reject
from qa_system.training.language_model.recipe import ReviewSource
from qa_system.training.retriever.sources import STORE_PREFIX, origin_of_texts, texts_of_store

__all__ = ["Reviews", "read_reviews"]

HEAD = 1 << 16
"""Bytes of a JSON file by which labels are told from reviews."""

Texts = Mapping[str, str | None]
"""Distinct texts, each with its item; None: it belongs to none."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reviews:
    """Texts that are learnt from and measured on.

    Args:
        train: of each source, without what is measured on.
        measured: of each source of dev, then what was held out of each of `train`.
        data: where all that came from, for the run's record.
        counts: of the texts, by what is done with them.
    """

    train: Sequence[Sequence[str]]
    measured: Sequence[Sequence[str]]
    data: Sequence[Mapping[str, Any]]
    counts: Counter[str]


def read_reviews(train: Sequence[ReviewSource], dev: Sequence[ReviewSource], seed: int) -> Reviews:
    """Read what a recipe names.

    Args:
        train: to learn from.
        dev: to measure on.
        seed: of what is held out.

    Raises:
        DataError: a source is not there or has no review, there is nothing to measure on, or
            nothing is left to learn from.
        ConfigError: a column of a file is not known.
    """
    learnt = [_texts_of(source) for source in train]
    measured = [_texts_of(source) for source in dev]
    data = [
        origin_of_texts(source.path, source.split, texts)
        for source, texts in zip([*train, *dev], [*learnt, *measured], strict=True)
    ]
    for source, texts in zip(train, learnt, strict=True):
        if source.held_out:
            groups = drawn_groups(
                {_group_of(*each) for each in texts.items()}, source.held_out, seed
            )
            measured.append(
                {text: item for text, item in texts.items() if _group_of(text, item) in groups}
            )
    if not measured:
        raise DataError(
            "there is nothing to measure on",
            remedy="Set held_out of a source in `train`, or name a source in `dev`.",
        )
    apart = {group for texts in measured for pair in texts.items() for group in _both(*pair)}
    kept = [
        [text for text, item in texts.items() if apart.isdisjoint(_both(text, item))]
        for texts in learnt
    ]
    if not any(kept):
        raise DataError(
            "there is nothing to learn from: every review is of an item that is measured on"
            if any(learnt)
            else "there is nothing to learn from",
            remedy="Name a source in `train` that has other items than `dev`, or hold out less.",
        )
    counts = Counter(
        learnt=sum(map(len, kept)),
        measured=sum(map(len, measured)),
        left_out=sum(map(len, learnt)) - sum(map(len, kept)),
    )
    return Reviews(kept, [list(texts) for texts in measured], data, counts)


def _group_of(text: str, item: str | None) -> str:
    return text if item is None else item


def _both(text: str, item: str | None) -> tuple[tuple[str, str], ...]:
    """Return by what a review is known as one that is measured on: its text, and its item."""
    return (("text", text),) if item is None else (("text", text), ("item", item))


def _texts_of(source: ReviewSource) -> Texts:
    if source.path.startswith(STORE_PREFIX):
        texts: Texts = texts_of_store(source.path.removeprefix(STORE_PREFIX))
    elif source.split is not None or _has_labels(data_place(source.path)):
        texts = {label.context: label.item_id for label in _dataset_labels(source)}
    else:
        texts = _texts_of_files(source)
    if not texts:
        raise DataError("there is no review", where=source.path, remedy="Name another source.")
    return texts


def _dataset_labels(source: ReviewSource) -> Sequence[Any]:
    return read_dataset(source.path).labels_of(source.split)


def _has_labels(path: str) -> bool:
    """Tell whether a path is one of a data set, rather than of review files."""
    place = Path(path)
    if is_subjqa(path):
        return True
    if place.is_dir():
        return any(
            is_subjqa(each) if each.is_dir() else each.suffix == ".json" and _has_labels(str(each))
            for each in place.iterdir()
        )
    if place.suffix not in (".json", ".jsonl") or not place.is_file():
        return False
    with place.open("rb") as file:
        head = file.read(HEAD)
    # Inside a text, these quotation marks would have a backslash before them.
    return b'"paragraphs"' in head or (b'"question"' in head and b'"context"' in head)


def _texts_of_files(source: ReviewSource) -> Texts:
    settings = IndexingSettings(sources=(source.path,), columns=source.columns, item=source.item)
    try:
        rows = open_sources(settings).rows()
    except UnknownColumnsError as error:
        raise ConfigError(
            error.what,
            where=error.where,
            remedy="Say in the recipe which column it is, beside the path: "
            "columns: {text: COLUMN, item_id: COLUMN}, or item: NAME where there are no items.",
        ) from None
    texts: dict[str, str | None] = {}
    rejects: list[Reject] = []
    for row in rows:
        if isinstance(row.record, Reject):
            rejects.append(row.record)
        else:
            item = None if source.item is not None else row.record.item_id
            texts.setdefault(row.record.text, item)
    if rejects:
        first = rejects[0]
        _log.warning(
            "%s: %d rows are no reviews and are left out; the first is line %s: %s, %s",
            source.path,
            len(rejects),
            first.line,
            first.reason,
            first.detail,
        )
    return texts
