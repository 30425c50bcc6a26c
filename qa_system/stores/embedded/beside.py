"""What the embedded store keeps beside its documents: labels, and the digests of items."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from typing_extensions import override

from qa_system.arguments import checked
from qa_system.digests.records import Digest
from qa_system.labels import aggregate, join_annotators
from qa_system.records import Label
from qa_system.stores.contract import ReviewStore
from qa_system.stores.embedded.folder import StoreFolder
from qa_system.stores.embedded.ledger import digests
from qa_system.stores.embedded.ledger import labels as label_index

__all__ = ["KeptBeside"]


@checked
class KeptBeside(ReviewStore):
    """The methods of `FAISSDocumentStore` for labels and digests; none begins a generation."""

    _folder: StoreFolder

    @override
    def write_labels(self, labels: Iterable[Label]) -> int:
        with self._folder.writing(searchable=False) as transaction:
            return label_index.write(transaction, labels)

    @override
    def replace_labels(
        self, labels: Iterable[Label], stale: Iterable[Label], *, check_reviews: bool = False
    ) -> int:
        kept = list(labels)
        with self._folder.writing(searchable=False) as transaction:
            if check_reviews:
                label_index.check_reviews(transaction, kept)
            label_index.delete_equal(transaction, stale)
            return label_index.write(transaction, kept)

    @override
    def get_labels_aggregated(
        self, split: str | None = None, item_id: str | None = None, *, by_item: bool = True
    ) -> list[Label]:
        with self._folder.reading() as snapshot:
            found = label_index.select(snapshot, split, item_id)
            return list(aggregate(found) if by_item else join_annotators(found))

    @override
    def count_labels(self, split: str | None = None, item_id: str | None = None) -> int:
        with self._folder.reading() as snapshot:
            return label_index.count(snapshot, split, item_id)

    @override
    def delete_labels(self, split: str | None = None, item_id: str | None = None) -> int:
        if not self._folder.ledger.exists():
            return 0
        with self._folder.writing(searchable=False) as transaction:
            return label_index.delete(transaction, split, item_id)

    @property
    @override
    def generation(self) -> int | None:
        with self._folder.reading() as snapshot:
            return snapshot.state.generation

    @override
    def reviews_of_items(self, item_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        with self._folder.reading() as snapshot:
            return digests.reviews_of_items(snapshot, item_ids)

    @override
    def write_digest(self, digest: Digest) -> None:
        with self._folder.writing(searchable=False) as transaction:
            digests.write(transaction, digest)

    @override
    def get_digest(self, item_id: str) -> Digest | None:
        with self._folder.reading() as snapshot:
            return digests.get(snapshot, item_id)

    @override
    def iter_digests(self) -> Iterator[Digest]:
        with self._folder.reading() as snapshot:
            yield from digests.select(snapshot)

    @override
    def count_digests(self) -> int:
        with self._folder.reading() as snapshot:
            return digests.count(snapshot)

    @override
    def delete_digests(self, item_ids: Sequence[str]) -> int:
        if not self._folder.ledger.exists():
            return 0
        with self._folder.writing(searchable=False) as transaction:
            return digests.delete(transaction, item_ids)
