"""From settings and a data set to a run: what `qa-eval` does, as functions."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from eval.metrics import added_names
from eval.metrics.answer_similarity import answer_similarities
from eval.runs.provenance import made_with
from eval.runs.run import Run, System
from eval.runs.slices import slices_of
from eval.tasks.candidates import EVERYTHING, Scope, Selection, filters_of, temporary_index
from eval.tasks.generator import HEADLINE as GENERATOR_HEADLINE
from eval.tasks.generator import PAIRS, evaluate_generator, gold_evidence
from eval.tasks.pipeline import evaluate_pipeline, with_judged
from eval.tasks.pipeline import headline_of as pipeline_headline
from eval.tasks.predictions import (
    ALWAYS_EMPTY,
    Failure,
    Prediction,
    Similarity,
    baselines_of,
    score_predictions,
)
from eval.tasks.reader import BATCH, evaluate_reader
from eval.tasks.reader import HEADLINE as READER_HEADLINE
from eval.tasks.retriever import baselines_of as ranking_baselines_of
from eval.tasks.retriever import evaluate_retriever
from eval.tasks.retriever import headline_of as retriever_headline
from qa_system.config import RankerSettings, Settings, changed
from qa_system.datasets.dataset import Dataset
from qa_system.labels import aggregate
from qa_system.records import Label
from qa_system.retrievers.registry import mode_named, mode_of

__all__ = [
    "generator_run",
    "pipeline_run",
    "predictions_run",
    "reader_run",
    "retriever_run",
    "similarity_of",
]


_log = logging.getLogger(__name__)


def retriever_run(
    data: Dataset,
    settings: Settings,
    selection: Selection = EVERYTHING,
    *,
    modes: Sequence[str] | None = None,
    ks: Sequence[int] = (1, 3, 5, 10),
) -> Run:
    """Evaluate retrievers: is the gold review found?

    Args:
        data: the questions, and the reviews that are searched.
        settings: `retriever`, `encoder` and `ranker` say what runs. With a ranker, each
            retriever is evaluated without it, too: `bm25` beside `bm25 + reader`.
        selection: which questions, and which candidates.
        modes: the retrievers; None: the configured one. BM25 is a baseline where it is none of
            them.
        ks: the cut-offs. Beyond `retriever.top_k` more documents are retrieved than users get,
            and a hybrid's joined scores change with that.

    Raises:
        EvaluationError: the numbers would mean nothing; see `evaluate_retriever`.
        QASystemError: a store or model cannot be opened.
    """
    from qa_system.stores import open_store

    modes = (settings.retriever.mode,) if modes is None else modes
    if max(ks) > settings.retriever.top_k:
        _log.warning(
            "the largest k, %d, is above retriever.top_k, %d: MRR and MAP look at more reviews "
            "than users get, and a hybrid ranks otherwise than for users",
            max(ks),
            settings.retriever.top_k,
        )
    labels, scope = _selected(data, selection)
    slices = slices_of(labels, data)
    embed = any(mode_named(mode).needs_embeddings for mode in modes)
    divide = bool({"sentences", "judged"} & {*modes})
    with (
        _searched(data, settings, selection, embed=embed, divide=divide) as placed,
        open_store(placed.store) as store,
    ):
        systems = {
            name: evaluate_retriever(labels, store, each, scope=scope, ks=ks, slices=slices)
            for name, each in _retrievers(placed, modes).items()
        }
    baselines = ranking_baselines_of(labels, systems[modes[0]], ks)
    if "bm25" not in modes:
        baselines = {"bm25": systems.pop("bm25"), **baselines}
    models = (_encoders(settings) if embed else {}) | _rankers(settings)
    return Run(
        kind="retriever",
        primary="mrr",
        headline=(*retriever_headline(ks), *added_names("retriever", ks)),
        systems=systems,
        baselines=baselines,
        made_with=_made_with(data, settings, selection, models, scope=scope),
    )


def reader_run(
    data: Dataset,
    settings: Settings,
    *,
    split: str | None = None,
    batch: int = BATCH,
    similarity: bool = True,
) -> Run:
    """Evaluate the reader alone: it is given the gold review.

    Args:
        data: the questions.
        settings: `reader` says what runs.
        split: which questions; None: all.
        batch: questions in one call; it changes no result.
        similarity: also score the semantic answer similarity, by the configured encoder.

    Raises:
        EvaluationError: the numbers would mean nothing; see `evaluate_reader`.
        ModelError: the reader or the encoder cannot be loaded.
    """
    from qa_system.pipelines import build_reader

    labels = data.labels_of(split)
    reader = build_reader(settings)
    reader.warm_up()
    system = evaluate_reader(
        labels,
        reader,
        batch=batch,
        slices=slices_of(labels, data),
        similarity=similarity_of(settings) if similarity else None,
    )
    models = {"reader": settings.reader.model} | (_encoders(settings) if similarity else {})
    return _reader_run(data, settings, split, {"reader": system}, models)


def predictions_run(
    data: Dataset,
    settings: Settings,
    predictions: Sequence[Prediction | Failure],
    *,
    split: str | None = None,
    similarity: bool = True,
) -> Run:
    """Score another system's answers, see `load_predictions`, as the reader's are scored."""
    labels = data.labels_of(split)
    system = score_predictions(
        labels,
        predictions,
        slices=slices_of(labels, data),
        similarity=similarity_of(settings) if similarity else None,
    )
    models = _encoders(settings) if similarity else {}
    return _reader_run(data, settings, split, {"predictions": system}, models)


def pipeline_run(
    data: Dataset,
    settings: Settings,
    selection: Selection = EVERYTHING,
    *,
    top_k: int = 3,
    alone: bool = True,
    batch: int = BATCH,
    similarity: bool = True,
) -> Run:
    """Evaluate the whole pipeline, and the reader alone.

    Args:
        data: the questions, and the reviews that are searched.
        settings: what users run.
        selection: which questions, and which candidates.
        top_k: answers scored.
        alone: also evaluate the reader alone, and attribute the points between the two.
        batch: questions in one call; it changes no result.
        similarity: also score the semantic answer similarity, by the configured encoder.

    Raises:
        EvaluationError: the numbers would mean nothing; see `evaluate_pipeline`.
        QASystemError: a store or model cannot be opened.
    """
    from qa_system.pipelines import reads_sentences
    from qa_system.system import QASystem

    labels, scope = _selected(data, selection)
    dense = mode_of(settings).needs_embeddings
    divide = reads_sentences(settings)
    with (
        _searched(data, settings, selection, embed=dense, divide=divide) as placed,
        QASystem.open(placed) as system,
    ):
        systems, first_read = evaluate_pipeline(
            labels,
            system,
            scope=scope,
            top_k=top_k,
            alone=alone,
            batch=batch,
            slices=slices_of(labels, data),
            similarity=similarity_of(settings) if similarity else None,
        )
    models = {"reader": settings.reader.model} | _rankers(settings)
    if dense or similarity:
        models |= _encoders(settings)
    return Run(
        kind="pipeline",
        primary="f1",
        headline=(*pipeline_headline(top_k), *added_names("pipeline", [top_k])),
        systems=systems,
        baselines=with_judged(baselines_of(labels, first_read, settings.seed)),
        made_with=_made_with(data, settings, selection, models, scope=scope, top_k=top_k),
        compared=(ALWAYS_EMPTY,),
    )


def generator_run(
    data: Dataset,
    settings: Settings,
    selection: Selection = EVERYTHING,
    *,
    questions: int | None = None,
    batch: int = BATCH,
    similarity: bool = True,
) -> Run:
    """Evaluate the generator: it is given the gold review among others.

    Args:
        data: the questions, and the reviews that are searched.
        settings: `generator` says what runs, and how many reviews it reads; `retriever`,
            `encoder` and `ranker` choose them; `reader` is compared with it.
        selection: which questions, and which candidates.
        questions: a random sample of so many, by the settings' seed; None: all.
        batch: questions in one call.
        similarity: also score the semantic answer similarity, by the configured encoder.

    Raises:
        EvaluationError: the numbers would mean nothing; see `evaluate_generator`.
        QASystemError: a store or model cannot be opened.
    """
    from qa_system.pipelines import build_generator, build_reader
    from qa_system.stores import open_store

    generator, reader = build_generator(settings), build_reader(settings)
    generator.warm_up()
    reader.warm_up()
    labels, scope = _selected(data, selection)
    filters = filters_of(labels, scope)
    labels = _sample(labels, questions, settings.seed)
    with (
        _searched(data, settings, selection, embed=True, divide=False) as placed,
        open_store(placed.store) as store,
    ):
        systems, first_read = evaluate_generator(
            labels,
            gold_evidence(store, placed, filters),
            generator,
            reader,
            settings.generator,
            batch=batch,
            slices=slices_of(labels, data),
            similarity=similarity_of(settings) if similarity else None,
        )
    models = {"reader": settings.reader.model} | _encoders(settings) | _rankers(settings)
    if settings.generator.type == "rag":
        models |= {"generator": settings.generator.model}
    return Run(
        kind="generator",
        primary="f1",
        headline=_headline(GENERATOR_HEADLINE, systems, added_names("generator")),
        systems=systems,
        baselines=baselines_of(labels, first_read, settings.seed),
        made_with=_made_with(data, settings, selection, models, scope=scope, questions=questions),
        pairs=tuple(pair for pair in PAIRS if systems.keys() >= set(pair)),
    )


def similarity_of(settings: Settings) -> Similarity:
    """Load the configured encoder, which compares the meanings of answers.

    Raises:
        ModelError: it cannot be loaded.
    """
    from qa_system.retrievers.encoders import load_encoder

    encoder = load_encoder(settings.encoder)

    def similarities(said: Sequence[str], references: Sequence[Sequence[str]]) -> list[float]:
        return answer_similarities(said, references, encoder.encode_passages)

    return similarities


def _reader_run(
    data: Dataset,
    settings: Settings,
    split: str | None,
    systems: dict[str, System],
    models: dict[str, str],
) -> Run:
    labels = data.labels_of(split)
    texts = [label.context for label in labels]
    return Run(
        kind="reader",
        primary="f1",
        headline=_headline(READER_HEADLINE, systems, added_names("reader")),
        systems=systems,
        baselines=baselines_of(labels, texts, settings.seed),
        made_with=made_with(settings, data, split, models),
    )


def _headline(
    shown: Sequence[str], systems: dict[str, System], added: Sequence[str]
) -> tuple[str, ...]:
    metrics = next(iter(systems.values())).metrics
    return (*shown, *(("has_ans_sas",) if "has_ans_sas" in metrics else ()), *added)


def _made_with(
    data: Dataset,
    settings: Settings,
    selection: Selection,
    models: dict[str, str],
    *,
    scope: Scope,
    **details: object,
) -> dict[str, Any]:
    return made_with(
        settings,
        data,
        selection.split,
        models,
        scope=scope,
        **details,
        aggregated=selection.aggregated,
        store=settings.store.place if selection.own_store else None,
    )


def _selected(data: Dataset, selection: Selection) -> tuple[tuple[Label, ...], Scope]:
    labels = data.labels_of(selection.split)
    scope = selection.scope_of(labels)
    if not selection.aggregated:
        return labels, scope
    # Where other splits' reviews are candidates, those that answer the question are gold, too.
    return aggregate(labels, among=None if scope == "item-split" else data.labels), scope


def _sample(labels: tuple[Label, ...], size: int | None, seed: int) -> tuple[Label, ...]:
    if size is None or size >= len(labels):
        return labels
    drawn = sorted(Random(seed).sample(range(len(labels)), size))
    return tuple(labels[at] for at in drawn)


@contextmanager
def _searched(
    data: Dataset, settings: Settings, selection: Selection, *, embed: bool, divide: bool
) -> Iterator[Settings]:
    if selection.own_store:
        yield settings
        return
    if not divide:
        settings = changed(settings, {"indexing.sentences": False})
    with temporary_index(data.reviews, settings, embed=embed) as placed:
        yield placed


def _retrievers(settings: Settings, modes: Sequence[str]) -> dict[str, Settings]:
    """Name what is compared: each retriever with the ranker and without, and BM25 in any case."""
    found: dict[str, Settings] = {}
    bare = settings.model_copy(update={"ranker": RankerSettings()})
    for mode in dict.fromkeys((*modes, "bm25")):
        retriever = {"retriever": settings.retriever.model_copy(update={"mode": mode})}
        if settings.ranker.type != "none" and mode in modes:
            found[f"{mode} + {settings.ranker.type}"] = settings.model_copy(update=retriever)
        found[mode] = bare.model_copy(update=retriever)
    return found


def _rankers(settings: Settings) -> dict[str, str]:
    if settings.ranker.type == "none":
        return {}
    return {"ranker": settings.ranker.model or settings.reader.model}


def _encoders(settings: Settings) -> dict[str, str]:
    found = {"encoder": settings.encoder.model}
    if settings.encoder.question_model is not None:
        found["question_encoder"] = settings.encoder.question_model
    return found
