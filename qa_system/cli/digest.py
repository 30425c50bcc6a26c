"""`qa digest`: what an item's reviews say of its aspects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from qa_system.console.app import note, print_json
from qa_system.console.options import STORE, JsonOption, takes_settings
from qa_system.console.wording import counted, printable
from qa_system.digests.records import MOST_QUOTES
from qa_system.digests.versions import is_stale

if TYPE_CHECKING:
    from qa_system.config import Settings
    from qa_system.digests.records import Aspect, Digest
    from qa_system.opinions import Quote

__all__ = ["digest", "print_digest"]

WIDTH: Final = 80
BAR: Final = 20
LABEL: Final = 24


@takes_settings(STORE)
def digest(
    settings: Settings,
    item: Annotated[str, typer.Argument(metavar="ITEM", help="Id of the item.")],
    as_json: JsonOption = False,
) -> None:
    """Show what an item's reviews say of its aspects: qa digest B0074BW614.

    `qa-index digest` makes it ahead of time.
    """
    from qa_system.answering.digests import digest_of
    from qa_system.stores import open_store

    with open_store(settings.store) as opened:
        found = digest_of(opened, item, settings.store.place)
        versions = opened.reviews_of_items([item]).get(item, {})
    if as_json:
        print_json(found.to_dict())
    else:
        print_digest(found)
    if is_stale(found, versions):
        note("its reviews have changed since: run qa-index digest again")


def print_digest(digest: Digest) -> None:
    """Print a digest for people: a bar for each aspect, the words for and against under it."""
    reviews = counted(digest.reviews, "review")
    head = _cut(f"{printable(digest.item_id)}", WIDTH - len(reviews) - 2)
    typer.echo(f"{typer.style(head, bold=True)}  {reviews}")
    if not digest.aspects:
        typer.echo("  There are too few reviews that speak of the same.")
    most = max((aspect.support for aspect in digest.aspects), default=1)
    for aspect in digest.aspects:
        _print_aspect(aspect, most)


def _print_aspect(aspect: Aspect, most: int) -> None:
    lengths = [round(BAR * each / most) for each in (aspect.for_, aspect.against)]
    rest = max(round(BAR * aspect.support / most) - sum(lengths), 0)
    bar = (
        typer.style("+" * lengths[0], fg="green")
        + typer.style("-" * lengths[1], fg="red")
        + typer.style("." * rest, dim=True)
        + " " * (BAR - sum(lengths) - rest)
    )
    label = _cut(printable(aspect.label), LABEL)
    figures = f"{aspect.for_:,} for, {aspect.against:,} against, of {aspect.support:,}"
    typer.echo(f"  {label:{LABEL}}  {bar}  {figures}")
    first_against = min(aspect.for_, MOST_QUOTES)
    if aspect.for_:
        _print_quote("+", aspect.quotes[0])
    if aspect.against:
        _print_quote("-", aspect.quotes[first_against])


def _print_quote(sign: str, quote: Quote) -> None:
    text = printable(" ".join(quote.text.split()))
    typer.echo(typer.style(f"    {sign} \u201c{_cut(text, WIDTH - 8)}\u201d", dim=True))


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1].rstrip()}\u2026"
