"""Scored sentences as a ranking: the best of them, and the reviews that have them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from haystack.dataclasses import Document
from numpy.typing import NDArray

from qa_system.stores.sentences.columns import SentenceColumns
from qa_system.ties import tie_breaker

__all__ = ["BestSentences", "RankedSentence", "SentenceRanking", "rank"]


@dataclass(frozen=True, slots=True)
class RankedSentence:
    """A sentence that was found.

    Args:
        start: its first character in the review's text.
        end: the one after its last.
        score: how well it fits the question, larger is better.
        before: where the sentence before it begins; `start` if it is the review's first.
        after: where the sentence after it ends; `end` if it is the review's last.
    """

    start: int
    end: int
    score: float
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class SentenceRanking:
    """What a search among sentences found.

    Args:
        documents: reviews, by their best sentences, best first; `score` is that of the best.
        sentences: of each of the documents, those that were found, best first; at least one.
        reviews: that the filter selects.
        considered: reviews with a sentence that scores at least `relevant`.
        is_whole: whether all sentences of those reviews were scored; if they were too many, the
            reviews that the indexes find were looked into, and `considered` counts among those.
        generation: of the embedded store, the one that was searched; None: a server has none.
    """

    documents: Sequence[Document]
    sentences: Sequence[Sequence[RankedSentence]]
    reviews: int
    considered: int
    is_whole: bool = True
    generation: int | None = None


@dataclass(frozen=True, slots=True)
class BestSentences:
    """Sentences by the number of their review, reviews best first; see `SentenceRanking`."""

    by_review: Mapping[int, Sequence[RankedSentence]]
    considered: int


def rank(
    columns: SentenceColumns,
    scores: NDArray[np.float32],
    top_k: int,
    relevant: float,
    ids_of: Callable[[Sequence[int]], Mapping[int, str]],
) -> BestSentences:
    """Return the best sentences of the best reviews.

    Args:
        columns: the sentences.
        scores: theirs, (n,).
        top_k: the best `top_k` sentences are returned, and the best `top_k` reviews with at
            least the best sentence of each.
        relevant: the score from which on a review is considered.
        ids_of: review numbers -> ids, by which equal scores are put in order; a number that it
            does not know is left out.

    >>> from qa_system.stores.sentences.columns import unembedded_columns
    >>> columns = unembedded_columns([(1, "Loud. Red."), (2, "Small. Big. Round.")])
    >>> scores = np.array([0.1, 0.9, 0.8, 0.2, 0.7], np.float32)
    >>> best = rank(columns, scores, 2, 0.9, lambda numbers: {each: f"r{each}" for each in numbers})
    >>> [(review, [one.start for one in found]) for review, found in best.by_review.items()]
    [(1, [6]), (2, [0])]
    """
    if not len(columns):
        return BestSentences({}, 0)
    firsts = np.flatnonzero(np.diff(columns.reviews, prepend=columns.reviews[0] - 1))
    best_of_review = np.maximum.reduceat(scores, firsts)
    considered = int(np.count_nonzero(best_of_review >= relevant))
    chosen = scores >= _kth(scores, top_k)
    # The reviews of those, and further ones up to top_k: each with its best sentence.
    reviews_chosen = best_of_review >= _kth(best_of_review, top_k)
    places = np.repeat(np.arange(len(firsts)), np.diff(np.append(firsts, len(columns))))
    is_best = scores == best_of_review[places]
    candidates = np.flatnonzero(chosen | (is_best & reviews_chosen[places]))
    ids = ids_of(np.unique(columns.reviews[candidates]).tolist())
    keys = {number: tie_breaker(name) for number, name in ids.items()}
    ordered = sorted(
        (place for place in candidates.tolist() if columns.reviews[place] in keys),
        key=lambda place: (
            -float(scores[place]),
            keys[int(columns.reviews[place])],
            int(columns.spans[place, 0]),
        ),
    )
    found: dict[int, list[RankedSentence]] = {}
    for number, place in enumerate(ordered):
        review = int(columns.reviews[place])
        if review not in found and len(found) == top_k:
            continue
        if review not in found or number < top_k:
            found.setdefault(review, []).append(_sentence(columns, scores, place))
    return BestSentences(found, considered)


def _kth(scores: NDArray[np.float32], k: int) -> np.float32:
    """Return the k-th largest of the scores; the smallest if there are fewer."""
    if k >= len(scores):
        return np.float32(scores.min())
    return np.float32(np.partition(scores, len(scores) - k)[len(scores) - k])


def _sentence(columns: SentenceColumns, scores: NDArray[np.float32], place: int) -> RankedSentence:
    start, end = columns.spans[place].tolist()
    review = columns.reviews[place]
    has_before = place > 0 and columns.reviews[place - 1] == review
    has_after = place + 1 < len(columns) and columns.reviews[place + 1] == review
    return RankedSentence(
        start=start,
        end=end,
        score=float(scores[place]),
        before=int(columns.spans[place - 1, 0]) if has_before else start,
        after=int(columns.spans[place + 1, 1]) if has_after else end,
    )
