"""The options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from typer.core import TyperCommand

from qa_system.config.choices import Precision
from qa_system.console.options import Setting

__all__ = [
    "READER",
    "SEARCHED",
    "AggregateOption",
    "BatchOption",
    "DatasetOption",
    "OutOption",
    "ResamplesOption",
    "RowsOption",
    "Scope",
    "ScopeOption",
    "SimilarityOption",
    "SliceOption",
    "SplitOption",
    "spread",
]

Scope = Literal["item-split", "item", "open"]

DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="SubjQA folder or hub:subjqa/DOMAIN, SQuAD .json, labels .jsonl, store:NAME. "
        "Default: the bundled sample.",
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", help="Part of the data set. Default: test if there is one, else all."),
]
SliceOption = Annotated[
    str | None,
    typer.Option(
        "--slice",
        help="Only questions with this feature: polar, fragment, answerable=yes, "
        "question_word=how, ... Default: all.",
    ),
]
ScopeOption = Annotated[
    Scope,
    typer.Option(
        "--scope",
        help="Candidates. item: all reviews of the item. item-split: those that the split asks "
        "about. open: all reviews.",
    ),
]
AggregateOption = Annotated[
    bool,
    typer.Option(
        "--aggregate",
        help="Ask the same question about an item once, and count every review that answers it as "
        "gold.",
    ),
]
SEARCHED = Setting(
    "store",
    "Search this store instead of the data set's reviews: a folder, or a server's address with its "
    "index.",
)
READER = (
    Setting(
        "reader.model", "Name of a reader model.", formerly="--reader", default="as configured"
    ),
    Setting(
        "reader.precision",
        "Precision of the reader.",
        type=Precision,
        formerly="--precision",
        default="as configured",
    ),
)
BatchOption = Annotated[
    int,
    typer.Option("--batch", min=1, help="Questions in one call. It does not change the results."),
]
SimilarityOption = Annotated[
    bool,
    typer.Option(
        "--sas/--no-sas", help="Also score semantic answer similarity, by the configured encoder."
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="Write a report to this folder: JSON, rows and a page with plots."),
]
RowsOption = Annotated[
    Path | None,
    typer.Option(
        "--rows",
        help="Write a row for each question to this file (.jsonl or .parquet), hardest first.",
    ),
]
ResamplesOption = Annotated[
    int, typer.Option("--resamples", min=100, help="Resamples for each interval and each test.")
]


def spread(*flags: str) -> type[TyperCommand]:
    """Return a command for which `--k 1 3 5` means what `--k 1 --k 3 --k 5` means.

    Args:
        flags: the options that take several values; the command has no arguments.
    """

    class Spread(TyperCommand):
        def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
            found: list[str] = []
            flag = None
            for arg in args:
                is_value = not arg.startswith("-") or arg[1:].isdecimal()
                if not is_value:
                    flag = arg if arg in flags else None
                elif flag is not None and found[-1] != flag:
                    found.append(flag)
                found.append(arg)
            return super().parse_args(ctx, found)

    return Spread
