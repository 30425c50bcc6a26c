"""Our measurements as an evaluator of sentence-transformers.

Importing this module imports sentence-transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sentence_transformers.base.evaluation import BaseEvaluator

__all__ = ["Evaluator"]


class Evaluator(BaseEvaluator):  # type: ignore[misc]  # sentence-transformers is not typed
    """Measure a model as it stands.

    Args:
        measure: returns scores by name.
        score: the one that the weights are chosen by.
    """

    def __init__(self, measure: Callable[[], Mapping[str, float]], score: str) -> None:
        super().__init__()
        self.primary_metric = score
        self._measure = measure

    def __call__(self, *_: Any, **__: Any) -> dict[str, float]:
        """Return the scores."""
        return dict(self._measure())
