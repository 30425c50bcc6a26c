"""Scores of different retrievers on one scale, so that a weighted sum of them means something."""

from __future__ import annotations

from dataclasses import replace

from haystack import Document, component

__all__ = ["ScoreNormalizer"]


@component
class ScoreNormalizer:
    """Map a ranking's scores linearly onto 0 to `weight`, its worst to 0, its best to `weight`.

    A ranking of equal scores says nothing, and becomes all 0, unless `run` is told where the scale
    begins.

    >>> documents = [Document(id=str(score), content="", score=score) for score in (8.0, 2.0, 5.0)]
    >>> [document.score for document in ScoreNormalizer().run(documents)["documents"]]
    [1.0, 0.0, 0.5]
    """

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    @component.output_types(documents=list[Document])
    def run(self, documents: list[Document], low: float | None = None) -> dict[str, list[Document]]:
        """Return the documents in their order, with the new scores.

        Args:
            documents: with their scores; None counts as 0.
            low: the score that becomes 0, none of theirs being lower; None: their lowest.
        """
        scores = [0.0 if document.score is None else document.score for document in documents]
        low = min(scores, default=0.0) if low is None else low
        high = max(scores, default=0.0)
        span = high - low if high > low else 1.0
        return {
            "documents": [
                # In this order the best has the weight exactly, so that the bests of two are a tie.
                replace(document, score=(score - low) / span * self.weight)
                for document, score in zip(documents, scores, strict=True)
            ]
        }
