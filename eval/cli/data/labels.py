"""`qa-eval labels`: write a data set's labels into a store's label index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from qa_system.console.app import print_json
from qa_system.console.options import STORE, JsonOption, takes_settings
from qa_system.console.wording import counted

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["labels"]


@takes_settings(STORE)
def labels(
    settings: Settings,
    dataset: Annotated[
        str,
        typer.Argument(
            help="SubjQA folder (or a folder of them) or hub:subjqa/DOMAIN, SQuAD .json, "
            "labels .jsonl, bundled:sample."
        ),
    ],
    split: Annotated[
        str | None, typer.Option("--split", help="Part of the data set. Default: all.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write labelled questions into a store, beside its reviews; `store:NAME` reads them.

    Labels that are in the store already are skipped.
    """
    from eval.datasets import load_dataset
    from qa_system.stores import open_store

    data = load_dataset(dataset, settings)
    chosen = data.labels_of(split)
    with open_store(settings.store) as opened:
        written = opened.write_labels(chosen)
        there = {name: opened.count_labels(split=name) for name in data.splits}
        total = opened.count_labels()
    report = {
        "store": settings.store.place,
        "dataset": data.path,
        "given": len(chosen),
        "written": written,
        "labels": total,
        "splits": there,
    }
    if as_json:
        print_json(report)
        return
    typer.echo(
        f"{counted(len(chosen), 'label')} read: {written:,} written, "
        f"{len(chosen) - written:,} were there"
    )
    splits = ", ".join(f"{count:,} {name}" for name, count in there.items())
    typer.echo(
        f"{settings.store.place}: {counted(total, 'label')}" + (f" ({splits})" if splits else "")
    )
