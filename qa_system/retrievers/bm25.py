"""BM25 over either store, as a Haystack component."""

from __future__ import annotations

from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from qa_system.arguments import checked
from qa_system.config import RetrieverSettings
from qa_system.stages import stage
from qa_system.stores import with_store
from qa_system.stores.contract import ReviewStore

__all__ = ["BM25Retriever"]

DEFAULTS = RetrieverSettings()


@component
@checked
class BM25Retriever:
    """Retrieve the documents that share the question's words, rare words first.

    With a filter, documents that share no word still follow with score 0, so that
    `min(top_k, matches)` come back.

    Args:
        document_store: the embedded store, or that on a server.
        top_k: documents returned at most.
        filters: Haystack filters, used where `run` is given none.
        whole_ties: also return the documents beyond `top_k` whose score is that of the last.

    >>> import tempfile
    >>> from qa_system.stores import FAISSDocumentStore
    >>> with FAISSDocumentStore(tempfile.mkdtemp()) as store:
    ...     _ = store.write_documents([Document(id="r1", content="Great for reading in bed.")])
    ...     retriever = BM25Retriever(store)
    ...     [document.id for document in retriever.run("good for reading?")["documents"]]
    ['r1']
    """

    def __init__(
        self,
        document_store: ReviewStore,
        top_k: int = DEFAULTS.top_k,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> None:
        self.document_store = document_store
        self.top_k = top_k
        self.filters = filters
        self.whole_ties = whole_ties

    def to_dict(self) -> dict[str, Any]:
        """Serialise the component and its store."""
        return default_to_dict(
            self,
            document_store=self.document_store.to_dict(),
            top_k=self.top_k,
            filters=self.filters,
            # Left out where it is the default: a pipeline of 0.1 is dumped as it was.
            **({"whole_ties": True} if self.whole_ties else {}),
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> BM25Retriever:
        """Build the component from what `to_dict` returned."""
        return default_from_dict(cls, with_store(data))

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        filters: dict[str, Any] | None = None,
        top_k: int | None = None,
        whole_ties: bool | None = None,
    ) -> dict[str, list[Document]]:
        """Retrieve documents, best first, with `score` the BM25 score.

        Args:
            query: the question.
            filters: take the place of the component's own.
            top_k: takes the place of the component's own.
            whole_ties: takes the place of the component's own.
        """
        with stage("bm25"):
            documents = self.document_store.search_bm25(
                query,
                top_k=self.top_k if top_k is None else top_k,
                filters=self.filters if filters is None else filters,
                whole_ties=self.whole_ties if whole_ties is None else whole_ties,
            )
        return {"documents": documents}
