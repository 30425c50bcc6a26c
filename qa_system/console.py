"""What the three command lines share: logging, errors as messages, exit codes.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 130 interrupted. What machines read
goes to stdout as JSON; everything else goes to stderr.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import Annotated, Any

import typer

from qa_system.errors import QASystemError
from qa_system.noise import set_verbosity

__all__ = ["print_json", "run_app"]


def run_app(app: typer.Typer) -> None:
    """Run a command line; a fault becomes one message on stderr and an exit code."""
    arguments = set_verbosity(sys.argv[1:])
    app.callback()(_common)
    # A server's client logs each of its retries with a traceback; what comes of them, we say.
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
    try:
        app(arguments)
    except QASystemError as fault:
        sys.stderr.write(f"error: {fault}\n")
        sys.exit(fault.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _common(
    verbose: Annotated[
        bool,
        typer.Option("--verbose", "-v", help="Show what the libraries underneath log, too."),
    ] = False,
) -> None:
    """Take the option that all commands have: `set_verbosity` has read it already."""


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object to stdout, for machines and for `jq`."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    sys.stdout.write(orjson.dumps(value, option=options).decode() + "\n")
    sys.stdout.flush()
