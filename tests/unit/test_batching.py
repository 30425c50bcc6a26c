"""Questions wait in turn, are read together, and leave when their time is over."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

import pytest

from qa_system.errors import StoreError
from qa_system.records import Question
from qa_system.serving.batching import Batcher, Manner
from qa_system.serving.errors import DeadlineError, OverloadedError

PLAIN = Manner(3, "extract")


class Reading:
    """Reads a batch when it is told to, and remembers it."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may_read = threading.Semaphore(0)
        self.fails: Exception | None = None

    def __call__(self, questions: Sequence[Question], manner: Manner) -> list[str]:
        self.batches.append([each.text for each in questions])
        assert self.may_read.acquire(timeout=30)
        if self.fails is not None:
            raise self.fails
        return [f"{each.text} {manner.mode}" for each in questions]


@asynccontextmanager
async def running(batcher: Batcher[str], reading: Reading) -> AsyncIterator[None]:
    task = asyncio.create_task(batcher.run())
    yield
    reading.may_read.release(100)
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    batcher.close()


async def until(condition: object) -> None:
    async with asyncio.timeout(30):
        while not condition():  # type: ignore[operator]
            await asyncio.sleep(0.001)


def ask(
    batcher: Batcher[str],
    *texts: str,
    client: str = "a",
    manner: Manner = PLAIN,
    timeout: float = 30,
) -> asyncio.Task[list[str]]:
    questions = [Question(text) for text in texts]
    return asyncio.create_task(batcher.ask(questions, manner, client, timeout))


async def test_what_waits_is_read_together_and_everybody_gets_their_own() -> None:
    reading = Reading()
    batcher = Batcher(reading, size=3, most=10, wait=0.0)
    async with running(batcher, reading):
        first = ask(batcher, "1")
        await until(lambda: reading.batches)
        others = [ask(batcher, "2"), ask(batcher, "3", "4"), ask(batcher, "5")]
        await until(lambda: batcher.waiting == 4)
        reading.may_read.release(3)
        assert await first == ["1 extract"]
        assert await asyncio.gather(*others) == [
            ["2 extract"],
            ["3 extract", "4 extract"],
            ["5 extract"],
        ]
    assert reading.batches == [["1"], ["2", "3", "4"], ["5"]]


async def test_those_that_arrive_within_the_wait_are_one_batch() -> None:
    reading = Reading()
    reading.may_read.release(9)
    batcher = Batcher(reading, size=8, most=10, wait=0.2)
    async with running(batcher, reading):
        await asyncio.gather(*(ask(batcher, str(number)) for number in range(5)))
    assert reading.batches == [["0", "1", "2", "3", "4"]]


async def test_clients_take_turns() -> None:
    reading = Reading()
    batcher = Batcher(reading, size=2, most=100, wait=0.0)
    async with running(batcher, reading):
        asked = [ask(batcher, "0")]
        await until(lambda: reading.batches)
        asked.append(ask(batcher, *(f"a{number}" for number in range(6)), client="a"))
        asked.append(ask(batcher, "b0", client="b"))
        asked.append(ask(batcher, "c0", client="c"))
        await until(lambda: batcher.waiting == 8)
        reading.may_read.release(9)
        await asyncio.gather(*asked)
    # Whoever asks six does not let the others wait for six.
    assert reading.batches == [["0"], ["a0", "b0"], ["c0", "a1"], ["a2", "a3"], ["a4", "a5"]]


async def test_only_questions_asked_alike_are_read_together() -> None:
    reading = Reading()
    batcher = Batcher(reading, size=4, most=100, wait=0.0)
    async with running(batcher, reading):
        asked = [ask(batcher, "0")]
        await until(lambda: reading.batches)
        for text, manner in (
            ("1", PLAIN),
            ("2", Manner(1, "extract")),
            ("3", PLAIN),
            ("4", Manner(3, "generate")),
            ("5", Manner(3, "generate")),
        ):
            asked.append(ask(batcher, text, manner=manner))
        await until(lambda: batcher.waiting == 5)
        reading.may_read.release(9)
        await asyncio.gather(*asked)
    # What takes seconds is written one by one, so that deadlines hold between them.
    assert reading.batches == [["0"], ["1", "3"], ["2"], ["4"], ["5"]]


async def test_a_full_queue_refuses_at_once_and_takes_all_of_a_request_or_none() -> None:
    reading = Reading()
    batcher = Batcher(reading, size=1, most=3, wait=0.0)
    async with running(batcher, reading):
        asked = [ask(batcher, "0")]
        await until(lambda: reading.batches)
        asked.append(ask(batcher, "1", "2"))
        await until(lambda: batcher.waiting == 2)
        with pytest.raises(OverloadedError) as refused:
            await ask(batcher, "3", "4")
        assert refused.value.retry_after == 1
        asked.append(ask(batcher, "5"))
        reading.may_read.release(9)
        await asyncio.gather(*asked)
    assert reading.batches == [["0"], ["1"], ["2"], ["5"]]


async def test_a_question_whose_time_is_over_is_not_read() -> None:
    reading = Reading()
    batcher = Batcher(reading, size=1, most=9, wait=0.0)
    async with running(batcher, reading):
        first = ask(batcher, "0", timeout=0.05)
        await until(lambda: reading.batches)
        late = ask(batcher, "1", "2", timeout=0.05)
        last = ask(batcher, "3")
        for each in (first, late):
            with pytest.raises(DeadlineError):
                await each
        assert batcher.waiting == 1
        reading.may_read.release(9)
        assert await last == ["3 extract"]
    assert reading.batches == [["0"], ["3"]]


async def test_whoever_would_wait_too_long_is_refused_at_once_and_others_are_not() -> None:
    reading = Reading()
    batcher = Batcher(reading, size=1, most=99, wait=0.0)
    async with running(batcher, reading):
        first = ask(batcher, "0")
        await until(lambda: reading.batches)
        asked = [first, ask(batcher, *map(str, range(1, 41)))]
        await until(lambda: batcher.waiting == 40)
        with pytest.raises(OverloadedError):  # a question is thought to take 0.05 s at first
            await ask(batcher, "late", timeout=1.0)
        asked += [ask(batcher, "patient"), ask(batcher, "other", client="b", timeout=20)]
        reading.may_read.release(99)
        await asyncio.gather(*asked)
    texts = [text for batch in reading.batches for text in batch]
    assert "late" not in texts
    assert texts.index("other") == 2


async def test_whoever_has_gone_leaves_the_queue() -> None:
    reading = Reading()
    batcher = Batcher(reading, size=1, most=9, wait=0.0)
    async with running(batcher, reading):
        first = ask(batcher, "0")
        await until(lambda: reading.batches)
        gone, stays = ask(batcher, "1", client="b"), ask(batcher, "2")
        await until(lambda: batcher.waiting == 2)
        gone.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gone
        assert batcher.waiting == 1
        reading.may_read.release(9)
        await asyncio.gather(first, stays)
    assert reading.batches == [["0"], ["2"]]


async def test_an_error_of_a_batch_is_everybodys_and_the_next_batch_is_read() -> None:
    reading = Reading()
    reading.fails = StoreError("the disk is gone")
    batcher = Batcher(reading, size=4, most=9, wait=0.05)
    async with running(batcher, reading):
        asked = [ask(batcher, "0"), ask(batcher, "1", "2")]
        reading.may_read.release()
        for each in asked:
            with pytest.raises(StoreError, match="disk is gone"):
                await each
        reading.fails = None
        reading.may_read.release()
        assert await ask(batcher, "3") == ["3 extract"]
