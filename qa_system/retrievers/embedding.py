"""Retrieval by an embedding that another component made, as a Haystack component."""

from __future__ import annotations

from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from qa_system.arguments import checked
from qa_system.config import RetrieverSettings
from qa_system.stages import stage
from qa_system.stores import with_store
from qa_system.stores.contract import ReviewStore

__all__ = ["ReviewEmbeddingRetriever"]

DEFAULTS = RetrieverSettings()


@component
@checked
class ReviewEmbeddingRetriever:
    """Retrieve the documents whose embeddings are nearest to `query_embedding`.

    It takes the output of any text embedder, as Haystack's embedding retrievers do. Only the
    number of dimensions is checked; `DenseRetriever` encodes the question itself, and compares
    its encoder with the one that filled the store.

    Args:
        document_store: the embedded store, or that on a server.
        top_k: documents returned at most.
        filters: Haystack filters, used where `run` is given none.
    """

    def __init__(
        self,
        document_store: ReviewStore,
        top_k: int = DEFAULTS.top_k,
        filters: dict[str, Any] | None = None,
    ) -> None:
        self.document_store = document_store
        self.top_k = top_k
        self.filters = filters

    def to_dict(self) -> dict[str, Any]:
        """Serialise the component and its store."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            top_k=self.top_k,
            filters=self.filters,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ReviewEmbeddingRetriever:
        """Build the component from what `to_dict` returned."""
        return default_from_dict(cls, with_store(data))

    @component.output_types(documents=list[Document])
    def run(
        self,
        query_embedding: list[float],
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve documents, best first, with `score` the store's similarity.

        Args:
            query_embedding: as many numbers as the store's embeddings have.
            filters: take the place of the component's own.
            top_k: takes the place of the component's own.

        Raises:
            EmbeddingError: the embedding has another dimension, or is not finite.
        """
        with stage("dense"):
            documents = self.document_store.search_by_embedding(
                query_embedding,
                top_k=self.top_k if top_k is None else top_k,
                filters=self.filters if filters is None else filters,
            )
        return {"documents": documents}
