"""Serves the page until it is told to stop."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn
from fastapi import FastAPI
from typing_extensions import override

__all__ = ["serve"]


def serve(app: FastAPI, listening: socket.socket) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        app: the application.
        listening: the socket that connections come from.
    """
    config = uvicorn.Config(app, log_config=None, access_log=False, server_header=False, ws="none")
    with listening:
        _Server(config).run([listening])


class _Server(uvicorn.Server):
    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop by a signal, and do not raise it again: there is a file to write afterwards."""
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = [signal.signal(number, self.handle_exit) for number in numbers]
        try:
            yield
        finally:
            for number, handler in zip(numbers, before, strict=True):
                signal.signal(number, handler)
