"""A recipe's sources -> what a retriever learns from, and what it is measured on."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import orjson

from qa_system.config import PassageSettings, StoreSettings
from qa_system.errors import ConfigError, DataError
from qa_system.passages import split
from qa_system.records import Label
from qa_system.training.negatives import answering_texts
from qa_system.training.recipes import RetrieverTraining, Source, TeacherSettings
from qa_system.training.record import CHECKPOINTS
from qa_system.training.retriever.evaluate import Contest, contest_of
from qa_system.training.retriever.examples import Cut, Pair, Triple, pairs_of, with_negatives
from qa_system.training.retriever.pseudo_labels import (
    Judged,
    asked_in,
    cloze_pairs,
    judge,
    load_teacher,
    to_judge,
)
from qa_system.training.sources import read_sources

__all__ = ["Material", "gather", "lessons_of"]

STORE_PREFIX = "store:"
JUDGED = "judged.json"

Row = TypeVar("Row")


@dataclass(frozen=True)
class Learnt:
    """One source of a recipe.

    Args:
        source: as the recipe names it.
        labels: what is learnt from; none of a store.
        texts: those that compete, each with its item.
    """

    source: Source
    labels: Sequence[Label]
    texts: Mapping[str, str | None]


@dataclass(frozen=True)
class Material:
    """What is learnt from and measured on.

    Args:
        learnt: the sources.
        contests: one for each source of dev, then for what was held out of each of `train`.
        cut: says what of a text is embedded.
        data: where all that came from.
        counts: of what was left out.
    """

    learnt: Sequence[Learnt]
    contests: Sequence[Contest]
    cut: Cut
    data: Sequence[Mapping[str, Any]]
    counts: Counter[str]


def gather(settings: RetrieverTraining, reach: Callable[[str], int]) -> Material:
    """Read a recipe's sources.

    Args:
        settings: the recipe.
        reach: a passage -> how many of its characters the encoder reads.

    Raises:
        DataError: a data set, a split or a store is not there, or has nothing to measure on.
        ConfigError: a store is to be learnt from that has no labels, with `labels: given`.
    """
    cut = _cut_by(settings.passages, reach)
    labelled = [source for source in settings.train if not _is_store(source)]
    sources = read_sources(labelled, settings.dev, settings.seed)
    contests = [contest_of(part.labels, part.dataset.reviews, cut) for part in sources.measured]
    if not contests:
        raise DataError("there is nothing to measure on", remedy="Name a source in `dev`.")
    parts = iter(sources.train)
    learnt: list[Learnt] = []
    data = list(sources.data)
    for source in settings.train:
        if not _is_store(source):
            labels = next(parts).labels
            texts = {label.context: label.item_id for label in labels}
            learnt.append(Learnt(source, labels, texts))
            continue
        if settings.labels == "given":
            raise ConfigError(
                "a store's reviews have no labels",
                where=source.path,
                remedy="Set labels to teacher or cloze, or name a data set.",
            )
        stored = _texts_of_store(source.path.removeprefix(STORE_PREFIX))
        learnt.append(Learnt(source, (), stored))
        data.append(_origin_of_store(source.path, stored))
    counts = Counter(asked_on_dev=sources.asked_on_dev)
    return Material(learnt, contests, cut, data, counts)


def lessons_of(
    material: Material, settings: RetrieverTraining, folder: Path
) -> tuple[list[Triple] | list[Judged], dict[str, int]]:
    """Make of the sources what one epoch goes through.

    Args:
        material: the sources.
        settings: the recipe.
        folder: of the run; what a teacher said is kept there until the run is done, because it
            may take longer than the training.

    Returns:
        Triples, or what a teacher judged; and counts, by kind.

    Raises:
        DataError: there is nothing to learn from, or nothing that could be a negative.
        ModelError: the teacher cannot be loaded.
    """
    if settings.teacher is not None:
        judged = _judged(material, settings, settings.teacher, folder / CHECKPOINTS / JUDGED)
        return _filled(judged), {**material.counts, "judged": len(judged)}
    triples: list[Triple] = []
    counts = Counter(material.counts)
    for place, learnt in enumerate(material.learnt):
        seed = settings.seed + place
        pairs: list[Pair]
        if settings.labels == "given":
            pairs, counted = pairs_of(learnt.labels, material.cut)
        else:
            pairs = cloze_pairs(learnt.texts, material.cut, seed)
            counted = Counter(pairs=len(pairs))
        answering: dict[str, set[str]] = {}
        for (question, _), texts in answering_texts(learnt.labels).items():
            answering.setdefault(question, set()).update(texts)
        of_source, negatives = with_negatives(
            pairs, learnt.texts, answering, settings.negatives, material.cut, seed
        )
        triples += learnt.source.weighted(of_source, seed)
        counts += counted + negatives
    return _filled(triples), dict(counts)


def _judged(
    material: Material, settings: RetrieverTraining, told: TeacherSettings, kept: Path
) -> list[Judged]:
    if kept.is_file():
        return [
            Judged(question, tuple(passages), tuple(scores))
            for question, passages, scores in orjson.loads(kept.read_bytes())
        ]
    groups = []
    for place, learnt in enumerate(material.learnt):
        seed = settings.seed + place
        if told.questions is not None:
            items = learnt.texts.values()
            asked = asked_in(told.questions, items, told.items_per_question, seed)
        else:
            asked = list(dict.fromkeys((label.question, label.item_id) for label in learnt.labels))
        of_source = to_judge(asked, learnt.texts, told.candidates, material.cut, seed)
        groups += learnt.source.weighted(of_source, seed)
    judged = judge(groups, load_teacher(told.model, settings.device)) if groups else []
    rows = [[each.question, each.passages, each.scores] for each in judged]
    unfinished = kept.with_suffix(".part")
    unfinished.write_bytes(orjson.dumps(rows))
    unfinished.replace(kept)
    return judged


def _cut_by(settings: PassageSettings, reach: Callable[[str], int]) -> Cut:
    def cut(text: str) -> list[tuple[int, int]]:
        stretches = split(text, settings.max_words, settings.overlap_words)
        return [(start, start + reach(text[start:end])) for start, end in stretches]

    return cut


def _is_store(source: Source) -> bool:
    return source.path.startswith(STORE_PREFIX)


def _texts_of_store(path: str) -> dict[str, str | None]:
    from qa_system.stores import open_store

    with open_store(StoreSettings(path=path)) as store:
        return {
            document.content: document.meta.get("item_id")
            for document in store.filter_documents()
            if document.content
        }


def _origin_of_store(path: str, texts: Mapping[str, str | None]) -> dict[str, Any]:
    digest = hashlib.sha256()
    for text in sorted(texts):
        digest.update(orjson.dumps([text, texts[text]]))
    return {"path": path, "split": None, "sha256": digest.hexdigest(), "questions": 0}


def _filled(rows: list[Row]) -> list[Row]:
    if not rows:
        raise DataError(
            "there is nothing to learn from", remedy="Name a source in `train` that has labels."
        )
    return rows
