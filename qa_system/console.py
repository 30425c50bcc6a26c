"""What the three command lines share: logging, errors as messages, exit codes.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 130 interrupted. What machines read
goes to stdout as JSON; everything else goes to stderr.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from qa_system.errors import QASystemError

if TYPE_CHECKING:
    import typer

__all__ = ["print_json", "run_app"]


def run_app(app: typer.Typer) -> None:
    """Run a command line; a fault becomes one message on stderr and an exit code."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s"
    )
    for package in ("qa_system", "indexing", "eval"):
        logging.getLogger(package).setLevel(logging.INFO)
    # A server's client logs each of its retries with a traceback; what comes of them, we say.
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
    try:
        app()
    except QASystemError as fault:
        sys.stderr.write(f"error: {fault}\n")
        sys.exit(fault.exit_code)
    except BrokenPipeError:
        # Whoever read our output has gone; nothing is left to say, not even at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object to stdout, for machines and for `jq`."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    sys.stdout.write(orjson.dumps(value, option=options).decode() + "\n")
    sys.stdout.flush()
