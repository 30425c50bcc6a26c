"""Semantic answer similarity: how near two answers are in meaning, whatever their words."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["answer_similarities"]


def answer_similarities(
    predictions: Sequence[str],
    references: Sequence[Sequence[str]],
    encode: Callable[[Sequence[str]], NDArray[np.float32]],
) -> list[float]:
    """Return the cosine between each prediction and the nearest of its references.

    Args:
        predictions: answers; an empty one has similarity 0.
        references: the right answers of each question, at least one.
        encode: texts -> embeddings, shape (texts, dimension), of a bi-encoder.

    Returns:
        Numbers from 0 to 1; a negative cosine counts as 0.

    Source: Risch et al., Semantic Answer Similarity for Evaluating Question Answering Models,
    MRQA 2021 (https://arxiv.org/abs/2108.06130), its bi-encoder.

    >>> axes = {"good": [1.0, 0.0], "great": [0.6, 0.8], "loud": [0.0, 1.0]}
    >>> def encode(texts):
    ...     return np.array([axes[text] for text in texts], dtype=np.float32)
    >>> found = answer_similarities(["great", ""], [["good", "loud"], ["good"]], encode)
    >>> [round(similarity, 2) for similarity in found]
    [0.8, 0.0]
    """
    texts = list(
        dict.fromkeys(text for group in (predictions, *references) for text in group if text)
    )
    if not texts:
        return [0.0] * len(predictions)
    vectors = np.asarray(encode(texts), dtype=np.float64)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    vector_of = dict(zip(texts, vectors, strict=True))
    return [
        max(
            (
                max(float(vector_of[said] @ vector_of[right]), 0.0)
                for right in rights
                if said and right
            ),
            default=0.0,
        )
        for said, rights in zip(predictions, references, strict=True)
    ]
