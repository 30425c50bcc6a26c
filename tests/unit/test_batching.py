"""Questions wait in turn, are read together, and leave when their time is over."""

import asyncio
import selectors
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import Executor
from contextlib import asynccontextmanager, suppress
from typing import Any

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
        late = ask(batcher, "1", "2", timeout=0.5)
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


class Clock(selectors.DefaultSelector):
    """Passes the time that an event loop would wait for, at once."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        assert timeout is not None, "everybody waits for nothing"
        self.now += max(0.0, timeout)
        return super().select(0)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop without a real clock or real threads: each question takes as long.

    Args:
        seconds: that a question takes.
    """

    def __init__(self, seconds: float) -> None:
        self.clock = Clock()
        self.seconds = seconds
        super().__init__(self.clock)

    def time(self) -> float:
        return self.clock.now

    def run_in_executor(  # type: ignore[override]
        self, executor: Executor | None, func: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        done = self.create_future()
        self.call_later(self.seconds * len(args[0]), lambda: done.set_result(func(*args)))
        return done


def overload(
    seconds: float, timeout: float, clients: int, *, until: float = 30.0, mode: str = "extract"
) -> tuple[Counter[str], list[float]]:
    """Let clients ask again and again; return how it went, and how long refusals took."""
    loop = VirtualLoop(seconds)
    outcomes, refused_after = Counter[str](), list[float]()

    async def client(batcher: Batcher[int], name: int) -> None:
        while loop.time() < until:
            began = loop.time()
            try:
                manner = Manner(3, mode)  # type: ignore[arg-type]
                await batcher.ask([Question("Loud?")], manner, f"c{name}", timeout)
                outcomes["answered"] += 1
            except DeadlineError:
                outcomes["late"] += 1
            except OverloadedError:
                outcomes["refused"] += 1
                refused_after.append(loop.time() - began)
                await asyncio.sleep(0.2)

    async def run() -> None:
        batcher = Batcher[int](lambda questions, _: [1] * len(questions), 16, 200, 0.004)
        reading = asyncio.create_task(batcher.run())
        await asyncio.gather(*(client(batcher, number) for number in range(clients)))
        reading.cancel()
        batcher.close()

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()
    return outcomes, refused_after


@pytest.mark.parametrize(
    ("seconds", "timeout", "clients", "mode"),
    [
        (0.07, 1.0, 16, "extract"),
        (0.07, 1.0, 32, "extract"),
        (0.25, 2.0, 16, "extract"),
        (0.25, 2.0, 100, "extract"),
        (1.5, 2.0, 16, "generate"),
        (0.01, 1.0, 16, "extract"),
    ],
)
def test_an_overloaded_reader_answers_as_many_as_it_can_and_refuses_the_others_at_once(
    seconds: float, timeout: float, clients: int, mode: str
) -> None:
    outcomes, refused_after = overload(seconds, timeout, clients, mode=mode)
    could = 30 / seconds
    assert outcomes["answered"] >= 0.7 * could, outcomes
    assert outcomes["late"] <= 3 * clients, outcomes  # those that the first guess took
    if clients * seconds > timeout:
        assert outcomes["refused"] > 0
        at_once = sum(after == 0 for after in refused_after)
        assert at_once >= 0.9 * len(refused_after), outcomes
    else:
        assert outcomes["refused"] <= clients  # by the first guess


def test_a_reader_that_was_slow_once_is_asked_again() -> None:
    loop = VirtualLoop(20.0)

    async def run() -> list[str]:
        batcher = Batcher[int](lambda questions, _: [1] * len(questions), 16, 200, 0.0)
        reading, met = asyncio.create_task(batcher.run()), []
        for number in range(3):
            try:
                await batcher.ask([Question("Loud?")], PLAIN, f"{number}", 10.0)
                met.append("answered")
            except DeadlineError:
                met.append("late")
                await asyncio.sleep(11)
                loop.seconds = 0.1
        reading.cancel()
        batcher.close()
        return met

    try:
        assert loop.run_until_complete(run()) == ["late", "answered", "answered"]
    finally:
        loop.close()
