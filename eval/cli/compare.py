"""`qa-eval compare`: the differences between runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.cli.options import ResamplesOption
from qa_system.console.app import print_json
from qa_system.console.options import JsonOption

__all__ = ["compare"]


def compare(
    runs: Annotated[
        list[str],
        typer.Argument(
            metavar="RUN RUN...",
            help="Folders that --out has written, the baseline first. FOLDER:SYSTEM chooses one of "
            "several systems.",
        ),
    ],
    metric: Annotated[
        str | None,
        typer.Option(help="Metric of the changes. Default: EM, or recall@3 for retrievers."),
    ] = None,
    common: Annotated[
        bool,
        typer.Option(
            "--common", help="Compare runs of different data, on the questions that they share."
        ),
    ] = False,
    most: Annotated[
        int, typer.Option(min=0, help="Changed questions to print, gained and lost.")
    ] = 10,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write a page to this file: FILE.html.")
    ] = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Compare runs: significant differences, changed questions, slices, and different settings."""
    from eval.report.folder import check_places
    from eval.runs.compare import compare_runs
    from eval.runs.storage import write_files

    check_places(page=out)
    compared = compare_runs(runs, metric=metric, common=common, resamples=resamples)
    if out is not None:
        from eval.report.page import comparison_page

        write_files({out: comparison_page(compared).encode()})
    if as_json:
        print_json(compared)
    else:
        from eval.report.comparison import print_comparison

        print_comparison(compared, most)
