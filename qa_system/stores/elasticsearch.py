"""The store on an Elasticsearch server, for those who outgrow one machine."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Any, Self, get_args

import numpy as np
from haystack import default_from_dict, default_to_dict
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from numpy.typing import NDArray
from typing_extensions import override

from qa_system.arguments import check_choice, checked
from qa_system.config import ElasticsearchSettings
from qa_system.errors import ConfigError
from qa_system.records import EncoderIdentity, Similarity
from qa_system.review_ids import COPY_OF
from qa_system.stores import checks
from qa_system.stores.async_variants import AsyncVariants
from qa_system.stores.contract import Generation
from qa_system.stores.digests import find_errors
from qa_system.stores.elastic import metadata, reviews, search, status, writing
from qa_system.stores.elastic.beside.digests import DigestIndex
from qa_system.stores.elastic.beside.kept import KeptBeside
from qa_system.stores.elastic.beside.labels import LabelIndex
from qa_system.stores.elastic.bulk import BulkSettings, delete_selected
from qa_system.stores.elastic.connection import Connection, Credentials
from qa_system.stores.elastic.documents import READ_WITH_EMBEDDING, decode
from qa_system.stores.elastic.filters import ALL
from qa_system.stores.elastic.index import ElasticIndex, NewIndex
from qa_system.stores.elastic.mapping import IndexOptions, IndexState
from qa_system.stores.elastic.sentences.search import by_sentences
from qa_system.stores.elastic.versions import aliases, erasure
from qa_system.stores.elastic.versions.selection import select, select_to_change
from qa_system.stores.elastic.versions.versioned import VersionedStore
from qa_system.stores.filters import copies_of
from qa_system.stores.sentences import SentenceRanking
from qa_system.stores.writes import (
    NO_PASSAGES,
    NO_SENTENCES,
    DocumentsRejectedError,
    Forgotten,
    Passages,
    Sentences,
    WriteReport,
)

__all__ = ["ElasticsearchReviewStore"]

DEFAULTS = ElasticsearchSettings(type="elasticsearch")


@checked
class ElasticsearchReviewStore(AsyncVariants, VersionedStore, KeptBeside):
    """Keep reviews on an Elasticsearch server, and find them by words, meaning and metadata.

    It does not subclass `elasticsearch-haystack`'s `ElasticsearchDocumentStore`, whose writes hide
    what was refused, whose reading stops at 10,000 documents, whose updates need server-side
    scripts, and whose metadata fields have the type of the value that came first.

    Args:
        url: the server's address, or several of a cluster separated by commas.
        index: the store's name: an alias, behind which the documents are in `<index>-v1`, and
            after a rebuild in `-v2`; see `new_version`. The name of a version opens that one.
        similarity: of a new index: "dot_product", "cosine" or "l2" (the negative squared
            distance); None: that of the encoder it is bound to, else the dot product.
        embedding_dim: numbers in an embedding of a new index; None: the encoder's, or those of
            the first embedding.
        index_options: how the embeddings of a new index are searched. "flat" reads all that the
            filter leaves: exact, and six times as fast to write; the choice for product pages,
            which always filter. "hnsw" walks a graph, for questions to the whole catalogue;
            "int8_hnsw" the same in a quarter of the memory, its candidates scored exactly.
        shards: of a new index.
        replicas: of a new index.
        refresh_interval: of a new index; a write is found when it returns, whatever this is.
        api_key_env: the name of the environment variable that holds an API key.
        username_env: of that which holds a user's name.
        password_env: of that which holds the user's password.
        ca_certs_env: of that which holds the path of the server's CA certificate.
        verify_certs: False trusts any https server: for trials.
        timeout: seconds that one request may take.
        bulk: how much is written at a time, and for how long an ill server is waited for: the
            arguments of `BulkSettings`.

    Raises:
        ConfigError: an argument is wrong; nothing has been asked of the server yet.
    """

    def __init__(
        self,
        url: str = DEFAULTS.url,
        index: str = DEFAULTS.index,
        *,
        similarity: Similarity | None = DEFAULTS.similarity,
        embedding_dim: int | None = None,
        index_options: IndexOptions = DEFAULTS.index_options,
        shards: int = DEFAULTS.shards,
        replicas: int = DEFAULTS.replicas,
        refresh_interval: str = DEFAULTS.refresh_interval,
        api_key_env: str | None = DEFAULTS.api_key_env,
        username_env: str | None = DEFAULTS.username_env,
        password_env: str | None = DEFAULTS.password_env,
        ca_certs_env: str | None = DEFAULTS.ca_certs_env,
        verify_certs: bool = DEFAULTS.verify_certs,
        timeout: float = DEFAULTS.timeout,
        bulk: dict[str, Any] | None = None,
    ) -> None:
        check_choice("similarity", similarity, (None, *get_args(Similarity)))
        check_choice("index_options", index_options, get_args(IndexOptions))
        self._settings: dict[str, Any] = {
            "url": url,
            "index": index,
            "similarity": similarity,
            "embedding_dim": embedding_dim,
            "index_options": index_options,
            "shards": shards,
            "replicas": replicas,
            "refresh_interval": refresh_interval,
            "api_key_env": api_key_env,
            "username_env": username_env,
            "password_env": password_env,
            "ca_certs_env": ca_certs_env,
            "verify_certs": verify_certs,
            "timeout": timeout,
            "bulk": bulk,
        }
        try:
            settings = BulkSettings(**(bulk or {}))
        except TypeError as error:
            raise ConfigError(f"bulk: {error}", remedy="See BulkSettings.") from error
        credentials = Credentials(api_key_env, username_env, password_env, ca_certs_env)
        self._at = ElasticIndex(
            Connection(url, credentials, verify_certs=verify_certs, timeout=timeout),
            index,
            NewIndex(similarity, embedding_dim, index_options, shards, replicas, refresh_interval),
            settings,
        )
        self._labels = LabelIndex(self._at)
        self._digests = DigestIndex(self._at)

    @property
    def index(self) -> str:
        """The name that the store was opened by: an alias, or a version."""
        return self._at.name

    @override
    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(self, **self._settings)

    @classmethod
    @override
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return default_from_dict(cls, data)

    @override
    def count_documents(self) -> int:
        return self._at.count(None)

    @override
    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        selected = select(self._at, filters)
        if self._at.state() is None:
            return []
        hits = search.pages(self._at.client, self._at.name, selected, READ_WITH_EMBEDDING)
        return [decode(hit) for hit in hits]

    @override
    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        return self._at.count(select(self._at, filters))

    @override
    def count_unique_metadata_by_filter(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        return metadata.count_unique(self._at, metadata_fields, select(self._at, filters))

    @override
    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        return metadata.field_types(self._at)

    @override
    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        return metadata.minimum_and_maximum(self._at, metadata_field)

    @override
    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        selected = select(self._at, filters)
        return metadata.unique_values(self._at, metadata_field, search_term, from_, size, selected)

    @override
    def search_bm25(
        self,
        query: str,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> list[Document]:
        selected = select(self._at, filters)
        return search.by_words(self._at, checks.trimmed(query), top_k, selected, whole_ties)

    @override
    def search_by_embedding(
        self,
        embedding: Sequence[float] | NDArray[Any],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> list[Document]:
        query = checks.query_matrix([embedding], None)
        return self.search_by_embeddings(query, top_k, filters, whole_ties)[0]

    @override
    def search_by_embeddings(
        self,
        embeddings: NDArray[np.floating[Any]],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> list[list[Document]]:
        queries, selected = checks.query_matrix(embeddings, None), select(self._at, filters)
        return search.by_vectors(self._at, queries, top_k, selected, whole_ties)

    @override
    def search_sentences(
        self,
        query: str,
        embedding: Sequence[float] | NDArray[Any] | None = None,
        top_k: int = 50,
        filters: dict[str, Any] | None = None,
        bm25_weight: float = 0.5,
        relevant: float = 0.0,
    ) -> SentenceRanking:
        return by_sentences(
            self._at,
            checks.trimmed(query),
            embedding,
            top_k,
            select(self._at, filters),
            bm25_weight=bm25_weight,
            relevant=relevant,
        )

    @override
    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        report = self.write_bulk(documents, policy)
        if report.rejected:
            raise DocumentsRejectedError(report.rejected, report.written, self._at.where)
        return len(documents) if policy is DuplicatePolicy.OVERWRITE else report.written

    def write_bulk(
        self,
        documents: Sequence[Document],
        policy: DuplicatePolicy = DuplicatePolicy.OVERWRITE,
        stale_ids: Sequence[str] = (),
        passages: Mapping[str, Passages] = NO_PASSAGES,
        sentences: Mapping[str, Sentences] = NO_SENTENCES,
    ) -> WriteReport:
        """Write documents as `write_documents` does, and tell all that came of it.

        A document that cannot be taken is no error here: it stands in the report's `rejected`,
        with its reason, for the reject file of a job that goes on. `write_documents` and `replace`
        describe the arguments, and all other errors.
        """
        return writing.write(self._at, documents, policy, stale_ids, passages, sentences)

    @override
    def replace(
        self,
        documents: Sequence[Document],
        stale_ids: Sequence[str],
        passages: Mapping[str, Passages] = NO_PASSAGES,
        sentences: Mapping[str, Sentences] = NO_SENTENCES,
    ) -> WriteReport:
        overwrite = DuplicatePolicy.OVERWRITE
        return self.write_bulk(documents, overwrite, stale_ids, passages, sentences)

    @override
    def loading(self) -> AbstractContextManager[None]:
        return self._at.loading()

    @override
    def settle(self) -> bool:
        return self._at.settle()

    @override
    def delete_documents(self, document_ids: list[str]) -> None:
        writing.delete(self._at, document_ids)

    @override
    def delete_all_documents(self, recreate_index: bool = False) -> None:
        self._digests.clear()
        if recreate_index:
            self._at.delete()
        elif self._at.state() is not None:
            delete_selected(self._at.writer(), ALL)

    @override
    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        selected = select_to_change(self._at, filters)
        return 0 if selected is None else delete_selected(self._at.writer(), selected)

    @override
    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        selected = select_to_change(self._at, filters)
        return 0 if selected is None else writing.update(self._at, selected, meta)

    @property
    @override
    def encoder(self) -> EncoderIdentity | None:
        state = self._at.state()
        return None if state is None else state.encoder

    @override
    def bind_encoder(self, identity: EncoderIdentity) -> None:
        self.check_encoder(identity)
        state = self._at.state_for_writing() or self._at.create(identity)
        self._check_encoder(state, identity)
        if state.encoder is None:
            self._at.bind(state, identity)

    @override
    def check_encoder(self, identity: EncoderIdentity) -> None:
        checks.check_identity(identity)
        state = self._at.state(fresh=True)
        if state is not None:
            self._check_encoder(state, identity)

    @override
    def forget(self, review_ids: Sequence[str]) -> Forgotten:
        self.update_by_filter(copies_of(review_ids), {COPY_OF: None})
        return erasure.forget(self._at, self._labels, self._digests, review_ids)

    @override
    def documents_of_reviews(self, review_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        return reviews.documents_of_reviews(self._at, review_ids)

    @override
    def iter_ids(self) -> Generator[tuple[str, str | None], None, None]:
        return reviews.iter_ids(self._at)

    @override
    def notes(self) -> dict[str, Any]:
        state = self._at.state(fresh=True)
        return {} if state is None else dict(state.notes)

    @override
    def note(self, values: Mapping[str, Any]) -> None:
        self._at.note(values)

    @override
    def count_items(self) -> int:
        return reviews.count_items(self._at)

    @override
    def has_item(self, item_id: str) -> bool:
        return reviews.has_item(self._at, item_id)

    def stored_similarity(self) -> Similarity | None:
        """Return the similarity that the store was made with, None if it is not there.

        Raises:
            StoreMismatchError: it was made with other settings.
        """
        state = self._at.state(fresh=True)
        return None if state is None else state.similarity

    @override
    def read_generation(self) -> Generation:
        return status.read_generation(self._at)

    @override
    def status(self) -> status.ElasticsearchStatus:
        return status.read_status(self._at, self.count_labels(), self.count_digests())

    @override
    def verify(self) -> list[str]:
        return [*status.verify(self._at), *find_errors(self)]

    @override
    def close(self) -> None:
        self._at.connection.close()

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()

    def _check_encoder(self, state: IndexState, identity: EncoderIdentity) -> None:
        # A version is re-embedded by the name that it stands behind.
        store = f"{self._settings['url']}/{aliases.base_of(self._at.name)}"
        checks.check_encoder(
            identity, state.encoder, state.dimension, where=self._at.where, store=store
        )
