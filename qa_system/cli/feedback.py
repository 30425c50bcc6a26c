"""`qa feedback`: what shoppers said of answers, as JSON Lines."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qa_system.console.app import note
from qa_system.console.options import FEEDBACK, takes_settings
from qa_system.errors import ConfigError

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["feedback"]


@takes_settings(FEEDBACK)
def feedback(
    settings: Settings,
    after: Annotated[
        int, typer.Option("--after", min=0, help="Print entries with a higher number only.")
    ] = 0,
    forget: Annotated[
        list[str] | None,
        typer.Option("--forget", metavar="REVIEW", help="Erase what was said of its quotes."),
    ] = None,
) -> None:
    """Print what shoppers said of answers, a JSON object a line."""
    import orjson

    from qa_system.serving.kept.traces import Traces
    from qa_system.serving.product_page.feedback import FeedbackFile

    path = settings.serving.feedback
    if path is None or not Path(path).is_file():
        raise ConfigError(
            "no feedback file is named" if path is None else "there is no such feedback file",
            where=path or "serving.feedback",
            remedy="Name the file that `qa serve` writes: --feedback FILE.",
        )
    opened = FeedbackFile(Path(path))
    if forget:
        note(f"{path}: erased {opened.forget(Traces(forget)):,} entries")
        return
    for entry in opened.entries(after):
        sys.stdout.write(f"{orjson.dumps(entry).decode()}\n")
