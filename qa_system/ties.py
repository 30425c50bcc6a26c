"""Documents with equal scores: in which order they are shown, and how none of them is cut off.

Nothing that a user did not write decides which of two equals comes first: not the order in which
documents were stored, nor how they were found. A hash of the id does, the same in every store.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import TypeVar

from haystack import Document

__all__ = [
    "best_documents",
    "best_first",
    "fetch_through_tie",
    "score_of",
    "through_tie",
    "tie_breaker",
]

T = TypeVar("T")


def tie_breaker(document_id: str) -> bytes:
    """Return the sort key of a document among those with the same score: a hash of its id.

    >>> sorted(["r1", "r2", "r3"], key=tie_breaker)
    ['r1', 'r3', 'r2']
    """
    return blake2b(document_id.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def best_first(
    items: Iterable[T], score: Callable[[T], float], document_id: Callable[[T], str]
) -> list[T]:
    """Sort by score, highest first; equal scores by the hash of the document's id.

    Args:
        items: in any order.
        score: of an item.
        document_id: of the document that an item is about.

    >>> best_first(["r1", "r2", "r3"], score=lambda each: each == "r2", document_id=str)
    ['r2', 'r1', 'r3']
    """
    return sorted(items, key=lambda each: (-score(each), tie_breaker(document_id(each))))


def best_documents(
    documents: Iterable[Document], top_k: int | None, *, whole_ties: bool = False
) -> list[Document]:
    """Return the best documents, best first; equal scores by the hash of the id.

    Args:
        documents: in any order; one without a score comes last.
        top_k: documents to return, at most; None: all.
        whole_ties: also return those beyond `top_k` whose score is that of the last.

    >>> found = [Document(id=name, content="", score=1.0) for name in ("r1", "r2", "r3")]
    >>> [each.id for each in best_documents(found, 1)]
    ['r1']
    >>> [each.id for each in best_documents(found, 1, whole_ties=True)]
    ['r1', 'r3', 'r2']
    """
    ordered = best_first(documents, score_of, lambda each: each.id)
    if top_k is None:
        return ordered
    return ordered[: through_tie([*map(score_of, ordered)], top_k) if whole_ties else top_k]


def through_tie(scores: Sequence[float], top_k: int) -> int:
    """Return how many of some scores to keep, so that `top_k` cuts no tie.

    Args:
        scores: descending.
        top_k: how many are wanted, from 1.

    >>> through_tie([3.0, 2.0, 2.0, 1.0], 2)
    3
    """
    kept = min(top_k, len(scores))
    while kept < len(scores) and scores[kept] == scores[top_k - 1]:
        kept += 1
    return kept


def fetch_through_tie(
    fetch: Callable[[int], Sequence[T]],
    score: Callable[[T], float],
    top_k: int,
    most: int | None = None,
) -> list[T]:
    """Fetch the best hits, and all that have the same score as the last of them.

    One hit more than is wanted tells whether there is a tie. If there is, four times as many are
    fetched, until one has a lower score.

    Args:
        fetch: returns so many of the best hits, best first; fewer: there are no more.
        score: of a hit.
        top_k: hits that are wanted.
        most: hits that can be fetched; a tie that reaches further is cut there. None: any number.

    >>> hits = [3.0, *[2.0] * 9, 1.0, 1.0]
    >>> len(fetch_through_tie(lambda wanted: hits[:wanted], float, 2))
    10
    """
    wanted = top_k + 1
    while True:
        wanted = wanted if most is None else min(wanted, most)
        found = fetch(wanted)
        is_whole = len(found) < wanted or wanted == most
        if is_whole or score(found[-1]) < score(found[top_k - 1]):
            return list(found[: through_tie([*map(score, found)], top_k)])
        wanted *= 4


def score_of(document: Document) -> float:
    """Return a document's score; minus infinity where it has none."""
    return float("-inf") if document.score is None else document.score
