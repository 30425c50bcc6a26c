"""`qa`: ask questions, look after models, and find out what is missing."""

from __future__ import annotations

import typer

from qa_system.cli.ask import ask
from qa_system.cli.average import average
from qa_system.cli.distill import distill
from qa_system.cli.doctor import doctor
from qa_system.cli.export import export
from qa_system.cli.train import train
from qa_system.console.app import run_app

__all__ = ["app", "main"]

app = typer.Typer(
    help="Answer questions from customer reviews.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(ask)
app.add_typer(train, name="train")
app.command()(distill)
app.command()(average)
app.command()(export)
app.command()(doctor)


def main() -> None:
    """Run the command line."""
    run_app(app)
