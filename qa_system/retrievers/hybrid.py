"""BM25 and dense retrieval in one ranking: a weighted sum of their scores, or of their ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from haystack.components.joiners import DocumentJoiner

from qa_system.retrievers.bm25 import BM25Retriever
from qa_system.retrievers.dense import DenseRetriever
from qa_system.retrievers.normalize import ScoreNormalizer

if TYPE_CHECKING:
    from haystack import Pipeline

    from qa_system.config import Settings
    from qa_system.stores.contract import ReviewStore

__all__ = ["add_hybrid"]

CANDIDATES_PER_RESULT = 2
"""Documents that each retriever hands to the joiner for one that comes out."""


def add_hybrid(pipeline: Pipeline, store: ReviewStore, settings: Settings) -> None:
    """Add `bm25`, `dense` and the joiner `retriever`."""
    chosen = settings.retriever
    encoder = settings.encoder.model_dump(exclude_defaults=True)
    candidates = CANDIDATES_PER_RESULT * chosen.top_k
    pipeline.add_component("bm25", BM25Retriever(store, top_k=candidates))
    pipeline.add_component("dense", DenseRetriever(store, encoder, top_k=candidates))
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
