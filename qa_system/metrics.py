"""Exact match and F1 of answers, as in SQuAD 2.0; the rank of the first relevant text."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

__all__ = [
    "exact_match",
    "f1",
    "first_hit_at_random",
    "first_relevant",
    "mean_reciprocal",
    "normalize_answer",
]

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def normalize_answer(text: str) -> str:
    """Lower the case; drop ASCII punctuation, English articles and extra white space.

    Source: `normalize_answer` of the SQuAD 2.0 evaluation script
    (https://worksheets.codalab.org/rest/bundles/0x6b567e1cf2e041ec80d7098f031c5c9e/contents/blob/).

    >>> normalize_answer("The  Screen, isn't a mirror!")
    'screen isnt mirror'
    """
    lowered = text.lower().translate(_NO_PUNCTUATION)
    return " ".join(_ARTICLES.sub(" ", lowered).split())


def exact_match(prediction: str, references: Collection[str]) -> float:
    """Score 1.0 if the prediction equals a reference after normalisation, else 0.0.

    Args:
        prediction: the system's answer; empty for "no answer".
        references: every annotator's answer; empty for a question without one, which only
            an empty prediction gets right. A reference that has only articles and
            punctuation counts as none.

    Source: `compute_exact` and `get_raw_scores` of the SQuAD 2.0 evaluation script.

    >>> exact_match("the screen", ["Screen!", "a mirror"]), exact_match("", [])
    (1.0, 1.0)
    """
    predicted = normalize_answer(prediction)
    return float(any(predicted == reference for reference in _normalized(references)))


def f1(prediction: str, references: Collection[str]) -> float:
    """Score the words shared with the reference that shares most, 0 to 1.

    F1 = 2PR / (P + R) over the bags of normalised words; where either side has no words, 1.0 if
    both have none and 0.0 otherwise.

    Args:
        prediction: the system's answer; empty for "no answer".
        references: as in `exact_match`.

    Source: `compute_f1` and `get_raw_scores` of the SQuAD 2.0 evaluation script; Rajpurkar et
    al., 2016 (https://arxiv.org/abs/1606.05250), section 6.1.

    >>> round(f1("a very good screen", ["good screen", "mirror"]), 3)
    0.8
    """
    predicted = normalize_answer(prediction).split()
    return max(_f1(predicted, reference.split()) for reference in _normalized(references))


def _normalized(references: Collection[str]) -> list[str]:
    normalized = [normalize_answer(reference) for reference in references]
    return [reference for reference in normalized if reference] or [""]


def _f1(predicted: list[str], reference: list[str]) -> float:
    if not predicted or not reference:
        return float(predicted == reference)
    shared = (Counter(predicted) & Counter(reference)).total()
    if shared == 0:
        return 0.0
    precision, recall = shared / len(predicted), shared / len(reference)
    return 2 * precision * recall / (precision + recall)


def first_hit_at_random(candidates: int, relevant: int, ranks: int) -> list[float]:
    """Return the probability that the first relevant text of a random order has rank 1, 2, ...

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


def first_relevant(scores: Sequence[float], relevant: Sequence[bool]) -> dict[int, float]:
    """Return the probability of each rank that the first relevant text can have.

    Texts with equal scores are in every order as likely, so that no order of the data counts.

    Args:
        scores: of texts, in any order; larger is better.
        relevant: which of them are; none: no rank is returned.

    >>> first_relevant([0.5, 0.9, 0.5], [True, False, False])
    {2: 0.5, 3: 0.5}
    """
    best = max((score for score, is_hit in zip(scores, relevant, strict=True) if is_hit), default=0)
    tied = [is_hit for score, is_hit in zip(scores, relevant, strict=True) if score == best]
    above = sum(score > best for score in scores)
    at_random = first_hit_at_random(len(tied), sum(tied), len(tied) if any(tied) else 0)
    return {above + rank: probability for rank, probability in enumerate(at_random, start=1)}


def mean_reciprocal(ranks: Mapping[int, float]) -> float:
    """Return the mean of 1 / rank, given the probability of each rank.

    >>> mean_reciprocal({2: 0.5, 4: 0.5})
    0.375
    """
    return sum(probability / rank for rank, probability in ranks.items())
