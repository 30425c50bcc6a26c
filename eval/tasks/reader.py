"""The reader alone: given the gold review, does it find the answer, or that there is none?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from eval.runs.run import System
from eval.tasks.predictions import Prediction, Similarity, in_batches, score_predictions
from qa_system.records import Label

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.readers.extractive import Reading

__all__ = ["BATCH", "HEADLINE", "Reader", "evaluate_reader"]

HEADLINE = (
    "em",
    "f1",
    "has_ans_em",
    "has_ans_f1",
    "no_ans_em",
    "forced_has_ans_em",
    "forced_has_ans_f1",
)
"""The metrics that a table of readers shows."""

BATCH = 64
"""Questions in one call of the reader: enough to sort their windows by length."""


class Reader(Protocol):
    """What is evaluated: `ExtractiveReader`, or anything with its `read`."""

    def read(
        self,
        questions: Sequence[str],
        documents: Sequence[Sequence[Document]],
        top_k: int | None = None,
    ) -> Sequence[Reading]:
        """Answer each question from its documents."""


def evaluate_reader(
    labels: Sequence[Label],
    reader: Reader,
    *,
    batch: int = BATCH,
    slices: Sequence[Mapping[str, str]] | None = None,
    similarity: Similarity | None = None,
) -> System:
    """Let a reader answer each question from its gold review, and score the answers.

    Args:
        labels: the questions.
        reader: what is evaluated.
        batch: questions in one call; it changes no result.
        slices: features of each label; None: none.
        similarity: see `score_predictions`.

    Raises:
        EvaluationError: there are no labels, two are of one question, or the reader failed on
            every one.
    """
    from haystack import Document

    def read(part: Sequence[Label]) -> list[Prediction]:
        readings = reader.read(
            [label.question for label in part],
            [[Document(id=label.review_id, content=label.context)] for label in part],
            top_k=1,
        )
        return [Prediction.of(reading) for reading in readings]

    predictions = in_batches(labels, read, "reading", batch)
    return score_predictions(labels, predictions, slices=slices, similarity=similarity)
