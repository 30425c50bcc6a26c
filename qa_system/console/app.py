"""What the three command lines share: logging, settings, errors as messages, exit codes.

Exit codes: 0 done, 1 failed, 2 bad usage or configuration, 128 and the signal's number if a signal
ended it; each error's class has its own (`qa_system.errors`). What machines read goes to stdout as
JSON; everything else goes to stderr.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qa_system.arguments import check_text
from qa_system.console.noise import set_verbosity
from qa_system.console.wording import printable
from qa_system.errors import ConfigError, QASystemError

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["command_line", "flag_of", "note", "print_json", "run_app", "settings_from"]

REPEATED = {"sources": "source", "columns": "column", "types": "type"}
"""An option that may be repeated names one of them."""
SHORT = {
    "serving.asked.file": "asked",
    "serving.audit.file": "audit",
    "serving.feedback": "feedback",
    "serving.host": "host",
    "serving.port": "port",
    "serving.workers": "workers",
}
"""Options that every server has by these names."""


def command_line(help: str) -> typer.Typer:  # noqa: A002 (what Typer calls it)
    """Return a command line without commands, with the options that all three have."""
    app = typer.Typer(
        help=help,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_common)
    return app


def run_app(app: typer.Typer) -> None:
    """Run a command line; an error becomes one message on stderr and an exit code."""
    _mend_streams()
    arguments = set_verbosity(sys.argv[1:])
    # A server's client logs each of its retries with a traceback; what comes of them, we say.
    logging.getLogger("elastic_transport").setLevel(logging.ERROR)
    try:
        _run(app, arguments)
    except OSError as error:
        logging.getLogger(__name__).debug("the operating system refused a call", exc_info=True)
        # Whoever read our output may have gone, or its disk is full: say nothing there at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if not isinstance(error, BrokenPipeError):
            sys.stderr.write(f"error: {printable(str(error))}\n")
        sys.exit(1)


def _run(app: typer.Typer, arguments: list[str]) -> None:
    try:
        for place, argument in enumerate(arguments, start=1):
            check_text(f"argument {place}", argument)
        app(arguments)
    except QASystemError as error:
        if "--json" in arguments:
            print_json({"error": {**error.to_dict(), "message": str(error)}})
        sys.stderr.write(f"error: {printable(str(error))}\n")
        sys.exit(error.exit_code)
    finally:
        sys.stdout.flush()  # here an error has a message, at exit it has a traceback


def _mend_streams() -> None:
    """Make stdout and stderr take all that is written: closed ones, and those without Unicode."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            # Otherwise the next file that is opened gets this number, and our output lands in it.
            null = os.open(os.devnull, os.O_WRONLY)
            if null != number:
                os.dup2(null, number)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))
        else:
            stream.reconfigure(errors="backslashreplace")


def _common(
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show what other libraries log, too.")
    ] = False,
) -> None:
    """Take the option that all commands have: `set_verbosity` has read it already."""


def print_json(value: Mapping[str, Any]) -> None:
    """Print one JSON object to stdout, for machines and for `jq`."""
    import orjson

    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY
    sys.stdout.flush()
    sys.stdout.buffer.write(orjson.dumps(value, option=options) + b"\n")  # UTF-8 on any terminal
    sys.stdout.flush()


def note(text: str) -> None:
    """Print a line on stderr that is no error."""
    sys.stderr.write(f"note: {printable(text)}\n")


def flag_of(key: str) -> str:
    """Return the option that sets a key of the settings: it is named after the key.

    The keys of `indexing`, which are all `qa-index`'s own, leave that word out.

    >>> flag_of("encoder.question_model"), flag_of("store")
    ('--encoder-question-model', '--store')
    >>> flag_of("indexing.passages.max_words"), flag_of("indexing.sources")
    ('--max-words', '--source')
    """
    name = SHORT.get(key, key).removeprefix("indexing.").removeprefix("passages.")
    return "--" + REPEATED.get(name, name).replace(".", "-").replace("_", "-")


def settings_from(
    config: Path | None, flags: Mapping[str, Any], set_: Iterable[str] | None = None
) -> Settings:
    """Read the settings of a command: its flags win over the environment, `--set` over the flags.

    Args:
        config: a YAML file; None: the defaults.
        flags: what the options said, by the key that each sets; a text is taken as it is, a
            mapping changes single entries, None was not given.
        set_: `KEY=VALUE`, of which the value is YAML.

    Raises:
        ConfigError: naming each wrong value by its key, and the flag that it came from.

    >>> settings = settings_from(None, {"store": "010", "seed": 3}, ["seed=5"])
    >>> settings.store.path, settings.seed
    ('010', 5)
    """
    from qa_system.config import Override, load_settings

    overrides = []
    for key, value in flags.items():
        path, flag = tuple(key.split(".")), flag_of(key)
        if isinstance(value, Mapping):
            overrides += [Override((*path, name), each, flag) for name, each in value.items()]
        elif value is not None:
            overrides.append(Override(path, value, flag))
    overrides += [Override.parse(text, "--set") for text in set_ or ()]
    settings = load_settings(config, overrides)
    if flags.get("store.index") is not None and settings.store.type == "elasticsearch":
        # On a server the same key is the index's name, which this flag never means.
        raise ConfigError(
            "--store-index says how a store in a folder is searched, and this one is on a server",
            where=settings.store.place,
            remedy="Set store.index_options instead.",
        )
    return settings
