"""Answers as `qa ask` prints them: 80 columns, a bar for each point, quotes under it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import typer

from qa_system.console.wording import counted, printable
from qa_system.opinions import are_opposed
from qa_system.records import title_end

if TYPE_CHECKING:
    from qa_system.opinions import Point, Quote
    from qa_system.records import Answer, Answers

__all__ = ["print_answers"]

WIDTH: Final = 80
BAR: Final = 20
"""Columns of a bar that stands for all mentions."""
FEW: Final = 3
"""Mentions without a bar: of so few, a share says nothing."""
COLOURS: Final = {"for": "green", "against": "red"}


def print_answers(answers: Answers, top_k: int = 3, quotes: int = 2) -> None:
    """Print what the reviews say, for people.

    Args:
        answers: to one question.
        top_k: points at most; the first that contradicts them is printed, too.
        quotes: of a point, at most.
    """
    about = "" if answers.item_id is None else f"  [{answers.item_id}]"
    typer.echo(f"{typer.style(printable(answers.question), bold=True)}{printable(about)}")
    decided = "" if answers.decision is None else f" ({answers.decision})"
    if answers.verdict is not None and answers.mentions:
        typer.echo(f"  {typer.style(str(answers.verdict), bold=True)}")
    if answers.abstained:
        typer.echo(f"  The reviews don't say{decided}.")
    for number, answer in enumerate(answers.answers, start=1):
        if answer.generated:
            _print_generated(number, answer)
    if answers.points:
        typer.echo(f"  {answers.spoken}")
    _print_points(answers, top_k, quotes)
    spent = answers.timings.get("total", 0.0)
    reviews = counted(answers.reviews, "review")
    read = f"  {answers.read:,} of {reviews} read in {1000 * spent:.0f} ms"
    if answers.considered is not None:
        read += f", {answers.considered:,} considered"
    if answers.judged > answers.read:
        read += f", {answers.judged:,} judged"
    told = "" if answers.abstained else decided
    fits = len(read + told) <= WIDTH
    for line in [read + told] if fits else [read, f" {told}"]:
        typer.echo(typer.style(line, dim=True))


def _print_points(answers: Answers, top_k: int, quotes: int) -> None:
    left: list[Point] = []
    for part in answers.parts or (None,):
        points = [point for point in answers.points if point.part == part]
        if part is not None:
            typer.echo(f"\n  {typer.style(printable(part), bold=True)}")
            typer.echo(f"  {answers.spoken_of(part)}")
        chosen = _chosen(points, top_k)
        for point in chosen:
            _print_point(point, quotes, has_bar=answers.mentions_of(part) > FEW)
        left += [point for point in points if point not in chosen]
    if left:
        said = counted(len(left), "more point")
        most = counted(max(point.support for point in left), "review")
        typer.echo(f"\n  {said}, of {most} at most; --top-k shows more.")


def _chosen(points: Sequence[Point], top_k: int) -> list[Point]:
    """Return the first points, and the first that contradicts them, by its stance if it has one."""
    against = [place for place, point in enumerate(points) if are_opposed(point, points[0])]
    against.sort(key=lambda place: points[place].stance is None)
    return [point for place, point in enumerate(points) if place < top_k or place in against[:1]]


def _print_point(point: Point, quotes: int, *, has_bar: bool) -> None:
    label = list(_lines(f"{counted(point.support, 'review')}: {point.label}", WIDTH - 2))
    typer.echo()
    for line in label:
        typer.echo(f"  {typer.style(line, bold=True)}")
    if has_bar:
        full = max(round(BAR * point.share), 1)
        bar = typer.style("█" * full, fg=COLOURS.get(point.polarity or ""))
        low, high = point.interval
        told = f"{point.share:.0%} ({low:.0%} to {high:.0%})"
        told += "" if point.polarity in (None, "neither") else f", {point.polarity}"
        typer.echo(f"  {bar}{'░' * (BAR - full)} {told}")
    for quote in point.quotes[:quotes]:
        _print_quote(quote, point.label)
    left = point.support - quotes
    if quotes and left > 0:
        typer.echo(typer.style(f"      and {counted(left, 'review')} more", dim=True))


def _print_quote(quote: Quote, label: str) -> None:
    behind = title_end(quote.snippet, quote.meta)
    title = quote.snippet[:behind].strip()
    text = f"{title}: {quote.snippet[behind:]}" if title else quote.snippet
    text = " ".join(text.split())
    for line in _lines(f"\u201c{text}\u201d", WIDTH - 6) if text != label else ():
        typer.echo(f"      {line}")
    stars, date = quote.meta.get("stars"), quote.meta.get("date")
    told = [quote.review_id]
    told += [] if stars is None else [counted(stars, "star") if stars == 1 else f"{stars} stars"]
    told += [] if date is None else [str(date)]
    for line in _lines(f"review {', '.join(told)}", WIDTH - 6):
        typer.echo(typer.style(f"      {line}", dim=True))


def _print_generated(number: int, answer: Answer) -> None:
    text = (
        f"{number}. {' '.join(answer.text.split())}  (generated, support {answer.confidence:.0%})"
    )
    for line in _lines(text, WIDTH - 2):
        typer.echo(f"  {typer.style(line, fg='green')}")
    for line in _lines(f"written from {', '.join(answer.sources)}", WIDTH - 5):
        typer.echo(typer.style(f"     {line}", dim=True))


def _lines(text: str, width: int) -> Iterator[str]:
    """Divide a text into lines of so many columns; wide characters take two."""
    from rich.console import Console
    from rich.text import Text

    wrapped = Text(printable(text)).wrap(Console(width=width), width)
    return (line.plain.rstrip() for line in wrapped)
