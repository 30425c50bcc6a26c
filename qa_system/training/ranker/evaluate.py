"""A ranker in training, measured: where does it put the first text that answers?"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import fmean
from typing import TYPE_CHECKING, Any

from qa_system.metrics import first_relevant, mean_reciprocal
from qa_system.training.ranker.examples import Example

if TYPE_CHECKING:
    from sentence_transformers import CrossEncoder

__all__ = ["measure", "rank_metrics"]

BATCH_PAIRS = 32
"""Pairs of question and text in a forward pass; it changes no result."""


def measure(model: CrossEncoder, sources: Sequence[Sequence[Example]]) -> dict[str, float]:
    """Return a cross-encoder's `mrr` and `recall@1`, each source counting as much as the next."""
    measured = []
    for examples in sources:
        pairs = [(each.question, text) for each in examples for text in each.texts]
        logits = model.predict(pairs, batch_size=BATCH_PAIRS, activation_fn=_unchanged).tolist()
        ends = accumulate((len(each.texts) for each in examples), initial=0)
        measured.append(rank_metrics(examples, [logits[a:b] for a, b in pairwise(ends)]))
    return {name: fmean(each[name] for each in measured) for name in measured[0]}


def rank_metrics(
    examples: Sequence[Example], scores: Sequence[Sequence[float]]
) -> dict[str, float]:
    """Measure orders by where the first relevant text stands.

    Args:
        examples: the questions.
        scores: of each example's texts, larger is better; equals are in every order as
            likely.

    Returns:
        `mrr`, the mean of 1 / rank of the first relevant text (0 where none is), and `recall@1`,
        how often it is the first.

    >>> two = Example("q", ("a", "b"), (False, True))
    >>> rank_metrics([two, two], [[0.1, 0.2], [0.2, 0.1]])
    {'mrr': 0.75, 'recall@1': 0.5}
    """
    ranks = [
        first_relevant(given, each.relevant) for each, given in zip(examples, scores, strict=True)
    ]
    return {
        "mrr": fmean(map(mean_reciprocal, ranks)),
        "recall@1": fmean(rank.get(1, 0.0) for rank in ranks),
    }


def _unchanged(logits: Any) -> Any:
    return logits
