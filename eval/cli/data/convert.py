"""`qa-eval convert`: a data set as SQuAD JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qa_system.console.app import print_json
from qa_system.console.options import JsonOption, takes_settings

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["convert"]


@takes_settings()
def convert(
    settings: Settings,
    dataset: Annotated[
        str,
        typer.Argument(
            help="SubjQA folder (or a folder of them) or hub:subjqa/DOMAIN, SQuAD .json, labels "
            ".jsonl, store:NAME, bundled:sample."
        ),
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            help="Folder to write, new or empty: a file for each split, such as train.json, or "
            "all.json of a data set without splits.",
        ),
    ],
    as_json: JsonOption = False,
) -> None:
    """Write a data set as SQuAD JSON, which keeps its splits and reads back as the same labels.

    What SQuAD cannot hold is left out and listed in rejects.jsonl.
    """
    from eval.datasets import load_dataset
    from eval.splitting import converted, described

    data = load_dataset(dataset, settings)
    found = converted(data, out)
    if as_json:
        print_json({"dataset": data.path, "sha256": data.sha256, "out": str(out), **found})
        return
    for line in described(found["files"]):
        typer.echo(line)
    if found["rejects"] is not None:
        typer.echo(f"{found['left_out']:,} left out: {found['rejects']}")
