"""`qa-index digest`: what each item's reviews say of its aspects, made ahead of time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qa_system.console.app import print_json
from qa_system.console.options import ENCODER, STORE, JsonOption, takes_settings
from qa_system.console.wording import counted

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["digest"]


@takes_settings(STORE, *ENCODER)
def digest(
    settings: Settings,
    item: Annotated[
        list[str] | None,
        typer.Option("--item", "-i", help="Digest the item with this id. Repeatable."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Digest every item of the store.")] = False,
    min_reviews: Annotated[
        int,
        typer.Option(
            "--min-reviews", min=1, help="Find aspects only of items with so many reviews."
        ),
    ] = 3,
    anew: Annotated[
        bool, typer.Option("--anew", help="Make digests again that are up to date, too.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Find what each item's reviews speak of, and what speaks for and against it.

    The digests are kept in the store; `qa digest ITEM` shows one. A digest is made again when its
    item's reviews grew by 20 % or 5 % of them changed or went. Each is kept when it is made: if
    the job is stopped, run the same command again to go on.
    """
    if bool(item) == every:
        raise typer.BadParameter("name items by --item, or digest all of them by --all")
    from dataclasses import asdict
    from time import monotonic

    from indexing.digests import digest_store
    from qa_system.stores import open_store

    start = monotonic()
    with open_store(settings.store) as opened:
        done = digest_store(opened, settings, item, min_reviews=min_reviews, anew=anew)
    seconds = round(monotonic() - start, 3)
    if as_json:
        print_json({"store": settings.store.place, **asdict(done), "seconds": seconds})
    else:
        typer.echo(
            f"{settings.store.place}: {counted(done.made, 'digest')} made in {seconds:,.1f} s, "
            f"{done.fresh:,} up to date, {done.removed:,} removed"
        )
