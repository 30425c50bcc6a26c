"""A thread for a file that others may hold: what waits for it keeps nothing else waiting."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import BoundedSemaphore
from typing import Final, ParamSpec, TypeVar

from qa_system.serving.errors import OverloadedError

__all__ = ["OwnThread"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")

WAITING: Final = 32
"""Calls that wait at most."""
LONGEST_WAIT: Final = 5.0
"""Seconds for which a call waits."""


class OwnThread:
    """Runs calls one after the other, and refuses those that would wait for long.

    Args:
        name: of the thread.
        most: calls that wait or run at most.
        wait: seconds after which a call is given up; one that runs is finished.
    """

    def __init__(self, name: str, most: int = WAITING, wait: float = LONGEST_WAIT) -> None:
        self._thread = ThreadPoolExecutor(1, name)
        self._free = BoundedSemaphore(most)
        self._wait = wait

    async def run(
        self,
        function: Callable[Parameters, Result],
        *arguments: Parameters.args,
        **named: Parameters.kwargs,
    ) -> Result:
        """Call a function on the thread, and return what it returns.

        Args:
            function: blocks.
            arguments: its own.
            named: its own.

        Raises:
            OverloadedError: too many calls wait, or this one has waited too long.
        """
        if not self._free.acquire(blocking=False):
            raise OverloadedError(OverloadedError.public_message, retry_after=1)
        call = self._thread.submit(function, *arguments, **named)
        call.add_done_callback(lambda _: self._free.release())
        try:
            async with asyncio.timeout(self._wait):
                return await asyncio.wrap_future(call)
        except TimeoutError:
            raise OverloadedError(OverloadedError.public_message, retry_after=1) from None

    def close(self) -> None:
        """Wait for the call that runs; those that wait are given up."""
        self._thread.shutdown(cancel_futures=True)
