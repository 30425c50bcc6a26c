"""`qa`: ask, look after models, and find out what is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from qa_system.cli.average import average
from qa_system.cli.distill import distill
from qa_system.cli.train import train
from qa_system.console import print_json, run_app

if TYPE_CHECKING:
    from qa_system.records import Answer, Answers

__all__ = ["app", "main"]

app = typer.Typer(
    help="Answer questions from customer reviews.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.add_typer(train, name="train")
app.command()(distill)
app.command()(average)

ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML settings; none: the defaults.")
]
StoreOption = Annotated[
    str | None, typer.Option("--store", help="Its folder, or its index on a server.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. retriever.top_k=5."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


@app.command()
def ask(
    question: Annotated[str, typer.Argument(help="What to ask, in plain words.")],
    item: Annotated[str | None, typer.Option("--item", "-i", help="The item asked about.")] = None,
    top_k: Annotated[int, typer.Option("--top-k", "-k", min=1, help="Answers at most.")] = 3,
    mode: Annotated[
        Literal["extract", "generate", "auto"] | None,
        typer.Option(
            help="extract (the default): words of reviews; generate: written from reviews that "
            "support it; auto: generated, and extracted where nothing generated is supported."
        ),
    ] = None,
    generate: Annotated[bool, typer.Option("--generate", help="The same as --mode generate.")] = (
        False
    ),
    store: StoreOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Ask the reviews a question: qa ask "Is it good for reading?" --item B0074BW614."""
    if generate and mode not in (None, "generate"):
        raise typer.BadParameter(f"--generate contradicts --mode {mode}")
    chosen = mode or ("generate" if generate else "extract")
    from qa_system.config import load_settings

    overrides = list(set_ or [])
    if store is not None:
        overrides.append(f"store={store}")
    settings = load_settings(config, overrides)

    from qa_system.system import QASystem

    with QASystem.open(settings, mode=chosen) as system:
        answers = system.ask(question, item_id=item, top_k=top_k, mode=chosen)
    if as_json:
        print_json(answers.to_dict())
    else:
        _print_answers(answers)


@app.command()
def export(
    checkpoint: Annotated[Path, typer.Argument(help="A Hugging Face checkpoint's folder.")],
    out: Annotated[Path, typer.Option("--out", help="The folder to write.")],
    task: Annotated[Literal["reader", "encoder"], typer.Option(help="What the model does.")],
    precision: Annotated[
        Literal["int8", "fp16", "fp32"],
        typer.Option(help="int8: a quarter of the size, for a CPU; fp16: half, for a GPU."),
    ] = "int8",
) -> None:
    """Turn a checkpoint into an ONNX model that runs without torch."""
    from qa_system.export.onnx import export_model

    export_model(checkpoint, out, task=task, precision=precision)


@app.command()
def doctor(
    store: StoreOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what is installed, which models and stores are found, and how to get the rest."""
    from qa_system.doctor import examine

    overrides = list(set_ or [])
    if store is not None:
        overrides.append(f"store={store}")
    findings = examine(config, overrides)
    if as_json:
        print_json(
            {
                "healthy": all(finding.ok for finding in findings if finding.required),
                "findings": [finding.to_dict() for finding in findings],
            }
        )
    else:
        for finding in findings:
            mark = "ok     " if finding.ok else ("MISSING" if finding.required else "-      ")
            typer.echo(f"{mark}  {finding.name:<22} {finding.detail}")
            if finding.remedy is not None:
                typer.echo(f"{'':<9}{'':<22} -> {finding.remedy}")
    if not all(finding.ok for finding in findings if finding.required):
        raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    run_app(app)


def _print_answers(answers: Answers) -> None:
    about = "" if answers.item_id is None else f"  [{answers.item_id}]"
    typer.echo(typer.style(answers.question, bold=True) + about)
    if not answers.answers:
        typer.echo("  The reviews don't say.")
    for number, answer in enumerate(answers.answers, start=1):
        _print_answer(number, answer)
    spent = answers.timings.get("total", 0.0)
    typer.echo(
        typer.style(
            f"  {answers.reviews_read} reviews read in {1000 * spent:.0f} ms, "
            f"no answer: {answers.no_answer_probability:.0%}",
            dim=True,
        )
    )


def _print_answer(number: int, answer: Answer) -> None:
    sure = f"{answer.confidence:.0%}"
    if answer.generated:
        sure = f"generated, support {sure}"
    typer.echo(f"  {number}. {typer.style(answer.text, fg='green')}  ({sure})")
    snippet = " ".join(answer.snippet.split())
    stars = answer.meta.get("stars")
    rating = "" if stars is None else f", {stars} stars"
    typer.echo(f"     \u201c{snippet}\u201d")
    typer.echo(typer.style(f"     review {answer.review_id}{rating}", dim=True))
    if answer.generated:
        typer.echo(typer.style(f"     written from {', '.join(answer.sources)}", dim=True))
