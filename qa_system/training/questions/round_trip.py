"""Questions kept if the reader finds their answer again (Alberti et al., 2019).

"Synthetic QA Corpora Generation with Roundtrip Consistency", https://arxiv.org/abs/1906.05416.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from haystack import Document

from qa_system.errors import QuestionTooLongError

if TYPE_CHECKING:
    from qa_system.readers.extractive import ExtractiveReader
    from qa_system.readers.reading import Reading

__all__ = ["Found", "Outcome", "Proposal", "abstains", "overlap", "read_again"]

Outcome = Literal["kept", "not_answered", "elsewhere", "too_long"]


@dataclass(frozen=True, slots=True)
class Proposal:
    """A question, a review, and where the answer is said to be in it.

    Args:
        question: its text.
        document: the review.
        start: first character of the answer.
        end: the character after its last.
        aspect: that the answer speaks of.
    """

    question: str
    document: Document
    start: int
    end: int
    aspect: str


@dataclass(frozen=True, slots=True)
class Found:
    """What the reader made of a proposal.

    Args:
        outcome: `kept`; `not_answered`, the reader abstains; `elsewhere`, its answer overlaps too
            little; `too_long`, the question leaves no room for the review.
        overlap: of the reader's best span with the answer, 0 to 1.
    """

    outcome: Outcome
    overlap: float


def overlap(one: tuple[int, int], other: tuple[int, int]) -> float:
    """Return the F1 of two spans' characters: 1.0 if they are the same, 0.0 if they are apart.

    >>> overlap((0, 10), (5, 10)), overlap((0, 2), (2, 4))
    (0.6666666666666666, 0.0)
    """
    shared = min(one[1], other[1]) - max(one[0], other[0])
    return 2 * max(shared, 0) / ((one[1] - one[0]) + (other[1] - other[0]))


def read_again(
    reader: ExtractiveReader, proposals: Sequence[Proposal], least: float
) -> list[Found]:
    """Read each proposal's review with its question.

    Args:
        reader: with its own threshold.
        proposals: what is asked.
        least: overlap from which on a proposal is kept.
    """
    readings = _read(reader, [(each.question, each.document) for each in proposals])
    return [
        _judged(proposal, reading, least)
        for proposal, reading in zip(proposals, readings, strict=True)
    ]


def abstains(reader: ExtractiveReader, asked: Sequence[tuple[str, Document]]) -> list[bool]:
    """Tell for each question whether the reader finds no answer to it in a review."""
    return [reading is not None and reading.decision.abstains for reading in _read(reader, asked)]


def _read(
    reader: ExtractiveReader, asked: Sequence[tuple[str, Document]]
) -> Sequence[Reading | None]:
    """Return a reading for each question; None: it leaves no room for its review."""
    questions, documents = [each for each, _ in asked], [[each] for _, each in asked]
    try:
        return reader.read(questions, documents, top_k=1)
    except QuestionTooLongError:
        if len(asked) == 1:
            return [None]
        return [_read(reader, [each])[0] for each in asked]


def _judged(proposal: Proposal, reading: Reading | None, least: float) -> Found:
    if reading is None:
        return Found("too_long", 0.0)
    place = reading.candidates[0].document_offset if reading.candidates else None
    shared = 0.0
    if place is not None:
        shared = overlap((place.start, place.end), (proposal.start, proposal.end))
    if reading.decision.abstains:
        return Found("not_answered", shared)
    return Found("kept" if shared >= least else "elsewhere", shared)
