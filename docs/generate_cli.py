"""Write docs/cli.md: what `--help` prints for every command of pyproject's scripts, and exit codes.

.venv/bin/python docs/generate_cli.py          writes it, and the table of errors in docs/python.md
.venv/bin/python docs/generate_cli.py --check  exits with status 1 if one of them is out of date
"""

import re
import sys
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from typer.main import get_command

from qa_system.errors import QASystemError

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "cli.md"
PYTHON = ROOT / "docs" / "python.md"
WIDTH = 100
EXIT_CODES = """## Exit codes

| exit code | meaning |
| --- | --- |
| 0 | done |
| 1 | failed: something is missing, unreadable, damaged, in use or away |
| 2 | bad usage or configuration: a flag, a setting, a question or a filter is wrong in itself |
| 128 + n | ended by signal n: 130 by Ctrl-C, 143 by `kill` |

Each error's class has its exit code:

{errors}

`qa doctor` and `qa-index verify` exit with 1 if they find something wrong, `qa-eval check` if a
number is not as expected. With `--json`, a command that fails prints an object on stdout whose
`error` has `code`, `message`, which is private here (it names files), and `public_message`;
[the codes](python.md#errors)."""


def page() -> str:
    """Return the page, the same on every terminal: 100 columns, no colours, no boxes."""
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
        "scripts"
    ]
    sections = ["# Command line", "What `--help` prints, written by `docs/generate_cli.py`."]
    for name, entry in scripts.items():
        app = import_module(entry.partition(":")[0]).app
        sections += _sections(get_command(app), name, None)
    sections.append(EXIT_CODES.format(errors=_by_exit_code()))
    return "\n\n".join(sections) + "\n"


def errors() -> list[type[QASystemError]]:
    """Return the class of every error, in the order of the tree, its root first."""
    for package in ("qa_system", "indexing", "eval"):
        for path in sorted((ROOT / package).rglob("*.py")):
            if re.search(r"^class \w+Error\(", path.read_text(encoding="utf-8"), re.MULTILINE):
                import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
    return _below(QASystemError)


def _below(kind: type[QASystemError]) -> list[type[QASystemError]]:
    own = sorted(kind.__subclasses__(), key=lambda each: each.__name__)
    return [kind, *(below for each in own for below in _below(each))]


def _by_exit_code() -> str:
    rows = ["| exit code | errors |", "| --- | --- |"]
    for code in (1, 2):
        names = [f"`{each.__name__}`" for each in errors() if each.exit_code == code]
        rows.append(f"| {code} | {', '.join(names)} |")
    return "\n".join(rows)


def table_of_errors() -> str:
    """Return the errors with their codes, for docs/python.md."""
    rows = ["| code | class | what it says to everybody | exit code |", "| --- | --- | --- | --- |"]
    rows += [
        f"| `{each.code}` | `{each.__name__}` | {each.public_message} | {each.exit_code} |"
        for each in errors()
    ]
    return "\n".join(rows)


def python_page() -> str:
    """Return docs/python.md with the table of errors as it is now."""
    page = PYTHON.read_text(encoding="utf-8")
    begin, end = "<!-- errors -->\n", "\n<!-- /errors -->"
    before, _, rest = page.partition(begin)
    return before + begin + table_of_errors() + end + rest.partition(end)[2]


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
    """Write the pages, or compare them with what is there."""
    stale = 0
    for path, text in ((PAGE, page()), (PYTHON, python_page())):
        if "--check" not in arguments:
            path.write_text(text, encoding="utf-8")
        elif not path.exists() or path.read_text(encoding="utf-8") != text:
            name = path.relative_to(ROOT)
            sys.stderr.write(f"{name} is out of date: run .venv/bin/python docs/generate_cli.py\n")
            stale = 1
    return stale


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
