"""The door for product pages: a question and an item in, answers and their reviews out."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from haystack.core.errors import PipelineRuntimeError

from qa_system import pipelines
from qa_system.config import Settings, load_settings
from qa_system.errors import EmptyQuestionError, QASystemError, UnknownItemError
from qa_system.records import Answer, Answers, Question
from qa_system.stages import timed
from qa_system.stores import open_store

if TYPE_CHECKING:
    from haystack import Document
    from haystack.dataclasses import ExtractedAnswer

    from qa_system.readers.extractive import ExtractiveReader, Reading
    from qa_system.stores.contract import ReviewStore

__all__ = ["Examination", "QASystem"]

SPANS_PER_ANSWER = 4
"""Spans asked of the reader for one answer that is shown: several may stand in one review."""


@dataclass(frozen=True, slots=True)
class Examination:
    """How a question was answered, for those who want to know why.

    Args:
        documents: those that were read, best first: as retrieved or ranked, and where the reader
            is the ranker by its best span in each.
        reading: what the reader found in them, below its threshold too.
        answers: what `ask` gives.
    """

    documents: tuple[Document, ...]
    reading: Reading
    answers: Answers


class QASystem:
    """Answer shoppers' questions from the reviews of a store.

    One instance serves many threads. It holds the models; opening takes seconds, asking a
    fraction of one.

    Args:
        settings: what to run on.

    >>> import tempfile
    >>> from haystack import Document
    >>> settings = load_settings(
    ...     overrides={"store.path": tempfile.mkdtemp() + "/store", "retriever.mode": "bm25"}
    ... )
    >>> with open_store(settings.store, create=True) as store:
    ...     meta = {"item_id": "lamp", "review_id": "r1"}
    ...     text = "I use it every night. The light is bright enough for reading in bed."
    ...     _ = store.write_documents([Document(id="r1", content=text, meta=meta)])
    >>> with QASystem(settings) as system:
    ...     answers = system.ask("Is the light bright enough?", item_id="lamp")
    >>> answers.reviews_read
    1
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._store: ReviewStore = open_store(settings.store)
        found = pipelines.to_read(settings)
        self._retrieval = pipelines.retrieve(self._store, found)
        self._last = pipelines.last(found)
        self._reader = pipelines.build_reader(settings)

    @classmethod
    def open(
        cls,
        config: str | Path | Settings | None = None,
        **overrides: Any,
    ) -> QASystem:
        """Open a system and load its models, so that the first question is as fast as the next.

        Args:
            config: a YAML file or settings; None takes the defaults and the environment.
            overrides: single settings, their dots written as double underscores:
                `store__path="qa-store"`.

        Raises:
            ConfigError: a setting is wrong.
            StoreNotFoundError: there is no store where the settings say.
            EncoderMismatchError: the store was filled by another encoder.
            ModelError: a model cannot be loaded.
        """
        if not isinstance(config, Settings):
            dotted = {key.replace("__", "."): value for key, value in overrides.items()}
            config = load_settings(config, dotted)
        system = cls(config)
        try:
            system.warm_up()
        except BaseException:
            system.close()
            raise
        return system

    @property
    def reader(self) -> ExtractiveReader:
        """The reader, which can also be asked about texts that are in no store."""
        return self._reader

    def warm_up(self) -> None:
        """Load the models now instead of at the first question."""
        self._retrieval.warm_up()
        self._reader.warm_up()

    def ask(
        self,
        question: str,
        item_id: str | None = None,
        filters: Mapping[str, Any] | None = None,
        top_k: int = 3,
    ) -> Answers:
        """Answer one question.

        Args:
            question: in plain words.
            item_id: the item asked about; None asks all reviews.
            filters: Haystack filters on the reviews' metadata, beside the item.
            top_k: answers at most, each from another review.

        Returns:
            The answers, best first. None at all means "the reviews don't say".

        Raises:
            EmptyQuestionError: the question has no words.
            QuestionTooLongError: it leaves no room for a review in the reader's window.
            UnknownItemError: the store has no review of the item.
            InvalidFilterError: the filters are malformed.
        """
        return self.ask_many([Question(question, item_id, filters)], top_k)[0]

    def ask_many(self, questions: Iterable[Question], top_k: int = 3) -> list[Answers]:
        """Answer several questions, their reviews read in common batches.

        The timings of each answer are those of the whole call.
        """
        return [each.answers for each in self.examine(questions, top_k)]

    def examine(self, questions: Iterable[Question], top_k: int = 3) -> list[Examination]:
        """Answer several questions as `ask_many` does, and keep what led to each answer.

        Args:
            questions: what is asked.
            top_k: as in `ask`.

        Raises:
            QASystemError: as in `ask`; one question that cannot be asked stops them all.
        """
        asked = list(questions)
        for question in asked:
            _refuse_empty(question)
        with timed() as timings:
            documents = [self._retrieve(question) for question in asked]
            readings = self._reader.read(
                [question.text for question in asked],
                documents,
                top_k=SPANS_PER_ANSWER * top_k,
            )
        return [
            Examination(
                documents=self._in_order(found, reading),
                reading=reading,
                answers=_to_answers(question, reading, len(found), top_k, timings),
            )
            for question, reading, found in zip(asked, readings, documents, strict=True)
        ]

    async def ask_async(
        self,
        question: str,
        item_id: str | None = None,
        filters: Mapping[str, Any] | None = None,
        top_k: int = 3,
    ) -> Answers:
        """Answer one question without blocking the event loop."""
        return await asyncio.to_thread(self.ask, question, item_id, filters, top_k)

    def close(self) -> None:
        """Close the store; the system answers no more."""
        self._store.close()

    def __enter__(self) -> QASystem:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _retrieve(self, question: Question) -> list[Document]:
        inputs = {"query": question.text, "filters": _filters_of(question)}
        try:
            documents: list[Document] = self._retrieval.run(inputs)[self._last]["documents"]
        except PipelineRuntimeError as fault:
            # Haystack wraps what a component raises; our errors are meant for the caller.
            if isinstance(fault.__cause__, QASystemError):
                raise fault.__cause__ from None
            raise
        if not documents and question.item_id is not None:
            self._refuse_unknown(question.item_id)
        return documents

    def _in_order(self, documents: Sequence[Document], reading: Reading) -> tuple[Document, ...]:
        if not pipelines.reader_ranks(self.settings):
            return tuple(documents)
        from qa_system.rankers.reader_ranker import ranked

        return tuple(ranked(documents, reading.log_odds, self.settings.ranker.prior))

    def _refuse_unknown(self, item_id: str) -> None:
        if not self._store.has_item(item_id):
            raise UnknownItemError(
                f"the store has no review of item {item_id!r}",
                where=self.settings.store.place,
                remedy="Check the item's id, or index its reviews with `qa-index run`.",
            )


