"""The stages of one question: seconds by stage, and a Haystack span for each.

A component runs `with stage("read"):`; a caller that wants the times runs `with timed() as
timings:`. Haystack passes the context on to the threads that it runs components in, so components
need no argument for it. Without a `timed` block nothing is measured, and without
`haystack.tracing.enable_tracing` a span goes nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from time import perf_counter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from haystack.tracing.tracer import Span

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
def stage(name: str) -> Iterator[Span]:
    """Trace a stage as the span `qa_system.NAME`, and add its time inside a `timed` block.

    Args:
        name: of the stage.

    Returns:
        The span, for tags. `set_content_tag` is for questions, reviews and answers: it does
        nothing unless content tracing is on.
    """
    from haystack.tracing.tracer import tracer

    timings = _timings.get()
    start = perf_counter()
    try:
        with tracer.trace(f"qa_system.{name}", parent_span=tracer.current_span()) as span:
            yield span
    finally:
        if timings is not None:
            timings[name] = timings.get(name, 0.0) + perf_counter() - start
