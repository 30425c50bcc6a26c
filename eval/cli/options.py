"""The options that several commands share, each written once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = [
    "AggregateOption",
    "BatchOption",
    "ConfigOption",
    "DatasetOption",
    "GeneratorOption",
    "JsonOption",
    "OutOption",
    "PrecisionOption",
    "ReaderOption",
    "ResamplesOption",
    "RowsOption",
    "Scope",
    "ScopeOption",
    "SetOption",
    "SimilarityOption",
    "SplitOption",
    "StoreOption",
]

Scope = Literal["item-split", "item", "open"]

DatasetOption = Annotated[
    str | None,
    typer.Option(
        "--dataset",
        help="SubjQA folder, SQuAD .json, labels .jsonl, store:NAME. Default: the bundled sample.",
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option("--split", help="Part of the data set. Default: test if there is one, else all."),
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
StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        help="Search this store (a folder, or an index on a server) instead of the data set's "
        "reviews.",
    ),
]
ReaderOption = Annotated[
    str | None, typer.Option("--reader", help="Name of a reader model. Default: as configured.")
]
GeneratorOption = Annotated[
    str | None,
    typer.Option("--generator", help="Name of a generator model. Default: as configured."),
]
PrecisionOption = Annotated[
    Literal["auto", "fp32", "bf16", "fp16", "int8"] | None,
    typer.Option("--precision", help="Precision of the reader. Default: as configured."),
]
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
ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="YAML file of settings. Default: the built-in settings."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any setting, e.g. retriever.join=..."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON to stdout.")]