def _refuse_empty(question: Question) -> None:
    if not any(character.isalnum() for character in question.text):
        raise EmptyQuestionError(
            f"the question {question.text!r} has no words", remedy="Ask something."
        )


def _filters_of(question: Question) -> dict[str, Any] | None:
    given = None if question.filters is None else dict(question.filters)
    if question.item_id is None:
        return given
    item = {"field": "meta.item_id", "operator": "==", "value": question.item_id}
    return item if given is None else {"operator": "AND", "conditions": [item, given]}


def _to_answers(
    question: Question,
    reading: Reading,
    reviews_read: int,
    top_k: int,
    timings: Mapping[str, float],
) -> Answers:
    by_review: dict[str, Answer] = {}
    for extracted in reading.answers:
        answer = _to_answer(extracted)
        by_review.setdefault(answer.review_id, answer)
    return Answers(
        question=question.text,
        item_id=question.item_id,
        answers=tuple(by_review.values())[:top_k],
        no_answer_probability=reading.no_answer_probability,
        reviews_read=reviews_read,
        timings=timings,
    )


STORE_FIELDS = frozenset({"review_id", "item_id", "content_hash", "passage_start"})


def _to_answer(extracted: ExtractedAnswer) -> Answer:
    document, span = extracted.document, extracted.document_offset
    if document is None or span is None or extracted.data is None:
        raise TypeError("the reader gave an answer without its document")
    passage_start: int = document.meta.get("passage_start", 0)
    return Answer(
        text=extracted.data,
        confidence=extracted.score,
        review_id=document.meta.get("review_id", document.id),
        item_id=document.meta.get("item_id"),
        start=passage_start + span.start,
        end=passage_start + span.end,
        snippet=extracted.context if extracted.context is not None else extracted.data,
        meta={key: value for key, value in document.meta.items() if key not in STORE_FIELDS},
    )
