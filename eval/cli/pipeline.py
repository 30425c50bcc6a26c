"""`qa-eval pipeline`: the whole pipeline, and the reader alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from eval.cli.evaluation import check_places, hand_over, is_own, load
from eval.cli.options import (
    READER,
    SEARCHED,
    AggregateOption,
    BatchOption,
    DatasetOption,
    OutOption,
    ResamplesOption,
    RowsOption,
    ScopeOption,
    SimilarityOption,
    SliceOption,
    SplitOption,
)
from qa_system.console.options import ENCODER_IDENTITY, JsonOption, takes_settings

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["pipeline"]


@takes_settings(SEARCHED, *READER, *ENCODER_IDENTITY)
def pipeline(
    settings: Settings,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    only: SliceOption = None,
    scope: ScopeOption = "item",
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="Answers scored.")] = 3,
    alone: Annotated[
        bool, typer.Option("--alone/--no-alone", help="Also evaluate the reader alone.")
    ] = True,
    aggregate: AggregateOption = False,
    store: str | None = None,
    batch: BatchOption = 64,
    sas: SimilarityOption = True,
    out: OutOption = None,
    rows: RowsOption = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Measure the whole pipeline: EM and F1 of its answers, and the outcome of each question."""
    check_places(out, rows)
    data, split = load(dataset, split, settings, only)

    from eval.tasks.candidates import Selection
    from eval.tasks.run import pipeline_run

    selection = Selection(split, scope, aggregate, is_own(store, settings))
    run = pipeline_run(
        data, settings, selection, top_k=top_k, alone=alone, batch=batch, similarity=sas
    )
    hand_over(run, data, out, rows, resamples, as_json=as_json)
