"""`qa ask`: a question, answered from the reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qa_system.config.choices import AnswerMode
from qa_system.console.app import print_json
from qa_system.console.options import ENCODER_IDENTITY, STORE, JsonOption, takes_settings
from qa_system.console.wording import counted, printable
from qa_system.records import title_end

if TYPE_CHECKING:
    from qa_system.config import Settings
    from qa_system.records import Answer, Answers

__all__ = ["ask", "print_answers"]


@takes_settings(STORE, *ENCODER_IDENTITY)
def ask(
    settings: Settings,
    question: Annotated[str, typer.Argument(help="Ask this question.")],
    item: Annotated[
        str | None, typer.Option("--item", "-i", help="Ask about the item with this id.")
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", min=1, help="Show at most this many answers.")
    ] = 3,
    mode: Annotated[
        AnswerMode | None,
        typer.Option(
            "--mode",
            help="extract: show words of reviews. generate: write answers that reviews support. "
            "auto: write answers, and extract them if the reviews support none.",
            show_default="extract",
        ),
    ] = None,
    generate: Annotated[bool, typer.Option("--generate", help="The same as --mode generate.")] = (
        False
    ),
    as_json: JsonOption = False,
) -> None:
    """Ask the reviews a question: qa ask "Is it good for reading?" --item B0074BW614."""
    if generate and mode not in (None, "generate"):
        raise typer.BadParameter(f"--generate contradicts --mode {mode}")
    chosen = mode or ("generate" if generate else "extract")

    from qa_system.system import QASystem

    with QASystem.open(settings, mode=chosen) as system:
        answers = system.ask(question, item_id=item, top_k=top_k, mode=chosen)
    if as_json:
        print_json(answers.to_dict())
    else:
        print_answers(answers)


def print_answers(answers: Answers) -> None:
    """Print answers for people, each with the review that it is from."""
    about = "" if answers.item_id is None else f"  [{answers.item_id}]"
    typer.echo(f"{typer.style(printable(answers.question), bold=True)}{printable(about)}")
    decided = "" if answers.decision is None else f" ({answers.decision})"
    if not answers.answers:
        typer.echo(f"  The reviews don't say{decided}.")
    for number, answer in enumerate(answers.answers, start=1):
        _print_answer(number, answer)
    spent = answers.timings.get("total", 0.0)
    reviews = counted(answers.reviews, "review")
    read = f"  {answers.read:,} of {reviews} read in {1000 * spent:.0f} ms"
    read += f", {answers.considered:,} considered"
    typer.echo(typer.style(read + (decided if answers.answers else ""), dim=True))


def _print_answer(number: int, answer: Answer) -> None:
    sure = f"{answer.confidence:.0%}"
    if answer.generated:
        sure = f"generated, support {sure}"
    typer.echo(
        f"  {number}. {typer.style(printable(' '.join(answer.text.split())), fg='green')}  ({sure})"
    )
    stars = answer.meta.get("stars")
    rating = "" if stars is None else f", {stars} {'star' if stars == 1 else 'stars'}"
    behind = title_end(answer.snippet, answer.meta)
    title = answer.snippet[:behind].rstrip()
    title = f"{typer.style(printable(title), bold=True)}: " if title else ""
    text = " ".join(answer.snippet[behind:].split())
    typer.echo(f"     \u201c{title}{printable(text)}\u201d")
    typer.echo(typer.style(printable(f"     review {answer.review_id}{rating}"), dim=True))
    if answer.generated:
        sources = printable(", ".join(answer.sources))
        typer.echo(typer.style(f"     written from {sources}", dim=True))
