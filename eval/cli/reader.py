"""`qa-eval reader`: given the gold review, is the answer found?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.cli.evaluation import check_places, hand_over, load, settings_of
from eval.cli.options import (
    BatchOption,
    ConfigOption,
    DatasetOption,
    JsonOption,
    OutOption,
    PrecisionOption,
    ReaderOption,
    ResamplesOption,
    RowsOption,
    SetOption,
    SimilarityOption,
    SplitOption,
)

__all__ = ["reader"]


def reader(
    dataset: DatasetOption = None,
    split: SplitOption = None,
    model: ReaderOption = None,
    precision: PrecisionOption = None,
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
    config: ConfigOption = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the reader alone, given the gold review: EM and F1 by the SQuAD 2.0 rules."""
    check_places(out, rows)
    settings = settings_of(config, set_, **{"reader.model": model, "reader.precision": precision})
    data, split = load(dataset, split, settings)

    from eval.tasks.predictions import load_predictions
    from eval.tasks.run import predictions_run, reader_run

    if predictions is None:
        run = reader_run(data, settings, split=split, batch=batch, similarity=sas)
    else:
        said = load_predictions(predictions, data.labels_of(split))
        run = predictions_run(data, settings, said, split=split, similarity=sas)
    hand_over(run, data, out, rows, resamples, as_json=as_json)
