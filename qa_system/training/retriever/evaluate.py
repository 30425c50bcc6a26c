"""A retriever in training, measured on labelled questions: at which rank is the gold review?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import DataError
from qa_system.labels import is_answered
from qa_system.metrics import first_relevant, mean_reciprocal
from qa_system.records import Label, Review
from qa_system.training.retriever.examples import Cut

__all__ = ["Contest", "contest_of", "measure"]

Encode = Callable[[Sequence[str]], NDArray[np.float32]]
"""Texts -> vectors (n, dimension) whose dot product is their similarity."""


@dataclass(frozen=True)
class Contest:
    """Questions, and the texts that compete for each.

    Args:
        questions: what is asked.
        passages: of all texts that compete, in one list.
        pools: for each question the passages of each text that competes, by their place in that
            list; the gold text's stand first.
    """

    questions: tuple[str, ...]
    passages: tuple[str, ...]
    pools: tuple[tuple[Sequence[int], ...], ...]


def contest_of(labels: Iterable[Label], reviews: Iterable[Review], cut: Cut) -> Contest:
    """Let all reviews of an item compete for its questions; all there are, where there are none.

    Args:
        labels: those that have an answer are asked.
        reviews: of all splits, as a store has them.
        cut: cuts texts into passages.

    Raises:
        DataError: no label has an answer.
    """
    asked = [label for label in labels if is_answered(label)]
    if not asked:
        raise DataError(
            "none of the questions to measure on has an answer", remedy="Choose another `dev`."
        )
    items = {label.item_id for label in asked}
    passages: list[str] = []
    places: dict[str, Sequence[int]] = {}
    of_item: dict[str | None, list[str]] = defaultdict(list)
    for review in reviews:
        if review.item_id in items or None in items:
            first = len(passages)
            passages += [review.text[start:end] for start, end in cut(review.text)]
            places[review.id] = range(first, len(passages))
            of_item[review.item_id].append(review.id)
            of_item[None].append(review.id)
    return Contest(
        tuple(label.question for label in asked),
        tuple(passages),
        tuple(
            (
                places[label.review_id],
                *(places[rival] for rival in of_item[label.item_id] if rival != label.review_id),
            )
            for label in asked
        ),
    )


def measure(
    contests: Sequence[Contest], encode_questions: Encode, encode_passages: Encode
) -> Mapping[str, float]:
    """Return a retriever's scores, each contest counting as much as the next.

    A text is as similar as its most similar passage, as in a search. Equals are ranked in every
    order as likely, so that vectors that are all the same score as random ones.

    Returns:
        `mrr`, the mean reciprocal rank of the gold text; `recall@1`.

    >>> contest = Contest(("q",), ("a", "b"), (([0], [1]),))
    >>> def encode(texts):
    ...     return np.array([{"q": [1, 0], "a": [0.6, 0.8], "b": [1, 0]}[text] for text in texts])
    >>> measure([contest], encode, encode)
    {'mrr': 0.5, 'recall@1': 0.0}
    """
    ranks = [_ranks(contest, encode_questions, encode_passages) for contest in contests]
    return {
        "mrr": fmean(fmean(map(mean_reciprocal, of_contest)) for of_contest in ranks),
        "recall@1": fmean(fmean(rank.get(1, 0.0) for rank in of_contest) for of_contest in ranks),
    }


def _ranks(
    contest: Contest, encode_questions: Encode, encode_passages: Encode
) -> list[dict[int, float]]:
    """Return the probabilities of the gold text's ranks, for each question."""
    questions = encode_questions(contest.questions)
    passages = encode_passages(contest.passages)
    ranks = []
    for question, pool in zip(questions, contest.pools, strict=True):
        # Not BLAS: there a product can depend on its place, and equal vectors be no tie.
        similarities = np.einsum("ij,j->i", passages, question)
        scores = [float(similarities[list(text)].max()) for text in pool]
        ranks.append(first_relevant(scores, [place == 0 for place in range(len(scores))]))
    return ranks
