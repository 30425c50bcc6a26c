"""How a question was answered, for those who want to know more than the answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qa_system.generators.drafts import Draft
from qa_system.readers.extractive import Reading
from qa_system.records import Answers

if TYPE_CHECKING:
    from haystack import Document

__all__ = ["NOTHING_READ", "Examination"]

NOTHING_READ = Reading((), (), 1.0)


@dataclass(frozen=True, slots=True)
class Examination:
    """How a question was answered: the answers, and everything that led to them.

    Args:
        documents: those that were read, whole or in part, best first: as retrieved or ranked; if
            the reader is the ranker, by its best span in each.
        reading: what the reader found in them, including spans below its threshold; empty if
            answers were generated and the reader was not asked.
        answers: what `ask` returns.
        drafts: what was generated from the first of the documents, best first, withheld or not.
    """

    documents: tuple[Document, ...]
    reading: Reading
    answers: Answers
    drafts: tuple[Draft, ...] = ()
