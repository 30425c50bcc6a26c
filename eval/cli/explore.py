"""`qa-eval explore`: a first look at a data set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.cli.options import ConfigOption, JsonOption, ReaderOption, SetOption
from qa_system.console import print_json

__all__ = ["explore"]


def explore(
    dataset: Annotated[
        str | None,
        typer.Argument(
            metavar="[DATASET]",
            help="SubjQA folder (or a folder of them), SQuAD .json, labels .jsonl, store:PATH; "
            "none: the bundled sample.",
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="A page with plots: FILE.html.")] = None,
    model: ReaderOption = None,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Look at a data set: splits, question types, lengths, agreement, what stands twice."""
    from qa_system.config import load_settings

    overrides = [*(set_ or ()), *([] if model is None else [f"reader.model={model}"])]
    settings = load_settings(config, overrides)

    from eval.datasets import load_dataset
    from eval.explore import explore as look_at
    from eval.explore import print_exploration
    from qa_system.models import SAMPLE

    if out is not None:
        from eval.report.plots import require_matplotlib

        require_matplotlib()
    found = look_at(load_dataset(SAMPLE if dataset is None else dataset, settings), settings.reader)
    if out is not None:
        from eval.report.page import exploration_page
        from eval.runs.storage import write_files

        write_files({out: exploration_page(found).encode()})
    if as_json:
        print_json(found)
    else:
        print_exploration(found)
