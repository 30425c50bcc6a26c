"""`qa-eval compare`: runs side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.cli.options import JsonOption, ResamplesOption
from qa_system.console import print_json

__all__ = ["compare"]


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN...",
            help="Folders that --out has written, the baseline first; FOLDER:SYSTEM names one of "
            "several systems.",
        ),
    ],
    metric: Annotated[
        str | None,
        typer.Option(help="Look for changes by this one; none: EM, or recall@3 of retrievers."),
    ] = None,
    common: Annotated[
        bool, typer.Option("--common", help="Other data: compare the questions in common.")
    ] = False,
    most: Annotated[int, typer.Option(min=0, help="Changed questions shown, each way.")] = 10,
    out: Annotated[Path | None, typer.Option("--out", help="A page: FILE.html.")] = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Compare runs: differences and whether they are luck, what flipped, where, and why."""
    from eval.runs.compare import compare_runs
    from eval.runs.storage import check_places, write_files

    check_places(page=out)
    compared = compare_runs(runs, metric=metric, common=common, resamples=resamples)
    if out is not None:
        from eval.report.page import comparison_page

        write_files({out: comparison_page(compared).encode()})
    if as_json:
        print_json(compared)
    else:
        from eval.report.tables import print_comparison

        print_comparison(compared, most)
