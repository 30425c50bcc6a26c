"""What a command is called with, and what its options look like."""

from typing import Annotated, Any, Literal

import pytest
import typer
from typer.testing import CliRunner

from qa_system.config import Settings
from qa_system.console.options import STORE, Setting, takes_settings
from qa_system.errors import ConfigError

MODE = Setting(
    "retriever.mode",
    "Search like this.",
    type=Literal["bm25", "dense", "all"],
    formerly="--retriever",
    read=lambda mode: None if mode == "all" else mode,
)
DOCUMENTS = Setting("generator.documents", "Read this many reviews.", type=int)


def called_with(*arguments: str) -> dict[str, Any]:
    """Run a command that has options of every kind, and return what it was called with."""
    calls: list[dict[str, Any]] = []

    @takes_settings(MODE, STORE, DOCUMENTS)
    def measure(
        settings: Settings,
        words: Annotated[list[str], typer.Argument()],
        retriever_mode: str | None = None,
        store: str | None = None,
        loud: Annotated[bool, typer.Option("--loud")] = False,
    ) -> None:
        calls.append(
            {
                "settings": settings,
                "words": words,
                "retriever_mode": retriever_mode,
                "store": store,
                "loud": loud,
            }
        )

    app = typer.Typer()
    app.command()(measure)
    done = CliRunner().invoke(app, arguments)
    if isinstance(done.exception, ConfigError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return calls[0]


def test_a_command_gets_settings_its_own_options_and_those_that_it_asks_for() -> None:
    call = called_with("a", "b", "--loud", "--store", "here", "--generator-documents", "3")
    assert (call["words"], call["loud"], call["store"]) == (["a", "b"], True, "here")
    assert call["retriever_mode"] is None
    assert call["settings"].store.path == "here"
    assert call["settings"].generator.documents == 3


def test_what_was_given_is_not_always_the_setting() -> None:
    for spelling in ("--retriever-mode", "--retriever"):
        call = called_with("a", spelling, "all", "--set", "retriever.mode=dense")
        assert (call["retriever_mode"], call["settings"].retriever.mode) == ("all", "dense")
        assert called_with("a", spelling, "bm25")["settings"].retriever.mode == "bm25"


def test_set_is_no_option_of_the_command() -> None:
    call = called_with("a", "--set", "store=there", "--set", "seed=3")
    assert call["store"] is None
    assert (call["settings"].store.path, call["settings"].seed) == ("there", 3)


def test_a_wrong_value_is_refused_by_the_options_name() -> None:
    with pytest.raises(ConfigError, match=r"generator\.documents: .* \[--generator-documents\]"):
        called_with("a", "--generator-documents", "0")
