"""`qa-index`: fill a store, look at it, check it, embed it again, digest it, erase from it."""

from __future__ import annotations

from indexing.cli.digest import digest
from indexing.cli.forget import forget
from indexing.cli.items import items
from indexing.cli.reembed import reembed
from indexing.cli.rollback import rollback
from indexing.cli.run import run
from indexing.cli.status import status
from indexing.cli.verify import verify
from qa_system.console.app import command_line, run_app
from qa_system.console.options import renamed

__all__ = ["app", "main"]

app = command_line("Index customer reviews, so that questions can be answered from them.")
app.command()(run)
app.command()(rollback)
app.command()(status)
app.command()(items)
app.command()(verify)
app.command()(reembed)
app.command()(digest)
app.command()(forget)
app.command("embed", hidden=True)(renamed(reembed, "qa-index embed", "qa-index reembed"))


def main() -> None:
    """Run the command line."""
    run_app(app)
