"""What is annotated: a question with one of the reviews that the retriever has found for it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import orjson

from qa_system.errors import QASystemError
from qa_system.records import AnswerSpan, Question

if TYPE_CHECKING:
    from haystack.dataclasses import ExtractedAnswer

    from qa_system.answering.examination import Examination
    from qa_system.system import QASystem

__all__ = ["Task", "tasks_of"]

AT_ONCE: Final = 16
"""Questions that are read together."""


@dataclass(frozen=True, slots=True)
class Task:
    """A question and a review in which somebody is to mark the answer.

    Args:
        question: what is asked.
        item_id: the item of the review; None: it has none.
        review_id: the review.
        text: the whole review, in whose characters spans are counted.
        suggestion: what the reader marked; None: nothing.
        score: the reader's confidence in it, 0 to 1; 0: it marked nothing.
        threshold: from this score on, the reader gives an answer.
    """

    question: str
    item_id: str | None
    review_id: str
    text: str
    suggestion: AnswerSpan | None = None
    score: float = 0.0
    threshold: float = 0.0

    @property
    def id(self) -> str:
        """32 hex digits, the same whenever this question meets this text."""
        asked = orjson.dumps([self.item_id, self.review_id, self.question, self.text])
        return hashlib.sha256(asked).hexdigest()[:32]


def tasks_of(
    system: QASystem, questions: Sequence[Question], reviews: int
) -> Iterator[list[Task] | QASystemError]:
    """Return for each question its tasks, or why it cannot be asked.

    Args:
        system: finds the reviews and reads them.
        questions: what is asked.
        reviews: of a question at most, in the order in which the retriever ranks them.
    """
    for start in range(0, len(questions), AT_ONCE):
        part = questions[start : start + AT_ONCE]
        for question, examined in zip(part, system.examine(part), strict=True):
            yield examined.answers.error or list(_tasks(question, examined, reviews))


def _tasks(question: Question, examined: Examination, reviews: int) -> Iterator[Task]:
    best: dict[str, ExtractedAnswer] = {}
    for candidate in examined.reading.candidates:
        if candidate.document is not None:
            best.setdefault(candidate.document.id, candidate)
    for document in examined.documents[:reviews]:
        text, found = document.content or "", best.get(document.id)
        at = None if found is None else found.document_offset
        yield Task(
            question=question.text,
            item_id=question.item_id or document.meta.get("item_id"),
            review_id=str(document.meta.get("review_id", document.id)),
            text=text,
            suggestion=None if at is None else _span(text, at.start, at.end),
            score=0.0 if found is None else float(found.score),
            threshold=examined.reading.decision.threshold,
        )


def _span(text: str, start: int, end: int) -> AnswerSpan:
    return AnswerSpan(text[start:end], start, end)
