"""`qa ask`: a question, or a file of them, answered from the reviews."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from qa_system.config.choices import AnswerMode
from qa_system.console.app import print_json
from qa_system.console.options import ENCODER_IDENTITY, STORE, JsonOption, takes_settings
from qa_system.console.wording import counted

if TYPE_CHECKING:
    from qa_system.catalogue.job import AskedReport
    from qa_system.config import Settings

__all__ = ["ask"]

MANY: Final = "Many questions"


QuestionArgument = Annotated[str | None, typer.Argument(help="Ask this question.")]
ItemOption = Annotated[
    str | None, typer.Option("--item", "-i", help="Ask about the item with this id.")
]
TopKOption = Annotated[
    int, typer.Option("--top-k", "-k", min=1, help="Show at most this many points, or answers.")
]
QuotesOption = Annotated[
    int, typer.Option("--quotes", min=0, help="Quote at most this many reviews for a point.")
]
ModeOption = Annotated[
    AnswerMode | None,
    typer.Option(
        "--mode",
        help="extract: show words of reviews. generate: write answers that reviews support. "
        "auto: write answers, and extract them if the reviews support none.",
        show_default="extract",
    ),
]
GenerateOption = Annotated[bool, typer.Option("--generate", help="The same as --mode generate.")]
QuestionsOption = Annotated[
    str | None,
    typer.Option(
        "--questions",
        metavar="FILE",
        help="Ask every row of this file: CSV, JSON or Parquet with the columns question and "
        "item_id, and id if there is one; - for standard input.",
        rich_help_panel=MANY,
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write the answers to this file: a JSON object a row, in order.",
        rich_help_panel=MANY,
    ),
]
EncodingOption = Annotated[
    str | None,
    typer.Option(
        "--encoding",
        help="Read the questions in this encoding, for example cp1252.",
        show_default="detected",
        rich_help_panel=MANY,
    ),
]
RestartOption = Annotated[
    bool,
    typer.Option(
        "--restart",
        help="Ask all questions again, over the answers of an earlier run.",
        rich_help_panel=MANY,
    ),
]


@takes_settings(STORE, *ENCODER_IDENTITY)
def ask(
    settings: Settings,
    question: QuestionArgument = None,
    item: ItemOption = None,
    top_k: TopKOption = 3,
    quotes: QuotesOption = 2,
    mode: ModeOption = None,
    generate: GenerateOption = False,
    questions: QuestionsOption = None,
    out: OutOption = None,
    encoding: EncodingOption = None,
    restart: RestartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Ask the reviews a question: qa ask "Is it good for reading?" --item B0074BW614.

    With --questions and --out, ask as many as a file has. A row that cannot be
    asked has its error in its line, and the others go on; errors are counted at
    the end, and the exit code is 1 only if no row could be asked. A run that was
    stopped or killed goes on where it was when the same command is run again.
    """
    if generate and mode not in (None, "generate"):
        raise typer.BadParameter(f"--generate contradicts --mode {mode}")
    chosen = mode or ("generate" if generate else "extract")
    if (question is None) == (questions is None):
        raise typer.BadParameter("name a question, or a file of them: --questions FILE --out FILE")
    if (out is None) != (questions is None):
        raise typer.BadParameter("--questions FILE and --out FILE belong together")
    if questions is not None and out is not None:
        from qa_system.catalogue.job import ask_all
        from qa_system.catalogue.questions import Questions

        read = Questions(questions, item, encoding)
        report = ask_all(settings, read, out, top_k, chosen, restart=restart)
        if as_json:
            print_json(report.to_dict())
        else:
            _print_report(report)
        raise typer.Exit(report.exit_code)
    if encoding is not None or restart:
        raise typer.BadParameter("--encoding and --restart go with --questions FILE")

    from qa_system.cli.printing import print_answers
    from qa_system.system import QASystem

    with QASystem.open(settings, mode=chosen) as system:
        answers = system.ask(question or "", item_id=item, top_k=top_k, mode=chosen)
    if as_json:
        print_json(answers.to_dict())
    else:
        print_answers(answers, top_k, quotes)


def _print_report(report: AskedReport) -> None:
    if report.resumed == report.rows > 0:
        typer.echo(
            f"nothing was left to ask: an earlier run had done all of "
            f"{counted(report.rows, 'question')}, {counted(report.errors, 'error')} among them"
        )
        typer.echo(f"answers: {report.out}")
        return
    asked = report.rows - report.resumed
    rate = asked / report.seconds if report.seconds > 0 else 0.0
    typer.echo(
        f"{counted(report.rows, 'question')}: {report.rows - report.errors:,} asked, "
        f"{counted(report.errors, 'error')}. {report.seconds:,.1f} s, {rate:,.1f} questions/s"
    )
    if report.resumed:
        typer.echo(f"{report.resumed:,} of them by an earlier run")
    typer.echo(f"answers: {report.out}")
