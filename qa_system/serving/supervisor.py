"""`qa serve` itself: it holds the socket, starts workers, replaces them and stops them.

It answers nothing while it serves, so that a reload is new workers beside the old ones: they read
the settings and load the models anew, and when they answer, the old ones finish what they have
accepted. When it stops, it tells so whoever still comes.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from uuid import uuid4

from qa_system.config import ServingSettings
from qa_system.console.app import note
from qa_system.console.wording import printable
from qa_system.errors import ClosedError, ConfigError

__all__ = ["address_of", "listen", "supervise", "turn_away"]

TICK: Final = 0.05
LONGEST_PAUSE: Final = 30.0
"""Seconds between two starts of a worker that does not start."""
SECONDS: Final = 2.0
"""How long a request may take to arrive while the service stops."""
LARGEST: Final = 1 << 20
"""Bytes of its body that are read; of a longer one the rest is not waited for."""

_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})[ \t]*\r\n", re.IGNORECASE)


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    ready: int
    is_ready: bool = False

    def look(self) -> bool:
        """Tell whether it answers; it says so once."""
        if not self.is_ready:
            try:
                self.is_ready = os.read(self.ready, 1) == b"r"
            except BlockingIOError:
                return False
        return self.is_ready

    @property
    def runs(self) -> bool:
        return self.process.poll() is None


class Supervisor:
    """Keeps as many workers as are set.

    Args:
        command: starts a worker, when `--worker` and its handles are added.
        settings: where to listen, and how many workers.
        state: the folder of rate limits, which another service may share.
        counters: the folder in which Prometheus's client keeps the workers' numbers.
    """

    def __init__(
        self, command: Sequence[str], settings: ServingSettings, state: Path, counters: Path
    ) -> None:
        self._command = command
        self._settings = settings
        self._state = state
        self._counters = counters
        self._workers: list[_Worker] = []
        self._leaving: list[_Worker] = []
        self._stops = self._reloads = False
        self._pause = self._next_start = 0.0
        self._listening = listen(settings.host, settings.port)
        self._alive, self._breath = os.pipe()

    @property
    def address(self) -> str:
        """Where it listens."""
        return address_of(self._listening)

    def run(self, place: str) -> int:
        """Serve until SIGTERM or SIGINT, and return the exit code.

        Args:
            place: of the store; a line with it and the address is printed when the workers answer.
        """
        for number, handler in (
            (signal.SIGTERM, self._stop),
            (signal.SIGINT, self._stop),
            (signal.SIGHUP, self._reload),
        ):
            signal.signal(number, handler)
        self._workers = [self._start() for _ in range(self._settings.workers)]
        failed = self._wait_for(self._workers)
        if failed is not None:
            self._finish()
            return failed
        if not self._stops:
            sys.stdout.write(f"{self.address} answers from {printable(place)}\n")
            sys.stdout.flush()
        while not self._stops:
            if self._reloads:
                self._replace_all()
            self._mend()
            time.sleep(TICK)
        self._finish()
        return 0

    def _start(self) -> _Worker:
        ready, told = os.pipe()
        os.set_blocking(ready, False)
        handles = (self._listening.fileno(), told, self._alive)
        process = subprocess.Popen(  # noqa: S603 (our own command line)
            [*self._command, "--worker", ",".join(map(str, handles)), str(self._state)],
            pass_fds=handles,
            env={**os.environ, "PROMETHEUS_MULTIPROC_DIR": str(self._counters)},
            process_group=0,  # Ctrl-C is for the supervisor, which tells them
        )
        os.close(told)
        return _Worker(process, ready)

    def _wait_for(self, workers: Sequence[_Worker]) -> int | None:
        """Wait until workers answer; return the exit code of one that does not start."""
        while not self._stops and not all(worker.look() for worker in workers):
            for worker in workers:
                if not worker.runs:
                    return worker.process.returncode or 1
            time.sleep(TICK)
        return None

    def _replace_all(self) -> None:
        """Put new workers in the place of the old ones, one after the other."""
        self._reloads = False
        for old in list(self._workers):
            new = self._start()
            if self._wait_for([new]) is not None:
                self._forget(new)
                note("a new worker did not start; the old ones go on, with the old settings")
                return
            if self._stops:
                self._workers.append(new)
                return
            self._workers[self._workers.index(old)] = new
            self._let_go(old)
        note(f"{len(self._workers)} new workers answer")

    def _mend(self) -> None:
        """Start a worker for each that died, and forget those that have left."""
        for worker in [each for each in self._leaving if not each.runs]:
            self._leaving.remove(worker)
            self._forget(worker)
        for at, worker in enumerate(self._workers):
            worker.look()
            if worker.runs or time.monotonic() < self._next_start:
                continue
            note(f"worker {worker.process.pid} died ({worker.process.returncode}): another starts")
            self._forget(worker)
            self._workers[at] = self._start()
            # One that never answered may do the same again at once.
            self._pause = 0.0 if worker.is_ready else min(2 * self._pause + 1, LONGEST_PAUSE)
            self._next_start = time.monotonic() + self._pause

    def _let_go(self, worker: _Worker) -> None:
        worker.process.send_signal(signal.SIGTERM)
        self._leaving.append(worker)

    def _forget(self, worker: _Worker) -> None:
        from prometheus_client.multiprocess import mark_process_dead

        os.close(worker.ready)
        mark_process_dead(worker.process.pid, str(self._counters))  # type: ignore[no-untyped-call]

    def _finish(self) -> None:
        for worker in self._workers:
            self._let_go(worker)
        until = time.monotonic() + self._settings.drain_seconds + 5

        def have_left() -> bool:
            if time.monotonic() > until:
                for worker in self._leaving:
                    worker.process.kill()
            return not any(worker.runs for worker in self._leaving)

        # The workers answer what they have accepted. What comes now waits for none of them.
        turn_away(self._listening, have_left)

    def _stop(self, *_: object) -> None:
        self._stops = True

    def _reload(self, *_: object) -> None:
        self._reloads = True


def supervise(command: Sequence[str], settings: ServingSettings, place: str) -> int:
    """Serve until SIGTERM or SIGINT, and return the exit code; SIGHUP starts new workers.

    Args:
        command: starts a worker, when `--worker` and its handles are added.
        settings: where to listen, and how many workers.
        place: of the store, for the line that says that the workers answer.

    Raises:
        ConfigError: the address cannot be listened on, or the state cannot be kept.
    """
    with TemporaryDirectory(prefix="qa-serve-") as folder:
        counters = Path(folder)
        state = counters if settings.state is None else Path(settings.state)
        try:
            state.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"serving.state cannot be a folder: {error.strerror}",
                where=str(state),
                remedy="Set it to a folder on this machine that can be written.",
            ) from None
        return Supervisor(command, settings, state, counters).run(place)


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an address.

    Args:
        host: a name or an IP address.
        port: 0: a free one.

    Raises:
        ConfigError: the address cannot be listened on.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigError(
            f"{host} port {port} cannot be listened on: {error.strerror}",
            where="--host, --port",
            remedy="Choose another port, or stop what listens there.",
        ) from None


def address_of(listening: socket.socket) -> str:
    """Return the URL at which a socket listens."""
    host, port = listening.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def turn_away(listening: socket.socket, is_over: Callable[[], bool]) -> None:
    """Answer every connection with 503, until it is over and none waits; then close the socket.

    Connections wait in the kernel until a worker accepts them. Those that wait when the workers
    have stopped would be reset, although the client has sent its request whole.

    Args:
        listening: accepts connections; whoever else accepts from it has stopped, or is about to.
        is_over: asked again and again; True ends it.
    """
    asyncio.run(_turn_away(listening, is_over))


async def _turn_away(listening: socket.socket, is_over: Callable[[], bool]) -> None:
    answering: set[asyncio.Task[None]] = set()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            answering.add(task)
            task.add_done_callback(answering.discard)
        with suppress(
            OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError
        ):
            async with asyncio.timeout(SECONDS):
                head = await reader.readuntil(b"\r\n\r\n")
                length = _LENGTH.search(head)
                if length is not None:
                    await reader.readexactly(min(int(length[1]), LARGEST))
                writer.write(_refusal())
                await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, sock=listening)
    while not is_over():
        await asyncio.sleep(TICK)
    await asyncio.sleep(TICK)  # those that waited are accepted by now
    server.close()
    if answering:
        await asyncio.wait(answering, timeout=SECONDS)


def _refusal() -> bytes:
    request_id = uuid4().hex
    error = {"code": ClosedError.code, "message": ClosedError.public_message}
    body = json.dumps({"error": {**error, "request_id": request_id}}).encode()
    lines = (
        "HTTP/1.1 503 Service Unavailable",
        "content-type: application/json",
        f"content-length: {len(body)}",
        "retry-after: 1",
        "connection: close",
        "x-content-type-options: nosniff",
        f"x-request-id: {request_id}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body
