"""What a service notes of questions, answers and shoppers' opinions, and reads again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from qa_system import __version__
from qa_system.errors import QASystemError
from qa_system.serving.errors import NotFoundError
from qa_system.serving.kept.asked import AskedFile
from qa_system.serving.kept.audit import AuditFile
from qa_system.serving.kept.records import record_of, reviews_in
from qa_system.serving.kept.thread import OwnThread
from qa_system.serving.product_page.feedback import FeedbackFile

if TYPE_CHECKING:
    from qa_system.serving.product_page.feedback import Feedback
    from qa_system.serving.schema import Ask, AskBatch, Asked
    from qa_system.serving.service import Served, Service

__all__ = ["Journal"]

logger = logging.getLogger(__name__)

PRUNED_EACH: Final = 3_600.0
"""Seconds after which a service drops what is too old, though nobody asks anything."""
PATIENCE: Final = 0.25
"""Seconds for which an answer waits until it is kept; later it is kept behind it."""


class Journal:
    """Notes answers and counts questions, in the files that the settings name.

    What cannot be written is told in the log, and the answer is given. Each file has a thread of
    its own: what waits for a file keeps nothing else waiting.

    Args:
        service: it answers.

    Raises:
        StoreUnavailableError: a file cannot be written.
    """

    def __init__(self, service: Service) -> None:
        self._service = service
        feedback = service.settings.serving.feedback
        audit, asked = service.settings.serving.audit, service.settings.serving.asked
        self._feedback = None if feedback is None else FeedbackFile(Path(feedback))
        self._audit = None if audit.file is None else AuditFile(Path(audit.file), audit)
        self._asked = None if asked.file is None else AskedFile(Path(asked.file), asked)
        self._of_feedback = OwnThread("qa-feedback")
        self._of_audit, self._of_asked = OwnThread("qa-audit"), OwnThread("qa-asked")
        both: tuple[tuple[AuditFile | AskedFile | None, OwnThread], ...] = (
            (self._audit, self._of_audit),
            (self._asked, self._of_asked),
        )
        self._writing = set[asyncio.Task[None]]()
        self._files = [(file, thread) for file, thread in both if file is not None]

    @property
    def takes_feedback(self) -> bool:
        """Whether feedback is kept."""
        return self._feedback is not None

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Drop what is too old from time to time, inside the block; then close the files."""
        task = asyncio.create_task(self._prune())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.gather(*self._writing)
        for thread in (self._of_feedback, self._of_audit, self._of_asked):
            thread.close()
        for file, _ in self._files:
            file.close()

    async def keep_feedback(self, given: Feedback, key: str) -> int:
        """Keep what a shopper says of an answer, and return the number of the entry.

        Args:
            given: without what it says of reviews that are gone, it is kept.
            key: the name of the API key that it came with.

        Raises:
            NotFoundError: this service takes no feedback.
            OverloadedError: too much waits for the file.
            StoreUnavailableError: the file cannot be written.
        """
        if self._feedback is None:
            raise NotFoundError("this service takes no feedback")
        there = await asyncio.to_thread(self._service.present, given.reviews)
        versions = {"qa_system": __version__, "models": self._service.models}
        entry = {**given.about(there).model_dump(), "key": key, "versions": versions}
        return await self._of_feedback.run(self._feedback.append, entry)

    def record(self, served: Served, asked: Asked, request: Ask | AskBatch) -> dict[str, Any]:
        """Return the record of an answer.

        Args:
            served: the answer.
            asked: the question.
            request: says how it was answered.
        """
        question = {name: getattr(asked, name) for name in ("question", "item_id", "filters")}
        manner = {"top_k": request.top_k, "mode": request.mode, "cached": served.cached}
        return record_of(served.values, served.evidence, question | manner, self._service.versions)

    async def note(
        self,
        request_id: str,
        key: str,
        request: Ask | AskBatch,
        answered: Sequence[tuple[Asked, Served]],
    ) -> None:
        """Keep what the answers to a request were made of.

        Args:
            request_id: of the request.
            key: the name of the API key that asked.
            request: says how it was answered.
            answered: its questions, each with its answer; what failed is not kept.
        """
        if self._audit is None:
            return
        good = [(asked, served) for asked, served in answered if served.error is None]
        if not good:
            return
        records = [{"key": key, **self.record(served, asked, request)} for asked, served in good]
        generation = good[0][1].generation

        def is_sound(record: dict[str, Any]) -> bool:
            named = reviews_in(record)
            return named == self._service.present(named, generation)

        append = self._audit.append
        await self._patient(
            _told(self._of_audit, append, request_id, records, is_sound, request_id=request_id)
        )

    async def count(self, asked: Asked, served: Served, client: str) -> None:
        """Count a question that all reviews of an item were asked, if they answer it.

        Args:
            asked: the question.
            served: its answer.
            client: who asked.
        """
        question = asked.as_question()
        if self._asked is None or question.item_id is None or question.filters:
            return
        if not served.values["abstained"]:
            count = self._asked.count
            await self._patient(
                _told(self._of_asked, count, question.item_id, question.text, client)
            )

    async def find(self, request_id: str) -> tuple[list[dict[str, Any]], bool]:
        """Return the records of the answers to a request, and whether there are older ones.

        They are the newest, as many as a request may have questions: clients may name any number
        of requests alike.

        Raises:
            NotFoundError: none is kept.
            OverloadedError: too much waits for the file.
            StoreUnavailableError: the file cannot be read.
        """
        if self._audit is None:
            raise NotFoundError("this service keeps no answers")
        most = self._service.settings.serving.max_questions
        found, has_older = await self._of_audit.run(self._audit.find, request_id, most)
        if not found:
            raise NotFoundError("no answer to such a request is kept")
        return found, has_older

    async def most_asked(self, item_id: str) -> list[str]:
        """Return the questions that are asked most of an item; none if they are not counted.

        Raises:
            OverloadedError: too much waits for the file.
            StoreUnavailableError: the file cannot be read.
        """
        return [] if self._asked is None else await self._of_asked.run(self._asked.most, item_id)

    async def _patient(self, writing: Coroutine[Any, Any, None]) -> None:
        """Wait a moment for what is written, and no longer: the answer is there."""
        task = asyncio.create_task(writing)
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)
        await asyncio.wait({task}, timeout=PATIENCE)

    async def _prune(self) -> None:
        while True:
            for file, thread in self._files:
                await _told(thread, file.prune)
            await asyncio.sleep(PRUNED_EACH)


async def _told(
    thread: OwnThread, write: Callable[..., object], *arguments: Any, request_id: str | None = None
) -> None:
    """Write on a thread; an error is told in the log."""
    try:
        await thread.run(write, *arguments)
    except QASystemError as error:
        fields = {} if request_id is None else {"request_id": request_id}
        logger.error("not kept: %s", error, extra={"fields": fields})
