"""`qa-eval benchmark`: what readers cost, and how right they are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from eval.cli.evaluation import check_places, hand_over, load
from eval.cli.options import (
    BatchOption,
    DatasetOption,
    OutOption,
    ResamplesOption,
    RowsOption,
    SplitOption,
)
from qa_system.console.options import JsonOption, takes_settings

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["benchmark"]


@takes_settings()
def benchmark(
    settings: Settings,
    reader: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:PRECISION]",
            help="bundled:NAME, a checkpoint, an export or a Hub id, for example runs/mine:fp32. "
            "Repeatable; the first is the baseline. Default: the configured reader.",
        ),
    ] = None,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    timed: Annotated[int, typer.Option(min=1, help="Time so many questions.")] = 50,
    reviews: Annotated[
        int | None,
        typer.Option(
            min=1, help="Reviews that a timed question is answered from. Default: retriever.top_k."
        ),
    ] = None,
    runs: Annotated[int, typer.Option(min=1, help="Ask each timed question so often.")] = 3,
    warm_up: Annotated[
        int, typer.Option(min=0, help="Questions that are asked first and not timed.")
    ] = 3,
    batch: BatchOption = 64,
    out: OutOption = None,
    rows: RowsOption = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Compare readers in accuracy, in the time of a question and in size on disk.

    Accuracy: EM and F1 on all questions, each read in its gold review. Time: the readers take
    turns on each timed question. Size: the files that a reader is loaded from.
    """
    check_places(out, rows)
    data, split = load(dataset, split, settings)

    from eval.tasks.benchmark import Timing, benchmark_run, readers_named

    run = benchmark_run(
        data,
        readers_named(reader or (), settings),
        split=split,
        timing=Timing(timed, runs, warm_up, reviews),
        batch=batch,
    )
    hand_over(run, data, out, rows, resamples, as_json=as_json)
