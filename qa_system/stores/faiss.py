"""The embedded document store: SQLite is the truth, tantivy and FAISS are derived from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from types import TracebackType
from typing import Any, Final, get_args

import numpy as np
import orjson
from haystack import default_from_dict, default_to_dict
from haystack.dataclasses import Document
from haystack.document_stores.types import DuplicatePolicy
from numpy.typing import NDArray

from qa_system.errors import ConfigError, EncoderMismatchError, StoreMismatchError
from qa_system.labels import aggregate, join_annotators
from qa_system.records import EncoderIdentity, Label, Similarity
from qa_system.stores import labels as label_index
from qa_system.stores import metadata
from qa_system.stores.ann import IndexKind
from qa_system.stores.async_twins import AsyncTwins
from qa_system.stores.contract import NO_PASSAGES, DuplicateIdError, Passages, WriteReport
from qa_system.stores.filters import Condition, compile_filters
from qa_system.stores.folder import StoreFolder
from qa_system.stores.ledger import Ledger
from qa_system.stores.reembedding import PassageEncoder, reembed
from qa_system.stores.rows import decode_document, encode_documents
from qa_system.stores.search import Search
from qa_system.stores.snapshot import ITEM, REVIEW, Rows, Snapshot, State, Transaction
from qa_system.stores.writing import fix_dimension, write

__all__ = ["DuplicateIdError", "FAISSDocumentStore", "StoreStatus", "stored_similarity"]

CHANGED_AT_ONCE: Final = 2_000


@dataclass(frozen=True, slots=True)
class StoreStatus:
    """What a store holds, and how far its derived indexes have got.

    Args:
        path: its folder.
        documents: how many there are.
        items: distinct `meta.item_id`s.
        embedded: documents with an embedding.
        labels: labelled questions beside them.
        embedding_dim: numbers in an embedding; None before the first.
        similarity: how embeddings are compared.
        index: the kind of vector index asked for.
        generation: counts the writes.
        encoder: who made the embeddings; None where nobody said.
        bytes_on_disk: of the whole folder.
        lexical_generation: that of the lexical index; -1 where there is none.
        vectors_generation: that of the vector files; -1 where there are none.
    """

    path: str
    documents: int
    items: int
    embedded: int
    labels: int
    embedding_dim: int | None
    similarity: Similarity
    index: IndexKind
    generation: int
    encoder: EncoderIdentity | None
    bytes_on_disk: int
    lexical_generation: int
    vectors_generation: int


def stored_similarity(path: Path) -> Similarity | None:
    """Give the similarity that a store was made with, None if there is no store."""
    ledger = Ledger(path, "dot_product")
    if not ledger.exists():
        return None
    try:
        with ledger.snapshot() as snapshot:
            return snapshot.state.similarity
    finally:
        ledger.close()


class FAISSDocumentStore(AsyncTwins):
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
        path: str | Path = "qa-store",
        embedding_dim: int | None = None,
        similarity: Similarity = "dot_product",
        index: IndexKind = "auto",
        gpu: bool = False,
    ) -> None:
        _check_choice("similarity", similarity, get_args(Similarity))
        _check_choice("index", index, get_args(IndexKind))
        self._path = Path(path)
        self._embedding_dim = embedding_dim
        self._similarity: Similarity = similarity
        self._index: IndexKind = index
        self._gpu = gpu
        self._folder = StoreFolder(self._path, similarity, index, gpu=gpu, check=self._check)
        self._search = Search(self._folder)

    def to_dict(self) -> dict[str, Any]:
        """Serialise the store's settings."""
        return default_to_dict(
            self,
            path=str(self._path),
            embedding_dim=self._embedding_dim,
            similarity=self._similarity,
            index=self._index,
            gpu=self._gpu,
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> FAISSDocumentStore:
        """Make the store from what `to_dict` gave."""
        store: FAISSDocumentStore = default_from_dict(cls, data)
        return store

    def count_documents(self) -> int:
        """Count all documents."""
        with self._reading() as snapshot:
            return snapshot.count()

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """Give the documents that a filter selects, with embeddings, oldest write first.

        Raises:
            InvalidFilterError: the filter is malformed, or compares what cannot be compared.
        """
        condition = compile_filters(filters)
        with self._reading() as snapshot:
            return list(snapshot.iter_documents(condition))

    def write_documents(
        self, documents: list[Document], policy: DuplicatePolicy = DuplicatePolicy.NONE
    ) -> int:
        """Write documents, all or none; when the call returns they are durable and searchable.

        Args:
            documents: with or without embeddings; scores are not kept.
            policy: what to do about an id that is there already, be it in the store or earlier
                in the list: NONE and FAIL raise, SKIP keeps the earlier, OVERWRITE the later.

        Returns:
            How many were written; with OVERWRITE how many were given.

        Raises:
            DuplicateIdError: naming the ids, under NONE and FAIL.
            EmbeddingError: an embedding has the wrong dimension, is not finite, or is missing
                although the store has an encoder.
            MetadataError: metadata that JSON cannot hold.
            DocumentTypeError: something else than documents was given.
            StoreLockedError: another process is writing.
        """
        return write(self._folder, documents, policy, dimension=self._embedding_dim)

    def delete_documents(self, document_ids: list[str]) -> None:
        """Delete the documents with these ids; ids that are not there are passed over."""
        self._delete(lambda snapshot: list(snapshot.existing(document_ids).values()))

    def delete_all_documents(self, recreate_index: bool = False) -> None:
        """Delete every document.

        Args:
            recreate_index: forget the encoder and the dimension, too.
        """
        if not self._folder.ledger.exists():
            return
        with self._writing() as transaction:
            transaction.clear()
            if recreate_index:
                transaction.forget_encoder()

    def delete_by_filter(self, filters: dict[str, Any]) -> int:
        """Delete the documents that a filter selects, and give their number."""
        condition = compile_filters(filters)
        return self._delete(lambda snapshot: snapshot.rows(condition))

    def update_by_filter(self, filters: dict[str, Any], meta: dict[str, Any]) -> int:
        """Merge metadata into the documents that a filter selects, and give their number."""
        condition = compile_filters(filters)
        if not self._folder.ledger.exists():
            return 0
        with self._writing() as transaction:
            rows = transaction.rows(condition)
            for start in range(0, len(rows), CHANGED_AT_ONCE):
                chunk = rows[start : start + CHANGED_AT_ONCE]
                stored = transaction.stored(chunk)
                documents = [decode_document(each.values) for each in stored]
                for document in documents:
                    document.meta.update(meta)
                transaction.delete(chunk)
                changed = zip(stored, encode_documents(documents), strict=True)
                transaction.insert(each._replace(values=values) for each, values in changed)
            return len(rows)

    def count_documents_by_filter(self, filters: dict[str, Any]) -> int:
        """Count the documents that a filter selects."""
        condition = compile_filters(filters)
        with self._reading() as snapshot:
            return snapshot.count(condition)

    def count_unique_metadata_by_filter(
        self, filters: dict[str, Any], metadata_fields: list[str]
    ) -> dict[str, int]:
        """Count each field's distinct values among the documents that a filter selects."""
        condition = compile_filters(filters)
        with self._reading() as snapshot:
            return metadata.count_unique(snapshot, metadata_fields, condition)

    def get_metadata_fields_info(self) -> dict[str, dict[str, str]]:
        """Give each metadata field's type: boolean, int, float, date or keyword."""
        with self._reading() as snapshot:
            return metadata.field_types(snapshot)

    def get_metadata_field_min_max(self, metadata_field: str) -> dict[str, Any]:
        """Give a field's `min` and `max`, None where it has no values that can be ordered."""
        with self._reading() as snapshot:
            return metadata.minimum_and_maximum(snapshot, metadata_field)

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
        condition = compile_filters(filters)
        with self._reading() as snapshot:
            return metadata.unique_values(
                snapshot, metadata_field, search_term, from_, size, condition
            )

    def search_bm25(
        self, query: str, top_k: int = 10, filters: dict[str, Any] | None = None
    ) -> list[Document]:
        """Find documents by the words of a question, best first, with their BM25 as `score`.

        With a filter, the documents that it selects but that share no word with the question
        follow with score 0, so that min(top_k, matches) come back.

        Raises:
            InvalidFilterError: the filter is malformed, or compares what cannot be compared.
        """
        return self._search.by_words(query, top_k, filters)

    def search_by_embedding(
        self,
        embedding: Sequence[float] | NDArray[Any],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> list[Document]:
        """Find the documents nearest to an embedding, best first, similarity as `score`.

        With a filter, min(top_k, matches with an embedding) come back, exactly the best ones.

        Raises:
            EmbeddingError: the embedding is of another dimension, or not finite.
            InvalidFilterError: the filter is malformed, or compares what cannot be compared.
        """
        return self._search.by_vectors([embedding], top_k, filters)[0]

    def search_by_embeddings(
        self,
        embeddings: NDArray[np.floating[Any]],
        top_k: int = 10,
        filters: dict[str, Any] | None = None,
    ) -> list[list[Document]]:
        """Find the documents nearest to each of (n, d) embeddings; see `search_by_embedding`."""
        return self._search.by_vectors(embeddings, top_k, filters)

    @property
    def encoder(self) -> EncoderIdentity | None:
        """Who made the store's embeddings; None where nobody said."""
        with self._reading() as snapshot:
            return snapshot.state.encoder

    def bind_encoder(self, identity: EncoderIdentity) -> None:
        """Record who makes the embeddings of a store that has no encoder yet.

        Raises:
            EncoderMismatchError: it has another one, or embeddings of another dimension.
        """
        self.check_encoder(identity)
        if self.encoder is None:
            with self._writing() as transaction:
                self._check_encoder(transaction.state, identity)
                fix_dimension(transaction, identity.dimension)
                transaction.set(encoder=identity)

    def check_encoder(self, identity: EncoderIdentity) -> None:
        """Refuse an encoder whose embeddings do not belong into this store.

        Raises:
            EncoderMismatchError: naming both encoders, and the command that re-embeds.
        """
        with self._reading() as snapshot:
            self._check_encoder(snapshot.state, identity)

    def update_embeddings(
        self,
        encoder: PassageEncoder,
        *,
        batch_size: int = 512,
        on_progress: Callable[[int], None] | None = None,
    ) -> int:
        """Embed every document anew; the old embeddings answer until all new ones are there.

        Stopped half way, the next call with the same encoder goes on where this one ended.

        Args:
            encoder: encodes the documents' contents; the store is bound to it afterwards.
            batch_size: documents encoded and written at a time.
            on_progress: told the number of documents of each batch done.

        Returns:
            How many documents this call embedded.

        Raises:
            EmbeddingError: the encoder gives arrays of the wrong shape, or not finite.
        """
        done = reembed(self._folder, encoder, batch_size, on_progress)
        if self._embedding_dim is not None:
            self._embedding_dim = encoder.identity.dimension
        return done

    def documents_of_reviews(self, review_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Give, of those reviews that are there, each document's id and content hash.

        A document's review is its `meta.review_id`, its hash `meta.content_hash`.
        """
        found: dict[str, dict[str, str]] = {}
        listed = orjson.dumps(list(review_ids)).decode()
        condition = Condition(f"{REVIEW} IN (SELECT value FROM json_each(?))", (listed,))
        content_hash = "ifnull(json_extract(meta, '$.content_hash'), '')"
        with self._reading() as snapshot:
            for review, document, hashed in snapshot.select(
                f"{REVIEW}, id, {content_hash}", condition
            ):
                found.setdefault(review, {})[document] = hashed
        return found

    def replace(
        self,
        documents: Sequence[Document],
        stale_ids: Sequence[str],
        passages: Mapping[str, Passages] = NO_PASSAGES,
    ) -> WriteReport:
        """Delete documents and write others over what is there, in one transaction.

        Args:
            documents: to write.
            stale_ids: of documents to delete.
            passages: of those documents, by id, that a dense search finds by their passages.

        Raises: as `write_documents`.
        """
        began = monotonic()
        write(
            self._folder,
            documents,
            DuplicatePolicy.OVERWRITE,
            dimension=self._embedding_dim,
            stale_ids=stale_ids,
            passages=passages,
        )
        return WriteReport(len(documents), len(documents), seconds=monotonic() - began)

    @contextmanager
    def loading(self) -> Iterator[None]:
        """Do nothing: here every write is cheap, and found when it returns."""
        yield

    def settle(self) -> bool:
        """Do nothing: what a killed process leaves is put right when the store is opened."""
        return False

    def iter_ids(self) -> Iterator[tuple[str, str | None]]:
        """Stream every document's id and its review's, None where it names no review."""
        with self._reading() as snapshot:
            yield from snapshot.select(f"id, {REVIEW}", None)

    def notes(self) -> dict[str, Any]:
        """Return what jobs have noted in the store, by name."""
        with self._reading() as snapshot:
            return snapshot.state.notes

    def note(self, values: Mapping[str, Any]) -> None:
        """Keep JSON values with the store, each in place of the one of its name.

        >>> import tempfile
        >>> with FAISSDocumentStore(tempfile.mkdtemp()) as store:
        ...     store.note({"recipe": 2})
        ...     store.notes()
        {'recipe': 2}
        """
        with self._folder.writing(searchable=False) as transaction:
            transaction.set(notes={**transaction.state.notes, **values})

    def count_items(self) -> int:
        """Count the distinct `meta.item_id`s."""
        with self._reading() as snapshot:
            return int(snapshot.select(f"count(DISTINCT {ITEM})", None).fetchone()[0])

    def has_item(self, item_id: str) -> bool:
        """Whether there is a document of this item."""
        with self._reading() as snapshot:
            condition = Condition(f"{ITEM} = ?", (item_id,))
            return snapshot.select("1", condition, "LIMIT 1").fetchone() is not None

    def write_labels(self, labels: Iterable[Label]) -> int:
        """Write labelled questions beside the documents, all or none.

        A label is told from others by all that it holds: written again it is there once, so a
        job that is run again doubles nothing. A label that was changed is another one; delete
        the old ones first. Several annotators may write labels of their own about one question
        and review; `get_labels_aggregated` joins them.

        Args:
            labels: as they were read, before they are aggregated; an iterator is not held.

        Returns:
            How many were not there yet.

        Raises:
            DataError: a label's `meta` is not JSON, or it was aggregated.
            StoreLockedError: another process is writing.

        >>> import tempfile
        >>> label = Label("q1", "How is the sound?", "B00", "r1", "Good sound.", ())
        >>> with FAISSDocumentStore(tempfile.mkdtemp()) as store:
        ...     store.write_labels([label]), store.write_labels([label]), store.count_labels()
        (1, 0, 1)
        """
        with self._folder.writing(searchable=False) as transaction:
            return label_index.write(transaction, labels)

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
        with self._reading() as snapshot:
            found = label_index.select(snapshot, split, item_id)
            return list(aggregate(found) if by_item else join_annotators(found))

    def count_labels(self, split: str | None = None, item_id: str | None = None) -> int:
        """Count the labels as they were written, of one split or item, or of all."""
        with self._reading() as snapshot:
            return label_index.count(snapshot, split, item_id)

    def delete_labels(self, split: str | None = None, item_id: str | None = None) -> int:
        """Delete the labels of one split or item, or all, and give their number."""
        if not self._folder.ledger.exists():
            return 0
        with self._folder.writing(searchable=False) as transaction:
            return label_index.delete(transaction, split, item_id)

    def build_index(self) -> None:
        """Build the approximate index now, if the store's size and `index` ask for one.

        A store that was written is closed with it built, so that no query has to wait for it;
        this is for another `index` than before. Until then the vectors are searched exactly.

        Raises:
            StoreLockedError: another process is writing.
        """
        if self._folder.ledger.exists():
            with self._folder.writing(searchable=False):
                pass  # takes the writer's lock, which is kept
            self._folder.settle()
            self._folder.build_approximate()

    def status(self) -> StoreStatus:
        """Tell what the store holds, and how far its derived indexes have got."""
        with self._reading() as snapshot:
            state = snapshot.state
            return StoreStatus(
                path=str(self._path),
                documents=snapshot.count(),
                items=int(snapshot.select(f"count(DISTINCT {ITEM})", None).fetchone()[0]),
                embedded=snapshot.count_embedded(),
                labels=label_index.count(snapshot, None, None),
                embedding_dim=self._dimension(state),
                similarity=state.similarity,
                index=self._index,
                generation=state.generation,
                encoder=state.encoder,
                bytes_on_disk=self._folder.size(),
                lexical_generation=self._folder.lexical.generation(),
                vectors_generation=self._folder.vectors.generation(snapshot),
            )

    def verify(self) -> list[str]:
        """Compare every derived index with the ledger, and give the faults; none: it is sound.

        An index that lags behind the last write is no fault: it is brought up to date, or waited
        for, first. A fault means that something else has changed a file; deleting the file that
        is named has it built anew.
        """
        return self._folder.faults()

    def close(self) -> None:
        """Finish the indexes and give back files and lock; the next use opens the store again."""
        self._folder.close()

    def __enter__(self) -> FAISSDocumentStore:
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
            self._folder.let_go()

    def _reading(self) -> AbstractContextManager[Snapshot]:
        return self._folder.reading()

    def _writing(self) -> AbstractContextManager[Transaction]:
        return self._folder.writing()

    def _delete(self, select: Callable[[Transaction], Sequence[int] | Rows]) -> int:
        if not self._folder.ledger.exists():
            return 0
        with self._writing() as transaction:
            rows = select(transaction)
            if len(rows):
                transaction.delete(rows)
            return len(rows)

    def _dimension(self, state: State) -> int | None:
        return self._embedding_dim if state.embedding_dim is None else state.embedding_dim

    def _check(self, snapshot: Snapshot) -> None:
        """Refuse a store that was made with other settings."""
        state = snapshot.state
        for name, stored, given in (
            ("similarity", state.similarity, self._similarity),
            ("embedding_dim", state.embedding_dim, self._embedding_dim),
        ):
            if None not in (stored, given) and stored != given:
                raise StoreMismatchError(
                    f"the store has {name} {stored!r}, the settings say {given!r}",
                    where=str(self._path),
                    remedy=f"Set {name} to {stored!r}, or index into another folder.",
                )

    def _check_encoder(self, state: State, identity: EncoderIdentity) -> None:
        known, dimension = state.encoder, self._dimension(state)
        if known == identity or (known is None and dimension in (None, identity.dimension)):
            return
        made_by = f"by {known.named}" if known is not None else f"with {dimension} numbers each"
        raise EncoderMismatchError(
            f"the store's embeddings were made {made_by}, not by {identity.named}",
            where=str(self._path),
            remedy=f"Use that encoder, or re-embed the store: qa-index embed --store {self._path}"
            f" --encoder {identity.name}",
        )


def _check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ConfigError(
            f"there is no {name} {value!r}", remedy=f"Choose of: {', '.join(choices)}."
        )
