"""`qa-eval split`: divide a data set into train, dev and test."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qa_system.console.app import print_json
from qa_system.console.options import JsonOption, takes_settings
from qa_system.datasets.splitting import Group

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["split"]

AMOUNT = "Below 1: a share of the groups; else their number."


@takes_settings()
def split(
    settings: Settings,
    dataset: Annotated[
        str,
        typer.Argument(
            help="SubjQA folder or hub:subjqa/DOMAIN, SQuAD .json, labels .jsonl, store:NAME, "
            "bundled:sample."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", help="File to write: .json for SQuAD, or .jsonl.")],
    by: Annotated[
        Group | None,
        typer.Option(
            help="Group that is kept in one split. Default: the item, or the text where no item is "
            "named."
        ),
    ] = None,
    test: Annotated[float, typer.Option(help=f"Size of the test split. {AMOUNT}")] = 0.2,
    dev: Annotated[float, typer.Option(help=f"Size of the dev split. {AMOUNT}")] = 0.05,
    seed: Annotated[int, typer.Option(help="Random seed.")] = 13,
    as_json: JsonOption = False,
) -> None:
    """Divide labelled questions into new splits, so that no group is in two of them.

    The splits depend on the seed and the names of the groups, not on the order of the file.
    """
    from eval.datasets import load_dataset
    from eval.splitting import described, division_of, group_of, undivided, write_divided
    from qa_system.datasets.splitting import split_labels

    data = load_dataset(dataset, settings)
    labels = undivided(data.labels)
    group = group_of(labels) if by is None else by
    divided = split_labels(labels, group, test=test, dev=dev, seed=seed)
    written = write_divided(divided, out)
    division = division_of(written)
    left_out = len(divided) - len(written)
    if as_json:
        print_json(
            {
                "dataset": data.path,
                "sha256": data.sha256,
                "by": group,
                "seed": seed,
                "out": str(out),
                "given": len(data.labels),
                "joined": len(data.labels) - len(labels),
                "left_out": left_out,
                "splits": division,
            }
        )
        return
    for line in described(division):
        typer.echo(line)
    if len(labels) < len(data.labels):
        typer.echo(f"{len(data.labels) - len(labels):,} duplicates joined")
    if left_out:
        typer.echo(f"{left_out:,} left out: SQuAD cannot hold their answers (.jsonl can)")
    typer.echo(f"{out}, by {group}, seed {seed}")
