"""The methods of `ElasticsearchReviewStore` for what it keeps beside its documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from typing_extensions import override

from qa_system.arguments import checked
from qa_system.digests.records import Digest
from qa_system.errors import ReviewChangedError
from qa_system.labels import aggregate, join_annotators
from qa_system.records import Label
from qa_system.stores.contract import ReviewStore
from qa_system.stores.elastic import reviews
from qa_system.stores.elastic.beside.digests import DigestIndex
from qa_system.stores.elastic.beside.labels import LabelIndex
from qa_system.stores.elastic.index import ElasticIndex

__all__ = ["KeptBeside"]


@checked
class KeptBeside(ReviewStore):
    """Labels and digests, each in an index of their own."""

    _at: ElasticIndex
    _labels: LabelIndex
    _digests: DigestIndex

    @override
    def write_labels(self, labels: Iterable[Label]) -> int:
        return self._labels.write(labels)

    @override
    def replace_labels(
        self, labels: Iterable[Label], stale: Iterable[Label], *, check_reviews: bool = False
    ) -> int:
        kept = list(labels)
        if check_reviews:
            reviews.check_texts(self._at, kept)
        written = self._labels.write(kept)
        if check_reviews:
            try:
                # A server has no transactions: a review may have gone since.
                reviews.check_texts(self._at, kept)
            except ReviewChangedError:
                self._labels.delete_equal(kept)
                raise
        self._labels.delete_equal(label for label in stale if label not in kept)
        return written

    @override
    def get_labels_aggregated(
        self, split: str | None = None, item_id: str | None = None, *, by_item: bool = True
    ) -> list[Label]:
        found = self._labels.select(split, item_id)
        return list(aggregate(found) if by_item else join_annotators(found))

    @override
    def count_labels(self, split: str | None = None, item_id: str | None = None) -> int:
        return self._labels.count(split, item_id)

    @override
    def delete_labels(self, split: str | None = None, item_id: str | None = None) -> int:
        return self._labels.delete(split, item_id)

    @property
    @override
    def generation(self) -> int | None:
        return None

    @override
    def reviews_of_items(self, item_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        return reviews.reviews_of_items(self._at, item_ids)

    @override
    def write_digest(self, digest: Digest) -> None:
        self._digests.write(digest)

    @override
    def get_digest(self, item_id: str) -> Digest | None:
        return self._digests.get(item_id)

    @override
    def iter_digests(self) -> Iterator[Digest]:
        return self._digests.select()

    @override
    def count_digests(self) -> int:
        return self._digests.count()

    @override
    def delete_digests(self, item_ids: Sequence[str]) -> int:
        return self._digests.delete(item_ids)
