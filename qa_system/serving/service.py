"""What every request comes to: an answer from the cache, or from the reader when it is its turn."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from qa_system import __version__
from qa_system.answering.versions import models_of, version_of
from qa_system.config import Settings, StoreSettings
from qa_system.errors import QASystemError
from qa_system.records import Answers, Question, title_end
from qa_system.serving.batching import Batcher, Manner
from qa_system.serving.cache import Cache
from qa_system.serving.errors import NotFoundError
from qa_system.serving.freshness import Freshness
from qa_system.serving.schema import Ask, AskBatch, Asked, key_of, refuse_excess
from qa_system.stages import stage
from qa_system.stores.filters import of_item

if TYPE_CHECKING:
    from qa_system.answering.examination import Examination
    from qa_system.serving.metrics import Metrics
    from qa_system.stores.contract import Generation
    from qa_system.system import QASystem

__all__ = ["Served", "Service", "tag_of"]


class _Read(NamedTuple):
    """Answers, the reviews that were read, and a generation that they are not older than."""

    answers: Answers
    evidence: list[dict[str, Any]]
    generation: Generation | None


@dataclass(frozen=True, slots=True)
class Served:
    """What is returned for a question.

    Args:
        values: `Answers.to_dict()`, and the generation.
        tag: the same for, and only for, the same question, generation, models and settings.
        cached: whether it was in the cache.
        evidence: the reviews that were read, best first: `review_id` and `score`.
        generation: that the answer is not older than; None: it is not known.
        error: why there is no answer; None: there is.
    """

    values: dict[str, Any]
    tag: str
    cached: bool
    evidence: list[dict[str, Any]]
    generation: Generation | None
    error: QASystemError | None = None


class Service:
    """Answers requests by one `QASystem`.

    Args:
        system: its models are loaded.
        metrics: are told what is done.
        workers: that share the host's memory.
    """

    def __init__(self, system: QASystem, metrics: Metrics, workers: int) -> None:
        self.settings: Settings = system.settings
        self.metrics = metrics
        self._system = system
        limits = self.settings.serving
        is_folder = isinstance(self.settings.store, StoreSettings)
        self._freshness = Freshness(system.store, None if is_folder else limits.poll_seconds)
        self._cache = Cache(limits.cache_bytes // workers)
        self.models = models_of(self.settings)
        self._version = version_of(self.settings, self.models)
        self.versions = {
            "models": self.models,
            "settings": _hash_of(version_of(self.settings, {}).encode()),
            "qa_system": __version__,
        }
        self._batcher = Batcher(
            self._read,
            size=max(1, limits.batch_tokens // self.settings.reader.budget),
            most=limits.queue,
            wait=limits.batch_wait_ms / 1000,
        )
        self.is_stopping = False

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Read what waits, inside the block."""
        tasks = [
            asyncio.create_task(self._batcher.run()),
            asyncio.create_task(self._freshness.follow()),
        ]
        yield
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        self._batcher.close()

    async def ask(self, asked: Ask, client: str) -> Served:
        """Answer one question.

        Args:
            asked: the request.
            client: who asks; clients take turns.

        Raises:
            QASystemError: it cannot be answered, or not now.
        """
        refuse_excess(asked, self.settings.serving)
        [served] = await self._answer([asked], asked, client)
        if served.error is not None:
            raise served.error
        return served

    async def ask_batch(self, asked: AskBatch, client: str) -> list[Served]:
        """Answer several questions; one that cannot be answered has its own error.

        Args:
            asked: the request.
            client: who asks.

        Raises:
            QASystemError: none of them can be answered now.
        """
        refuse_excess(asked, self.settings.serving)
        return await self._answer(asked.questions, asked, client)

    async def ask_anew(self, asked: Sequence[Ask], client: str) -> list[Served]:
        """Answer questions by reading reviews, whatever the cache has.

        Args:
            asked: the requests; together they have the time that one may ask for at most.
            client: who asks; clients take turns.

        Returns:
            The answers, or their errors.

        Raises:
            QASystemError: one cannot be answered now.
        """
        timeout = self.settings.serving.max_timeout_ms / 1000
        tasks = [
            asyncio.ensure_future(
                self._batcher.ask(
                    [each.as_question()], Manner(each.top_k, each.mode), client, timeout
                )
            )
            for each in asked
        ]
        try:
            read = await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
        return [
            self._first_served(found, each, None) for [found], each in zip(read, asked, strict=True)
        ]

    def present(self, reviews: Collection[str], generation: Generation | None = None) -> set[str]:
        """Return those of some reviews that the store has.

        Args:
            reviews: their ids.
            generation: one in which it had them all; None: not known.

        Raises:
            QASystemError: the store cannot be read.
        """
        if not reviews or (generation is not None and self._freshness.now() == generation):
            return set(reviews)
        same = [{"field": field, "operator": "in", "value": sorted(reviews)} for field in ID_FIELDS]
        found = self._system.store.filter_documents({"operator": "OR", "conditions": same})
        there = {name for each in found for name in (each.id, each.meta.get("review_id"))}
        return {each for each in reviews if each in there}

    async def review(self, item_id: str, review_id: str) -> tuple[dict[str, Any], str]:
        """Return a review and its tag, to show an answer in its place.

        Raises:
            NotFoundError: the item has no such review.
            QASystemError: the store cannot be read.
        """
        generation = self._freshness.now()
        same = [{"field": field, "operator": "==", "value": review_id} for field in ID_FIELDS]
        found = await asyncio.to_thread(
            self._system.store.filter_documents,
            of_item(item_id, {"operator": "OR", "conditions": same}),
        )
        if not found:
            raise NotFoundError("there is no such review of this item")
        content, meta = found[0].content or "", found[0].meta
        behind = title_end(content, meta)
        values = {
            "review_id": review_id,
            "item_id": item_id,
            "content": content,
            "title": content[: behind - 1] if behind else None,
            "meta": {key: value for key, value in meta.items() if key not in OWN_FIELDS},
            "generation": None if generation is None else generation.number,
        }
        return values, tag_of(values)

    async def digest(self, item_id: str) -> tuple[dict[str, Any], str]:
        """Return what an item's reviews say of its aspects, and the tag of that.

        Raises:
            QASystemError: there is no such item, or no digest of it, or the store cannot be read.
        """
        found = await asyncio.to_thread(self._system.digest, item_id)
        return (values := found.to_dict()), tag_of(values)

    async def refuse_unready(self) -> None:
        """Raise what keeps the service from answering, if anything does."""
        await asyncio.to_thread(self._system.store.read_generation)

    async def _answer(
        self, asked: Sequence[Asked], request: Ask | AskBatch, client: str
    ) -> list[Served]:
        manner = Manner(request.top_k, request.mode)
        questions = [each.as_question() for each in asked]
        keys = [key_of(each, *manner) for each in questions]
        generation = self._freshness.now()
        kept = [
            None if key is None or generation is None else self._cache.get(generation, key)
            for key in keys
        ]
        missing = [at for at, value in enumerate(kept) if value is None]
        self.metrics.count_cache(len(kept) - len(missing), len(missing), self._cache.bytes)
        read: dict[int, _Read] = {}
        if missing:
            timeout = (request.timeout_ms or self.settings.serving.timeout_ms) / 1000
            results = await self._batcher.ask(
                [questions[at] for at in missing], manner, client, timeout
            )
            read = dict(zip(missing, results, strict=True))
        served = []
        for at, (one, key, value) in enumerate(zip(asked, keys, kept, strict=True)):
            if value is None:
                served.append(self._first_served(read[at], one, key))
            else:
                values, evidence = orjson.loads(value)
                values["question"] = one.question
                tag = self._tag(key, generation)
                served.append(Served(values, tag, True, evidence, generation))
        return served

    def _first_served(self, read: _Read, asked: Asked, key: bytes | None) -> Served:
        error, generation = read.answers.error, read.generation
        tag, values = self._tag(key, generation), read.answers.to_dict()
        if values["generation"] is None and generation is not None:
            values["generation"] = generation.number
        if error is not None:
            return Served(values, tag, False, read.evidence, generation, error)
        # What was written while the question was read may be in the answer, or not.
        if key is not None and generation is not None and self._freshness.now() == generation:
            kept = orjson.dumps([values, read.evidence], option=orjson.OPT_NON_STR_KEYS)
            self._cache.put(generation, key, kept)
        values["question"] = asked.question
        return Served(values, tag, False, read.evidence, generation)

    def _tag(self, key: bytes | None, generation: Generation | None) -> str:
        whole = f"{self._version}{generation}".encode() + (key or b"")
        return _hash_of(whole)

    def _read(self, questions: Sequence[Question], manner: Manner) -> list[_Read]:
        """Answer a batch, on the reader's thread."""
        self.metrics.set_waiting(self._batcher.waiting)
        generation = self._freshness.now()
        with stage("batch") as span:
            examined = self._system.examine(questions, *manner)
            answers = [each.answers for each in examined]
            abstained = [each.decision is not None and each.decision.abstains for each in answers]
            span.set_tags(
                {
                    "qa_system.batch.mode": manner.mode,
                    "qa_system.batch.questions": len(questions),
                    "qa_system.batch.abstained": sum(abstained),
                }
            )
        self.metrics.observe_batch(answers)
        return [_Read(each.answers, _evidence(each), generation) for each in examined]


ID_FIELDS = ("meta.review_id", "id")
"""That name a review; a document that names none is one by its own id."""
OWN_FIELDS = frozenset({"review_id", "item_id", "content_hash", "title"})
"""Of a document's metadata: those that are told beside it, and the store's own."""


def _evidence(examined: Examination) -> list[dict[str, Any]]:
    return [
        {
            "review_id": each.meta.get("review_id", each.id),
            "score": None if each.score is None else float(each.score),
        }
        for each in examined.documents
    ]


def tag_of(values: Mapping[str, Any]) -> str:
    """Return a text that is the same for, and only for, the same values."""
    return _hash_of(orjson.dumps(values, option=orjson.OPT_NON_STR_KEYS))


def _hash_of(written: bytes) -> str:
    return hashlib.blake2b(written, digest_size=12).hexdigest()
