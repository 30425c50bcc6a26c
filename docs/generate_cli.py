"""Write docs/cli.md: what `--help` prints for every command of pyproject's scripts.

.venv/bin/python docs/generate_cli.py          writes it
.venv/bin/python docs/generate_cli.py --check  exits with status 1 if it is out of date
"""

import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from typer.main import get_command

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "cli.md"
WIDTH = 100


def page() -> str:
    """Return the page, the same on every terminal: 100 columns, no colours, no boxes."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "scripts"
    ]
    sections = ["# Command line", "What `--help` prints, written by `docs/generate_cli.py`."]
    for name, entry in scripts.items():
        app = import_module(entry.partition(":")[0]).app
        sections += _sections(get_command(app), name, None)
    return "\n\n".join(sections) + "\n"


def _sections(command: Any, name: str, parent: Any) -> Iterator[str]:
    command.rich_markup_mode = None
    context = command.context_class(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH
    )
    help_ = "\n".join(line.rstrip() for line in command.get_help(context).splitlines())
    title = context.command_path
    yield f"{'##' if parent is None else '###'} {title}\n\n```text\n{help_}\n```"
    for child, below in getattr(command, "commands", {}).items():
        if not below.hidden:  # a former name
            yield from _sections(below, child, context)


def main(*arguments: str) -> int:
    """Write the page, or compare it with what is there."""
    if "--check" not in arguments:
        PAGE.write_text(page(), encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page():
        sys.stderr.write("docs/cli.md is out of date: run .venv/bin/python docs/generate_cli.py\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
