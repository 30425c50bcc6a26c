"""`qa ask`: a question, answered from the reviews."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qa_system.config.choices import AnswerMode
from qa_system.console.app import print_json
from qa_system.console.options import ENCODER_IDENTITY, STORE, JsonOption, takes_settings

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["ask"]


@takes_settings(STORE, *ENCODER_IDENTITY)
def ask(
    settings: Settings,
    question: Annotated[str, typer.Argument(help="Ask this question.")],
    item: Annotated[
        str | None, typer.Option("--item", "-i", help="Ask about the item with this id.")
    ] = None,
    top_k: Annotated[
        int, typer.Option("--top-k", "-k", min=1, help="Show at most this many points, or answers.")
    ] = 3,
    quotes: Annotated[
        int, typer.Option("--quotes", min=0, help="Quote at most this many reviews for a point.")
    ] = 2,
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

    from qa_system.cli.printing import print_answers
    from qa_system.system import QASystem

    with QASystem.open(settings, mode=chosen) as system:
        answers = system.ask(question, item_id=item, top_k=top_k, mode=chosen)
    if as_json:
        print_json(answers.to_dict())
    else:
        print_answers(answers, top_k, quotes)
