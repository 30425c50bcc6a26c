"""One process of `qa serve`: it loads the models, and answers until it is told to stop."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import uvicorn
from typing_extensions import override

from qa_system.config import Settings, changed
from qa_system.errors import MissingDependencyError
from qa_system.serving.api import application
from qa_system.serving.keys import Keys
from qa_system.serving.limits import RateLimits
from qa_system.serving.logs import log_as_json
from qa_system.serving.metrics import Metrics
from qa_system.serving.service import Service
from qa_system.system import QASystem

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["Handles", "run"]

LIMITS: Final = "limits.sqlite3"
LINGER: Final = 1.0
"""Seconds for which a worker that stops waits for requests on connections that it has accepted."""
PAUSE: Final = 0.1


class Handles(NamedTuple):
    """What a worker has of its supervisor, as numbers of open files.

    Args:
        listening: the socket that all workers accept connections from.
        ready: a pipe that is written to when questions are answered.
        alive: a pipe that ends when the supervisor does.
    """

    listening: int
    ready: int
    alive: int


def run(settings: Settings, handles: Handles, state: Path) -> None:
    """Serve until SIGTERM, or until the supervisor is no more.

    Args:
        settings: of the system and of the service.
        handles: of the supervisor.
        state: the folder that the workers share.

    Raises:
        QASystemError: the system cannot be opened.
    """
    chosen = settings.serving
    log_as_json()
    keys, limits = Keys(chosen.keys), RateLimits(state / LIMITS)
    provider = None
    if chosen.traces is not None:
        try:
            from qa_system.serving.tracing import send_traces
        except ImportError as error:
            raise MissingDependencyError(
                f"serving.traces needs the package {error.name!r}",
                remedy="Install it: pip install 'qa-system[traces]'.",
            ) from error
        provider = send_traces(chosen.traces)
    try:
        with QASystem.open(_sharing_cores(settings)) as system:
            service = Service(system, Metrics(), chosen.workers)
            server = _Server(application(service, keys, limits), service, handles)
            with socket.socket(fileno=handles.listening) as listening:
                asyncio.run(server.serve([listening]))
    finally:
        limits.close()
        if provider is not None:
            provider.shutdown()


def _sharing_cores(settings: Settings) -> Settings:
    """Return settings by which several workers do not compute on the same cores."""
    if settings.serving.workers == 1:
        return settings
    threads = max(1, len(os.sched_getaffinity(0)) // settings.serving.workers)
    models = ("encoder", "reader", "judge", "generator")
    chosen = {f"{name}.threads": getattr(settings, name).threads or threads for name in models}
    return changed(settings, chosen)


class _Server(uvicorn.Server):
    def __init__(self, app: FastAPI, service: Service, handles: Handles) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="on",
                backlog=2048,
                ws="none",
                timeout_graceful_shutdown=service.settings.serving.drain_seconds,
            )
        )
        self._service = service
        self._handles = handles

    @override
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop by SIGTERM, and do not raise it again: there are things to close afterwards."""
        before = signal.signal(signal.SIGTERM, self.handle_exit)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)

    @override
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        asyncio.get_running_loop().add_reader(self._handles.alive, self._orphaned)
        os.write(self._handles.ready, b"r")
        os.close(self._handles.ready)

    @override
    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept no more, let every connection say what it has to, and answer."""
        self._service.is_stopping = True
        for server in self.servers:
            server.close()
        # What is accepted already becomes a connection in the next rounds of the event loop, and
        # what it asks comes a moment later.
        for _ in range(int(LINGER / PAUSE)):
            await asyncio.sleep(PAUSE)
            if not self.server_state.connections:
                break
        await super().shutdown(sockets)

    def _orphaned(self) -> None:
        asyncio.get_running_loop().remove_reader(self._handles.alive)
        self.should_exit = True
