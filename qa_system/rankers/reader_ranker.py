"""The reader as a ranker: what a review would answer decides where it stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from haystack import Document, component, default_from_dict, default_to_dict

from qa_system.arguments import checked
from qa_system.errors import ConfigError
from qa_system.readers.extractive import ExtractiveReader
from qa_system.retrievers.normalize import ScoreNormalizer
from qa_system.ties import best_documents

__all__ = ["ReaderRanker", "ranked"]


def ranked(
    documents: Sequence[Document], log_odds: Sequence[float], prior: float = 0.0
) -> list[Document]:
    """Order documents by what a reader found in them, best first; equal ones by a hash of the id.

    Args:
        documents: with the retriever's scores.
        log_odds: of each document's best span.
        prior: see `ReaderRanker`.

    >>> found = zip("abc", [3.0, 2.0, 1.0], strict=True)
    >>> documents = [Document(id=name, content="", score=score) for name, score in found]
    >>> [document.id for document in ranked(documents, [0.5, 2.0, 0.5])]
    ['b', 'c', 'a']
    >>> [document.id for document in ranked(documents, [0.5, 2.0, 0.5], prior=4.0)]
    ['a', 'b', 'c']
    """
    beforehand = ScoreNormalizer(prior).run(list(documents))["documents"]
    scores = [
        found + (document.score or 0.0)
        for found, document in zip(log_odds, beforehand, strict=True)
    ]
    return best_documents(
        (replace(each, score=score) for each, score in zip(documents, scores, strict=True)), None
    )


@component
@checked
class ReaderRanker:
    """Order documents by the log-odds of the best span that a reader finds in each.

    It costs what reading costs. So it pays where documents themselves are wanted, best first, or
    where a small reader picks what a large one reads. It buys nothing in front of a reader of the
    same model: answers of all reviews are ordered by the same log-odds anyway, and a pipeline
    that answers (`qa_system.pipelines.extract`, `QASystem`) then reads the candidates once.

    Args:
        reader: finds the spans; its threshold and `top_k` play no part.
        top_k: documents that come out at most; None: all.
        prior: log-odds that the retriever's best document has over its worst before either is
            read; those between have their share, by their scores. 0: the retriever counts for
            nothing.

    Raises:
        ConfigError: `top_k` is below 1, or `prior` below 0.

    >>> ranker = ReaderRanker(ExtractiveReader())
    >>> reviews = [Document(content="Came in a box."), Document(content="It lasts ten hours.")]
    >>> ranker.run("How long does the battery last?", reviews)["documents"][0].content
    'It lasts ten hours.'
    """

    def __init__(
        self, reader: ExtractiveReader, top_k: int | None = None, prior: float = 0.0
    ) -> None:
        if not prior >= 0:
            raise ConfigError(f"prior is {prior}", remedy="Set it to 0 or more.")
        self.reader = reader
        self.top_k = top_k
        self.prior = prior

    def to_dict(self) -> dict[str, Any]:
        """Serialise the component and its reader."""
        return default_to_dict(
            self, reader=self.reader.to_dict(), top_k=self.top_k, prior=self.prior
        )

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> ReaderRanker:
        """Build the component from what `to_dict` returned."""
        parameters = data["init_parameters"]
        parameters["reader"] = ExtractiveReader.from_dict(parameters["reader"])
        return default_from_dict(cls, data)

    def warm_up(self) -> None:
        """Load the reader.

        Raises:
            ModelError: it is missing, damaged, not a reader, or cannot run as asked.
            MissingDependencyError: what it runs on is not installed.
        """
        self.reader.warm_up()

    @component.output_types(documents=list[Document])
    def run(
        self,
        query: str,
        documents: list[Document],
        top_k: int | None = None,
        whole_ties: bool = False,
    ) -> dict[str, list[Document]]:
        """Rank documents.

        Args:
            query: the question.
            documents: in any order; their scores are the retriever's.
            top_k: takes the place of the component's own.
            whole_ties: also return those beyond `top_k` whose score is that of the last.

        Returns:
            `documents`, best first. `score` is the best span's log-odds and the document's share
            of `prior`; minus infinity for a document without text.

        Raises:
            EmptyQuestionError: the question has no words.
            QuestionTooLongError: the question leaves too little room for a review.
        """
        [reading] = self.reader.read([query], [documents], top_k=1)
        scored = ranked(documents, reading.log_odds, self.prior)
        kept = self.top_k if top_k is None else top_k
        return {"documents": best_documents(scored, kept, whole_ties=whole_ties)}
