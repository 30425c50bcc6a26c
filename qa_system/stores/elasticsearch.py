"""The store on an Elasticsearch server, for those who outgrow one machine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, get_args

import numpy as np
from haystack import default_from_dict, default_to_dict
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from numpy.typing import NDArray

from qa_system.errors import (
    ConfigError,
    EmbeddingError,
    EncoderMismatchError,
    StoreError,
    StoreNotFoundError,
)
from qa_system.labels import aggregate, join_annotators
from qa_system.records import EncoderIdentity, Label, Similarity
from qa_system.stores import (
    elastic_labels,
    elastic_metadata,
    elastic_search,
    elastic_versions,
    elastic_writing,
)
from qa_system.stores.async_twins import AsyncTwins
from qa_system.stores.contract import DocumentsRejectedError, WriteReport
from qa_system.stores.elastic_bulk import BulkSettings, delete_selected
from qa_system.stores.elastic_connection import Connection, Credentials, explained
from qa_system.stores.elastic_documents import READ_WITH_EMBEDDING, decode
from qa_system.stores.elastic_filters import Query, compile_query
from qa_system.stores.elastic_index import ElasticIndex, NewIndex
from qa_system.stores.elastic_mapping import IndexOptions, IndexState, embedding_field, meta_of
from qa_system.stores.elastic_search import WINDOW, pages
from qa_system.stores.search import check_top_k, query_matrix

if TYPE_CHECKING:
    from qa_system.stores.reembedding import PassageEncoder

__all__ = ["ElasticsearchReviewStore", "ElasticsearchStatus"]

REVIEWS_AT_ONCE: Final = 1_000
SAMPLES: Final = 10
"""Documents of a new version by which it is asked before it is promoted."""


@dataclass(frozen=True, slots=True)
class ElasticsearchStatus:
    """What a store holds.

    Args:
        path: the server and the name of the index.
        index: the version behind that name; None where there is none yet.
        versions: every version that is kept.
        documents: how many there are.
        items: distinct `meta.item_id`s.
        embedded: documents with an embedding.
        labels: labelled questions beside them.
        embedding_dim: numbers in an embedding; None before the first.
        similarity: how embeddings are compared.
        index_options: how they are searched.
        shards: of the version.
        encoder: who made the embeddings; None where nobody said.
        bytes_on_disk: of the version, replicas not counted.
    """

    path: str
    index: str | None
    versions: tuple[str, ...]
    documents: int
    items: int
    embedded: int
    labels: int
    embedding_dim: int | None
    similarity: Similarity
    index_options: IndexOptions
    shards: int
    encoder: EncoderIdentity | None
    bytes_on_disk: int


class ElasticsearchReviewStore(AsyncTwins):
    """Keep reviews on an Elasticsearch server, and find them by words, meaning and metadata.

    The same contract as `FAISSDocumentStore`. When a write returns, what it wrote is acknowledged
    by the server and found by every search. A write is no transaction: if some documents are
    refused, the others are in (`DocumentsRejectedError` names them); if it is broken off, the
    part that was sent is in, and writing it again under OVERWRITE or SKIP doubles nothing.

    It is neither a subclass of `elasticsearch-haystack`'s `ElasticsearchDocumentStore` nor wraps
    one, but stands on the same official client. Not one of that store's methods could be kept:
    its writes hide what was refused, its reading stops at 10,000 documents, its updates need
    server-side scripts, and it keeps metadata of any kind as fields of the type that came first.
    A subclass would have inherited whatever the next version adds, for documents of another
    layout.

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
        url: str = "http://localhost:9200",
        index: str = "reviews",
        *,
        similarity: Similarity | None = None,
        embedding_dim: int | None = None,
        index_options: IndexOptions = "flat",
        shards: int = 1,
        replicas: int = 1,
        refresh_interval: str = "1s",
        api_key_env: str | None = None,
        username_env: str | None = None,
        password_env: str | None = None,
        ca_certs_env: str | None = None,
        verify_certs: bool = True,
        timeout: float = 30.0,
        bulk: dict[str, Any] | None = None,
    ) -> None:
        _check_choice("similarity", similarity, (None, *get_args(Similarity)))
        _check_choice("index_options", index_options, get_args(IndexOptions))
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
        self._labels = f"{elastic_versions.base_of(index)}-labels"
        try:
            settings = BulkSettings(**(bulk or {}))
        except TypeError as fault:
            raise ConfigError(f"bulk: {fault}", remedy="See BulkSettings.") from fault
        credentials = Credentials(api_key_env, username_env, password_env, ca_certs_env)
        self._at = ElasticIndex(
            Connection(url, credentials, verify_certs=verify_certs, timeout=timeout),
            index,
            NewIndex(similarity, embedding_dim, index_options, shards, replicas, refresh_interval),
            settings,
        )

    @property
    def index(self) -> str:
        """The name that the store was opened by: an alias, or a version."""
        return self._at.name

    def to_dict(self) -> dict[str, Any]:
        """Serialise the store's settings; there is no secret among them."""
        return default_to_dict(self, **self._settings)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ElasticsearchReviewStore:
        """Make the store from what `to_dict` gave."""
        store: ElasticsearchReviewStore = default_from_dict(cls, data)
        return store

    # --- reading

    def count_documents(self) -> int:
        """Count all documents."""
        return self._at.count(None)

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Give all documents that a filter selects, with embeddings, oldest write first.

        Raises:
            InvalidFilterError: the filter is malformed, or asks what the index cannot tell.
        """
        selected = compile_query(filters)
        if self._at.state() is None:
            return []
        hits = pages(self._at.client, self._at.name, selected, READ_WITH_EMBEDDING)
        return [decode(hit) for hit in hits]

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Count the documents that a filter selects."""
        return self._at.count(compile_query(filters))

    def count_unique_metadata_by_filter(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """Count each field's distinct values among the documents that a filter selects."""
        selected = compile_query(filters)
        if self._at.state() is None:
            return {field.removeprefix("meta."): 0 for field in metadata_fields}
        return {
            field.removeprefix("meta."): elastic_metadata.count_values(
                self._at.client, self._at.name, field, selected
            )
            for field in metadata_fields
        }

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """Give each metadata field's type: boolean, int, float, date or keyword."""
        if self._at.state() is None:
            return {}
        return elastic_metadata.field_types(self._at.client, self._at.name)

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """Give a field's `min` and `max`, None where it has no values that can be ordered."""
        if self._at.state() is None:
            return {"min": None, "max": None}
        return elastic_metadata.extremes(self._at.client, self._at.name, metadata_field)

    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        """Give a page of a field's distinct values, in the order of their text, and their number.

        Args:
            metadata_field: with or without `meta.`.
            search_term: keeps the values whose text has it, whatever its case.
            from_: values to pass over.
            size: values to give, at most.
            filters: the documents to look at.
        """
        selected = compile_query(filters)
        if self._at.state() is None:
            return [], 0
        wanted = None if search_term is None else search_term.lower()
        values = [
            value
            for value in elastic_metadata.unique_values(
                self._at.client, self._at.name, metadata_field, selected
            )
            if wanted is None or wanted in str(value).lower()
        ]
        values.sort(key=lambda value: (str(value), type(value).__name__))
        return values[from_ : from_ + size], len(values)

    # --- searching

    def search_bm25(
        self, query: str, top_k: int = 10, filters: dict[str, Any] | None = None
    ) -> list[Document]:
        """Find documents by the words of a question, best first, with their BM25 as `score`.

        Only `content` is searched, no word is taken for a similar one. With a filter, the
        documents that it selects but that share no word with the question follow with score 0,
        so that min(top_k, matches) come back.

        Raises:
            InvalidFilterError: the filter is malformed, or asks what the index cannot tell.
        """
        check_top_k(top_k)
        selected = compile_query(filters)
        state = self._at.state()
        if state is None:
            return []
        return elastic_search.by_words(
            self._at.client, self._at.name, state.shards, query, top_k, selected
        )

    def search_by_embedding(
        self,
        embedding: Sequence[float] | NDArray[Any],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> list[Document]:
        """Find the documents nearest to an embedding, best first, similarity as `score`.

        Raises:
            EmbeddingError: the embedding is of another dimension, or not finite.
            InvalidFilterError: the filter is malformed, or asks what the index cannot tell.
            StoreError: `top_k` is more than the server's 10,000.
        """
        return self._by_vectors([embedding], top_k, filters)[0]

    def search_by_embeddings(
        self,
        embeddings: NDArray[np.floating[Any]],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> list[list[Document]]:
        """Find the documents nearest to each of (n, d) embeddings; see `search_by_embedding`."""
        return self._by_vectors(embeddings, top_k, filters)

    def _by_vectors(
        self, embeddings: Any, top_k: int, filters: dict[str, Any] | None
    ) -> list[list[Document]]:
        check_top_k(top_k)
        selected = compile_query(filters)
        queries = query_matrix(embeddings, None)
        if not len(queries):
            return []
        return elastic_search.by_vectors(
            self._at.client, self._at.name, self._at.state_with_dimension, queries, top_k, selected
        )

    # --- writing

    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Write documents; when the call returns they are acknowledged and found.

        Args:
            documents: with or without embeddings; scores are not kept.
            policy: what to do about an id that is there already, be it in the store or earlier
                in the list: NONE and FAIL raise, SKIP keeps the earlier, OVERWRITE the later.

        Returns:
            How many were written; with OVERWRITE how many were given.

        Raises:
            DuplicateIdError: naming the ids, under NONE and FAIL; nothing was written, unless
                another process wrote the same ids meanwhile.
            DocumentsRejectedError: naming each document that was not taken, and why: its
                embedding, its metadata, or the server's own reason. All others are written.
            DocumentTypeError: something else than documents was given; nothing was written.
            StoreUnavailableError: the server did not take them for `BulkSettings.retry_for`
                seconds.
        """
        report = self.write_bulk(documents, policy)
        if report.rejected:
            raise DocumentsRejectedError(report.rejected, report.written, self._at.where)
        return len(documents) if policy is DuplicatePolicy.OVERWRITE else report.written

    def write_bulk(
        self,
        documents: Sequence[Document],
        policy: DuplicatePolicy = DuplicatePolicy.OVERWRITE,
        stale_ids: Sequence[str] = (),
    ) -> WriteReport:
        """Write documents as `write_documents` does, and tell all that came of it.

        A document that cannot be taken is no error here: it stands in the report's `rejected`,
        with its reason, for the reject file of a job that goes on.

        Args:
            documents: to write.
            policy: what to do about ids that are there already.
            stale_ids: of documents to delete, when all others are written.

        Raises: as `write_documents`, but for DocumentsRejectedError.
        """
        return elastic_writing.write(self._at, documents, policy, stale_ids)

    def replace(self, documents: Sequence[Document], stale_ids: Sequence[str]) -> WriteReport:
        """Write documents over what is there, then delete others; tell all that came of it.

        A document that cannot be taken stands in the report's `rejected`; see `write_bulk`.
        """
        return self.write_bulk(documents, DuplicatePolicy.OVERWRITE, stale_ids)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Let many writes be found only when the block ends, which makes each of them cheaper.

        Inside, everything that the store is asked waits for a server that is down, as writes do
        (`BulkSettings.retry_for`). What other processes write is found at the block's end, too.
        If this process is killed, `settle` or opening the block again sets things right.
        """
        with self._at.loading():
            yield

    def settle(self) -> bool:
        """Let everything written be found, also what a `loading` that was killed has left.

        Returns:
            Whether the index's refresh was off and is on again.
        """
        return self._at.settle()

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete the documents with these ids; ids that are not there are passed over.

        Raises:
            DocumentsRejectedError: naming those that the server could not delete.
        """
        if not document_ids or self._at.state() is None:
            return
        report = self.write_bulk([], stale_ids=document_ids)
        if report.rejected:
            raise DocumentsRejectedError(report.rejected, report.deleted, self._at.where)

    def delete_all_documents(self, recreate_index: bool = False) -> None:
        """Delete every document.

        Args:
            recreate_index: delete the version itself, too, with what it knows of encoder and
                dimension; the next write makes another.
        """
        state = self._at.state()
        if state is None:
            return
        if not recreate_index:
            delete_selected(self._at.writer(), {"match_all": {}})
            return
        with explained(self._at.where):
            self._at.client.indices.delete(index=state.index)
        self._at.forget()

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that a filter selects, and give their number.

        Raises:
            StoreError: telling how many could not be deleted, and why.
        """
        selected = compile_query(filters) or {"match_all": {}}
        return 0 if self._at.state() is None else delete_selected(self._at.writer(), selected)

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Merge metadata into the documents that a filter selects, and give their number.

        Without scripts, which a server may forbid: each document is read and written back, on
        condition that nobody has changed it in between; those that somebody has are read again.

        Raises:
            MetadataError: `meta` holds what JSON cannot.
            DocumentsRejectedError: naming the documents that the server does not take so.
        """
        selected = compile_query(filters)
        if self._at.state() is None:
            return 0
        return elastic_writing.update(self._at, selected, meta)

    # --- the encoder

    @property
    def encoder(self) -> EncoderIdentity | None:
        """Who made the store's embeddings; None where nobody said."""
        state = self._at.state()
        return None if state is None else state.encoder

    def bind_encoder(self, identity: EncoderIdentity) -> None:
        """Record who makes the embeddings of a store that has no encoder yet.

        Raises:
            EncoderMismatchError: it has another one, or embeddings of another dimension.
        """
        self.check_encoder(identity)
        state = self._at.state() or self._at.create(identity)
        self._check_encoder(state, identity)
        if state.encoder is None:
            field = embedding_field(state.similarity, state.index_options, identity.dimension)
            meta = meta_of(state.similarity, identity, promoted=state.promoted, notes=state.notes)
            with explained(self._at.where):
                self._at.client.indices.put_mapping(
                    index=state.index, properties={"embedding": field}, meta=meta
                )
            self._at.forget()

    def check_encoder(self, identity: EncoderIdentity) -> None:
        """Refuse an encoder whose embeddings do not belong into this store.

        Raises:
            EncoderMismatchError: naming both encoders, and the way to another one.
        """
        state = self._at.state(fresh=True)
        if state is not None:
            self._check_encoder(state, identity)

    def update_embeddings(
        self,
        encoder: PassageEncoder,
        *,
        batch_size: int = 512,
        on_progress: Callable[[int], None] | None = None,
    ) -> int:
        """Embed every document anew, in a new version; the old one answers until it is whole.

        Stopped half way, the next call with the same encoder goes on where this one ended. What
        is written meanwhile into the old version is not in the new one.

        Args:
            encoder: encodes the documents' contents; the store is bound to it afterwards.
            batch_size: documents encoded and written at a time.
            on_progress: told the number of documents of each batch done.

        Returns:
            How many documents this call embedded.

        Raises:
            EmbeddingError: the encoder gives arrays of the wrong shape, or not finite.
            DocumentsRejectedError: the new version does not take some of them.
        """
        identity, done = encoder.identity, 0
        with self.new_version(resume=True, encoder=identity) as built:
            built.note(self.notes())
            hits = pages(self._at.client, self._at.name, None, READ_WITH_EMBEDDING, size=batch_size)
            with built.loading():
                while batch := [decode(hit) for hit in islice(hits, batch_size)]:
                    there = set(
                        elastic_writing.existing(built._at, [document.id for document in batch])
                    )
                    left = [document for document in batch if document.id not in there]
                    texts = [each.content for each in left if each.content is not None]
                    vectors = iter(_encoded(encoder, texts))
                    embedded = [
                        replace(each, embedding=None if each.content is None else next(vectors))
                        for each in left
                    ]
                    built.write_documents(embedded, DuplicatePolicy.SKIP)
                    done += len(texts)
                    if on_progress is not None and left:
                        on_progress(len(left))
            self.promote(built, expected=self.count_documents())
        return done

    # --- reviews

    def documents_of_reviews(self, review_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Give, of those reviews that are there, each document's id and content hash.

        A document's review is its `meta.review_id`, its hash `meta.content_hash`.
        """
        found: dict[str, dict[str, str]] = {}
        if self._at.state() is None:
            return found
        source = ["review_id", "meta.content_hash"]
        for start in range(0, len(review_ids), REVIEWS_AT_ONCE):
            query: Query = {
                "terms": {"review_id": list(review_ids[start : start + REVIEWS_AT_ONCE])}
            }
            with explained(self._at.where):
                answer = self._at.client.search(
                    index=self._at.name,
                    query=query,
                    size=WINDOW,
                    source=source,
                    track_total_hits=False,
                )
            hits: Iterable[dict[str, Any]] = answer["hits"]["hits"]
            if len(answer["hits"]["hits"]) == WINDOW:
                hits = pages(self._at.client, self._at.name, query, source)
            for hit in hits:
                review = hit["_source"]["review_id"]
                hashed = hit["_source"].get("meta", {}).get("content_hash") or ""
                found.setdefault(review, {})[hit["_id"]] = hashed
        return found

    def iter_ids(self) -> Iterator[tuple[str, str]]:
        """Stream every document's id and its review's (its own where it names none)."""
        if self._at.state() is None:
            return
        hits = pages(self._at.client, self._at.name, None, ["review_id"], size=WINDOW)
        for hit in hits:
            yield hit["_id"], hit["_source"].get("review_id", hit["_id"])

    def notes(self) -> dict[str, Any]:
        """Return what jobs have noted in the index, by name."""
        state = self._at.state(fresh=True)
        return {} if state is None else dict(state.notes)

    def note(self, values: Mapping[str, Any]) -> None:
        """Keep JSON values with the index, each in place of the one of its name."""
        state = self._at.state(fresh=True) or self._at.ensure()
        notes = {**state.notes, **values}
        meta = meta_of(state.similarity, state.encoder, promoted=state.promoted, notes=notes)
        with explained(self._at.where):
            self._at.client.indices.put_mapping(index=state.index, meta=meta)
        self._at.forget()

    def count_items(self) -> int:
        """Count the distinct `meta.item_id`s."""
        if self._at.state() is None:
            return 0
        return elastic_metadata.count_values(self._at.client, self._at.name, "item_id", None)

    def has_item(self, item_id: str) -> bool:
        """Whether there is a document of this item."""
        if self._at.state() is None:
            return False
        with explained(self._at.where):
            found = self._at.client.search(
                index=self._at.name,
                query={"term": {"item_id": item_id}},
                size=0,
                terminate_after=1,
                track_total_hits=1,
            )
        return bool(found["hits"]["total"]["value"])

    # --- labels

    def write_labels(self, labels: Iterable[Label]) -> int:
        """Write labelled questions beside the documents; see `FAISSDocumentStore.write_labels`.

        They are in `<index>-labels`, whatever version of the documents is read.

        Args:
            labels: as they were read, before they are aggregated; all are encoded before one is
                sent.

        Returns:
            How many were not there yet.

        Raises:
            DataError: a label's `meta` is not JSON, or it was aggregated; none was written.
        """
        # A number that none of them reaches: the next write's are higher anyway.
        actions = elastic_labels.actions(labels, self._at.stamps(1_000_000))
        if not actions:
            return 0
        settings = self._at.new.settings() | {"number_of_shards": 1}
        if not self._has_labels():
            elastic_versions.create(
                self._at.client, self._labels, self._at.where, elastic_labels.MAPPINGS, settings
            )
        report = self._at.writer(self._labels).write(actions)
        with explained(self._at.where):
            self._at.client.indices.refresh(index=self._labels)
        if report.rejected:
            raise DocumentsRejectedError(report.rejected, report.written, self._labels)
        return report.written

    def get_labels_aggregated(
        self, split: str | None = None, item_id: str | None = None, *, by_item: bool = True
    ) -> list[Label]:
        """Give labels in the order of writing, those of several annotators as one.

        Args:
            split: of this part of the data set; None: of all.
            item_id: about this item; None: about all.
            by_item: make one label of those that ask the same question about the same item in
                one split, too; see `qa_system.labels.aggregate`.

        Raises:
            DataError: two labels with the same ids have different questions, items or texts.
        """
        if not self._has_labels():
            return []
        found = elastic_labels.select(self._at.client, self._labels, split, item_id)
        return list(aggregate(found) if by_item else join_annotators(found))

    def count_labels(self, split: str | None = None, item_id: str | None = None) -> int:
        """Count the labels as they were written, of one split or item, or of all."""
        if not self._has_labels():
            return 0
        return elastic_labels.count(self._at.client, self._labels, split, item_id)

    def delete_labels(self, split: str | None = None, item_id: str | None = None) -> int:
        """Delete the labels of one split or item, or all, and give their number."""
        if not self._has_labels():
            return 0
        return elastic_labels.delete(self._at.writer(self._labels), split, item_id)

    def _has_labels(self) -> bool:
        with explained(self._at.where):
            return bool(self._at.client.indices.exists(index=self._labels))

    # --- versions

    def new_version(
        self, *, resume: bool | str = False, encoder: EncoderIdentity | None = None
    ) -> ElasticsearchReviewStore:
        """Begin the next version, which nobody reads before `promote`.

        Args:
            resume: go on with the version that an interrupted rebuild has left, if there is one
                (with the same encoder); the name of a version: only with that one.
            encoder: bind the new version to it.

        Returns:
            A store that writes into the new version.
        """
        base = elastic_versions.base_of(self._at.name)
        current = self._at.state(fresh=True)
        above = 0 if current is None else elastic_versions.number_of(current.index)
        name = None
        if resume:
            for each in elastic_versions.versions(self._at.client, base, self._at.where):
                is_left = not each.promoted and elastic_versions.number_of(each.index) > above
                is_left = is_left and resume in (True, each.index)
                if is_left and (encoder is None or each.encoder in (None, encoder)):
                    name = each.index
        if name is None:
            name = elastic_versions.next_name(self._at.client, base, self._at.where)
            similarity = self._at.new.similarity
            if similarity is None and encoder is None and current is not None:
                similarity = current.similarity
            self._at.create(encoder, name, similarity=similarity)
        built = type(self)(**{**self._settings, "index": name})
        if encoder is not None:
            built.bind_encoder(encoder)
        return built

    def promote(self, built: ElasticsearchReviewStore, *, expected: int | None = None) -> None:
        """Let a version that was built take the place of the one that is read, in one call.

        The version that was read is kept for `rollback`, older ones are deleted.

        Args:
            built: what `new_version` gave.
            expected: documents that it must hold; None: at least one.

        Raises:
            StoreError: it is not whole, or does not find its own documents; nothing changed.
        """
        built._at.refresh(always=True)
        new = built._at.state(fresh=True)
        faults = ["it is not there"] if new is None else built._doubts(expected)
        if faults or new is None:
            raise StoreError(
                f"the version {built._at.name!r} is not fit to be read: {'; '.join(faults)}",
                where=self._at.where,
                remedy="Finish the rebuild, or begin another; what was read is still read.",
            )
        old = self._at.state(fresh=True)
        if old is not None and old.index == new.index:
            return
        former = None if old is None else old.index
        elastic_versions.swap(self._at.client, self._at.name, former, new, self._at.where)
        self._at.forget()
        number = elastic_versions.number_of(new.index)
        for each in elastic_versions.versions(self._at.client, self._at.name, self._at.where):
            is_older = elastic_versions.number_of(each.index) < number
            if is_older and each.index != former:
                with explained(self._at.where):
                    self._at.client.indices.delete(index=each.index)

    def rollback(self) -> str:
        """Let the version before the one that is read take its place again; give its name.

        Raises:
            StoreNotFoundError: there is none.
        """
        current = self._at.state(fresh=True)
        known = elastic_versions.versions(self._at.client, self._at.name, self._at.where)
        number = 0 if current is None else elastic_versions.number_of(current.index)
        older = [
            each
            for each in known
            if each.promoted and elastic_versions.number_of(each.index) < number
        ]
        if current is None or not older:
            raise StoreNotFoundError(
                "there is no earlier version to go back to",
                where=self._at.where,
                remedy="Index the reviews anew: promote keeps the version that it replaces.",
            )
        elastic_versions.swap(
            self._at.client, self._at.name, current.index, older[-1], self._at.where
        )
        self._at.forget()
        return older[-1].index

    def versions(self) -> list[str]:
        """Name the versions that are there, oldest first."""
        base = elastic_versions.base_of(self._at.name)
        return [
            each.index for each in elastic_versions.versions(self._at.client, base, self._at.where)
        ]

    def _doubts(self, expected: int | None) -> list[str]:
        """Look whether this version is whole, and finds a sample of its documents."""
        documents = self.count_documents()
        wanted = documents or 1 if expected is None else expected
        faults = self.verify()
        if documents != wanted:
            faults.append(f"it holds {documents:,} documents instead of {wanted:,}")
        state = self._at.state()
        sample: Query = {"function_score": {"random_score": {}}}
        hits = pages(
            self._at.client,
            self._at.name,
            sample,
            READ_WITH_EMBEDDING,
            sort=["_score"],
            limit=SAMPLES,
        )
        for document in map(decode, hits):
            itself = {"field": "id", "operator": "==", "value": document.id}
            words = (document.content or "")[:200]
            found = self.search_bm25(words, 1, itself)
            # Without a filter nothing is found that shares no word with the question.
            if not found or (self.search_bm25(words, 1) and not found[0].score):
                faults.append(f"it does not find {document.id!r} by its words")
            if document.embedding is None or state is None:
                continue
            near = self.search_by_embedding(document.embedding, 1, itself)
            own = _own_similarity(document.embedding, state.similarity)
            if not near or not np.isclose(near[0].score or 0.0, own, rtol=1e-4, atol=1e-4):
                faults.append(f"it does not find {document.id!r} by its embedding")
        return faults

    # --- the store itself

    def stored_similarity(self) -> Similarity | None:
        """Give the similarity that the store was made with, None if it is not there.

        Raises:
            StoreMismatchError: it was made with other settings.
        """
        state = self._at.state(fresh=True)
        return None if state is None else state.similarity

    def status(self) -> ElasticsearchStatus:
        """Tell what the store holds."""
        state, size = self._at.state(fresh=True), 0
        if state is not None:
            with explained(self._at.where):
                stats = self._at.client.indices.stats(index=state.index, metric="store")
            size = stats["indices"][state.index]["primaries"]["store"]["size_in_bytes"]
        return ElasticsearchStatus(
            path=f"{self._settings['url']}/{self._at.name}",
            index=None if state is None else state.index,
            versions=tuple(self.versions()),
            documents=self.count_documents(),
            items=self.count_items(),
            embedded=self._at.count({"term": {"parts": "embedding"}}),
            labels=self.count_labels(),
            embedding_dim=self._at.new.embedding_dim if state is None else state.dimension,
            similarity=self._at.new.similarity_for(None) if state is None else state.similarity,
            index_options=self._at.new.index_options if state is None else state.index_options,
            shards=self._at.new.shards if state is None else state.shards,
            encoder=None if state is None else state.encoder,
            bytes_on_disk=size,
        )

    def verify(self) -> list[str]:
        """Look for faults, and give them as a sentence each; none: the store is sound.

        Raises:
            StoreMismatchError: the index was changed by something else.
        """
        state = self._at.state(fresh=True)
        if state is None:
            return []
        faults = []
        with explained(self._at.where):
            health = self._at.client.cluster.health(index=state.index)
        if health["status"] == "red":
            faults.append(f"some shards of {state.index!r} are not there: the server misses a node")
        if state.encoder is not None:
            query: Query = {
                "bool": {
                    "filter": [{"term": {"parts": "content"}}],
                    "must_not": [{"term": {"parts": "embedding"}}],
                }
            }
            bare = self._at.count(query)
            if bare:
                faults.append(f"{bare:,} documents have no embedding")
            if state.dimension != state.encoder.dimension:
                faults.append(
                    f"embeddings have {state.dimension} numbers, "
                    f"the encoder's {state.encoder.dimension}"
                )
        return faults

    def close(self) -> None:
        """Give the connections back; the next use makes others."""
        self._at.connection.close()

    def __enter__(self) -> ElasticsearchReviewStore:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with suppress(Exception):
            self.close()

    def _check_encoder(self, state: IndexState, identity: EncoderIdentity) -> None:
        known, dimension = state.encoder, state.dimension
        if known == identity or (known is None and dimension in (None, identity.dimension)):
            return
        made_by = f"by {known.named}" if known is not None else f"with {dimension} numbers each"
        raise EncoderMismatchError(
            f"the store's embeddings were made {made_by}, not by {identity.named}",
            where=self._at.where,
            remedy="Use that encoder, or re-embed the store with "
            f"`update_embeddings` (encoder {identity.name}).",
        )


def _own_similarity(embedding: Sequence[float], similarity: Similarity) -> float:
    """Give the score of an embedding that is asked for itself."""
    if similarity == "dot_product":
        return float(np.square(embedding).sum())
    return 1.0 if similarity == "cosine" else 0.0


def _encoded(encoder: PassageEncoder, texts: list[str]) -> NDArray[np.float32]:
    identity = encoder.identity
    matrix = np.asarray(encoder.encode_passages(texts) if texts else [], np.float32)
    if texts and (
        matrix.shape != (len(texts), identity.dimension) or not np.isfinite(matrix).all()
    ):
        raise EmbeddingError(
            f"the encoder gave an array of shape {matrix.shape} instead of"
            f" ({len(texts)}, {identity.dimension}), or numbers that are not finite",
            where=identity.name,
            remedy="Check the encoder; the store still answers from its old embeddings.",
        )
    return matrix


def _check_choice(name: str, value: str | None, choices: Sequence[str | None]) -> None:
    if value not in choices:
        named = ", ".join(each for each in choices if each is not None)
        raise ConfigError(f"there is no {name} {value!r}", remedy=f"Choose of: {named}.")
