"""Ctrl-C, SIGTERM and SIGHUP: a job stops at once, but finishes a transaction first."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any, Final, Self

from qa_system.errors import JobError

__all__ = ["Interrupts", "JobInterruptedError"]


SIGNALS: Final = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)


class JobInterruptedError(JobError):
    """The job was told to stop by a signal; exit code 128 + the signal's number."""

    def __init__(self, signal_number: int) -> None:
        super().__init__(
            f"stopped by {signal.Signals(signal_number).name}",
            remedy="What was done is stored. Run the same command again to go on.",
        )
        self.exit_code = 128 + signal_number


class Interrupts:
    """Turn SIGINT, SIGTERM and SIGHUP into a `JobInterruptedError`, but not inside `held`.

    A signal that the process was started to ignore, as by `nohup`, stays ignored. Outside the
    main thread, where Python takes no signals, it does nothing.
    """

    def __init__(self) -> None:
        self._previous: dict[int, Any] = {}
        self._held = False
        self._received: int | None = None

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Put a signal off until the work inside is done."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._received is not None:
            raise JobInterruptedError(self._received)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:  # noqa: ARG002
        # Once: a second signal would break off what the first one lets be put right.
        is_first = self._received is None
        self._received = self._received or number
        if is_first and not self._held:
            raise JobInterruptedError(number)
