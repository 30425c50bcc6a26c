"""SQuAD's exact match and F1 as Haystack evaluators.

They have the inputs and outputs of Haystack's `AnswerExactMatchEvaluator`, which compares texts
character by character: "The screen." and "screen" differ there, and are equal here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from statistics import fmean
from typing import Any

from haystack import component

from qa_system.errors import EvaluationError
from qa_system.metrics import exact_match, f1

__all__ = ["AnswerEMEvaluator", "AnswerF1Evaluator"]


@component
class AnswerEMEvaluator:
    """Score 1 where a predicted answer equals a right one after SQuAD's normalisation, else 0.

    >>> evaluator = AnswerEMEvaluator()
    >>> evaluator.run(["The screen!", "ten hours", ""], ["screen", "hours", ""])
    {'individual_scores': [1, 0, 1], 'score': 0.666...}
    """

    @component.output_types(individual_scores=list[int], score=float)
    def run(
        self,
        ground_truth_answers: list[str] | list[list[str]],
        predicted_answers: list[str],
    ) -> dict[str, Any]:
        """Compare answers, one of each list for each question.

        Args:
            ground_truth_answers: the right answer to each question, or a list of those of several
                annotators, of which the best match counts. An empty text or list: the question
                has no answer.
            predicted_answers: an empty text: the system abstained.

        Returns:
            `individual_scores`, 0 or 1 for each question, and `score`, their mean.

        Raises:
            EvaluationError: there are no answers, or the two lists differ in length.
        """
        scores = [
            int(each) for each in _scores(exact_match, ground_truth_answers, predicted_answers)
        ]
        return {"individual_scores": scores, "score": fmean(scores)}


@component
class AnswerF1Evaluator:
    """Score the words that a predicted answer shares with a right one, by SQuAD's F1.

    >>> evaluator = AnswerF1Evaluator()
    >>> evaluator.run([["good screen", "mirror"], ["ten hours"]], ["a very good screen", ""])
    {'individual_scores': [0.8, 0.0], 'score': 0.4}
    """

    @component.output_types(individual_scores=list[float], score=float)
    def run(
        self,
        ground_truth_answers: list[str] | list[list[str]],
        predicted_answers: list[str],
    ) -> dict[str, Any]:
        """Compare answers, one of each list for each question.

        Args:
            ground_truth_answers: as in `AnswerEMEvaluator`.
            predicted_answers: as in `AnswerEMEvaluator`.

        Returns:
            `individual_scores`, 0 to 1 for each question, and `score`, their mean.

        Raises:
            EvaluationError: there are no answers, or the two lists differ in length.
        """
        scores = _scores(f1, ground_truth_answers, predicted_answers)
        return {"individual_scores": scores, "score": fmean(scores)}


def _scores(
    metric: Callable[[str, Collection[str]], float],
    truths: Sequence[str | Sequence[str]],
    predictions: Sequence[str],
) -> list[float]:
    if not predictions or len(truths) != len(predictions):
        raise EvaluationError(
            f"{len(truths)} right answers came with {len(predictions)} predicted ones",
            where="ground_truth_answers, predicted_answers",
            remedy="Pass one of each for each question, and an empty text for no answer.",
        )
    return [
        metric(prediction, [truth] if isinstance(truth, str) else truth)
        for truth, prediction in zip(truths, predictions, strict=True)
    ]
