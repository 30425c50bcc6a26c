"""Scores for generated answers on the scale of extracted ones, so that one list can hold both."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from haystack import component
from haystack.dataclasses import Document, ExtractedAnswer, GeneratedAnswer

from qa_system.arguments import checked
from qa_system.metrics import f1

__all__ = ["GeneratedAnswerScorer", "ScoredAnswer"]


@dataclass
class ScoredAnswer(GeneratedAnswer):
    """A generated answer with the `score` by which Haystack's `AnswerJoiner` sorts."""

    score: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Serialise the answer with its score."""
        return {**super().to_dict(), "score": self.score}

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ScoredAnswer:
        """Build the answer from what `to_dict` returned."""
        answer = GeneratedAnswer.from_dict(data)
        return _scored(answer, float(data["score"]))


@component
@checked
class GeneratedAnswerScorer:
    """Score generated answers by what the reader extracted for the same question.

    An extracted answer's `score` is the calibrated probability that it is right. A generated
    answer's score is the largest product of such a probability and SQuAD's F1 between the two
    answers: the F1 that the reader expects of it. So a generated answer in the words of an
    extracted one has the same score, one that shares some of its words less, and one that agrees
    with nothing that the reader found has 0.

    >>> scorer = GeneratedAnswerScorer()
    >>> extracted = [ExtractedAnswer(query="How long?", data="ten hours", score=0.8)]
    >>> answers = [GeneratedAnswer(text, "How long?", []) for text in ("Ten hours.", "a week")]
    >>> [answer.score for answer in scorer.run(answers, extracted)["answers"]]
    [0.8, 0.0]
    """

    @component.output_types(answers=list[GeneratedAnswer])
    def run(
        self, answers: list[GeneratedAnswer], extracted: list[ExtractedAnswer]
    ) -> dict[str, list[ScoredAnswer]]:
        """Return the generated answers, in their order, with `score`.

        Args:
            answers: the generator's.
            extracted: the reader's, to the same question. A reader returns those that reach its
                threshold; where it abstains, every generated answer scores 0.
        """
        return {"answers": [_scored(answer, _expected(answer, extracted)) for answer in answers]}


def _expected(answer: GeneratedAnswer, extracted: Iterable[ExtractedAnswer]) -> float:
    return max(
        (each.score * f1(answer.data, [each.data]) for each in extracted if each.data), default=0.0
    )


def _scored(answer: GeneratedAnswer, score: float) -> ScoredAnswer:
    documents: list[Document] = answer.documents
    return ScoredAnswer(answer.data, answer.query, documents, answer.meta, score)
