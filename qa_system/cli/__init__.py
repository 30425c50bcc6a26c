"""`qa`: ask questions, serve answers, look after models, and find out what is missing."""

from __future__ import annotations

from qa_system.cli.annotate import annotate
from qa_system.cli.ask import ask
from qa_system.cli.average import average
from qa_system.cli.digest import digest
from qa_system.cli.distill import distill
from qa_system.cli.doctor import doctor
from qa_system.cli.embed import embed
from qa_system.cli.export import export
from qa_system.cli.feedback import feedback
from qa_system.cli.few_labels.attributes import attributes
from qa_system.cli.few_labels.nearest import nearest
from qa_system.cli.questions import questions
from qa_system.cli.serve import serve
from qa_system.cli.train import train
from qa_system.cli.tune import tune
from qa_system.console.app import command_line, run_app

__all__ = ["app", "main"]

app = command_line("Answer questions from customer reviews.")
app.command()(ask)
app.command()(serve)
app.command()(feedback)
app.command()(annotate)
app.command()(digest)
app.command()(questions)
app.command()(embed)
app.command()(attributes)
app.command()(nearest)
app.add_typer(train, name="train")
app.command()(distill)
app.command()(tune)
app.command()(average)
app.command()(export)
app.command()(doctor)


def main() -> None:
    """Run the command line."""
    run_app(app)
