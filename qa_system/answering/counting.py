"""What the consensus on a question is built from, once its reviews are found and read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qa_system.answering.asking import filters_of
from qa_system.consensus.summary import Material
from qa_system.stores.filters import selects_one_item

if TYPE_CHECKING:
    from qa_system.answering.finding import Finder, Found
    from qa_system.consensus.builder import ConsensusBuilder
    from qa_system.readers.extractive import Reading
    from qa_system.records import Question

__all__ = ["materials_of"]


def materials_of(
    question: Question,
    parts: Sequence[str],
    found: Found,
    reading: Reading,
    finder: Finder,
    builder: ConsensusBuilder,
) -> tuple[list[Material], bool]:
    """Return what each part of a question is answered from, and whether it is about one item.

    A part of a compound question has sentences of its own. What the reader marked for the whole
    question is a part's quote where it lies in a mention, and no mention by itself.

    Args:
        question: as it came.
        parts: of it; a question that is not compound is its only part.
        found: for the question.
        reading: of what was found.
        finder: finds what there is for each part.
        builder: of the consensus.
    """
    is_of_one = selects_one_item(filters_of(question))
    spans, threshold = reading.candidates, reading.decision.threshold
    if len(parts) == 1:
        marked = builder.marked_in(found.documents, spans, threshold)
        least = builder.threshold_of_answers(threshold)
        return [Material(question.text, found.documents, marked, least)], is_of_one
    of_parts = [finder.find(replace(question, text=part), scored=False) for part in parts]
    return [
        Material(
            part,
            own.documents,
            [replace(each, answers=False) for each in builder.marked_in(own.documents, spans)],
        )
        for part, own in zip(parts, of_parts, strict=True)
    ], is_of_one
