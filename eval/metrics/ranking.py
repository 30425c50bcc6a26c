"""Metrics of retrieval: pure functions of one question; means are taken elsewhere."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from qa_system.errors import EvaluationError

__all__ = [
    "average_precision",
    "expected_at_random",
    "hit_at_k",
    "ndcg_at_k",
    "recall_at_k",
    "reciprocal_rank",
]


def recall_at_k(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Give the share of the gold documents that stand among the first k.

    Args:
        ranked: document ids, best first; a repeated id counts once, where it first stands.
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
    """Give 1.0 if any gold document stands among the first k, else 0.0 (also called success@k).

    Equal to recall where every question has one gold document. Arguments and faults as in
    `recall_at_k`.

    >>> hit_at_k(["d3", "d1", "d7"], {"d1", "d2"}, 2)
    1.0
    """
    return float(bool(_hits(ranked, gold, k)))


def reciprocal_rank(ranked: Sequence[str], gold: Collection[str]) -> float:
    """Give one over the rank of the first gold document, 0.0 if there is none; its mean is MRR.

    Arguments and faults as in `recall_at_k`. Source: Voorhees, The TREC-8 Question Answering
    Track Report, 1999.

    >>> reciprocal_rank(["d3", "d1", "d2"], {"d1", "d2"})
    0.5
    """
    hits = _hits(ranked, gold, len(ranked))
    return 1 / hits[0] if hits else 0.0


def average_precision(ranked: Sequence[str], gold: Collection[str]) -> float:
    """Give the mean over gold documents of the precision at their ranks; its mean is MAP.

    A gold document that is not in the ranking adds 0. Arguments and faults as in
    `recall_at_k`. Source: Manning, Raghavan and Schütze, 8.4.

    >>> average_precision(["d1", "d3", "d2"], {"d1", "d2"})  # (1/1 + 2/3) / 2
    0.8333333333333333
    """
    hits = _hits(ranked, gold, len(ranked))
    return sum(found / rank for found, rank in enumerate(hits, start=1)) / len(set(gold))


def ndcg_at_k(ranked: Sequence[str], gold: Collection[str], k: int) -> float:
    """Give the discounted cumulative gain of the first k over that of a perfect ranking.

    Relevance is 0 or 1, the discount at rank r is 1 / log2(r + 1). Arguments and faults as in
    `recall_at_k`. Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR
    techniques, 2002.

    >>> round(ndcg_at_k(["d3", "d1"], {"d1"}, 2), 4)  # 1 / log2(3)
    0.6309
    """
    gained = sum(1 / math.log2(rank + 1) for rank in _hits(ranked, gold, k))
    return gained / _ideal_gain(len(set(gold)), k)


def expected_at_random(
    candidates: int, relevant: int, ks: Collection[int], depth: int
) -> dict[str, float]:
    """Give what a random order of the candidates scores on average, in closed form.

    With n candidates, m of them relevant: recall@k = min(k, n) / n; the first relevant one
    stands at rank r with the probability of missing m of n, then m of n - 1, ..., and hitting m
    of n - r + 1, which gives hit rate@k and MRR; a relevant one at rank r has, on average,
    1 + (r-1)(m-1)/(n-1) relevant ones up to itself, which gives MAP.

    Args:
        candidates: n.
        relevant: m, from 0 (everything is 0 then) to n.
        ks: the cut-offs.
        depth: how much of the order MRR and MAP look at.

    >>> expected_at_random(4, 1, [3], 4)["recall@3"]
    0.75
    """
    n, m = candidates, relevant
    first_at = _first_hit_at_random(n, m, min(max(depth, *ks), n))
    expected: dict[str, float] = {}
    for k in ks:
        gained = sum(1 / math.log2(rank + 1) for rank in range(1, min(k, n) + 1))
        expected[f"recall@{k}"] = min(k, n) / n if m else 0.0
        expected[f"hit_rate@{k}"] = math.fsum(first_at[:k])
        expected[f"ndcg@{k}"] = gained * m / n / _ideal_gain(m, k) if m else 0.0
    ranks = range(1, min(depth, n) + 1)
    expected["mrr"] = sum(first_at[rank - 1] / rank for rank in ranks)
    spread = (m - 1) / (n - 1) if n > 1 else 0.0
    expected["map"] = sum((1 + (rank - 1) * spread) / rank for rank in ranks) / n if m else 0.0
    return expected


def _first_hit_at_random(n: int, m: int, ranks: int) -> list[float]:
    """Give the probability of each of the first ranks to hold the first relevant candidate."""
    probabilities = []
    missed = 1.0
    for left in range(n, n - ranks, -1):
        hit = min(m / left, 1.0)
        probabilities.append(missed * hit)
        missed *= 1 - hit
    return probabilities


def _hits(ranked: Sequence[str], gold: Collection[str], k: int) -> list[int]:
    """Give the ranks, from 1, at which gold documents first stand among the first k."""
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
