"""`qa-eval generator`: generated answers, given the gold review among others."""

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
    Scope,
    SimilarityOption,
    SliceOption,
    SplitOption,
)
from qa_system.console.options import JsonOption, Setting, takes_settings

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["generator"]

GENERATOR = (
    Setting(
        "generator.model",
        "Name of a generator model.",
        formerly="--generator",
        default="as configured",
    ),
    Setting(
        "generator.documents",
        "Reviews read for a question, one of them gold.",
        type=int,
        formerly="--documents",
        default="as configured (5)",
    ),
)


@takes_settings(SEARCHED, *GENERATOR, *READER)
def generator(
    settings: Settings,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    only: SliceOption = None,
    scope: Annotated[
        Scope | None,
        typer.Option(
            help="Candidates, as of `qa-eval pipeline`. Default: item, or open where no question "
            "names an item."
        ),
    ] = None,
    questions: Annotated[
        int | None,
        typer.Option("--questions", min=1, help="Size of a random sample. Default: all questions."),
    ] = None,
    aggregate: AggregateOption = False,
    store: str | None = None,
    batch: BatchOption = 64,
    sas: SimilarityOption = True,
    out: OutOption = None,
    rows: RowsOption = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Measure generated answers, given the gold review among others: EM, F1, precision, coverage.

    Four systems are compared: the generator, the generator with abstaining, the generator without
    the reviews' scores, and the reader.
    """
    check_places(out, rows)
    data, split = load(dataset, split, settings, only)

    from eval.tasks.candidates import Selection
    from eval.tasks.run import generator_run

    selection = Selection(split, scope, aggregate, is_own(store, settings))
    run = generator_run(data, settings, selection, questions=questions, batch=batch, similarity=sas)
    hand_over(run, data, out, rows, resamples, as_json=as_json)
