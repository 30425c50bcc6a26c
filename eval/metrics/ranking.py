"""Ranking metrics of one question, and what a random order scores on average; pure functions.

Documents with equal scores have no order. A metric is then its mean over all orders in which they
could be ranked, which has a closed form: in a tie of n documents with m gold ones each of its
ranks holds a gold document m times of n, those beyond the cut-off count nothing. A random order is
one tie of all candidates.

Source: McSherry and Najork, Computing Information Retrieval Performance Measures Efficiently in
the Presence of Tied Scores, ECIR 2008.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby, pairwise
from typing import NamedTuple

from qa_system.errors import EvaluationError
from qa_system.metrics import first_hit_at_random, mean_reciprocal

__all__ = [
    "Tie",
    "average_precision",
    "average_precision_at_random",
    "hit_at_k",
    "hit_in_tie",
    "hit_rate_at_random",
    "ndcg_at_k",
    "ndcg_at_random",
    "recall_at_k",
    "recall_at_random",
    "reciprocal_rank",
    "reciprocal_rank_at_random",
    "scores_in_order",
    "ties_of",
]

Scores = Sequence[float | None] | None
"""Of a ranking's documents, in its order; None: each document has a rank of its own."""


class Tie(NamedTuple):
    """Consecutive documents of a ranking that have the same score.

    Args:
        above: documents ranked before them.
        size: how many they are.
        gold: how many of them are gold.
        gold_above: gold documents ranked before them.
    """

    above: int
    size: int
    gold: int
    gold_above: int = 0

    def ranks(self, k: int) -> range:
        """Return the ranks, from 1, that the documents share, up to k."""
        return range(self.above + 1, min(self.above + self.size, k) + 1)


def recall_at_k(
    ranked: Sequence[str], gold: Collection[str], k: int, scores: Scores = None
) -> float:
    """Return the share of the gold documents that are among the first k.

    Args:
        ranked: document ids, best first; a repeated id counts once, at its first rank.
        gold: ids of the relevant documents, at least one.
        k: how many of the ranking to look at, from 1.
        scores: of the documents in `ranked`. Neighbours with equal scores are a tie, which has to
            be whole. Scores of which one is missing or above its predecessor's do not tell the
            order: then each document has a rank of its own, as without scores.

    Raises:
        EvaluationError: there is no gold document.

    Source: Manning, Raghavan and Schütze, Introduction to Information Retrieval, 8.4.

    >>> recall_at_k(["d3", "d1", "d7"], {"d1", "d2"}, 2)
    0.5
    >>> recall_at_k(["d3", "d1", "d7"], {"d1", "d2"}, 2, scores=[3.0, 1.0, 1.0])
    0.25
    """
    return _recall(_ties(ranked, gold, scores), len(set(gold)), k)


def hit_at_k(ranked: Sequence[str], gold: Collection[str], k: int, scores: Scores = None) -> float:
    """Return 1.0 if any gold document is among the first k, else 0.0 (also called success@k).

    Equal to recall where every question has one gold document. Arguments and errors as in
    `recall_at_k`.

    >>> hit_at_k(["d3", "d1", "d7"], {"d1", "d2"}, 2)
    1.0
    """
    return _hit_rate(_ties(ranked, gold, scores), k)


def hit_in_tie(first: int | None, tie: Sequence[int], k: int) -> float:
    """Return the probability that the first k hold a document of those looked for.

    Args:
        first: the first rank that one of them can have; None: there is none.
        tie: how many documents share its score, and how many of these are looked for.
        k: how many of the ranking to look at.

    >>> hit_in_tie(3, (2, 1), 2), hit_in_tie(3, (2, 1), 3), hit_in_tie(3, (2, 1), 4)
    (0.0, 0.5, 1.0)
    """
    return 0.0 if first is None else _hit_rate([Tie(first - 1, *tie)], k)


def reciprocal_rank(
    ranked: Sequence[str], gold: Collection[str], k: int | None = None, scores: Scores = None
) -> float:
    """Return one over the rank of the first gold document, 0.0 if there is none; its mean is MRR.

    Arguments and errors as in `recall_at_k`; without `k`, all of the ranking is looked at. Source:
    Voorhees, The TREC-8 Question Answering Track Report, 1999.

    >>> reciprocal_rank(["d3", "d1", "d2"], {"d1", "d2"})
    0.5
    >>> reciprocal_rank(["d3", "d1"], {"d1"}, scores=[1.0, 1.0])  # (1/1 + 1/2) / 2
    0.75
    """
    return _reciprocal_rank(_ties(ranked, gold, scores), len(ranked) if k is None else k)


def average_precision(
    ranked: Sequence[str], gold: Collection[str], k: int | None = None, scores: Scores = None
) -> float:
    """Return the mean over gold documents of the precision at their ranks; its mean is MAP.

    A gold document that is not in the ranking, or not among its first `k`, adds 0. Arguments and
    errors as in `reciprocal_rank`. Source: Manning, Raghavan and Schütze, 8.4.

    >>> average_precision(["d1", "d3", "d2"], {"d1", "d2"})  # (1/1 + 2/3) / 2
    0.8333333333333333
    """
    ties = _ties(ranked, gold, scores)
    return _average_precision(ties, len(set(gold)), len(ranked) if k is None else k)


def ndcg_at_k(ranked: Sequence[str], gold: Collection[str], k: int, scores: Scores = None) -> float:
    """Return the discounted cumulative gain of the first k over that of a perfect ranking.

    Relevance is 0 or 1, the discount at rank r is 1 / log2(r + 1). Arguments and errors as in
    `recall_at_k`. Source: Järvelin and Kekäläinen, Cumulated gain-based evaluation of IR
    techniques, 2002.

    >>> round(ndcg_at_k(["d3", "d1"], {"d1"}, 2), 4)  # 1 / log2(3)
    0.6309
    """
    return _ndcg(_ties(ranked, gold, scores), len(set(gold)), k)


