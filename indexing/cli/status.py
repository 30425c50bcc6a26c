"""`qa-index status`: what a store holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import typer

from indexing.cli.run import STATE
from qa_system.console.app import note, print_json
from qa_system.console.options import STORE, JsonOption, takes_settings
from qa_system.console.wording import counted

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["status"]


@takes_settings(STORE, STATE)
def status(settings: Settings, as_json: JsonOption = False) -> None:
    """Show what a store holds and how its jobs went.

    If a job was killed, searches on the server find what it wrote from now on.
    """
    from dataclasses import asdict

    from indexing.checkpoint import read_checkpoints
    from indexing.notes import described
    from indexing.state import state_folder
    from qa_system.stores import open_store
    from qa_system.stores.digests import iter_stale

    folder = state_folder(settings).absolute()
    jobs = read_checkpoints(folder)
    with open_store(settings.store) as opened:
        if not any(job["running"] for job in jobs.values()) and opened.settle():
            note("a job was killed: what it has written is found from now on")
        found, notes = asdict(opened.status()), opened.notes()
        found["stale_digests"] = sum(1 for _ in iter_stale(opened)) if found["digests"] else 0
    found["path"] = str(found["path"])
    if as_json:
        print_json({**found, "state": str(folder), "jobs": jobs, "notes": notes})
        return
    for key, value in found.items():
        shown = value["name"] if isinstance(value, dict) else value
        typer.echo(f"{key.replace('_', ' '):20} {_shown(shown)}")
    if "passages" in notes:
        typer.echo(f"the last job {described(notes['passages'])}")
    if not jobs:
        typer.echo(f"no job in {folder}")
    for job, counts in jobs.items():
        how = "finished" if counts["finished"] else "not finished: run it again to go on"
        how = "running" if counts["running"] else how
        typer.echo(f"job {job}: {how}; {counted(counts['read'], 'row')} read; in {folder}")


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
