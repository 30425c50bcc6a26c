"""Options that several commands share, and what they lead to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    pass

DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="SubjQA folder, SQuAD .json, labels .jsonl, store:NAME; none: the bundled sample.",
    ),
]
SplitOption = Annotated[
    str | None, typer.Option("--split", help="Part of the data set; none: test if there is one.")
]
ScopeOption = Annotated[
    Literal["item-split", "item", "open"],
    typer.Option(help="Candidates: the item's reviews in the split; all the item's; all."),
]
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="Search this store (a folder, or a server's index), not the data set's reviews.",
    ),
]
ReaderOption = Annotated[
    str | None, typer.Option("--reader", help="A model's name; none: the configured one.")
]
PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16", "fp16", "int8"] | None,
    typer.Option("--precision", help="None: the configured one."),
]
OutOption = Annotated[
    Path | None,
    typer.Option("--out", help="A folder for the report: JSON, rows, and a page with plots."),
]
RowsOption = Annotated[
    Path | None,
    typer.Option("--rows", help="A row for each question, hardest first: .jsonl or .parquet."),
]
ConfigOption = Annotated[
    Path | None, typer.Option("--config", "-c", help="YAML settings; none: the defaults.")
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. retriever.join=..."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
AggregateOption = Annotated[
    bool,
    typer.Option(
        "--aggregate", help="Ask the same question about an item once; all its reviews are gold."
    ),
]
ResamplesOption = Annotated[
    int, typer.Option("--resamples", min=100, help="Of the intervals and tests.")
]
