"""From settings and a data set to a run: what `qa-eval` does, as functions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Literal

from eval.metrics.answer_similarity import answer_similarities
from eval.runs.provenance import made_with
from eval.runs.run import Run, System
from eval.runs.slices import slices_of
from eval.tasks import generator as generation
from eval.tasks import pipeline as end_to_end
from eval.tasks import reader as reading
from eval.tasks import retriever as retrieval
from eval.tasks.candidates import Scope, filters_of, indexed
from eval.tasks.reader import Failure, Prediction, Similarity
from qa_system.config import RankerSettings, Settings
from qa_system.datasets.dataset import Dataset
from qa_system.labels import aggregate
from qa_system.records import Label

__all__ = [
    "generator_run",
    "pipeline_run",
    "predictions_run",
    "reader_run",
    "retriever_run",
    "similarity_of",
]

Mode = Literal["bm25", "dense", "hybrid"]


def retriever_run(
    data: Dataset,
    settings: Settings,
    *,
    split: str | None = None,
    scope: Scope = "item",
    modes: Sequence[Mode] | None = None,
    ks: Sequence[int] = (1, 3, 5, 10),
    aggregated: bool = False,
    own_store: bool = False,
) -> Run:
    """Evaluate retrievers: is the review that answers found?

    Args:
        data: the questions; its reviews are indexed for the while, unless `own_store`.
        settings: `retriever`, `encoder` and `ranker` say what runs. A ranker's pipeline stands
            beside that without it: `bm25 + reader` beside `bm25`.
        split: which questions; None: all.
        scope: which reviews are candidates.
        modes: the retrievers; None: the configured one. BM25 is a reference where it is none of
            them.
        ks: the cut-offs of recall, hit rate and nDCG. Beyond `retriever.top_k` more documents
            are retrieved than users get, and a hybrid's joined scores change with that.
        aggregated: ask the same question about the same item once, and let every review that
            answers it be gold, as the book has it; else each pair of question and review is a
            question of its own.
        own_store: search the store that the settings name.

    Raises:
        EvaluationError: the numbers would mean nothing; see `evaluate_retriever`.
        QASystemError: a store or model cannot be opened.
    """
    from qa_system.stores import open_store

    modes = (settings.retriever.mode,) if modes is None else modes
    labels = _labels(data, split, scope, aggregated=aggregated)
    slices = slices_of(labels, data)
    embed = set(modes) != {"bm25"}
    found: dict[str, System] = {}
    with (
        _over(data, settings, own_store=own_store, embed=embed) as placed,
        open_store(placed.store) as store,
    ):
        for name, run in _retrieving(placed, modes).items():
            found[name] = retrieval.evaluate_retriever(
                labels, store, run, scope=scope, ks=ks, slices=slices
            )
    references = retrieval.references_of(found[modes[0]], ks)
    if "bm25" not in modes:
        references = {"bm25": found.pop("bm25"), **references}
    return Run(
        kind="retriever",
        primary="mrr",
        headline=retrieval.headline_of(ks),
        systems=found,
        references=references,
        made_with=made_with(
            settings,
            data,
            split,
            (_encoders(settings) if embed else {}) | _rankers(settings),
            scope=scope,
            aggregated=aggregated,
            store=settings.store.place if own_store else None,
        ),
    )


def _retrieving(settings: Settings, modes: Sequence[Mode]) -> dict[str, Settings]:
    """Name what is compared: each retriever with the ranker and without, and BM25 in any case."""
    found: dict[str, Settings] = {}
    bare = settings.model_copy(update={"ranker": RankerSettings()})
    for mode in dict.fromkeys((*modes, "bm25")):
        retriever = {"retriever": settings.retriever.model_copy(update={"mode": mode})}
        if settings.ranker.type != "none" and mode in modes:
            found[f"{mode} + {settings.ranker.type}"] = settings.model_copy(update=retriever)
        found[mode] = bare.model_copy(update=retriever)
    return found


def reader_run(
    data: Dataset,
    settings: Settings,
    *,
    split: str | None = None,
    batch: int = reading.BATCH,
    similarity: bool = True,
) -> Run:
    """Evaluate the reader alone: it is given the gold review.

    Args:
        data: the questions.
        settings: `reader` says what runs.
        split: which questions; None: all.
        batch: questions in one call; it changes no result.
        similarity: also give the semantic answer similarity, by the configured encoder.

    Raises:
        EvaluationError: the numbers would mean nothing; see `evaluate_reader`.
        ModelError: the reader or the encoder cannot be loaded.
    """
    from qa_system.pipelines import build_reader

    labels = data.labels_of(split)
    reader = build_reader(settings)
    reader.warm_up()
    system = reading.evaluate_reader(
        labels,
        reader,
        batch=batch,
        slices=slices_of(labels, data),
        similarity=similarity_of(settings) if similarity else None,
    )
    return _reader_run(data, settings, split, system, labels, similarity=similarity, reader=True)


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
    system = reading.score_predictions(
        labels,
        predictions,
        slices=slices_of(labels, data),
        similarity=similarity_of(settings) if similarity else None,
    )
    return _reader_run(data, settings, split, system, labels, similarity=similarity, reader=False)


def pipeline_run(
    data: Dataset,
    settings: Settings,
    *,
    split: str | None = None,
    scope: Scope = "item",
    top_k: int = 3,
    alone: bool = True,
    aggregated: bool = False,
    own_store: bool = False,
    batch: int = reading.BATCH,
    similarity: bool = True,
) -> Run:
    """Evaluate the whole pipeline, beside the reader alone.

    Args:
        data: the questions; its reviews are indexed for the while, unless `own_store`.
        settings: what users run.
        split: which questions; None: all.
        scope: which reviews are candidates.
        top_k: answers looked at.
        alone: also evaluate the reader alone, and say where the points between the two go.
        aggregated: see `retriever_run`.
        own_store: ask the store that the settings name.
        batch: questions in one call; it changes no result.
        similarity: also give the semantic answer similarity, by the configured encoder.

    Raises:
        EvaluationError: the numbers would mean nothing; see `evaluate_pipeline`.
        QASystemError: a store or model cannot be opened.
    """
    from qa_system.system import QASystem

    labels = _labels(data, split, scope, aggregated=aggregated)
    dense = settings.retriever.mode != "bm25"
    with (
        _over(data, settings, own_store=own_store, embed=dense) as placed,
        QASystem.open(placed) as system,
    ):
        systems, first_read = end_to_end.evaluate_pipeline(
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
        headline=end_to_end.headline_of(top_k),
        systems=systems,
        references=reading.references_of(labels, first_read, settings.seed),
        made_with=made_with(
            settings,
            data,
            split,
            models,
            scope=scope,
            top_k=top_k,
            aggregated=aggregated,
            store=settings.store.place if own_store else None,
        ),
    )


def generator_run(
    data: Dataset,
    settings: Settings,
    *,
    split: str | None = None,
    scope: Scope | None = None,
    questions: int | None = None,
    aggregated: bool = False,
    own_store: bool = False,
    batch: int = reading.BATCH,
    similarity: bool = True,
) -> Run:
    """Evaluate the generator: it is given the gold review among others.

    Args:
        data: the questions; its reviews are indexed for the while, unless `own_store`.
        settings: `generator` says what runs, and from how many reviews it answers; `retriever`,
            `encoder` and `ranker` choose them; `reader` stands beside it.
        split: which questions; None: all.
        scope: which reviews are candidates; None: `item` where any question names an item, else
            `open`.
        questions: so many of them, drawn by the settings' seed; None: all.
        aggregated: see `retriever_run`.
        own_store: search the store that the settings name.
        batch: questions in one call.
        similarity: also give the semantic answer similarity, by the configured encoder.

    Raises:
        EvaluationError: the numbers would mean nothing; see `evaluate_generator`.
        QASystemError: a store or model cannot be opened.
    """
    from qa_system.pipelines import build_generator, build_reader
    from qa_system.stores import open_store

    generator, reader = build_generator(settings), build_reader(settings)
    generator.warm_up()
    reader.warm_up()
    if scope is None:
        nameless = all(label.item_id is None for label in data.labels_of(split))
        scope = "open" if nameless else "item"
    labels = _labels(data, split, scope, aggregated=aggregated)
    filters = filters_of(labels, scope)
    if questions is not None and questions < len(labels):
        drawn = sorted(Random(settings.seed).sample(range(len(labels)), questions))
        labels = tuple(labels[at] for at in drawn)
    with (
        _over(data, settings, own_store=own_store, embed=True) as placed,
        open_store(placed.store) as store,
    ):
        systems, first_read = generation.evaluate_generator(
            labels,
            generation.gold_evidence(store, placed, filters),
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
        headline=(*generation.HEADLINE, *(("has_ans_sas",) if similarity else ())),
        systems=systems,
        references=reading.references_of(labels, first_read, settings.seed),
        made_with=made_with(
            settings,
            data,
            split,
            models,
            scope=scope,
            questions=questions,
            aggregated=aggregated,
            store=settings.store.place if own_store else None,
        ),
        pairs=tuple(pair for pair in generation.PAIRS if systems.keys() >= set(pair)),
    )


def similarity_of(settings: Settings) -> Similarity:
    """Load the configured encoder, to judge by it whether answers mean the same.

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
    system: System,
    labels: Sequence[Label],
    *,
    similarity: bool,
    reader: bool,
) -> Run:
    models = {"reader": settings.reader.model} if reader else {}
    if similarity:
        models |= _encoders(settings)
    sas = ("has_ans_sas",) if similarity else ()
    texts = [label.context for label in labels]
    return Run(
        kind="reader",
        primary="f1",
        headline=(*reading.HEADLINE, *sas),
        systems={"reader" if reader else "predictions": system},
        references=reading.references_of(labels, texts, settings.seed),
        made_with=made_with(settings, data, split, models),
    )


def _labels(
    data: Dataset, split: str | None, scope: Scope, *, aggregated: bool
) -> tuple[Label, ...]:
    labels = data.labels_of(split)
    if not aggregated:
        return labels
    # Where other splits' reviews are candidates, those that answer the question are gold too.
    return aggregate(labels, among=None if scope == "item-split" else data.labels)


@contextmanager
def _over(data: Dataset, settings: Settings, *, own_store: bool, embed: bool) -> Iterator[Settings]:
    if own_store:
        yield settings
        return
    with indexed(data.reviews, settings, embed=embed) as placed:
        yield placed


def _rankers(settings: Settings) -> dict[str, str]:
    if settings.ranker.type == "none":
        return {}
    return {"ranker": settings.ranker.model or settings.reader.model}


def _encoders(settings: Settings) -> dict[str, str]:
    found = {"encoder": settings.encoder.model}
    if settings.encoder.question_model is not None:
        found["question_encoder"] = settings.encoder.question_model
    return found
