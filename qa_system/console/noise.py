"""What other libraries print about their work stays off stderr, unless somebody asks for it."""

from __future__ import annotations

import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr

from qa_system.console.wording import printable

__all__ = ["OWN", "VERBOSE", "is_verbose", "set_verbosity", "without_stderr"]

OWN = ("qa_system", "indexing", "eval")
VERBOSE = ("-v", "--verbose")

QUIET = {
    # Reports of weights, lists of classes, advice.
    "TRANSFORMERS_VERBOSITY": "error",
    # Of weights, too: transformers asks the Hub's client.
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    # torch sets up its loggers when it is imported; -all: errors only.
    "TORCH_LOGS": "-all",
}


def set_verbosity(arguments: list[str]) -> list[str]:
    """Set up logging for a command line, before any library is imported.

    Args:
        arguments: of the command line; `-v` may stand anywhere before `--`.

    Returns:
        The arguments without it.
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    kept = [each for each in arguments[:end] if each not in VERBOSE]
    verbose = len(kept) < end
    handler = logging.StreamHandler()
    handler.setFormatter(_Printable("%(levelname)s %(name)s: %(message)s"))
    level = logging.WARNING if verbose else logging.ERROR
    logging.basicConfig(handlers=[handler], level=level)
    for package in OWN:
        logging.getLogger(package).setLevel(logging.DEBUG if verbose else logging.INFO)
    if not verbose:
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
        if not sys.warnoptions:
            warnings.simplefilter("ignore")
    return kept + arguments[end:]


class _Printable(logging.Formatter):
    """Log lines may quote files and questions of anybody."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


def is_verbose() -> bool:
    """Tell whether what other libraries print is wanted: whether our own logger is at DEBUG."""
    return logging.getLogger(OWN[0]).isEnabledFor(logging.DEBUG)


@contextmanager
def without_stderr() -> Iterator[None]:
    """Drop what a library prints to stderr, unless it is wanted.

    >>> with without_stderr():
    ...     _ = sys.stderr.write("a graph of a thousand lines")
    """
    if is_verbose():
        yield
        return
    with redirect_stderr(io.StringIO()):
        yield
