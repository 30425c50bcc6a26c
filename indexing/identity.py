"""Which review a row is: an id for one that has none, and which other review it repeats.

Both are told by what the run has read before, of which the checkpoint keeps what is needed.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Final

from indexing.checkpoint import CheckpointFile, Told
from qa_system.records import Review
from qa_system.review_ids import COPY_OF, stable_review_id
from qa_system.sources.rows import Row

__all__ = ["Identities", "text_key"]

TELLING_WORDS: Final = 5
"""Two shoppers may say fewer words alike by chance."""
_WORD: Final = re.compile(r"\w+")


class Identities:
    """The ids of a batch's reviews, and what they repeat.

    Reviews without an id that coincide in all that an id is derived of, and differ in other
    metadata, are numbered in the order of the source; those that differ in nothing are one.

    A review of another item with the same words (and author, where one is named) as an earlier
    one names that in its metadata as `copy_of`: the same review posted to several variants of a
    product. Capitals, punctuation and white space do not count, nor do texts of fewer than five
    words, unless author and date are the same, too.

    Args:
        state: remembers the batches before.
        rows: of the batch.
        recipe: by which ids are derived; reviews are numbered from the second one on.
    """

    def __init__(self, state: CheckpointFile, rows: Iterable[Row], recipe: int) -> None:
        self._numbers_them = recipe >= 2
        reviews: list[tuple[Review, bool]] = [
            (row.record, row.has_id) for row in rows if isinstance(row.record, Review)
        ]
        without = [review for review, has_id in reviews if not has_id]
        self._alike: dict[str, int] = {}
        if self._numbers_them:
            keys = [key for review in without for key in (review.id, _alike_key(review))]
            self._alike = state.alike(keys)
        self._keys = deque(text_key(review) for review, _ in reviews)
        self._texts = state.texts([key for key in self._keys if key is not None])
        self._told = Told({}, {})

    def identified(self, review: Review, *, has_id: bool) -> Review:
        """Return a review with its id, and with what it repeats.

        Args:
            review: as it was read; all reviews of the batch in their order.
            has_id: whether it brought its id along.
        """
        if not has_id and self._numbers_them:
            review = self._numbered(review)
        return self._marked(review)

    def told(self) -> Told:
        """Return what the checkpoint has to remember of the batch."""
        return self._told

    def _numbered(self, review: Review) -> Review:
        key = _alike_key(review)
        number = self._alike.get(key)
        if number is None:
            # Under the id itself: how many there are.
            number = self._alike.get(review.id, 0)
            self._remember({key: number, review.id: number + 1})
        if not number:
            return review
        meta = review.meta
        return replace(
            review,
            id=stable_review_id(
                review.item_id,
                review.text,
                review.title,
                meta.get("author"),
                meta.get("date"),
                number,
            ),
        )

    def _remember(self, numbers: dict[str, int]) -> None:
        self._alike |= numbers
        self._told.alike.update(numbers)

    def _marked(self, review: Review) -> Review:
        key = self._keys.popleft()
        if key is None:
            return review
        first = self._texts.get(key)
        if first is None:
            self._texts[key] = self._told.texts[key] = (review.id, review.item_id)
            return review
        original, item = first
        if item == review.item_id or original == review.id or COPY_OF in review.meta:
            return review
        return replace(review, meta={**review.meta, COPY_OF: original})


def text_key(review: Review) -> str | None:
    """Digest what a review says, so that its copies have the same; None: it says too little.

    >>> one = Review("r1", "lamp-red", "Too dim for reading, sadly!")
    >>> two = Review("r2", "lamp-blue", "too dim for  reading - sadly")
    >>> text_key(one) == text_key(two)
    True
    >>> text_key(Review("r3", "mug", "Good.")) is None
    True
    """
    words = _WORD.findall(review.text.casefold())
    said: Sequence[object] = (*words, "\0", review.title, review.meta.get("author"))
    if len(words) < TELLING_WORDS:
        date = review.meta.get("date")
        if not words or date is None or review.meta.get("author") is None:
            return None
        said = (*said, date)
    return hashlib.blake2b(" ".join(map(str, said)).encode(), digest_size=16).hexdigest()


def _alike_key(review: Review) -> str:
    return f"{review.id}:{review.content_hash[:16]}"
