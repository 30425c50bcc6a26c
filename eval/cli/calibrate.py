"""`qa-eval calibrate`: a reader's no-answer threshold and probabilities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from eval.cli.options import READER
from qa_system.console.app import print_json
from qa_system.console.options import JsonOption, takes_settings

if TYPE_CHECKING:
    from eval.runs.run import System
    from qa_system.config import Settings
    from qa_system.datasets.dataset import Dataset
    from qa_system.readers.calibration import Calibration

__all__ = ["calibrate"]


@takes_settings(*READER)
def calibrate(
    settings: Settings,
    dataset: Annotated[
        list[str] | None,
        typer.Option(
            "--dataset",
            help="May be repeated; each data set has the same weight. Default: the bundled sample.",
        ),
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            "--split",
            help="Questions to fit on, which must not be tested on. Default: dev; all questions of "
            "a data set without splits.",
        ),
    ] = None,
    held_out: Annotated[
        float | None,
        typer.Option(
            "--held-out",
            help="Fit on this share of the split's items only: those that a recipe with the same "
            "`held_out` and `seed` held out of training.",
            min=0,
            max=1,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of --held-out.")] = 13,
    sentences: Annotated[
        bool,
        typer.Option(
            "--sentences",
            help="Fit for evidence of sentences: ask all reviews of the items, and move the "
            "calibration so that as few unanswerable questions are answered as from whole reviews.",
        ),
    ] = False,
    write: Annotated[
        bool, typer.Option("--write", help="Write the calibration into the model's folder.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fit the reader's no-answer threshold and its probabilities on labelled questions."""
    named: list[str | None] = [None] if dataset is None else [*dataset]

    from eval.datasets import load_dataset
    from eval.tasks.calibration import calibrated, calibrated_of_sentences, part_to_fit_on
    from qa_system.models.locate import SAMPLE, locate
    from qa_system.readers.calibration import keep_calibration

    loaded = [load_dataset(SAMPLE if name is None else name, settings) for name in named]
    parts = [part_to_fit_on(each, split) for each in loaded]
    fit = calibrated_of_sentences if sentences else calibrated
    fitted, runs = fit(loaded, settings, parts, held_out=held_out, seed=seed)
    if write:
        keep_calibration(fitted, locate(settings.reader.model), of_sentences=sentences)
    if as_json:
        told = [_run(settings, *each) for each in zip(loaded, parts, runs, strict=True)]
        print_json({"calibration": fitted.to_dict(), "runs": told})
        return
    print_calibration(fitted)


def _run(settings: Settings, data: Dataset, part: str | None, run: System) -> dict[str, Any]:
    """Return the evaluation on a data set as JSON values."""
    from eval.runs.provenance import made_with

    models = {"reader": settings.reader.model}
    return {"metrics": run.metrics, "made_with": made_with(settings, data, part, models)}


def print_calibration(fitted: Calibration) -> None:
    """Print a calibration, a line for each part."""
    typer.echo(f"no_answer_threshold: {fitted.threshold:.4f}")
    for name, scale in (("right", fitted.right), ("answerable", fitted.answerable)):
        typer.echo(f"{name}: center {scale.center:.3f}, temperature {scale.temperature:.3f}")
