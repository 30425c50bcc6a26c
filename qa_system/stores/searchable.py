"""What a store of reviews does as a Haystack document store, and how it is searched."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, Self

import numpy as np
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from numpy.typing import NDArray

from qa_system.stores.sentences import SentenceRanking

__all__ = ["SearchableStore"]


class SearchableStore(Protocol):
    """A Haystack document store that also searches.

    Every method from `count_documents` on has an asynchronous variant, `NAME_async`.
    """

    def to_dict(self) -> dict[str, Any]:
        """Serialise the store's settings; there is no secret among them."""
        ...

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """Make a store from what `to_dict` returned.

        Args:
            data: the settings; a store that is there is opened, one that is not is not made yet.
        """
        ...

    def count_documents(self) -> int:
        """Count all documents."""
        ...

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Return all documents that a filter selects, with embeddings, oldest write first.

        A review in passages has an embedding for each, and a document has room for one: it comes
        without.

        Args:
            filters: in Haystack's syntax, at most 500 conditions in 20 groups inside one another;
                None: all documents. A list in the metadata matches where one of its values does;
                what has no order (a text against a number) does not match.

        Raises:
            InvalidFilterError: the filter is malformed or too large, or its value has no order.
        """
        ...

    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Write documents; when the call returns, they are durable and every search finds them.

        The embedded store writes all or none, in one transaction. A server has no transactions:
        it takes what it can, an error names the rest, and a write that was interrupted is
        completed by writing the same documents again under OVERWRITE or SKIP.

        Args:
            documents: with or without embeddings; scores are not kept.
            policy: what to do about an id that is there already, be it in the store or earlier
                in the list: NONE and FAIL raise, SKIP keeps the earlier, OVERWRITE the later.

        Returns:
            How many were written; with OVERWRITE how many were passed.

        Raises:
            DuplicateIdError: naming the ids, under NONE and FAIL. Nothing was written, unless
                another process wrote the same ids to a server meanwhile.
            DocumentTypeError: something else than documents was passed; nothing was written.
            EmbeddingError: an embedding has the wrong dimension, is not finite, or is missing
                although the store has an encoder (embedded store).
            MetadataError: JSON cannot hold the metadata (embedded store).
            DocumentsRejectedError: naming each document that was not taken, and why: its
                embedding, its metadata, or the server's own reason (server).
            StoreLockedError: another process is writing (embedded store).
            StoreUnavailableError: the server did not take them for `BulkSettings.retry_for`
                seconds.
        """
        ...

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete the documents with these ids.

        Args:
            document_ids: ids that are not there are skipped.

        Raises:
            DocumentsRejectedError: naming those that a server could not delete.
            StoreLockedError: another process is writing (embedded store).
        """
        ...

    def delete_all_documents(self, recreate_index: bool = False) -> None:
        """Delete every document.

        Args:
            recreate_index: forget the encoder and the dimension, too; a server's version of the
                index is deleted with them, and the next write makes another.

        Raises:
            StoreLockedError: another process is writing (embedded store).
        """
        ...

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that a filter selects, and return their number.

        Args:
            filters: in Haystack's syntax; an empty one selects all documents.

        Raises:
            InvalidFilterError: see `filter_documents`.
            StoreLockedError: another process is writing (embedded store).
            StoreError: saying how many a server could not delete, and why.
        """
        ...

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Merge metadata into the documents that a filter selects, and return their number.

        The embedded store does so in one transaction. On a server, which may forbid scripts, each
        document is read and written back on condition that nobody has changed it in between;
        those that somebody has changed are read again.

        Args:
            filters: in Haystack's syntax; an empty one selects all documents.
            meta: values to set; other values stay.

        Raises:
            InvalidFilterError: see `filter_documents`.
            MetadataError: JSON cannot hold `meta`.
            DocumentsRejectedError: naming the documents that a server does not take so.
            StoreLockedError: another process is writing (embedded store).
        """
        ...

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Count the documents that a filter selects.

        Args:
            filters: in Haystack's syntax; an empty one selects all documents.

        Raises:
            InvalidFilterError: see `filter_documents`.
        """
        ...

    def count_unique_metadata_by_filter(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """Count each field's distinct values among the documents that a filter selects.

        Args:
            filters: in Haystack's syntax; an empty one selects all documents.
            metadata_fields: with or without `meta.`; the result names them without.

        Raises:
            InvalidFilterError: see `filter_documents`.
        """
        ...

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """Return each metadata field's type: boolean, int, float, date or keyword."""
        ...

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """Return a field's `min` and `max`, None where it has no values that can be ordered.

        Args:
            metadata_field: with or without `meta.`.
        """
        ...

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """Return a page of a field's distinct values, in the order of their text, and their number.

        Args:
            metadata_field: with or without `meta.`.
            search_term: keeps the values whose text has it, whatever its case.
            from_: values to skip.
            size: values to return, at most.
            filters: the documents to look at; None: all.

        Raises:
            InvalidFilterError: see `filter_documents`.
        """
        ...

    def search_bm25(
        self,
        query: str,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> list[Document]:
        """Find documents by the words of a question, best first, with their BM25 as `score`.

        Only `content` is searched, and no word is taken for a similar one. With a filter, the
        documents that it selects but that share no word with the question follow with score 0,
        so that min(top_k, matches) come back. Documents with equal scores are ordered by a hash
        of their ids, here and below, so that no order of writing decides what is found.

        Args:
            query: the question; it has no syntax.
            top_k: documents to return, at most.
            filters: the documents to look at; None: all.
            whole_ties: also return those beyond `top_k` whose score is that of the last.

        Raises:
            InvalidArgumentError: `top_k` is less than 1.
            InvalidFilterError: see `filter_documents`.

        >>> import tempfile
        >>> from qa_system.stores import FAISSDocumentStore
        >>> with FAISSDocumentStore(tempfile.mkdtemp()) as store:
        ...     store.write_documents([Document(id="r1", content="Loud bass.", meta={"stars": 4})])
        ...     [hit.id for hit in store.search_bm25("How is the bass?")]
        1
        ['r1']
        """
        ...

    def search_by_embedding(
        self,
        embedding: Sequence[float] | NDArray[Any],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> list[Document]:
        """Find the documents nearest to an embedding, best first, similarity as `score`.

        With a filter the embedded store returns min(top_k, matches with an embedding), exactly
        the best ones; a server does so where `index_options` is "flat".

        Args:
            embedding: (dimension,) numbers.
            top_k: documents to return, at most; a server allows 10,000.
            filters: the documents to look at; None: all.
            whole_ties: also return those beyond `top_k` whose score is that of the last; a server
                returns 10,000 in all.

        Raises:
            EmbeddingError: the embedding is of another dimension, or not finite.
            InvalidFilterError: see `filter_documents`.
            StoreError: `top_k` is more than the server allows.
        """
        ...

    def search_by_embeddings(
        self,
        embeddings: NDArray[np.floating[Any]],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> list[list[Document]]:
        """Find the documents nearest to each of several embeddings; see `search_by_embedding`.

        Args:
            embeddings: (n, dimension) numbers.
            top_k: documents to return for each, at most.
            filters: the documents to look at; None: all.
            whole_ties: see `search_by_embedding`.

        Returns:
            A list for each embedding.

        Raises: as `search_by_embedding`.
        """
        ...

    def search_sentences(
        self,
        query: str,
        embedding: Sequence[float] | NDArray[Any] | None = None,
        top_k: int = 50,
        filters: dict[str, Any] | None = None,
        bm25_weight: float = 0.5,
        relevant: float = 0.0,
    ) -> SentenceRanking:
        """Find the sentences that fit a question best, and the reviews that they are in.

        Every sentence of the documents that the filter selects is scored (`stores.sentences`),
        unless they are very many: then those of the reviews that `search_bm25` and
        `search_by_embedding` find first, and the result says so. A document that was written
        without sentences is divided now; there the similarity of the whole document takes the
        place of its sentences' own.

        Args:
            query: the question, in plain words.
            embedding: the question's, (dimension,) numbers; None: its words alone count.
            top_k: the best `top_k` sentences are returned, and the best `top_k` documents with at
                least the best sentence of each.
            filters: the documents to look at; None: all.
            bm25_weight: share of the words in a score, from 0 to 1; the embedding has the rest.
            relevant: the score from which on a sentence makes its review count as `considered`.

        Raises:
            InvalidArgumentError: `top_k` is less than 1, or `bm25_weight` no share.
            EmbeddingError: the embedding is of another dimension, or not finite.
            InvalidFilterError: see `filter_documents`.

        >>> import tempfile
        >>> from qa_system.stores import FAISSDocumentStore
        >>> with FAISSDocumentStore(tempfile.mkdtemp()) as store:
        ...     _ = store.write_documents([Document(id="r1", content="Red. The bass is loud.")])
        ...     found = store.search_sentences("How loud is it?")
        ...     [(one.start, one.end, round(one.score, 2)) for one in found.sentences[0]]
        [(5, 22, 1.0), (0, 4, 0.0)]
        """
        ...
