"""Seconds by stage of one question, collected across threads and tasks.

A component runs `with stage("read"):`; a caller that wants the times runs `with timed() as
timings:`. Haystack passes the context on to the threads that it runs components in, so components
need no argument for it. Without a `timed` block nothing is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter

__all__ = ["stage", "timed"]

_timings: ContextVar[dict[str, float] | None] = ContextVar("qa_system_timings", default=None)


@contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Collect the seconds that the stages inside take.

    >>> with timed() as timings:
    ...     with stage("read"):
    ...         pass
    >>> list(timings)
    ['read', 'total']
    """
    timings: dict[str, float] = {}
    token = _timings.set(timings)
    start = perf_counter()
    try:
        yield timings
    finally:
        timings["total"] = perf_counter() - start
        _timings.reset(token)


@contextmanager
def stage(name: str) -> Iterator[None]:
    """Add the time spent inside to the stage's seconds, inside a `timed` block."""
    timings = _timings.get()
    if timings is None:
        yield
        return
    start = perf_counter()
    try:
        yield
    finally:
        timings[name] = timings.get(name, 0.0) + perf_counter() - start
