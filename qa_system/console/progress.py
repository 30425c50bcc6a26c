"""Progress of long work: a bar on a terminal, a plain line every few seconds in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic
from typing import TextIO

__all__ = ["Progress", "progress"]


class Progress:
    """What the work calls as it proceeds: `advance` by units done."""

    def __init__(self, title: str, unit: str, total: int | None, stream: TextIO) -> None:
        self._title = title
        self._unit = unit
        self._total = total
        self._stream = stream
        self._start = monotonic()
        self._last_line = self._start
        self.done = 0
        self._done_before = 0

    def go_on(self, units: int) -> None:
        """Count units that a stopped run had done; the rate leaves them out."""
        self._done_before += units
        self.advance(units)

    def advance(self, units: int = 1, *, total: int | None = None) -> None:
        """Count units of work as done, and say how many there are in all if that became clearer."""
        self.done += units
        self._total = self._total if total is None else total
        now = monotonic()
        if now - self._last_line >= LINE_SECONDS:
            self._last_line = now
            self._write_line(now)

    def _write_line(self, now: float) -> None:
        elapsed = now - self._start
        rate = (self.done - self._done_before) / elapsed if elapsed > 0 else 0.0
        of_total = "" if self._total is None else f" of {self._total:,}"
        left = ""
        if self._total is not None and rate > 0:
            left = f", {max(self._total - self.done, 0) / rate:,.0f} s left"
        self._stream.write(
            f"{self._title}: {self.done:,}{of_total} {self._unit}, {_rate(rate)}/s{left}\n"
        )
        self._stream.flush()


LINE_SECONDS = 5.0


def _rate(rate: float) -> str:
    return f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}"


class _Bar(Progress):
    def __init__(self, title: str, unit: str, total: int | None, stream: TextIO) -> None:
        super().__init__(title, unit, total, stream)
        from rich.console import Console
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self._task = self._bar.add_task(title, total=total, rate="")
        self._bar.start()

    def advance(self, units: int = 1, *, total: int | None = None) -> None:
        self.done += units
        self._total = self._total if total is None else total
        rate = (self.done - self._done_before) / max(monotonic() - self._start, 1e-9)
        self._bar.update(
            self._task, advance=units, total=self._total, rate=f"{_rate(rate)} {self._unit}/s"
        )

    def stop(self) -> None:
        self._bar.stop()


@contextmanager
def progress(
    title: str,
    *,
    unit: str = "rows",
    total: int | None = None,
    stream: TextIO | None = None,
) -> Iterator[Progress]:
    """Show the progress of the work inside, on stderr.

    Args:
        title: what is being done.
        unit: what is counted.
        total: units in all, where they are known; without it no time left is shown.
        stream: None takes stderr.

    >>> with progress("indexing") as shown:
    ...     shown.advance(10)
    >>> shown.done
    10
    """
    stream = sys.stderr if stream is None else stream
    if not stream.isatty():
        yield Progress(title, unit, total, stream)
        return
    bar = _Bar(title, unit, total, stream)
    try:
        yield bar
    finally:
        bar.stop()
