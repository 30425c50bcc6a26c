"""`qa-index verify`: a store's indexes compared with its documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from qa_system.console.app import print_json
from qa_system.console.options import STORE, JsonOption, takes_settings
from qa_system.console.wording import counted

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["verify"]


@takes_settings(STORE)
def verify(settings: Settings, as_json: JsonOption = False) -> None:
    """Compare every index of a store with its documents; the exit code is 1 if one is wrong."""
    from qa_system.stores import open_store

    with open_store(settings.store) as opened:
        documents = opened.count_documents()
        errors = opened.verify()
    if as_json:
        print_json({"store": settings.store.place, "documents": documents, "faults": errors})
    else:
        for error in errors:
            typer.echo(error)
        verdict = "sound" if not errors else counted(len(errors), "error")
        typer.echo(f"{settings.store.place}: {counted(documents, 'document')}, {verdict}")
    if errors:
        raise typer.Exit(1)
