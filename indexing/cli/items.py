"""`qa-index items`: the items of a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qa_system.console.app import print_json
from qa_system.console.options import STORE, JsonOption, takes_settings
from qa_system.console.wording import printable

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["items"]


@takes_settings(STORE)
def items(
    settings: Settings,
    search: Annotated[
        str | None,
        typer.Option(help="List only items whose id contains this, in any case."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the items of a store, and how many reviews each has."""
    from indexing.items import list_items
    from qa_system.stores import open_store

    with open_store(settings.store) as opened:
        found = list(list_items(opened, search))
    if as_json:
        print_json({"items": [item._asdict() for item in found]})
        return
    for item in found:
        typer.echo(f"{item.reviews:7,} {printable(item.item_id)}")
