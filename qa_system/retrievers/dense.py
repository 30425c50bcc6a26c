"""Retrieval by meaning over either store, as a Haystack component."""

from __future__ import annotations

from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from qa_system.arguments import checked
from qa_system.config import RetrieverSettings
from qa_system.retrievers.late_encoder import LateEncoder
from qa_system.stages import stage
from qa_system.stores import with_store
from qa_system.stores.contract import ReviewStore

__all__ = ["DenseRetriever"]

DEFAULTS = RetrieverSettings()


@component
@checked
class DenseRetriever:
    """Retrieve the documents whose embeddings are nearest to the question's.

    The question is encoded by the model that filled the store; another one is refused. Retrievers
    with the same encoder have one copy of it in memory.

    Args:
        document_store: the embedded store, or that on a server.
        encoder: the encoder's settings, as a dictionary with the keys of `encoder:` in the
            configuration; None takes the defaults (`bundled:encoder`).
        top_k: documents returned at most.
        filters: Haystack filters, used where `run` is given none.
        whole_ties: also return the documents beyond `top_k` whose score is that of the last.
    """

    def __init__(
        self,
        document_store: ReviewStore,
        encoder: dict[str, Any] | None = None,
        top_k: int = DEFAULTS.top_k,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> None:
        self.document_store = document_store
        self.encoder = encoder
        self.top_k = top_k
        self.filters = filters
        self.whole_ties = whole_ties
        self._encoder = LateEncoder(encoder, document_store.check_encoder)

    def to_dict(self) -> dict[str, Any]:
        """Serialise the component and its store."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            encoder=self.encoder,
            top_k=self.top_k,
            filters=self.filters,
            # Left out where it is the default: a pipeline of 0.1 is dumped as it was.
            **({"whole_ties": True} if self.whole_ties else {}),
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> DenseRetriever:
        """Build the component from what `to_dict` returned."""
        return default_from_dict(cls, with_store(data))

    def warm_up(self) -> None:
        """Load the encoder, and compare it with the one that filled the store.

        Raises:
            EncoderMismatchError: they are not the same.
            ModelError: the encoder cannot be loaded.
        """
        self._encoder.get()

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        whole_ties: bool | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve documents, best first, with `score` the store's similarity.

        Args:
            query: the question.
            filters: take the place of the component's own.
            top_k: takes the place of the component's own.
            whole_ties: takes the place of the component's own.
        """
        encoder = self._encoder.get()
        with stage("encode"):
            embedding = encoder.encode_questions([query])[0]
        with stage("dense"):
            documents = self.document_store.search_by_embedding(
                embedding,
                top_k=self.top_k if top_k is None else top_k,
                filters=self.filters if filters is None else filters,
                whole_ties=self.whole_ties if whole_ties is None else whole_ties,
            )
        return {"documents": documents}
