"""`qa-eval pipeline`: the whole pipeline, and the reader alone."""

from __future__ import annotations

from typing import Annotated

import typer

from eval.cli.evaluation import check_places, hand_over, is_own, load, settings_of
from eval.cli.options import (
    AggregateOption,
    BatchOption,
    ConfigOption,
    DatasetOption,
    JsonOption,
    OutOption,
    PrecisionOption,
    ReaderOption,
    ResamplesOption,
    RowsOption,
    ScopeOption,
    SetOption,
    SimilarityOption,
    SplitOption,
    StoreOption,
)

__all__ = ["pipeline"]


def pipeline(
    dataset: DatasetOption = None,
    split: SplitOption = None,
    scope: ScopeOption = "item",
    top_k: Annotated[int, typer.Option("--top-k", min=1, help="Answers scored.")] = 3,
    alone: Annotated[
        bool, typer.Option("--alone/--no-alone", help="Also evaluate the reader alone.")
    ] = True,
    aggregate: AggregateOption = False,
    store: StoreOption = None,
    model: ReaderOption = None,
    precision: PrecisionOption = None,
    batch: BatchOption = 64,
    sas: SimilarityOption = True,
    out: OutOption = None,
    rows: RowsOption = None,
    resamples: ResamplesOption = 10_000,
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the whole pipeline: EM and F1 of its answers, and the outcome of each question."""
    check_places(out, rows)
    flags = {"store": store, "reader.model": model, "reader.precision": precision}
    settings = settings_of(config, set_, **flags)
    data, split = load(dataset, split, settings)

    from eval.tasks.candidates import Selection
    from eval.tasks.run import pipeline_run

    selection = Selection(split, scope, aggregate, is_own(store, settings))
    run = pipeline_run(
        data, settings, selection, top_k=top_k, alone=alone, batch=batch, similarity=sas
    )
    hand_over(run, data, out, rows, resamples, as_json=as_json)
