"""Ranking metrics of one question, and what a random order scores on average; pure functions."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from qa_system.errors import EvaluationError

__all__ = [
    "average_precision",
    "average_precision_at_random",
    "first_hit_at_random",
    "hit_at_k",
    "hit_rate_at_random",
    "ndcg_at_k",
    "ndcg_at_random",
    "recall_at_k",
    "recall_at_random",
    "reciprocal_rank",
    "reciprocal_rank_at_random",
]


def recall_at_k(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return the share of the gold documents that are among the first k.

    Args:
        ranked: document ids, best first; a repeated id counts once, at its first rank.
        gold: ids of the relevant documents, at least one.
        k: how many of the ranking to look at, from 1.

    Raises:
        EvaluationError: there is no gold document.

    Source: Manning, Raghavan and Schütze, Introduction to Information Retrieval, 8.4.

    >>> recall_at_k(["d3", "d1", "d7"], {"d1", "d2"}, 2)
    0.5
    """
    return len(_hits(ranked, gold, k)) / len(set(gold))


def hit_at_k(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return 1.0 if any gold document is among the first k, else 0.0 (also called success@k).

    Equal to recall where every question has one gold document. Arguments and errors as in
    `recall_at_k`.

    >>> hit_at_k(["d3", "d1", "d7"], {"d1", "d2"}, 2)
    1.0
    """
    return float(bool(_hits(ranked, gold, k)))


def reciprocal_rank(ranked: Sequence[str], gold: Collection[str]) -> float:
    """Return one over the rank of the first gold document, 0.0 if there is none; its mean is MRR.

    Arguments and errors as in `recall_at_k`. Source: Voorhees, The TREC-8 Question Answering
    Track Report, 1999.

    >>> reciprocal_rank(["d3", "d1", "d2"], {"d1", "d2"})
    0.5
    """
    hits = _hits(ranked, gold, len(ranked))
    return 1 / hits[0] if hits else 0.0


def average_precision(ranked: Sequence[str], gold: Collection[str]) -> float:
    """Return the mean over gold documents of the precision at their ranks; its mean is MAP.

    A gold document that is not in the ranking adds 0. Arguments and errors as in
    `recall_at_k`. Source: Manning, Raghavan and Schütze, 8.4.

    >>> average_precision(["d1", "d3", "d2"], {"d1", "d2"})  # (1/1 + 2/3) / 2
    0.8333333333333333
    """
    hits = _hits(ranked, gold, len(ranked))
    return sum(found / rank for found, rank in enumerate(hits, start=1)) / len(set(gold))


def ndcg_at_k(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Return the discounted cumulative gain of the first k over that of a perfect ranking.

    Relevance is 0 or 1, the discount at rank r is 1 / log2(r + 1). Arguments and errors as in
    `recall_at_k`. Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR
    techniques, 2002.

    >>> round(ndcg_at_k(["d3", "d1"], {"d1"}, 2), 4)  # 1 / log2(3)
    0.6309
    """
    gained = sum(1 / math.log2(rank + 1) for rank in _hits(ranked, gold, k))
    return gained / _ideal_gain(len(set(gold)), k)


def recall_at_random(candidates: int, relevant: int, k: int) -> float:
    """Return the mean recall@k over all orders of the candidates: min(k, n) / n.

    Args:
        candidates: n.
        relevant: m, from 0 (every value is 0 then) to n; so for the functions below.
        k: the cut-off.

    >>> recall_at_random(4, 1, 3)
    0.75
    """
    return min(k, candidates) / candidates if relevant else 0.0


def hit_rate_at_random(candidates: int, relevant: int, k: int) -> float:
    """Return the mean hit rate@k over all orders: the probability that the first k hold a gold one.

    >>> round(hit_rate_at_random(4, 2, 2), 4)  # 1 - (2/4) (1/3)
    0.8333
    """
    return math.fsum(first_hit_at_random(candidates, relevant, k))


def ndcg_at_random(candidates: int, relevant: int, k: int) -> float:
    """Return the mean nDCG@k over all orders: every rank holds a gold document m times of n.

    >>> ndcg_at_random(4, 4, 2)
    1.0
    """
    if not relevant:
        return 0.0
    gained = _ideal_gain(min(k, candidates), k)
    return gained * relevant / candidates / _ideal_gain(relevant, k)


def reciprocal_rank_at_random(candidates: int, relevant: int, depth: int) -> float:
    """Return the mean reciprocal rank over all orders, of which the first `depth` are looked at.

    >>> reciprocal_rank_at_random(2, 1, 2)  # (1/1 + 1/2) / 2
    0.75
    """
    first_at = first_hit_at_random(candidates, relevant, depth)
    return sum(probability / rank for rank, probability in enumerate(first_at, start=1))


def average_precision_at_random(candidates: int, relevant: int, depth: int) -> float:
    """Return the mean average precision over all orders, of which `depth` ranks are looked at.

    A gold document at rank r has, on average, 1 + (r-1)(m-1)/(n-1) gold ones up to itself.

    >>> average_precision_at_random(2, 1, 2)
    0.75
    """
    n, m = candidates, relevant
    spread = (m - 1) / (n - 1) if n > 1 else 0.0
    ranks = range(1, min(depth, n) + 1)
    return sum((1 + (rank - 1) * spread) / rank for rank in ranks) / n if m else 0.0


def first_hit_at_random(candidates: int, relevant: int, ranks: int) -> list[float]:
    """Return the probability that the first gold document of a random order has rank 1, 2, ...

    To have rank r is to miss m of n, then m of n - 1, ..., and to hit m of n - r + 1.

    Args:
        candidates: n.
        relevant: m.
        ranks: how many; no more than there are candidates.

    >>> first_hit_at_random(4, 1, 9)
    [0.25, 0.25, 0.25, 0.25]
    """
    probabilities = []
    missed = 1.0
    for left in range(candidates, max(candidates - ranks, 0), -1):
        hit = min(relevant / left, 1.0)
        probabilities.append(missed * hit)
        missed *= 1 - hit
    return probabilities


def _hits(ranked: Sequence[str], gold: Collection[str], k: int) -> list[int]:
    """Return the ranks, from 1, of the gold documents among the first k."""
    if not gold:
        raise EvaluationError("a question has no gold document to be ranked")
    wanted = set(gold)
    hits = []
    for rank, document_id in enumerate(ranked[:k], start=1):
        if document_id in wanted:
            wanted.remove(document_id)
            hits.append(rank)
    return hits


def _ideal_gain(relevant: int, k: int) -> float:
    return sum(1 / math.log2(rank + 1) for rank in range(1, min(relevant, k) + 1))
