"""Questions that arrive together are read together, in turn, and none longer than its time.

Everything here happens on the event loop but the reading, which has a thread of its own.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Generic, NamedTuple, TypeVar

from qa_system.config.choices import AnswerMode
from qa_system.records import Question
from qa_system.serving.errors import DeadlineError, OverloadedError

__all__ = ["Batcher", "Manner"]

Result = TypeVar("Result")

FIRST_GUESS: Final = 0.05
"""Seconds that a question takes, before one was read."""
SMOOTHING: Final = 0.3
"""How fast the expected time of a question follows: one batch may have been held up by others."""
PLANNED: Final = 0.8
"""The share of a question's time by which its batch shall end: how long one takes is a guess."""
LONGEST_RETRY: Final = 60


class Manner(NamedTuple):
    """How questions are answered; those that are read together have the same."""

    top_k: int
    mode: AnswerMode


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[Result]):
    question: Question
    lane: tuple[str, Manner]
    until: float
    result: asyncio.Future[Result]


class Batcher(Generic[Result]):
    """Reads questions in batches; each client's in their order, clients in turn.

    A batch is no longer than the time of the questions in it allows, as far as earlier batches tell
    how long a question takes. A question that cannot be answered in time is refused.

    Args:
        read: answers several questions; it is called on a thread, once at a time.
        size: questions in a batch at most; generated answers are written one by one.
        most: questions that wait at most.
        wait: seconds for which an idle reader waits for further questions.
    """

    def __init__(
        self,
        read: Callable[[Sequence[Question], Manner], Sequence[Result]],
        size: int,
        most: int,
        wait: float,
    ) -> None:
        self._read = read
        self._size = size
        self._most = most
        self._wait = wait
        self._lanes: OrderedDict[tuple[str, Manner], deque[_Waiting[Result]]] = OrderedDict()
        self._waiting = 0
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "qa-read")
        self._seconds: defaultdict[AnswerMode, float] = defaultdict(lambda: FIRST_GUESS)
        self._reads = False
        self._free_at = 0.0

    @property
    def waiting(self) -> int:
        """How many questions wait."""
        return self._waiting

    async def ask(
        self, questions: Sequence[Question], manner: Manner, client: str, timeout: float
    ) -> list[Result]:
        """Answer questions when it is their turn; if the caller is cancelled, they are dropped.

        Args:
            questions: all of them wait, or none.
            manner: how they are answered.
            client: who asks; clients take turns.
            timeout: seconds.

        Raises:
            OverloadedError: as many questions wait as may, or the time would be over before they
                are answered. An idle reader takes every question, whatever its time.
            DeadlineError: the time was over; those that were not begun are dropped.
            QASystemError: the questions could not be read.
        """
        lane = (client, manner)
        loop = asyncio.get_running_loop()
        until = loop.time() + PLANNED * timeout
        is_busy = self._reads or self._waiting > 0
        is_late = is_busy and self._end_of(lane, len(questions)) > until
        if is_late or self._waiting + len(questions) > self._most:
            raise self._overloaded()
        added: list[_Waiting[Result]] = [
            _Waiting(question, lane, until, loop.create_future()) for question in questions
        ]
        self._lanes.setdefault(lane, deque()).extend(added)
        self._waiting += len(added)
        self._arrived.set()
        try:
            async with asyncio.timeout(timeout):
                return list(await asyncio.gather(*(each.result for each in added)))
        except TimeoutError:
            raise DeadlineError(DeadlineError.public_message) from None
        finally:
            for each in added:
                self._drop(each)

    async def run(self) -> None:
        """Read what waits, until it is cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            if not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
                if self._waiting < self._size:
                    await asyncio.sleep(self._wait)
            batch, manner = self._take()
            if not batch:
                continue
            began = loop.time()
            self._reads = True
            self._free_at = began + len(batch) * self._seconds[manner.mode]
            questions = [each.question for each in batch]
            try:
                results = await loop.run_in_executor(self._thread, self._read, questions, manner)
            except Exception as error:  # noqa: BLE001 (whatever it is, those who wait are told)
                _fail(batch, error)
            else:
                for each, result in zip(batch, results, strict=True):
                    if not each.result.done():
                        each.result.set_result(result)
            self._reads = False
            spent = (loop.time() - began) / len(batch)
            known = self._seconds[manner.mode]
            self._seconds[manner.mode] += SMOOTHING * (spent - known)

    def close(self) -> None:
        """Wait for the batch that is read."""
        self._thread.shutdown()

    def _end_of(self, lane: tuple[str, Manner], questions: int) -> float:
        """Return when the last of some questions of a client will be answered, as it looks now."""
        own = questions + len(self._lanes.get(lane, ()))
        seconds = own * self._seconds[lane[1].mode]
        for other, waiting in self._lanes.items():
            if other != lane:  # until its last question, each other client has as many turns
                seconds += min(len(waiting), own) * self._seconds[other[1].mode]
        return self._free() + seconds

    def _free(self) -> float:
        """Return when the batch that is read will end."""
        now = asyncio.get_running_loop().time()
        return max(now, self._free_at) if self._reads else now

    def _overloaded(self) -> OverloadedError:
        seconds = self._free() - asyncio.get_running_loop().time()
        for lane, waiting in self._lanes.items():
            seconds += len(waiting) * self._seconds[lane[1].mode]
        retry_after = min(max(math.ceil(seconds), 1), LONGEST_RETRY)
        return OverloadedError(OverloadedError.public_message, retry_after=retry_after)

    def _take(self) -> tuple[list[_Waiting[Result]], Manner]:
        """Take a batch off the queue: of the client whose turn it is, and of others as alike.

        Whoever's turn comes too late is refused, but for the last one: it says how long it takes.
        """
        if not self._lanes:
            return [], Manner(1, "extract")
        (_, manner) = next(iter(self._lanes))
        size = self._size if manner.mode == "extract" else 1
        now, seconds = asyncio.get_running_loop().time(), self._seconds[manner.mode]
        batch: list[_Waiting[Result]] = []
        while len(batch) < size:
            lanes = [lane for lane in self._lanes if lane[1] == manner][: size - len(batch)]
            if not lanes:
                break
            for lane in lanes:
                one = self._lanes[lane][0]
                end = now + (len(batch) + 1) * seconds
                is_late = end > one.until and (batch or self._waiting > 1)
                if not is_late and batch and end > min(each.until for each in batch):
                    return batch, manner
                self._pop(lane)
                if not is_late:
                    batch.append(one)
                elif not one.result.done():
                    one.result.set_exception(self._overloaded())
        return batch, manner

    def _pop(self, lane: tuple[str, Manner]) -> None:
        """Take the first question of a client, whose next turn comes after those of the others."""
        self._lanes[lane].popleft()
        self._waiting -= 1
        self._lanes.move_to_end(lane)
        if not self._lanes[lane]:
            del self._lanes[lane]

    def _drop(self, one: _Waiting[Result]) -> None:
        if not one.result.cancel() and not one.result.cancelled():
            one.result.exception()  # one that nobody looks at is logged as lost
        lane = self._lanes.get(one.lane)
        if lane is not None and one in lane:
            lane.remove(one)
            self._waiting -= 1
            if not lane:
                del self._lanes[one.lane]


def _fail(batch: Sequence[_Waiting[Result]], error: Exception) -> None:
    for each in batch:
        if not each.result.done():
            each.result.set_exception(error)
