"""What one annotator has said of one task, and how a label of the store holds it.

A label is one annotator's, so that several write beside each other; read together they are joined
(`qa_system.labels.join_annotators`). Its `meta` has `annotator`, `polarity` and `at`, a list each
with one value for each annotator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from qa_system.annotation.tasks import Task
from qa_system.opinions import Polarity
from qa_system.records import AnswerSpan, Label

__all__ = ["Mark", "is_annotated", "marks_of"]


@dataclass(frozen=True, slots=True)
class Mark:
    """What an annotator has said.

    Args:
        task_id: of the question and the review.
        annotator: who.
        span: the words that answer; None: the review does not say.
        polarity: of what they say; None: it was not judged.
        at: when, in ISO 8601.
    """

    task_id: str
    annotator: str
    span: AnswerSpan | None
    polarity: Polarity | None
    at: str

    def label(self, task: Task) -> Label:
        """Return the label that a store keeps.

        >>> task = Task("Loud?", "fan", "r1", "Very loud.")
        >>> mark = Mark(task.id, "ann", AnswerSpan("loud", 5, 9), "against", "2026-01-01T12:00Z")
        >>> list(marks_of([mark.label(task)])) == [mark]
        True
        """
        spans = () if self.span is None else (self.span,)
        meta = {"annotator": [self.annotator], "polarity": [self.polarity], "at": [self.at]}
        return Label(
            question_id=self.task_id,
            question=task.question,
            item_id=task.item_id,
            review_id=task.review_id,
            context=task.text,
            answers=spans,
            annotations=(spans,),
            meta=meta,
        )


def is_annotated(label: Label) -> bool:
    """Tell whether `qa annotate` has written a label, or all that were joined into it."""
    columns = _columns(label)
    return all(isinstance(each, list) for each in columns) and all(
        len(each) == len(label.annotations) > 0 for each in columns
    )


def marks_of(labels: Iterable[Label]) -> Iterator[Mark]:
    """Return what each annotator has said; labels of other programs are left out.

    Args:
        labels: joined by annotator, or not.
    """
    for label in filter(is_annotated, labels):
        for name, polarity, at, spans in zip(*_columns(label), label.annotations, strict=True):
            yield Mark(label.question_id, name, spans[0] if spans else None, polarity, at)


def _columns(label: Label) -> list[Any]:
    return [label.meta.get(key) for key in ("annotator", "polarity", "at")]
