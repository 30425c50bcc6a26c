"""Work that follows writes, on a thread of its own: once for many, never twice at a time."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event, Lock, Thread

__all__ = ["Follower"]


class Follower:
    """Run some work after each request; requests that come meanwhile share the next run.

    The thread ends when there is nothing to do. The interpreter waits for it.

    Args:
        work: what to do.
        pause: seconds between two runs, so that more requests share the second.

    >>> done = []
    >>> follower = Follower(lambda: done.append("work"), pause=0.1)
    >>> follower.request()
    >>> follower.finish()
    >>> done
    ['work']
    """

    def __init__(self, work: Callable[[], None], pause: float) -> None:
        self._work = work
        self._pause = pause
        self._mutex = Lock()
        self._is_wanted = False
        self._is_hurried = Event()
        self._thread: Thread | None = None

    def request(self) -> None:
        """Have the work done soon."""
        with self._mutex:
            self._is_wanted = True
            if self._thread is None or not self._thread.is_alive():
                self._is_hurried.clear()
                self._thread = Thread(target=self._run, name="store-follower")
                self._thread.start()

    def finish(self) -> None:
        """Wait until no work is wanted."""
        thread = self._thread
        if thread is not None:
            self._is_hurried.set()
            thread.join()

    def _run(self) -> None:
        while self._is_more_wanted():
            self._work()
            self._is_hurried.wait(self._pause)

    def _is_more_wanted(self) -> bool:
        with self._mutex:
            is_wanted, self._is_wanted = self._is_wanted, False
            if not is_wanted:
                self._thread = None
            return is_wanted
