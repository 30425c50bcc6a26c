"""`qa-index`: fill a store, look at it, check it, embed it again."""

from __future__ import annotations

import typer

from indexing.cli.reembed import reembed
from indexing.cli.rollback import rollback
from indexing.cli.run import run
from indexing.cli.status import status
from indexing.cli.verify import verify
from qa_system.console.app import run_app
from qa_system.console.options import renamed

__all__ = ["app", "main"]

app = typer.Typer(
    help="Index customer reviews, so that questions can be answered from them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(run)
app.command()(rollback)
app.command()(status)
app.command()(verify)
app.command()(reembed)
app.command("embed", hidden=True)(renamed(reembed, "qa-index embed", "qa-index reembed"))


def main() -> None:
    """Run the command line."""
    run_app(app)
