"""The sentences of an index's reviews, read as it was at one moment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any, Final

import numpy as np
from haystack.dataclasses import Document
from numpy.typing import NDArray

from qa_system.stores.documents import DamagedStoreError
from qa_system.stores.elastic.documents import PACKED, READ, decode, sentences_of
from qa_system.stores.elastic.filters import ALL, Query, with_ids
from qa_system.stores.elastic.search import WINDOW, PointInTime
from qa_system.stores.sentences import SentenceColumns, unembedded_columns
from qa_system.stores.sentences.columns import joined
from qa_system.stores.sentences.scoring import cosines_of_reviews

__all__ = ["Extent", "Reviews", "read_extent", "read_reviews", "within"]

FloatArray = NDArray[np.float32]

_COUNT: Final = "sentences.count"


@dataclass(frozen=True, slots=True)
class Extent:
    """How much a filter selects.

    Args:
        reviews: all.
        divided: those with stored sentences.
        sentences: that these have.
    """

    reviews: int
    divided: int
    sentences: int


def read_extent(index: PointInTime, selected: Query | None) -> Extent:
    """Count what a filter selects; None: everything."""
    found = index.search(
        query=selected or ALL,
        size=0,
        track_total_hits=True,
        aggs={"sentences": {"stats": {"field": _COUNT}}},
    )
    stored = found["aggregations"]["sentences"]
    return Extent(found["hits"]["total"]["value"], stored["count"], int(stored["sum"]))


def within(index: PointInTime, selected: Query | None, ids: Sequence[str], most: int) -> list[str]:
    """Return the first of the ids whose sentences are no more than `most` together, or the first.

    Args:
        index: to look into.
        selected: the documents among which they are looked for; None: all.
        ids: the best first.
        most: sentences.
    """
    query = with_ids(ids, selected)
    hits = _hits(index, query, len(ids), source=False, docvalue_fields=[_COUNT])
    sizes = {hit["_id"]: hit.get("fields", {}).get(_COUNT, [0])[0] for hit in hits}
    there = [each for each in ids if each in sizes]
    ends = np.cumsum([sizes[each] for each in there])
    return there[: max(1, int(np.searchsorted(ends, most, "right")))]


@dataclass(frozen=True, slots=True)
class Reviews:
    """Reviews of an index with their sentences; a review's number is its place in `ids`.

    Args:
        index: as it was when they were read.
        version: of the index, by its own name; None where there are no reviews.
        ids: theirs.
        columns: their sentences.
        damaged: ids of those whose stored sentences are not as they were written.
    """

    index: PointInTime
    version: str | None
    ids: Sequence[str]
    columns: SentenceColumns
    damaged: Sequence[str]

    def of_review(self, vector: FloatArray) -> FloatArray | None:
        """Return the cosine of the review that each sentence is of; None: it is not needed.

        Args:
            vector: the question's embedding with length 1, (dimension,).
        """
        missing = np.unique(self.columns.reviews[self.columns.scales == 0])
        if not len(missing):
            return None
        cosines = np.zeros(len(self.ids), np.float32)
        places = {self.ids[number]: number for number in missing.tolist()}
        source = ["embedding", "passages.embedding"]
        for hit in _hits(self.index, with_ids(list(places)), len(places), source=source):
            cosines[places[hit["_id"]]] = _cosine(hit["_source"], vector)
        chosen: FloatArray = cosines[self.columns.reviews]
        return chosen

    def ids_of(self, numbers: Sequence[int]) -> dict[int, str]:
        """Return the ids of reviews by number."""
        return {number: self.ids[number] for number in numbers}

    def documents(self, scores: Mapping[int, float]) -> list[Document]:
        """Return reviews in the order of the mapping, with these scores.

        Args:
            scores: by number.
        """
        ids = [self.ids[number] for number in scores]
        found = _hits(self.index, with_ids(ids), len(ids), source=READ)
        hits = {hit["_id"]: hit for hit in found}
        return [decode(hits[self.ids[number]], score) for number, score in scores.items()]


def read_reviews(
    index: PointInTime, selected: Query | None, size: int, dimension: int | None
) -> Reviews:
    """Read the sentences of reviews; those that are not stored, or damaged, are divided now.

    Args:
        index: to look into.
        selected: the reviews; None: all.
        size: how many they are, at most.
        dimension: numbers in the index's embeddings; None: it has none.
    """
    hits = _hits(index, selected or ALL, size, source=False, docvalue_fields=PACKED)
    parts: list[SentenceColumns] = []
    undivided: dict[str, int] = {}
    damaged: list[str] = []
    for number, hit in enumerate(hits):
        try:
            part = sentences_of(hit, number, dimension)
        except DamagedStoreError:
            damaged.append(hit["_id"])
            part = None
        if part is None:
            undivided[hit["_id"]] = number
        else:
            parts.append(part)
    if undivided:
        parts.append(unembedded_columns(_texts(index, undivided)))
    version = hits[0]["_index"] if hits else None
    return Reviews(index, version, [hit["_id"] for hit in hits], joined(parts), damaged)


def _texts(index: PointInTime, numbers: Mapping[str, int]) -> Iterable[tuple[int, str]]:
    for hit in _hits(index, with_ids(list(numbers)), len(numbers), source=["content"]):
        text = hit["_source"].get("content")
        if text is not None:
            yield numbers[hit["_id"]], text


def _hits(index: PointInTime, query: Query, size: int, **options: Any) -> list[dict[str, Any]]:
    """Return hits in the order of the index."""
    if not size:
        return []
    found: list[dict[str, Any]] = index.search(
        query={"bool": {"filter": [query]}},
        size=min(size, WINDOW),
        sort=["_shard_doc"],
        track_total_hits=False,
        **options,
    )["hits"]["hits"]
    return found


def _cosine(source: Mapping[str, Any], vector: FloatArray) -> float:
    """Return the cosine of a document, by the nearest of its passages; NaN without any."""
    rows = [source["embedding"]] if source.get("embedding") is not None else []
    rows += [each["embedding"] for each in source.get("passages", []) if "embedding" in each]
    if not rows:
        return nan
    return float(cosines_of_reviews(np.array(rows, np.float32), vector).max())
