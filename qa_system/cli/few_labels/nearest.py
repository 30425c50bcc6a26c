"""`qa nearest`: questions labelled, or answered, as the labelled ones nearest to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qa_system.console.app import print_json
from qa_system.console.options import JsonOption
from qa_system.console.wording import printable

if TYPE_CHECKING:
    from qa_system.nearest.component import Prediction

__all__ = ["nearest"]


def nearest(
    folder: Annotated[Path, typer.Argument(metavar="FOLDER", help="As qa train nearest wrote it.")],
    questions: Annotated[list[str], typer.Argument(metavar="QUESTION...", help="To be labelled.")],
    item: Annotated[
        str | None,
        typer.Option("--item", "-i", help="Of answers: the item that the questions are about."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Label questions as those nearest to them: qa nearest FOLDER "How loud is it?"."""
    from dataclasses import asdict

    from qa_system.nearest.component import NearestLabels

    found = NearestLabels(str(folder)).predict(questions, [item] * len(questions))
    if as_json:
        rows = zip(questions, map(asdict, found), strict=True)
        print_json({"questions": [{"question": text, **each} for text, each in rows]})
        return
    for text, each in zip(questions, found, strict=True):
        _print(text, each)


def _print(question: str, found: Prediction) -> None:
    typer.secho(printable(question), bold=True)
    for vote in found.labels:
        typer.echo(f"  {printable(vote.label)}  {vote.score:.2f}")
    if not found.labels:
        typer.echo("  no label is near enough")
    for each in found.neighbours:
        line = f"    {each.similarity:.2f}  {printable(each.text)}"
        typer.secho(f"{line}  ({printable(', '.join(each.labels))})", dim=True)
