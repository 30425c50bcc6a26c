"""Settings in, Haystack pipelines out.

Every pipeline takes `query` and, where it retrieves, `filters`; Haystack hands flat inputs to all
components that have such a socket: `pipeline.run({"query": ..., "filters": ...})`. The last
component of the retrieving part is always called `retriever`, that of the reading part `reader`.
Pipelines dump to YAML and load back (`Pipeline.dumps`, `load`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from haystack import Pipeline
from haystack.components.joiners import DocumentJoiner
from haystack.core.serialization import allow_deserialization_module

from qa_system.config import RetrieverSettings, Settings
from qa_system.retrievers.bm25 import BM25Retriever
from qa_system.retrievers.dense import DenseRetriever
from qa_system.retrievers.normalize import ScoreNormalizer

if TYPE_CHECKING:
    from qa_system.readers.extractive import ExtractiveReader
    from qa_system.stores.contract import ReviewStore

__all__ = ["build_reader", "extract", "load", "retrieve"]

CANDIDATES_PER_RESULT = 2
"""Hybrid: documents that each retriever hands to the joiner for one that comes out."""

allow_deserialization_module("qa_system.*")


def retrieve(store: ReviewStore, settings: Settings) -> Pipeline:
    """Build question -> documents: BM25, dense, or both joined.

    Args:
        store: the embedded store, or that on a server.
        settings: `retriever` says how, `encoder` by which model.

    Returns:
        A pipeline whose component `retriever` gives `documents`, best first.

    >>> from qa_system.stores import FAISSDocumentStore
    >>> pipeline = retrieve(FAISSDocumentStore("never-opened"), Settings())
    >>> sorted(pipeline.graph.nodes)
    ['bm25', 'bm25_scores', 'dense', 'dense_scores', 'retriever']
    """
    pipeline = Pipeline()
    _add_retriever(pipeline, store, settings)
    return pipeline


def extract(store: ReviewStore, settings: Settings) -> Pipeline:
    """Build question -> documents -> answers by the extractive reader.

    Returns:
        The pipeline of `retrieve`, followed by a component `reader` that gives `answers` and
        `no_answer_probability`.
    """
    pipeline = Pipeline()
    _add_retriever(pipeline, store, settings)
    pipeline.add_component("reader", build_reader(settings))
    pipeline.connect("retriever.documents", "reader.documents")
    return pipeline


def load(text: str) -> Pipeline:
    """Load a pipeline that `Pipeline.dumps` wrote, this project's components allowed."""
    return Pipeline.loads(text)


def build_reader(settings: Settings) -> ExtractiveReader:
    """Build the extractive reader that the settings describe."""
    from qa_system.readers.extractive import ExtractiveReader

    return ExtractiveReader(**settings.reader.model_dump())


def _add_retriever(pipeline: Pipeline, store: ReviewStore, settings: Settings) -> None:
    chosen = settings.retriever
    encoder = settings.encoder.model_dump(exclude_defaults=True)
    if chosen.mode == "bm25":
        pipeline.add_component("retriever", BM25Retriever(store, top_k=chosen.top_k))
    elif chosen.mode == "dense":
        pipeline.add_component("retriever", DenseRetriever(store, encoder, top_k=chosen.top_k))
    else:
        candidates = CANDIDATES_PER_RESULT * chosen.top_k
        pipeline.add_component("bm25", BM25Retriever(store, top_k=candidates))
        pipeline.add_component("dense", DenseRetriever(store, encoder, top_k=candidates))
        _add_joiner(pipeline, chosen)


def _add_joiner(pipeline: Pipeline, chosen: RetrieverSettings) -> None:
    weighted = chosen.join == "weighted_sum"
    joiner = DocumentJoiner(
        join_mode="merge" if weighted else "reciprocal_rank_fusion", top_k=chosen.top_k
    )
    pipeline.add_component("retriever", joiner)
    for name, weight in (("bm25", chosen.bm25_weight), ("dense", 1 - chosen.bm25_weight)):
        if weighted:
            # The joiner takes the mean of the two, hence the factor of two.
            pipeline.add_component(f"{name}_scores", ScoreNormalizer(2 * weight))
            pipeline.connect(f"{name}.documents", f"{name}_scores.documents")
            pipeline.connect(f"{name}_scores.documents", "retriever.documents")
        else:
            pipeline.connect(f"{name}.documents", "retriever.documents")