def recall_at_random(candidates: int, relevant: int, k: int) -> float:
    """Return the mean recall@k over all orders of the candidates: min(k, n) / n.

    Args:
        candidates: n.
        relevant: m, from 0 (every value is 0 then) to n; so for the functions below.
        k: the cut-off.

    >>> recall_at_random(4, 1, 3)
    0.75
    """
    return _recall(_at_random(candidates, relevant), relevant, k)


def hit_rate_at_random(candidates: int, relevant: int, k: int) -> float:
    """Return the mean hit rate@k over all orders: the probability that the first k hold a gold one.

    >>> round(hit_rate_at_random(4, 2, 2), 4)  # 1 - (2/4) (1/3)
    0.8333
    """
    return _hit_rate(_at_random(candidates, relevant), k)


def ndcg_at_random(candidates: int, relevant: int, k: int) -> float:
    """Return the mean nDCG@k over all orders: every rank holds a gold document m times of n.

    >>> ndcg_at_random(4, 4, 2)
    1.0
    """
    return _ndcg(_at_random(candidates, relevant), relevant, k)


def reciprocal_rank_at_random(candidates: int, relevant: int, depth: int) -> float:
    """Return the mean reciprocal rank over all orders, of which the first `depth` are looked at.

    >>> reciprocal_rank_at_random(2, 1, 2)  # (1/1 + 1/2) / 2
    0.75
    """
    return _reciprocal_rank(_at_random(candidates, relevant), depth)


def average_precision_at_random(candidates: int, relevant: int, depth: int) -> float:
    """Return the mean average precision over all orders, of which `depth` ranks are looked at.

    >>> average_precision_at_random(2, 1, 2)
    0.75
    """
    return _average_precision(_at_random(candidates, relevant), relevant, depth)


def _at_random(candidates: int, relevant: int) -> list[Tie]:
    return [Tie(0, candidates, relevant)] if relevant else []


def _ties(ranked: Sequence[str], gold: Collection[str], scores: Scores) -> list[Tie]:
    """Return the ties that hold a gold document, in the ranking's order."""
    if not gold:
        raise EvaluationError("a question has no gold document to be ranked")
    wanted = set(gold)
    hits = []
    for document_id in ranked:
        hits.append(document_id in wanted)
        wanted.discard(document_id)
    return ties_of(hits, scores)


def ties_of(hits: Sequence[bool], scores: Scores) -> list[Tie]:
    """Return the ties that hold a gold document, in the ranking's order.

    Args:
        hits: whether each document of the ranking is gold.
        scores: as in `recall_at_k`.

    >>> ties_of([False, True, False], [2.0, 1.0, 1.0])
    [Tie(above=1, size=2, gold=1, gold_above=0)]
    """
    known = scores_in_order(len(hits), scores)
    sizes = [1] * len(hits) if known is None else [len(list(tie)) for _, tie in groupby(known)]
    ties, above, found = [], 0, 0
    for size in sizes:
        holding = sum(hits[above : above + size])
        if holding:
            ties.append(Tie(above, size, holding, found))
        above, found = above + size, found + holding
    return ties


def scores_in_order(ranked: int, scores: Scores) -> list[float] | None:
    """Return the scores; None if one is missing or above its predecessor's.

    Args:
        ranked: documents in the ranking.
        scores: as in `recall_at_k`.

    >>> scores_in_order(2, [2.0, 1.0]), scores_in_order(2, [1.0, 2.0]), scores_in_order(2, None)
    ([2.0, 1.0], None, None)
    """
    known = [score for score in scores or () if score is not None]
    is_ordered = all(one >= other for one, other in pairwise(known))
    return known if is_ordered and len(known) == ranked else None


def _recall(ties: Sequence[Tie], gold: int, k: int) -> float:
    return sum(tie.gold * len(tie.ranks(k)) / tie.size for tie in ties) / max(gold, 1)


def _hit_rate(ties: Sequence[Tie], k: int) -> float:
    return math.fsum(probability for _, probability in _first_hit(ties, k))


def _reciprocal_rank(ties: Sequence[Tie], k: int) -> float:
    return mean_reciprocal(dict(_first_hit(ties, k)))


def _first_hit(ties: Sequence[Tie], k: int) -> Iterator[tuple[int, float]]:
    """Yield the ranks that the first gold document can have, up to k, and their probabilities."""
    for tie in ties[:1]:
        ranks = tie.ranks(k)
        yield from zip(ranks, first_hit_at_random(tie.size, tie.gold, len(ranks)), strict=True)


def _average_precision(ties: Sequence[Tie], gold: int, k: int) -> float:
    # A gold document at rank r of a tie has, on average, (r - 1)(m - 1)/(n - 1) gold ones of the
    # tie before it.
    total = 0.0
    for tie in ties:
        spread = (tie.gold - 1) / (tie.size - 1) if tie.size > 1 else 0.0
        total += sum(
            (tie.gold_above + 1 + (rank - tie.above - 1) * spread) / rank for rank in tie.ranks(k)
        ) * (tie.gold / tie.size)
    return total / max(gold, 1)


def _ndcg(ties: Sequence[Tie], gold: int, k: int) -> float:
    gained = sum(_gain(tie.ranks(k)) * tie.gold / tie.size for tie in ties)
    return gained / _gain(range(1, min(gold, k) + 1)) if gold else 0.0


def _gain(ranks: range) -> float:
    return sum(1 / math.log2(rank + 1) for rank in ranks)
