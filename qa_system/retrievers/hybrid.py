"""BM25 and dense retrieval in one ranking: a weighted sum of their scores, or of their ranks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qa_system.retrievers.bm25 import BM25Retriever
from qa_system.retrievers.dense import DenseRetriever
from qa_system.retrievers.joiner import CANDIDATES_PER_RESULT, HybridJoiner

if TYPE_CHECKING:
    from haystack import Pipeline

    from qa_system.config import Settings
    from qa_system.stores.contract import ReviewStore

__all__ = ["add_hybrid"]


def add_hybrid(pipeline: Pipeline, store: ReviewStore, settings: Settings) -> None:
    """Add `bm25`, `dense` and the joiner `retriever`."""
    chosen = settings.retriever
    encoder = settings.encoder.model_dump(exclude_defaults=True)
    candidates = CANDIDATES_PER_RESULT * chosen.top_k
    # What a rank is worth depends on all that share it. A weighted sum gives the last scores of
    # a ranking that is cut nothing, so that it makes no difference how many of them there are.
    whole_ties = chosen.join == "reciprocal_rank_fusion"
    pipeline.add_component("bm25", BM25Retriever(store, candidates, whole_ties=whole_ties))
    pipeline.add_component(
        "dense", DenseRetriever(store, encoder, candidates, whole_ties=whole_ties)
    )
    joiner = HybridJoiner(chosen.join, chosen.bm25_weight, chosen.top_k)
    pipeline.add_component("retriever", joiner)
    for name in ("bm25", "dense"):
        pipeline.connect(f"{name}.documents", f"retriever.{name}")
