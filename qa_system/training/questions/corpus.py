"""Where the reviews come from: a store, or files of reviews, item by item."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Sequence
from contextlib import contextmanager
from random import Random
from typing import TYPE_CHECKING, Any, Final, Protocol

import orjson
from haystack import Document

from qa_system.aspects.phrases import Catalogue
from qa_system.config import Settings, changed
from qa_system.errors import DataError
from qa_system.sources.files import open_sources
from qa_system.sources.rows import Reject

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qa_system.records import Review
    from qa_system.stores.contract import ReviewStore

__all__ = ["STORE_PREFIX", "Corpus", "catalogue_of", "corpus_of", "gathered", "opened"]

STORE_PREFIX: Final = "store:"
SAMPLED: Final = 5_000
"""Reviews from which it is learned how reviews use words."""
PAGE: Final = 10_000


class Corpus(Protocol):
    """Reviews by item; one item is in memory at a time."""

    place: str
    """Where they are from, for errors."""
    rejected: int
    """Rows of files that are no reviews."""

    def digest(self) -> str:
        """Return what changes when the reviews do."""
        ...

    def items(self) -> Sequence[str]:
        """Return the items, in order."""
        ...

    def reviews(self, item_id: str) -> list[Document]:
        """Return the reviews of an item, in an order that does not change."""
        ...

    def questions(self) -> list[str]:
        """Return the questions that are asked of the items, as far as they are known."""
        ...


@contextmanager
def opened(source: str, settings: Settings) -> Iterator[Corpus]:
    """Open the reviews that a name means.

    Args:
        source: `store:FOLDER`, `store:` for the store of the settings, or what `qa-index run`
            reads reviews from: CSV, JSON or Parquet, a folder, a SubjQA data set, `-`.
        settings: the store, and how files of reviews are read.

    Raises:
        QASystemError: there is nothing, it cannot be read, or it holds no review.
    """
    if not source.startswith(STORE_PREFIX):
        yield corpus_of(source, settings)
        return
    from qa_system.stores import open_store

    name = source.removeprefix(STORE_PREFIX)
    place = settings.store.named(name) if name else settings.store
    with open_store(place) as store:
        yield _Stored(store, place.place)


def corpus_of(source: str, settings: Settings) -> Corpus:
    """Read files of reviews; the last row of a review's id counts."""
    sources = open_sources(changed(settings, {"indexing.sources": [source]}).indexing)
    rejected = 0

    def reviews() -> Iterator[Review]:
        nonlocal rejected
        for row in sources.rows():
            if isinstance(row.record, Reject):
                rejected += 1
            else:
                yield row.record

    found = _Gathered(
        source,
        ((each.id, each.item_id, each.content, dict(each.stored_meta)) for each in reviews()),
    )
    found.rejected = rejected
    return found


def gathered(place: str, texts: Iterable[tuple[str, str, str]]) -> Corpus:
    """Take reviews as they are: the id of each, its item's, and its content."""
    return _Gathered(place, ((*each, {}) for each in texts))


def catalogue_of(corpus: Corpus, seed: int) -> Catalogue:
    """Learn from a sample of the reviews how they use words."""
    items = list(corpus.items())
    Random(seed).shuffle(items)
    found = Catalogue()
    for item in items:
        for document in corpus.reviews(item)[: SAMPLED - found.reviews]:
            found.add(document.content or "")
        if found.reviews >= SAMPLED:
            break
    return found


class _Gathered:
    """Reviews in a temporary database, which SQLite keeps on disk where they are many."""

    def __init__(self, place: str, rows: Iterable[tuple[str, str, str, dict[str, Any]]]) -> None:
        self.place = place
        self.rejected = 0
        self._database = sqlite3.connect("")
        self._database.execute(
            "CREATE TABLE review (id TEXT PRIMARY KEY, item TEXT, content TEXT, meta BLOB)"
        )
        with self._database:
            self._database.executemany(
                "INSERT OR REPLACE INTO review VALUES (?, ?, ?, ?)",
                (
                    (id_, item, content, orjson.dumps(meta, default=str))
                    for id_, item, content, meta in rows
                ),
            )
        self._database.execute("CREATE INDEX by_item ON review (item, id)")
        if not self.items():
            raise DataError("there is no review", where=place, remedy="Name files of reviews.")

    def digest(self) -> str:
        found = hashlib.sha256()
        for row in self._database.execute("SELECT item, id, content FROM review ORDER BY item, id"):
            found.update(orjson.dumps(row))
        return found.hexdigest()

    def items(self) -> Sequence[str]:
        return [
            item
            for (item,) in self._database.execute("SELECT DISTINCT item FROM review ORDER BY item")
        ]

    def reviews(self, item_id: str) -> list[Document]:
        rows = self._database.execute(
            "SELECT id, content, meta FROM review WHERE item = ? ORDER BY id", (item_id,)
        )
        return [
            Document(
                id=id_,
                content=content,
                meta={**orjson.loads(meta), "review_id": id_, "item_id": item_id},
            )
            for id_, content, meta in rows
        ]

    def questions(self) -> list[str]:
        return []


class _Stored:
    """Reviews of a store."""

    rejected = 0

    def __init__(self, store: ReviewStore, place: str) -> None:
        self.place = place
        self._store = store

    def digest(self) -> str:
        generation = self._store.read_generation()
        # What a server says behind the colon counts its refreshes, which change no review.
        store = generation.store.partition(":")[0]
        return hashlib.sha256(f"{store} {generation.number}".encode()).hexdigest()

    def items(self) -> Sequence[str]:
        found: list[str] = []
        for start in range(0, self._store.count_items(), PAGE):
            page, _ = self._store.get_metadata_field_unique_values(
                "meta.item_id", None, start, PAGE
            )
            found += [each for each in page if isinstance(each, str)]
        if not found:
            raise DataError(
                "the store has no review of an item",
                where=self.place,
                remedy="Write some: qa-index run --source reviews.csv.",
            )
        return found

    def reviews(self, item_id: str) -> list[Document]:
        there = {"field": "meta.item_id", "operator": "==", "value": item_id}
        return sorted(self._store.filter_documents(there), key=lambda each: each.id)

    def questions(self) -> list[str]:
        return [label.question for label in self._store.get_labels_aggregated(by_item=False)]
