"""The asynchronous variants of a store's methods: the same work, on a thread."""

from __future__ import annotations

from asyncio import to_thread
from collections.abc import Sequence
from typing import Any

import numpy as np
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from numpy.typing import NDArray

from qa_system.stores.searchable import SearchableStore
from qa_system.stores.sentences import SentenceRanking

__all__ = ["AsyncVariants"]


class AsyncVariants(SearchableStore):
    """Each `NAME_async` does what `NAME` does, while the event loop goes on.

    SQLite, tantivy, FAISS and a socket let go of Python's lock while they work.
    """

    async def count_documents_async(self) -> int:
        """See `count_documents`."""
        return await to_thread(self.count_documents)

    async def filter_documents_async(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """See `filter_documents`."""
        return await to_thread(self.filter_documents, filters)

    async def write_documents_async(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """See `write_documents`."""
        return await to_thread(self.write_documents, documents, policy)

    async def delete_documents_async(self, document_ids: list[str]) -> None:
        """See `delete_documents`."""
        await to_thread(self.delete_documents, document_ids)

    async def delete_all_documents_async(self, recreate_index: bool = False) -> None:
        """See `delete_all_documents`."""
        await to_thread(self.delete_all_documents, recreate_index)

    async def delete_by_filter_async(self, filters: dict[str, Any]) -> int:
        """See `delete_by_filter`."""
        return await to_thread(self.delete_by_filter, filters)

    async def update_by_filter_async(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """See `update_by_filter`."""
        return await to_thread(self.update_by_filter, filters, meta)

    async def count_documents_by_filter_async(self, filters: dict[str, Any]) -> int:
        """See `count_documents_by_filter`."""
        return await to_thread(self.count_documents_by_filter, filters)

    async def count_unique_metadata_by_filter_async(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """See `count_unique_metadata_by_filter`."""
        return await to_thread(self.count_unique_metadata_by_filter, filters, metadata_fields)

    async def get_metadata_fields_info_async(self) -> dict[str, dict[str, str]]:
        """See `get_metadata_fields_info`."""
        return await to_thread(self.get_metadata_fields_info)

    async def get_metadata_field_min_max_async(self, metadata_field: str) -> dict[str, Any]:
        """See `get_metadata_field_min_max`."""
        return await to_thread(self.get_metadata_field_min_max, metadata_field)

    async def get_metadata_field_unique_values_async(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """See `get_metadata_field_unique_values`."""
        return await to_thread(
            self.get_metadata_field_unique_values,
            metadata_field,
            search_term,
            from_,
            size,
            filters,
        )

    async def search_bm25_async(
        self,
        query: str,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> list[Document]:
        """See `search_bm25`."""
        return await to_thread(self.search_bm25, query, top_k, filters, whole_ties)

    async def search_by_embedding_async(
        self,
        embedding: Sequence[float] | NDArray[Any],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> list[Document]:
        """See `search_by_embedding`."""
        return await to_thread(self.search_by_embedding, embedding, top_k, filters, whole_ties)

    async def search_by_embeddings_async(
        self,
        embeddings: NDArray[np.floating[Any]],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> list[list[Document]]:
        """See `search_by_embeddings`."""
        return await to_thread(self.search_by_embeddings, embeddings, top_k, filters, whole_ties)

    async def search_sentences_async(
        self,
        query: str,
        embedding: Sequence[float] | NDArray[Any] | None = None,
        top_k: int = 50,
        filters: dict[str, Any] | None = None,
        bm25_weight: float = 0.5,
        relevant: float = 0.0,
    ) -> SentenceRanking:
        """See `search_sentences`."""
        return await to_thread(
            self.search_sentences, query, embedding, top_k, filters, bm25_weight, relevant
        )
