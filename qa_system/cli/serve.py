"""`qa serve`: the HTTP API of product pages."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qa_system.console.app import note
from qa_system.console.options import ENCODER_IDENTITY, KEPT, STORE, Setting, takes_settings
from qa_system.errors import MissingDependencyError

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["serve"]

ADDRESS = (
    Setting("serving.host", "Listen on this address.", default="127.0.0.1", panel="Service"),
    Setting(
        "serving.port",
        "Listen on this port; 0: on a free one.",
        type=int,
        default="8000",
        panel="Service",
    ),
    Setting(
        "serving.workers",
        "Answer by this many processes, each with models of its own.",
        type=int,
        default="1",
        panel="Service",
    ),
)
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@takes_settings(STORE, *ENCODER_IDENTITY, *ADDRESS, *KEPT)
def serve(
    settings: Settings,
    worker: Annotated[tuple[str, Path] | None, typer.Option("--worker", hidden=True)] = None,
) -> None:
    """Answer questions over HTTP, until SIGTERM; SIGHUP loads settings and models anew."""
    for package in ("fastapi", "prometheus_client", "uvicorn"):
        if find_spec(package) is None:
            raise MissingDependencyError(
                f"serving needs the package {package!r}",
                remedy="Install it: pip install 'qa-system[serve]'.",
            )
    if worker is not None:
        from qa_system.serving.worker import Handles, run

        handles, state = worker
        run(settings, Handles(*map(int, handles.split(","))), state)
        return
    from qa_system.serving.keys import Keys
    from qa_system.serving.supervisor import supervise

    chosen = settings.serving
    Keys(chosen.keys)  # a missing one is told before a worker loads its models
    if not chosen.keys and chosen.host not in LOOPBACK:
        note(f"without serving.keys, everybody who reaches {chosen.host} may ask")
    # A worker is the same command again: it reads the settings as they are when it starts.
    command = [sys.executable, "-m", "qa_system.cli", *sys.argv[1:]]
    raise typer.Exit(supervise(command, chosen, settings.store.place))
