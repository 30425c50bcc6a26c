"""`qa-eval reader`: given the gold review, is the answer found?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from eval.cli.evaluation import check_places, hand_over, load
from eval.cli.options import (
    READER,
    BatchOption,
    DatasetOption,
    OutOption,
    ResamplesOption,
    RowsOption,
    SimilarityOption,
    SliceOption,
    SplitOption,
)
from qa_system.console.options import JsonOption, takes_settings

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["reader"]


@takes_settings(*READER)
def reader(
    settings: Settings,
    dataset: DatasetOption = None,
    split: SplitOption = None,
    only: SliceOption = None,
    predictions: Annotated[
        Path | None,
        typer.Option(
            "--predictions",
            help='Score these answers instead: JSON, {"question id": "answer", ...}.',
        ),
    ] = None,
    batch: BatchOption = 64,
    sas: SimilarityOption = True,
    out: OutOption = None,
    rows: RowsOption = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Measure the reader alone, given the gold review: EM and F1 by the SQuAD 2.0 rules."""
    check_places(out, rows)
    data, split = load(dataset, split, settings, only)

    from eval.tasks.predictions import load_predictions
    from eval.tasks.run import predictions_run, reader_run

    if predictions is None:
        run = reader_run(data, settings, split=split, batch=batch, similarity=sas)
    else:
        said = load_predictions(predictions, data.labels_of(split), data.set_aside)
        run = predictions_run(data, settings, said, split=split, similarity=sas)
    hand_over(run, data, out, rows, resamples, as_json=as_json)
