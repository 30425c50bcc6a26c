"""A recipe's sources, data sets and stores -> texts, and what annotators marked in them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from qa_system.config import StoreSettings
from qa_system.errors import ConfigError
from qa_system.records import Label
from qa_system.training.recipes import Source
from qa_system.training.sources import Fits, Part, check_measured, read_sources

__all__ = ["STORE_PREFIX", "Corpora", "Corpus", "origin_of_texts", "read_corpora", "texts_of_store"]

STORE_PREFIX = "store:"


@dataclass(frozen=True)
class Corpus:
    """One source of a recipe.

    Args:
        source: as the recipe names it.
        labels: what is learnt from; none of a store.
        texts: those that compete, each with its item; None: it belongs to none.
        seed: of what is drawn from it.
    """

    source: Source
    labels: Sequence[Label]
    texts: Mapping[str, str | None]
    seed: int


@dataclass(frozen=True)
class Corpora:
    """What is learnt from and measured on.

    Args:
        train: a corpus for each source.
        measured: each source of dev, then what was held out of each of `train`.
        data: where all that came from, for the run's record.
        asked_on_dev: labels left out of `train`, because dev asks the same.
        too_long: labels left out, because the encoder does not read their question whole.
    """

    train: Sequence[Corpus]
    measured: Sequence[Part]
    data: Sequence[Mapping[str, Any]]
    asked_on_dev: int
    too_long: int = 0


def read_corpora(
    train: Sequence[Source],
    dev: Sequence[Source],
    seed: int,
    *,
    labelled: bool,
    fits: Fits | None = None,
) -> Corpora:
    """Read what a recipe names.

    Args:
        train: to learn from; `store:FOLDER` is the reviews of a store.
        dev: to measure on.
        seed: of the recipe; each corpus has it and its place.
        labelled: whether only labels are learnt from, which no store has.
        fits: tells which questions the encoder reads whole; None: all.

    Raises:
        DataError: a data set, a split or a store is not there, or there is nothing to measure on.
        ConfigError: a store is to be learnt from by its labels.
    """
    sources = read_sources([source for source in train if not _is_store(source)], dev, seed, fits)
    check_measured(sources.measured)
    parts = iter(sources.train)
    corpora: list[Corpus] = []
    data = list(sources.data)
    for place, source in enumerate(train):
        if not _is_store(source):
            labels = next(parts).labels
            texts = {label.context: label.item_id for label in labels}
            corpora.append(Corpus(source, labels, texts, seed + place))
            continue
        if labelled:
            raise ConfigError(
                "a store's reviews have no labels",
                where=source.path,
                remedy="Set labels to teacher or cloze, or name a data set.",
            )
        stored = texts_of_store(source.path.removeprefix(STORE_PREFIX))
        corpora.append(Corpus(source, (), stored, seed + place))
        data.append(origin_of_texts(source.path, None, stored) | {"questions": 0})
    return Corpora(corpora, sources.measured, data, sources.asked_on_dev, sources.too_long)


def _is_store(source: Source) -> bool:
    return source.path.startswith(STORE_PREFIX)


def texts_of_store(path: str) -> dict[str, str | None]:
    """Return the texts of a store's reviews, each with its item."""
    from qa_system.stores import open_store

    with open_store(StoreSettings(path=path)) as store:
        return {
            document.content: document.meta.get("item_id")
            for document in store.filter_documents()
            if document.content
        }


def origin_of_texts(
    path: str, split: str | None, texts: Mapping[str, str | None]
) -> dict[str, Any]:
    """Return what the record says of texts that nobody has labelled."""
    digest = hashlib.sha256()
    for text in sorted(texts):
        digest.update(orjson.dumps([text, texts[text]]))
    return {"path": path, "split": split, "sha256": digest.hexdigest(), "reviews": len(texts)}
