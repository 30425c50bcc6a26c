"""What every store does for digests, and what is checked of those that it keeps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from haystack.dataclasses import Document

from qa_system.console.wording import counted
from qa_system.digests.records import Digest
from qa_system.digests.versions import is_stale

__all__ = ["DigestStore", "find_errors", "iter_stale"]

ITEMS_AT_ONCE: Final = 200


class DigestStore(Protocol):
    """A store that keeps digests beside its reviews.

    They are no documents: no search finds them, and writing them begins no generation. A server
    keeps them in an index of their own, `<index>-digests`, whatever version of the documents is
    read. `delete_all_documents` deletes them, and `forget` those of the items whose reviews it
    erases.
    """

    @property
    def generation(self) -> int | None:
        """How many writes the embedded store has had; None: a server does not count them."""
        ...

    def filter_documents(self, filters: dict[str, Any] | None = None) -> list[Document]:
        """See `SearchableStore`."""
        ...

    def reviews_of_items(self, item_ids: Sequence[str]) -> dict[str, dict[str, str]]:
        """Return what tells each review's version from another, of those items that are there.

        Args:
            item_ids: the documents' `meta.item_id`.

        Returns:
            By item, then by review (a document that names no review: by its id), its content hash;
            see `qa_system.digests.versions.version_of`.
        """
        ...

    def write_digest(self, digest: Digest) -> None:
        """Write a digest in place of the one of its item, if there is one: wholly or not at all.

        Raises:
            DataError: the metadata of a quoted review is not JSON; nothing was written.
            StoreLockedError: another process is writing (embedded store).
        """
        ...

    def get_digest(self, item_id: str) -> Digest | None:
        """Return the digest of an item; None: there is none.

        Raises:
            StoreError: it was changed by something else, and cannot be read.

        >>> import tempfile
        >>> from qa_system.stores import FAISSDocumentStore
        >>> with FAISSDocumentStore(tempfile.mkdtemp()) as store:
        ...     store.write_digest(Digest("lamp", 2, store.generation, ()))
        ...     store.get_digest("lamp").reviews, store.get_digest("mug"), store.count_digests()
        (2, None, 1)
        """
        ...

    def iter_digests(self) -> Iterator[Digest]:
        """Stream all digests."""
        ...

    def count_digests(self) -> int:
        """Count the digests."""
        ...

    def delete_digests(self, item_ids: Sequence[str]) -> int:
        """Delete the digests of items, and return their number.

        Raises:
            StoreLockedError: another process is writing (embedded store).
        """
        ...


def iter_stale(store: DigestStore) -> Iterator[str]:
    """Yield the items whose digest is stale, or that have no reviews any more."""
    for digests in _batched(store):
        now = store.reviews_of_items([digest.item_id for digest in digests])
        for digest in digests:
            if is_stale(digest, now.get(digest.item_id, {})):
                yield digest.item_id


def find_errors(store: DigestStore) -> list[str]:
    """Return what is wrong with digests, a sentence each.

    A quote of a review that has not changed since stands there as it is quoted; no aspect has more
    opinions than support. What changed since is stale, and no error.
    """
    wrong = 0
    for digests in _batched(store):
        now = store.reviews_of_items([digest.item_id for digest in digests])
        wrong += sum(
            not _is_sound(digest, now.get(digest.item_id, {}), store) for digest in digests
        )
    if not wrong:
        return []
    return [f"{counted(wrong, 'digest')} not as written: make them anew (qa-index digest --anew)"]


def _is_sound(digest: Digest, now: Mapping[str, str], store: DigestStore) -> bool:
    unchanged = {each for each, version in digest.versions.items() if now.get(each) == version}
    quotes = [quote for aspect in digest.aspects for quote in aspect.quotes]
    asked = sorted({quote.review_id for quote in quotes} & unchanged)
    texts = {}
    if asked:
        fields = ("id", "meta.review_id")
        named = [{"field": each, "operator": "in", "value": asked} for each in fields]
        for document in store.filter_documents({"operator": "OR", "conditions": named}):
            texts[document.meta.get("review_id", document.id)] = document.content or ""
    return all(
        aspect.for_ + aspect.against <= aspect.support <= digest.reviews
        for aspect in digest.aspects
    ) and all(
        texts[quote.review_id][quote.start : quote.end] == quote.text
        for quote in quotes
        if quote.review_id in texts
    )


def _batched(store: DigestStore) -> Iterator[tuple[Digest, ...]]:
    batch: list[Digest] = []
    for digest in store.iter_digests():
        batch.append(digest)
        if len(batch) == ITEMS_AT_ONCE:
            yield tuple(batch)
            batch = []
    if batch:
        yield tuple(batch)
