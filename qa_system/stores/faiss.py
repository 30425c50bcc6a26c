"""The embedded document store: SQLite is the truth, tantivy and FAISS are derived from it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path
from time import monotonic
from typing import Any, Self, get_args

import numpy as np
from haystack import default_from_dict, default_to_dict
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from numpy.typing import NDArray
from typing_extensions import override

from qa_system.arguments import check_choice, checked
from qa_system.config import StoreSettings
from qa_system.records import EncoderIdentity, Similarity
from qa_system.review_ids import COPY_OF
from qa_system.stores import checks
from qa_system.stores.async_variants import AsyncVariants
from qa_system.stores.contract import Generation, PassageEncoder
from qa_system.stores.digests import find_errors
from qa_system.stores.embedded.beside import KeptBeside
from qa_system.stores.embedded.derived.ann import IndexKind
from qa_system.stores.embedded.erasure import forget
from qa_system.stores.embedded.folder import StoreFolder
from qa_system.stores.embedded.ledger import digests, metadata
from qa_system.stores.embedded.ledger.snapshot import REVIEW, Snapshot
from qa_system.stores.embedded.ledger.state import State
from qa_system.stores.embedded.reembedding import reembed
from qa_system.stores.embedded.search import Search
from qa_system.stores.embedded.sentences.search import SentenceSearch
from qa_system.stores.embedded.settings import check_settings
from qa_system.stores.embedded.status import StoreStatus, read_status
from qa_system.stores.embedded.writing import delete, fix_dimension, update, write
from qa_system.stores.filters import Condition, copies_of, parse_filters, to_sql
from qa_system.stores.filters.tree import Comparison, Node
from qa_system.stores.filters.unknown import UnknownFields
from qa_system.stores.sentences import SentenceRanking
from qa_system.stores.writes import (
    NO_PASSAGES,
    NO_SENTENCES,
    DuplicateIdError,
    Forgotten,
    Passages,
    Sentences,
    WriteReport,
)

__all__ = ["DuplicateIdError", "FAISSDocumentStore", "StoreStatus"]

DEFAULTS = StoreSettings()


@checked
class FAISSDocumentStore(AsyncVariants, KeptBeside):
    """Keep reviews in a folder, and find them by words, by meaning and by metadata.

    One process writes at a time, any number read, each query the newest generation. Every write
    is one transaction: when the call returns it is on the disk, and a search finds it.

    Args:
        path: the store's folder; it is made by the first write, and not touched before.
        embedding_dim: numbers in an embedding; None: the store's own, or that of the first
            embedding written.
        similarity: how embeddings are compared; a larger score is always better: "dot_product",
            "cosine", or "l2" (the negative squared distance).
        index: what searches the vectors where no filter narrows them down: "flat" is exact,
            "hnsw", "ivf_flat", "ivf_pq" and "sq8" propose candidates that are scored exactly;
            "auto" is flat below 200,000 vectors and ivf_flat from there. It is built when a
            writer closes the store.
        gpu: search the vectors on a GPU (needs faiss-gpu).
        group: of users, who may read and write a new store; None: only its owner may. A store that
            is there keeps its modes; a log line says so where it was not made for the group.

    Raises:
        ConfigError: there is no such similarity or index.

    >>> import tempfile
    >>> with FAISSDocumentStore(tempfile.mkdtemp(), similarity="cosine") as store:
    ...     store.write_documents([Document(id="r1", content="Good sound.", embedding=[3.0, 4.0])])
    ...     hits = store.search_by_embedding([0.0, 1.0])
    ...     [(hit.id, round(hit.score, 3)) for hit in hits]
    1
    [('r1', 0.8)]
    """

    def __init__(
        self,
        path: str | Path = DEFAULTS.path,
        embedding_dim: int | None = None,
        similarity: Similarity = "dot_product",
        index: IndexKind = DEFAULTS.index,
        gpu: bool = DEFAULTS.gpu,
        group: str | None = DEFAULTS.group,
    ) -> None:
        check_choice("similarity", similarity, get_args(Similarity))
        check_choice("index", index, get_args(IndexKind))
        self._path = Path(path)
        self._embedding_dim = embedding_dim
        self._similarity: Similarity = similarity
        self._index: IndexKind = index
        self._gpu = gpu
        self._group = group
        self._folder = StoreFolder(
            self._path, similarity, index, gpu=gpu, group=group, check=self._check
        )
        self._reading, self._writing = self._folder.reading, self._folder.writing
        self._search = Search(self._folder)
        self._sentences = SentenceSearch(self._folder, self._search)
        self._unknown = UnknownFields()

    @override
    def to_dict(self) -> dict[str, Any]:
        return default_to_dict(
            self,
            path=str(self._path),
            embedding_dim=self._embedding_dim,
            similarity=self._similarity,
            index=self._index,
            gpu=self._gpu,
            group=self._group,
        )

    @classmethod
    @override
    def from_dict(cls, data: dict[str, Any]) -> Self:
        return default_from_dict(cls, data)

    @override
    def count_documents(self) -> int:
        with self._reading() as snapshot:
            return snapshot.count()

    @override
    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        condition = self._condition(filters)
        with self._reading() as snapshot:
            return list(snapshot.iter_documents(condition))

    @override
    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        return write(self._folder, documents, policy, dimension=self._embedding_dim)

    @override
    def delete_documents(self, document_ids: list[str]) -> None:
        delete(self._folder, lambda snapshot: list(snapshot.existing(document_ids).values()))

    @override
    def delete_all_documents(self, recreate_index: bool = False) -> None:
        if self._folder.ledger.exists():
            with self._writing() as transaction:
                transaction.clear()
                digests.clear(transaction)
                if recreate_index:
                    transaction.forget_encoder()

    @override
    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        condition = self._condition(filters)
        return delete(self._folder, lambda snapshot: snapshot.rows(condition))

    @override
    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        condition = self._condition(filters)
        if not self._folder.ledger.exists():
            return 0
        with self._writing() as transaction:
            return update(transaction, condition, meta)

    @override
    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        condition = self._condition(filters)
        with self._reading() as snapshot:
            return snapshot.count(condition)

    @override
    def count_unique_metadata_by_filter(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        condition = self._condition(filters)
        with self._reading() as snapshot:
            return metadata.count_unique(snapshot, metadata_fields, condition)

    @override
    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        with self._reading() as snapshot:
            return metadata.field_types(snapshot)

    @override
    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        with self._reading() as snapshot:
            return metadata.minimum_and_maximum(snapshot, metadata_field)

    @override
    def get_metadata_field_unique_values(
        self,
        metadata_field: str,
        search_term: str | None = None,
        from_: int = 0,
        size: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> tuple[list[Any], int]:
        condition = self._condition(filters)
        with self._reading() as snapshot:
            return metadata.unique_values(
                snapshot, metadata_field, search_term, from_, size, condition
            )

    @override
    def search_bm25(
        self,
        query: str,
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> list[Document]:
        selected = self._condition(filters)
        return self._search.by_words(checks.trimmed(query), top_k, selected, whole_ties=whole_ties)

    @override
    def search_by_embedding(
        self,
        embedding: Sequence[float] | NDArray[Any],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> list[Document]:
        return self.search_by_embeddings([embedding], top_k, filters, whole_ties)[0]

    @override
    def search_by_embeddings(
        self,
        embeddings: Sequence[Any] | NDArray[np.floating[Any]],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
        whole_ties: bool = False,
    ) -> list[list[Document]]:
        selected = self._condition(filters)
        return self._search.by_vectors(embeddings, top_k, selected, whole_ties=whole_ties)

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
        return self._sentences.find(
            checks.trimmed(query),
            embedding,
            top_k,
            self._condition(filters),
            bm25_weight=bm25_weight,
            relevant=relevant,
        )

    @property
    @override
    def encoder(self) -> EncoderIdentity | None:
        with self._reading() as snapshot:
            return snapshot.state.encoder

    @override
    def bind_encoder(self, identity: EncoderIdentity) -> None:
        self.check_encoder(identity)
        if self.encoder is None:
            with self._writing() as transaction:
                self._check_encoder(transaction.state, identity)
                fix_dimension(transaction, identity.dimension)
                transaction.set(encoder=identity)

    @override
    def check_encoder(self, identity: EncoderIdentity) -> None:
        checks.check_identity(identity)
        with self._reading() as snapshot:
            self._check_encoder(snapshot.state, identity)

    @override
    def update_embeddings(
        self,
        encoder: PassageEncoder,
        *,
        batch_size: int = 512,
        on_progress: Callable[[int], None] | None = None,
        sentences: bool = True,
    ) -> int:
        checks.check_passage_encoder(encoder)
        done = reembed(self._folder, encoder, batch_size, on_progress, divide=sentences)
        if self._embedding_dim is not None:
            self._embedding_dim = encoder.identity.dimension
        return done

    @override
    def forget(self, review_ids: Sequence[str]) -> Forgotten:
        self.update_by_filter(copies_of(review_ids), {COPY_OF: None})
        return forget(self._folder, review_ids)

    @override
    def documents_of_reviews(self, review_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        with self._reading() as snapshot:
            return snapshot.documents_of_reviews(review_ids)

    @override
    def replace(
        self,
        documents: Sequence[Document],
        stale_ids: Sequence[str],
        passages: Mapping[str, Passages] = NO_PASSAGES,
        sentences: Mapping[str, Sentences] = NO_SENTENCES,
    ) -> WriteReport:
        began = monotonic()
        write(
            self._folder,
            documents,
            DuplicatePolicy.OVERWRITE,
            dimension=self._embedding_dim,
            stale_ids=stale_ids,
            passages=passages,
            sentences=sentences,
        )
        return WriteReport(len(documents), len(documents), seconds=monotonic() - began)

    @override
    def loading(self) -> AbstractContextManager[None]:
        return nullcontext()

    @override
    def settle(self) -> bool:
        return False

    @override
    def iter_ids(self) -> Generator[tuple[str, str | None], None, None]:
        with self._reading() as snapshot:
            yield from snapshot.select(f"id, {REVIEW}", None)

    @override
    def notes(self) -> dict[str, Any]:
        with self._reading() as snapshot:
            return snapshot.state.notes

    @override
    def note(self, values: Mapping[str, Any]) -> None:
        with self._folder.writing(searchable=False) as transaction:
            transaction.set(notes={**transaction.state.notes, **values})

    @override
    def count_items(self) -> int:
        with self._reading() as snapshot:
            return snapshot.count_items()

    @override
    def has_item(self, item_id: str) -> bool:
        with self._reading() as snapshot:
            return snapshot.has(to_sql(Comparison("meta", ("item_id",), "in", (item_id,))))

    def build_index(self) -> None:
        """Build the approximate index now, if the store's size and `index` ask for one.

        A store that was written is closed with it built, so that no query has to wait for it;
        this is for another `index` than before. Until then the vectors are searched exactly.

        Raises:
            StoreLockedError: another process is writing.
        """
        self._folder.build_index()

    @override
    def read_generation(self) -> Generation:
        with self._reading() as snapshot:
            return Generation(snapshot.state.store_id, snapshot.state.generation)

    @override
    def status(self) -> StoreStatus:
        with self._reading() as snapshot:
            return read_status(self._folder, snapshot, self._index, self._dimension(snapshot.state))

    def check_place(self) -> None:
        """Raise `StoreError` for a folder that is no store and not free to become one."""
        self._folder.check_place()

    @override
    def verify(self) -> list[str]:
        return [*self._folder.errors(), *find_errors(self)]

    @override
    def close(self) -> None:
        self._folder.close()

    def __del__(self) -> None:
        with suppress(Exception):
            self._folder.let_go()

    def _condition(self, filters: Mapping[str, Any] | None) -> Condition | None:
        """Translate a filter, after a warning of what it names and no document has."""
        tree = parse_filters(filters)
        if tree is None:
            return None
        self._unknown.look(tree, self._has, self.get_metadata_fields_info)
        return to_sql(tree)

    def _has(self, tree: Node) -> bool:
        with self._reading() as snapshot:
            return snapshot.has(to_sql(tree))

    def _dimension(self, state: State) -> int | None:
        return self._embedding_dim if state.embedding_dim is None else state.embedding_dim

    def _check(self, snapshot: Snapshot) -> None:
        check_settings(snapshot.state, self._similarity, self._embedding_dim, path=self._path)

    def _check_encoder(self, state: State, identity: EncoderIdentity) -> None:
        place = str(self._path)
        dimension = self._dimension(state)
        checks.check_encoder(identity, state.encoder, dimension, where=place, store=place)
