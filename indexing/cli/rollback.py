"""`qa-index rollback`: the version before the last rebuild."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from qa_system.console.app import print_json
from qa_system.console.options import STORE, JsonOption, takes_settings

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["rollback"]


@takes_settings(STORE)
def rollback(settings: Settings, as_json: JsonOption = False) -> None:
    """Let the version before the last rebuild be read again (Elasticsearch)."""
    from dataclasses import asdict

    from indexing.rebuild import roll_back

    done = roll_back(settings.store)
    if as_json:
        print_json(asdict(done))
    else:
        typer.echo(f"{done.store}: {done.index} is read now; {done.former} is kept")
