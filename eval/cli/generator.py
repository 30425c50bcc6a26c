"""`qa-eval generator`: generated answers, given the gold review among others."""

from __future__ import annotations

from typing import Annotated

import typer

from eval.cli.evaluation import check_places, hand_over, is_own, load, settings_of
from eval.cli.options import (
    AggregateOption,
    BatchOption,
    ConfigOption,
    DatasetOption,
    GeneratorOption,
    JsonOption,
    OutOption,
    PrecisionOption,
    ReaderOption,
    ResamplesOption,
    RowsOption,
    Scope,
    SetOption,
    SimilarityOption,
    SplitOption,
    StoreOption,
)

__all__ = ["generator"]


def generator(
    dataset: DatasetOption = None,
    split: SplitOption = None,
    scope: Annotated[
        Scope | None,
        typer.Option(
            help="Candidates, as of `qa-eval pipeline`. Default: item, or open where no question "
            "names an item."
        ),
    ] = None,
    documents: Annotated[
        int | None,
        typer.Option(
            "--documents",
            min=1,
            help="Reviews read for a question, one of them gold. Default: as configured (5).",
        ),
    ] = None,
    model: GeneratorOption = None,
    questions: Annotated[
        int | None,
        typer.Option("--questions", min=1, help="Size of a random sample. Default: all questions."),
    ] = None,
    aggregate: AggregateOption = False,
    store: StoreOption = None,
    reader_model: ReaderOption = None,
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
    """Measure generated answers, given the gold review among others: EM, F1, precision, coverage.

    Four systems are compared: the generator, the generator with abstaining, the generator without
    the reviews' scores, and the reader.
    """
    check_places(out, rows)
    flags = {
        "store": store,
        "generator.model": model,
        "generator.documents": None if documents is None else str(documents),
        "reader.model": reader_model,
        "reader.precision": precision,
    }
    settings = settings_of(config, set_, **flags)
    data, split = load(dataset, split, settings)

    from eval.tasks.candidates import Selection
    from eval.tasks.run import generator_run

    selection = Selection(split, scope, aggregate, is_own(store, settings))
    run = generator_run(data, settings, selection, questions=questions, batch=batch, similarity=sas)
    hand_over(run, data, out, rows, resamples, as_json=as_json)
