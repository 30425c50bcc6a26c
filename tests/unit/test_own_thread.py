"""What waits for a file waits on a thread of its own, for so long, and no more than so many."""

import asyncio
import threading

import pytest

from qa_system.serving.errors import OverloadedError
from qa_system.serving.kept.thread import OwnThread


async def test_calls_wait_in_turn_and_past_the_queue_they_are_refused_at_once() -> None:
    thread, go_on = OwnThread("file", most=3, wait=30), threading.Event()
    calls = [asyncio.create_task(thread.run(go_on.wait))]
    calls += [asyncio.create_task(thread.run(pow, 2, number)) for number in (3, 4)]
    await asyncio.sleep(0)
    with pytest.raises(OverloadedError):
        await thread.run(pow, 2, 5)
    # Whatever else has threads goes on.
    assert await asyncio.to_thread(pow, 2, 6) == 64
    go_on.set()
    assert await asyncio.gather(*calls) == [True, 8, 16]
    assert await thread.run(pow, 2, 7) == 128
    thread.close()


async def test_a_call_that_has_waited_too_long_is_given_up_and_makes_room() -> None:
    thread, go_on, made = OwnThread("file", most=2, wait=0.05), threading.Event(), list[int]()
    calls = [thread.run(go_on.wait), thread.run(made.append, 1)]
    for each in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(each, OverloadedError)
    go_on.set()
    await asyncio.to_thread(thread.close)
    assert made == []


async def test_an_error_is_that_of_the_call() -> None:
    thread = OwnThread("file")
    with pytest.raises(ZeroDivisionError):
        await thread.run(pow, 0, -1)
    thread.close()
