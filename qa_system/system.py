"""The API for product pages: a question and an item in, answers and their reviews out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from qa_system import pipelines
from qa_system.answering.answers import (
    best_spans,
    decision_on,
    generated_answer,
    quoted_answer,
)
from qa_system.answering.asking import Steps, failed, questions_of, refuse_unknown_mode
from qa_system.answering.counting import materials_of
from qa_system.answering.digests import digest_of
from qa_system.answering.examination import NOTHING_READ, Examination
from qa_system.answering.finding import Finder, Found
from qa_system.arguments import checked
from qa_system.config import Settings, changed, load_settings
from qa_system.config.choices import AnswerMode as Mode
from qa_system.errors import ClosedError, InvalidArgumentError
from qa_system.generators.drafts import Draft, drafts
from qa_system.generators.evidence import evidence, promising
from qa_system.readers.extractive import SPANS, Reading
from qa_system.records import Answers, Decision, Question
from qa_system.stages import timed
from qa_system.stores import open_store

if TYPE_CHECKING:
    from haystack import Document

    from qa_system.consensus.summary import Consensus, Material
    from qa_system.digests.records import Digest
    from qa_system.generators.chat import ReviewChat
    from qa_system.generators.rag import Generated, RAGGenerator
    from qa_system.readers.extractive import ExtractiveReader
    from qa_system.stores.contract import ReviewStore

__all__ = ["Examination", "Mode", "QASystem"]


@checked
class QASystem:
    """Answer shoppers' questions from the reviews of a store.

    One instance serves many threads. It holds the models: opening it takes seconds, a question
    takes a fraction of a second.

    Args:
        settings: the store, the models and how to use them.

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
        if not isinstance(settings, Settings):
            raise InvalidArgumentError(
                f"settings is {settings!r:.60}, not Settings",
                remedy="Pass load_settings(FILE), or call QASystem.open(FILE).",
            )
        self.settings = settings
        found = pipelines.to_read(settings)
        pipelines.dense(found)  # before the store: a wrong setting is told first
        self._reads_sentences = pipelines.reads_sentences(settings)
        self._store: ReviewStore = open_store(settings.store)
        self._finder = self._for_writing = self._finding(found)
        if settings.generator.retriever_is_prior and self._reads_sentences:
            # Its prior is of whole reviews' embeddings.
            self._for_writing = self._finding(settings)
        self._reader = pipelines.build_reader(settings)
        self._consensus = pipelines.build_consensus(settings)
        self._generator: RAGGenerator | ReviewChat | None = None
        self._building = Lock()
        self._is_closed = False

    def _finding(self, settings: Settings) -> Finder:
        pipeline = pipelines.retrieve(self._store, settings)
        last, scorer = pipelines.last(settings), pipelines.dense(settings)
        return Finder(self._store, pipeline, last, scorer, settings.store.place)

    @classmethod
    def open(
        cls,
        config: str | Path | Settings | None = None,
        *,
        mode: Mode = "extract",
        **overrides: Any,
    ) -> QASystem:
        """Open a system and load its models, so that the first question is as fast as the others.

        Args:
            config: a YAML file or settings; None takes the defaults and the environment.
            mode: of the questions to come. The generator is loaded here only for a mode that
                generates; otherwise the first question that needs it loads it.
            overrides: single settings, with two underscores for a dot:
                `store__path="qa-store"`.

        Raises:
            ConfigError: a setting is wrong.
            InvalidArgumentError: an argument has a wrong type.
            StoreNotFoundError: there is no store where the settings say.
            EncoderMismatchError: the store was filled by another encoder.
            ModelError: a model cannot be loaded.
        """
        dotted = {key.replace("__", "."): value for key, value in overrides.items()}
        if isinstance(config, Settings):
            system = cls(changed(config, dotted))
        else:
            system = cls(load_settings(config, dotted))
        try:
            system.warm_up(mode)
        except BaseException:
            system.close()
            raise
        return system

    @property
    def store(self) -> ReviewStore:
        """The reviews that are asked; it is closed with the system."""
        return self._store

    @property
    def reader(self) -> ExtractiveReader:
        """The reader; it can also be asked about texts that are in no store."""
        return self._reader

    @property
    def generator(self) -> RAGGenerator | ReviewChat:
        """The generator; it can also be asked about texts that are in no store."""
        with self._building:
            if self._generator is None:
                self._generator = pipelines.build_generator(self.settings)
            return self._generator

    def warm_up(self, mode: Mode = "extract") -> None:
        """Load the models that a mode needs now instead of at the first question.

        Raises:
            ClosedError: the system was closed.
        """
        self._refuse_if_closed()
        refuse_unknown_mode(mode)
        self._finder_of(mode).warm_up()
        if self._reads(mode):
            self._reader.warm_up()
        self._consensus.warm_up()
        if mode != "extract":
            self.generator.warm_up()

    def ask(
        self,
        question: str,
        item_id: str | None = None,
        filters: Mapping[str, Any] | None = None,
        top_k: int = 3,
        mode: Mode = "extract",
    ) -> Answers:
        """Answer one question.

        Args:
            question: in plain words.
            item_id: the item asked about, compared exactly as it is, spaces included; None asks
                all reviews.
            filters: Haystack filters on the reviews' metadata, in addition to the item.
            top_k: answers at most; each extracted answer comes from another review.
            mode: `extract` returns spans of reviews. `generate` returns answers in a model's own
                words, and withholds those that the reviews support less than
                `generator.min_support`. `auto` returns generated answers, or extracted ones if
                all generated ones are withheld.

        Returns:
            The answers, best first; no answers means "the reviews don't say".

        Raises:
            InvalidArgumentError: an argument has a wrong type or value, or is text that UTF-8
                cannot hold.
            ClosedError: the system was closed.
            EmptyQuestionError: the question has no words.
            QuestionTooLongError: it leaves no room for a review in the reader's window.
            UnknownItemError: the store has no review of the item.
            InvalidFilterError: the filters are malformed.
            ModelError: the generator cannot be loaded, or its server does not answer.
            MissingDependencyError: the generator needs a package that is not installed.
        """
        [answers] = self.ask_many([Question(question, item_id, filters)], top_k, mode)
        if answers.error is not None:
            raise answers.error
        return answers

    def ask_many(
        self, questions: Iterable[Question], top_k: int = 3, mode: Mode = "extract"
    ) -> list[Answers]:
        """Answer several questions; their reviews are read in shared batches.

        Args:
            questions: what is asked.
            top_k: as in `ask`.
            mode: as in `ask`.

        Returns:
            What the reviews say to each question, in order. A question that cannot be answered
            (an unknown item, no words, a malformed filter) has its `error`, which `ask` would
            raise; the others are answered. The timings of each are those of the whole call.

        Raises:
            QASystemError: what concerns all questions: the store or a model cannot be used, the
                system was closed, `top_k` or `mode` is wrong.
        """
        return [each.answers for each in self.examine(questions, top_k, mode)]

    def examine(
        self, questions: Iterable[Question], top_k: int = 3, mode: Mode = "extract"
    ) -> list[Examination]:
        """Answer several questions as `ask_many` does, and keep what led to each answer.

        Args:
            questions: what is asked.
            top_k: as in `ask`.
            mode: as in `ask`.

        Raises:
            QASystemError: as in `ask_many`.
        """
        self._refuse_if_closed()
        refuse_unknown_mode(mode)
        asked = questions_of(questions)
        with timed() as timings:
            steps = Steps()
            finder = self._finder_of(mode)
            found = steps.each(
                range(len(asked)), lambda at: finder.find(asked[at], scored=mode != "extract")
            )
            readings = steps.together(
                list(found), lambda part: self._read(part, asked, found, mode)
            )
            materials = steps.each(
                readings, lambda at: self._about(asked[at], found[at], readings[at], finder)
            )
            counted = steps.together(
                list(materials), lambda part: self._consensus.build([materials[at] for at in part])
            )
            documents = {at: self._in_order(found[at].documents, readings[at]) for at in counted}
            written = steps.together(
                list(counted),
                lambda part: self._write(part, asked, found, documents, readings, top_k, mode),
            )
        return [
            Examination(
                documents=documents[at],
                reading=readings[at],
                answers=replace(
                    self._answers(
                        question,
                        found[at],
                        len(documents[at]),
                        readings[at],
                        counted[at],
                        written[at],
                        top_k,
                        mode,
                    ),
                    timings=timings,
                ),
                drafts=written[at],
            )
            if at in written
            else Examination((), NOTHING_READ, failed(question, steps.errors[at], timings))
            for at, question in enumerate(asked)
        ]

    def digest(self, item_id: str) -> Digest:
        """Return what an item's reviews say of its aspects, as `qa-index digest` has kept it.

        Args:
            item_id: the item, compared exactly as it is.

        Raises:
            ClosedError: the system was closed.
            UnknownItemError: the store has no review of the item.
            DigestNotFoundError: no digest was made of them; the remedy names the command.
        """
        self._refuse_if_closed()
        return digest_of(self._store, item_id, self.settings.store.place)

    async def ask_async(
        self,
        question: str,
        item_id: str | None = None,
        filters: Mapping[str, Any] | None = None,
        top_k: int = 3,
        mode: Mode = "extract",
    ) -> Answers:
        """Answer one question without blocking the event loop."""
        return await asyncio.to_thread(self.ask, question, item_id, filters, top_k, mode)

    def close(self) -> None:
        """Close the store; the system can no longer be asked."""
        self._is_closed = True
        self._store.close()

    def __enter__(self) -> QASystem:
        self._refuse_if_closed()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _refuse_if_closed(self) -> None:
        if self._is_closed:
            raise ClosedError("the system was closed", remedy="Open another: QASystem.open(...).")

    def _finder_of(self, mode: Mode) -> Finder:
        return self._finder if mode == "extract" else self._for_writing

    def _reads(self, mode: Mode) -> bool:
        chosen = self.settings.generator
        needed = chosen.check_with_reader or chosen.reader_is_prior
        return mode != "generate" or needed or pipelines.reader_ranks(self.settings)

    def _read(
        self,
        part: Sequence[int],
        asked: Sequence[Question],
        found: Mapping[int, Found],
        mode: Mode,
    ) -> list[Reading]:
        if not self._reads(mode):
            return [NOTHING_READ] * len(part)
        return self._reader.read(
            [asked[at].text for at in part],
            [found[at].documents for at in part],
            top_k=SPANS,
        )

    def _about(
        self, question: Question, found: Found, reading: Reading, finder: Finder
    ) -> tuple[list[Material], bool]:
        parts = self._consensus.parts_of(question.text)
        return materials_of(question, parts, found, reading, finder, self._consensus)

    def _write(
        self,
        part: Sequence[int],
        asked: Sequence[Question],
        found: Mapping[int, Found],
        ordered: Mapping[int, Sequence[Document]],
        readings: Mapping[int, Reading],
        top_k: int,
        mode: Mode,
    ) -> list[tuple[Draft, ...]]:
        if mode == "extract" or not any(ordered[at] for at in part):
            return [()] * len(part)
        chosen = self.settings.generator
        documents: list[list[Document]]
        further: dict[str, Any] = {}
        if chosen.reader_is_prior:
            pairs = [
                promising(found[at].documents, readings[at].calibrated, chosen.documents)
                for at in part
            ]
            documents = [own for own, _ in pairs]
            further["prior"] = [odds for _, odds in pairs]
        else:
            documents = [evidence(ordered[at], found[at].scored, chosen.documents) for at in part]
        generated: list[list[Generated]] = self.generator.generate(
            [asked[at].text for at in part],
            documents,
            min(top_k, chosen.num_beams),
            **further,
        )
        return [
            drafts(
                answers,
                each,
                best_spans(readings[at], each) if chosen.check_with_reader else None,
                chosen.min_support,
            )
            for answers, each, at in zip(generated, documents, part, strict=True)
        ]

    def _answers(
        self,
        question: Question,
        found: Found,
        read: int,
        reading: Reading,
        counted: Consensus,
        written: Sequence[Draft],
        top_k: int,
        mode: Mode,
    ) -> Answers:
        size = self.settings.reader.snippet_chars
        given = tuple(generated_answer(draft, size) for draft in written if not draft.withheld)
        best = max((draft.support.score for draft in written), default=None)
        decision = Decision(best, self.settings.generator.min_support)
        if mode == "extract" or (mode == "auto" and not given):
            decision = decision_on(reading, counted, self._consensus)
            given = tuple(quoted_answer(*each, size) for each in counted.shown)
        considered = max(found.considered, counted.mentions) if counted.is_of_one_item else None
        return Answers(
            question=question.text,
            item_id=question.item_id,
            answers=given[:top_k],
            decision=decision,
            read=read,
            considered=considered,
            reviews=found.reviews,
            mentions=counted.mentions,
            parts=counted.parts,
            points=counted.points,
            verdict=counted.verdict,
            generation=found.generation,
            judged=counted.judged,
            copies=counted.copies,
        )

    def _in_order(self, documents: Sequence[Document], reading: Reading) -> tuple[Document, ...]:
        if reading is NOTHING_READ:  # the generator alone reads
            return tuple(documents[: self.settings.generator.documents])
        if self._reads_sentences:
            pairs = zip(documents, reading.log_odds, strict=True)
            return tuple(document for document, odds in pairs if math.isfinite(odds))
        if not pipelines.reader_ranks(self.settings):
            return tuple(documents)
        from qa_system.rankers.reader_ranker import ranked

        return tuple(ranked(documents, reading.log_odds, self.settings.ranker.prior))
