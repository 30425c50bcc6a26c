"""`qa-eval explore`: what a data set holds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eval.cli.options import READER
from qa_system.console.app import print_json
from qa_system.console.options import JsonOption, takes_settings

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["explore"]


@takes_settings(READER[0])
def explore(
    settings: Settings,
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATASET]",
            help="SubjQA folder (or a folder of them) or hub:subjqa/DOMAIN, SQuAD .json, "
            "labels .jsonl, store:NAME. Default: the bundled sample.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a page with plots to this file: FILE.html.")
    ] = None,
    samples: Annotated[
        int, typer.Option("--samples", min=0, help="Questions to show of each type, at random.")
    ] = 3,
    as_json: JsonOption = False,
) -> None:
    """Count what a data set holds: splits, question types, lengths, agreement, overlaps."""
    from eval.datasets import load_dataset
    from eval.explore import explore as look_at
    from qa_system.models.locate import SAMPLE

    if out is not None:
        from eval.report.plots import require_matplotlib

        require_matplotlib()
    data = load_dataset(SAMPLE if dataset is None else dataset, settings)
    found = look_at(data, settings.reader, samples=samples, seed=settings.seed)
    if out is not None:
        from eval.report.page import exploration_page
        from eval.runs.storage import write_files

        write_files({out: exploration_page(found).encode()})
    if as_json:
        print_json(found)
    else:
        from eval.report.exploration import print_exploration

        print_exploration(found)
