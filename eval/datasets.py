"""Labelled questions and the reviews behind them, from a file or from a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qa_system.datasets.dataset import Dataset, dataset_of, read_dataset
from qa_system.errors import DataError
from qa_system.records import Label

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["load_dataset", "load_labels"]

STORE_PREFIX = "store:"


def load_dataset(path: str | Path, settings: Settings | None = None) -> Dataset:
    """Read a data set from a file, as `read_dataset` does, or from a store.

    Args:
        path: as for `read_dataset`; or `store:NAME`, the labels that `qa-eval labels` wrote into
            a store, with their reviews; or `store:`, those of the store in the settings.
        settings: they say which kind of store `store:` is; None: the defaults, the embedded one.

    Raises:
        DataError: there is no such data set, it is damaged, or two questions of one split have
            the same id.

    >>> "test" in load_dataset("bundled:sample").splits
    True
    """
    name = str(path)
    if name.startswith(STORE_PREFIX):
        return dataset_of(name, _stored_labels(name.removeprefix(STORE_PREFIX), settings))
    return read_dataset(path)


def load_labels(path: str | Path, split: str | None = None) -> tuple[Label, ...]:
    """Read the labels of one split, or of all.

    Raises:
        DataError: the path holds no data set, or there is no such split.
    """
    return load_dataset(path).labels_of(split)


def _stored_labels(name: str, settings: Settings | None) -> tuple[Label, ...]:
    from qa_system.config import Settings
    from qa_system.stores import open_store

    place = (Settings() if settings is None else settings).store
    if name:
        place = place.named(name)
    with open_store(place) as opened:
        labels = tuple(opened.get_labels_aggregated(by_item=False))
    if not labels:
        raise DataError(
            "the store holds no labels",
            where=place.place,
            remedy="Write some: qa-eval labels DATASET --store NAME.",
        )
    return labels
