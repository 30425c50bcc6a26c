"""`qa serve`, and other servers of `qa`, as processes of their own, on free ports."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

JACKET = "jacket-drizzlecrest-shell"
ZIPPER = {"question": "How is the zipper?", "item_id": JACKET}


class Serving:
    """A server that answers.

    Args:
        process: the supervisor.
        address: where it listens.
        log: what it writes to stderr.
    """

    def __init__(self, process: subprocess.Popen[str], address: str, log: Path) -> None:
        self.process = process
        self.address = address
        self._log = log
        self.client = httpx.Client(base_url=address, timeout=60)

    def ask(self, **asked: Any) -> httpx.Response:
        return self.client.post("/v1/ask", json={**ZIPPER, **asked})

    def log(self) -> str:
        return self._log.read_text()

    def requests(self) -> list[dict[str, Any]]:
        """The lines of the log that are about requests."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line["message"] == "request"]

    def workers(self) -> list[int]:
        """The numbers of the processes that answer."""
        import psutil

        return sorted(each.pid for each in psutil.Process(self.process.pid).children())

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> int:
        self.signal(signal.SIGTERM)
        return self.process.wait(60)


@contextmanager
def serving(
    folder: Path, *arguments: str | Path, python: str | Path = sys.executable, **environ: str
) -> Iterator[Serving]:
    """Start `qa serve` with these arguments; afterwards it is stopped.

    Args:
        folder: for its log.
        arguments: of the command.
        python: of the environment that has it.
        environ: variables.
    """
    log = folder / "serve.log"
    command = ("serve", "--port", "0", *arguments)
    with running(log, command, python=python, **environ) as process:
        yield Serving(process, address_in(process, log), log)


def address_in(process: subprocess.Popen[str], log: Path) -> str:
    """The address in the next line of output."""
    assert process.stdout is not None
    found = re.search(r"http://\S+", process.stdout.readline())
    assert found is not None, log.read_text()
    return found[0]


@contextmanager
def running(
    log: Path,
    arguments: Sequence[str | Path],
    *,
    python: str | Path = sys.executable,
    **environ: str,
) -> Iterator[subprocess.Popen[str]]:
    """Run `qa` with these arguments; afterwards it is stopped."""
    with log.open("w") as stderr:
        process = subprocess.Popen(
            [python, "-m", "qa_system.cli", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env={**os.environ, **environ},
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        if process.stdout is not None:
            process.stdout.close()
