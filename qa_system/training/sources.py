"""A recipe's sources -> what is learnt from and what is measured on; no question is in both."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from qa_system.datasets.dataset import Dataset, read_dataset
from qa_system.datasets.splitting import hold_out
from qa_system.errors import DataError
from qa_system.records import Label
from qa_system.training.recipes import Source
from qa_system.training.record import origin_of

__all__ = ["Material", "Part", "Sources", "gather", "read_sources", "unasked"]

Example = TypeVar("Example")
Measured = TypeVar("Measured")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Part:
    """Labels of one source.

    Args:
        source: as the recipe names it.
        dataset: that they are from.
        labels: to learn from, or to measure on.
        seed: of what is drawn from them.
    """

    source: Source
    dataset: Dataset
    labels: Sequence[Label]
    seed: int


@dataclass(frozen=True)
class Sources:
    """Labels that are learnt from and measured on.

    Args:
        train: a part for each source, without what `dev` asks and what is held out.
        dev: a part for each source.
        held_out: of each source of `train` that holds something out.
        data: where all that came from, for the run's record.
        asked_on_dev: labels left out of `train`, because dev asks the same.
    """

    train: tuple[Part, ...]
    dev: tuple[Part, ...]
    held_out: tuple[Part, ...]
    data: tuple[Mapping[str, Any], ...]
    asked_on_dev: int

    @property
    def measured(self) -> tuple[Part, ...]:
        """What is measured on: dev, then what was held out."""
        return self.dev + self.held_out


@dataclass(frozen=True)
class Material(Generic[Example, Measured]):
    """Examples to learn from, and what is measured on.

    Args:
        examples: of all sources.
        dev: to measure on, by source.
        held_out: to measure on, too, by source that holds something out.
        data: where all that came from, for the run's record.
        counts: of the examples, by kind.
    """

    examples: Sequence[Example]
    dev: Sequence[Measured]
    held_out: Sequence[Measured]
    data: Sequence[Mapping[str, Any]]
    counts: Counter[str]

    @property
    def measured(self) -> list[Measured]:
        """What is measured on: dev, then what was held out."""
        return [*self.dev, *self.held_out]


def read_sources(train: Sequence[Source], dev: Sequence[Source], seed: int) -> Sources:
    """Read what a recipe names.

    Data sets may ask the same in several splits, of other annotators: of the 255 questions of dev
    in SubjQA's electronics 249 stand in train, about the same review. What dev asks is therefore
    not learnt from: measured on it, a model would be praised for what it remembers.

    Args:
        train: to learn from; the seed of each part is `seed` and its place.
        dev: to measure on.
        seed: of the recipe.

    Raises:
        DataError: a data set or a split is not there, or dev asks all that a source asks.
    """
    tuned = [Part(source, *_read(source), seed) for source in dev]
    asked = [label for part in tuned for label in part.labels]
    learnt: list[Part] = []
    held_out: list[Part] = []
    data: list[Mapping[str, Any]] = []
    left_out = 0
    for place, source in enumerate(train):
        dataset, labels = _read(source)
        data.append(origin_of(dataset, source.split, len(labels)))
        kept: Sequence[Label] = labels
        if source.held_out:
            kept, apart = hold_out(labels, source.held_out, seed)
            held_out.append(Part(source, dataset, apart, seed))
        fresh = _without_dev(source, kept, asked)
        left_out += len(kept) - len(fresh)
        learnt.append(Part(source, dataset, fresh, seed + place))
    data += [origin_of(part.dataset, part.source.split, len(part.labels)) for part in tuned]
    return Sources(tuple(learnt), tuple(tuned), tuple(held_out), tuple(data), left_out)


def gather(
    sources: Sources,
    examples_of: Callable[[Part], tuple[Sequence[Example], Counter[str]]],
    measured_of: Callable[[Part], Measured],
) -> Material[Example, Measured]:
    """Turn sources into examples and what is measured on.

    Args:
        sources: of a recipe.
        examples_of: a part of `train` -> its examples, and counts of them by kind.
        measured_of: a part of dev, or one held out -> what is measured on.

    Raises:
        DataError: there is nothing to measure on.
    """
    examples: list[Example] = []
    counts: Counter[str] = Counter(asked_on_dev=sources.asked_on_dev)
    for part in sources.train:
        of_source, counted = examples_of(part)
        examples += of_source
        counts += counted
    check_measured(sources.measured)
    dev = [measured_of(part) for part in sources.dev]
    held_out = [measured_of(part) for part in sources.held_out]
    return Material(examples, dev, held_out, sources.data, counts)


def check_measured(parts: Sequence[Part]) -> None:
    """Raise a DataError if there is nothing to measure on."""
    if not parts:
        raise DataError("there is nothing to measure on", remedy="Name a source in `dev`.")


def unasked(labels: Iterable[Label], asked: Iterable[Label]) -> tuple[Label, ...]:
    """Return the labels whose question others do not ask about the same text.

    >>> one, two = (Label("q", "Is it good?", "B0", "r", text, ()) for text in ("Yes.", "No."))
    >>> [label.context for label in unasked([one, two], [two])]
    ['Yes.']
    """
    known = {(label.question, label.context) for label in asked}
    return tuple(label for label in labels if (label.question, label.context) not in known)


def _without_dev(
    source: Source, labels: Sequence[Label], asked: Sequence[Label]
) -> tuple[Label, ...]:
    fresh = unasked(labels, asked)
    if not fresh and labels:
        raise DataError(
            "dev asks every question that is to be learnt from",
            where=f"{source.path}, {source.split or 'all of it'}",
            remedy="Name another split in `dev`; `qa-eval split` divides a data set.",
        )
    if dropped := len(labels) - len(fresh):
        _log.info(
            "%s: %d of %d questions are asked on dev, too: not learnt from",
            source.path,
            dropped,
            len(labels),
        )
    return fresh


def _read(source: Source) -> tuple[Dataset, tuple[Label, ...]]:
    dataset = read_dataset(source.path)
    return dataset, tuple(dataset.labels_of(source.split))
