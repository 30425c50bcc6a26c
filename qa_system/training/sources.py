"""A recipe's sources -> what is learnt from and what is measured on; no question is in both."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any, Generic, TypeVar

from qa_system.datasets.dataset import Dataset, read_dataset
from qa_system.datasets.splitting import hold_out
from qa_system.errors import DataError
from qa_system.records import Label
from qa_system.training.recipes import Source
from qa_system.training.record import origin_of

__all__ = ["Fits", "Material", "Part", "Sources", "gather", "read_sources", "unasked"]

Example = TypeVar("Example")
Measured = TypeVar("Measured")

Fits = Callable[[Sequence[str]], Sequence[bool]]
"""Questions -> whether each leaves a model room for a text."""

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
        too_long: labels left out of all three, because their question leaves no room for a text.
    """

    train: tuple[Part, ...]
    dev: tuple[Part, ...]
    held_out: tuple[Part, ...]
    data: tuple[Mapping[str, Any], ...]
    asked_on_dev: int
    too_long: int = 0

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


def read_sources(
    train: Sequence[Source], dev: Sequence[Source], seed: int, fits: Fits | None = None
) -> Sources:
    """Read what a recipe names.

    Data sets may ask the same in several splits, of other annotators: of the 255 questions of dev
    in SubjQA's electronics 249 stand in train, about the same review. What dev asks is therefore
    not learnt from: measured on it, a model would be praised for what it remembers.

    Args:
        train: to learn from; the seed of each part is `seed` and its place.
        dev: to measure on.
        seed: of the recipe.
        fits: tells which questions the model has room for; the others are left out and logged,
            of what is learnt from and of what is measured on. None: all.

    Raises:
        DataError: a data set or a split is not there, dev asks all that a source asks, or no
            question of a source leaves room for a text.
    """
    read = cache(read_dataset)  # a data set's oddities are said once
    tuned = [Part(source, *_labels_of(source, read(source.path)), seed) for source in dev]
    asked = [label for part in tuned for label in part.labels]
    learnt: list[Part] = []
    held_out: list[Part] = []
    data: list[Mapping[str, Any]] = []
    left_out = 0
    for place, source in enumerate(train):
        dataset, labels = _labels_of(source, read(source.path))
        data.append(origin_of(dataset, source.split, len(labels)))
        kept: Sequence[Label] = labels
        if source.held_out:
            kept, apart = hold_out(labels, source.held_out, seed)
            held_out.append(Part(source, dataset, apart, seed))
        fresh = _without_dev(source, kept, asked)
        left_out += len(kept) - len(fresh)
        learnt.append(Part(source, dataset, fresh, seed + place))
    data += [origin_of(part.dataset, part.source.split, len(part.labels)) for part in tuned]
    sources = Sources(tuple(learnt), tuple(tuned), tuple(held_out), tuple(data), left_out)
    return sources if fits is None else _with_room(sources, fits)


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
    counts["question_too_long"] = sources.too_long
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


def _with_room(sources: Sources, fits: Fits) -> Sources:
    """Leave out the questions that leave no room for a text."""

    def kept(parts: Iterable[Part]) -> tuple[Part, ...]:
        return tuple(replace(part, labels=_fitting(part, fits)) for part in parts)

    found = replace(
        sources,
        train=kept(sources.train),
        dev=kept(sources.dev),
        held_out=kept(sources.held_out),
    )
    before, after = (
        sum(len(part.labels) for part in (*each.train, *each.measured)) for each in (sources, found)
    )
    return replace(found, too_long=before - after)


def _fitting(part: Part, fits: Fits) -> Sequence[Label]:
    verdicts = fits([label.question for label in part.labels])
    pairs = list(zip(part.labels, verdicts, strict=True))
    too_long = [label for label, fit in pairs if not fit]
    if not too_long:
        return part.labels
    where = f"{part.source.path}, {part.source.split or 'all of it'}"
    first = too_long[0]
    if len(too_long) == len(pairs):
        raise DataError(
            f"none of {len(pairs)} questions leaves room for a text, the first being "
            f"{first.question_id!r}: {first.question[:60]!r}",
            where=where,
            remedy="Ask shorter questions, or let the model read longer ones: `max_seq_length`, "
            "of a generator `max_source_length`.",
        )
    _log.warning(
        "%s: %d of %d questions are set aside, because they leave no room for a text; the first "
        "is %r: %.60r",
        where,
        len(too_long),
        len(pairs),
        first.question_id,
        first.question,
    )
    return [label for label, fit in pairs if fit]


def _labels_of(source: Source, dataset: Dataset) -> tuple[Dataset, tuple[Label, ...]]:
    return dataset, tuple(dataset.labels_of(source.split))
