"""`qa-eval calibrate`: a reader's no-answer threshold and probabilities."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eval.cli.options import READER
from qa_system.console.app import print_json
from qa_system.console.options import JsonOption, takes_settings
from qa_system.errors import ConfigError

if TYPE_CHECKING:
    from eval.runs.run import System
    from qa_system.config import Settings
    from qa_system.consensus.confidence import Confidence
    from qa_system.datasets.dataset import Dataset
    from qa_system.readers.calibration import Calibration

__all__ = ["calibrate"]


DatasetsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--dataset",
        help="May be repeated; each data set has the same weight. Default: the bundled sample.",
    ),
]
PartOption = Annotated[
    str | None,
    typer.Option(
        "--split",
        help="Questions to fit on, which must not be tested on. Default: dev; all questions of "
        "a data set without splits.",
    ),
]
HeldOutOption = Annotated[
    float | None,
    typer.Option(
        "--held-out",
        help="Fit on this share of the split's items only: those that a recipe with the same "
        "`held_out` and `seed` held out of training.",
        min=0,
        max=1,
    ),
]
SentencesOption = Annotated[
    bool,
    typer.Option(
        "--sentences",
        help="Fit for evidence of sentences: ask all reviews of the items, and move the "
        "calibration so that as few unanswerable questions are answered as from whole reviews.",
    ),
]
PipelineOption = Annotated[
    bool,
    typer.Option(
        "--pipeline",
        help="Fit what confidences mean in the answers that users get, on questions labelled "
        "over all reviews of their item (--dataset FILE.jsonl, as for qa-eval consensus).",
    ),
]
ReviewsOption = Annotated[
    list[str] | None,
    typer.Option(
        "--reviews",
        help="With --pipeline: the data sets whose reviews were labelled. Default: the bundled "
        "sample.",
    ),
]
WriteOption = Annotated[
    bool,
    typer.Option(
        "--write",
        help="Write the calibration into the model's folder; with --pipeline into the file "
        "answers.confidence.",
    ),
]


@takes_settings(*READER)
def calibrate(
    settings: Settings,
    dataset: DatasetsOption = None,
    split: PartOption = None,
    held_out: HeldOutOption = None,
    seed: Annotated[int, typer.Option(help="Random seed of --held-out.")] = 13,
    sentences: SentencesOption = False,
    pipeline: PipelineOption = False,
    reviews: ReviewsOption = None,
    write: WriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Fit a reader's threshold and probabilities; with --pipeline, those of what users get."""
    if pipeline:
        _of_pipeline(settings, dataset or [], reviews or [], write=write, as_json=as_json)
        return
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


def _of_pipeline(
    settings: Settings, files: list[str], reviews: list[str], *, write: bool, as_json: bool
) -> None:
    """Fit what confidences mean in answers that users get."""
    if not files:
        raise ConfigError(
            "there are no questions to fit on",
            where="--dataset",
            remedy="Name files of questions labelled over all reviews of their item.",
        )
    from eval.datasets import load_dataset
    from eval.tasks.confidence import confidence_fitted
    from qa_system.consensus.confidence import keep_confidence, written_to
    from qa_system.datasets.mentions import has_own_reviews, read_marked
    from qa_system.models.locate import SAMPLE
    from qa_system.pipelines import reads_sentences

    if write:
        written_to(settings)  # before anything is fitted
    own = all(map(has_own_reviews, files))
    labelled = [
        review
        for name in ([] if own else reviews or [SAMPLE])
        for review in load_dataset(name, settings).reviews
    ]
    questions = [(Path(name).name, read_marked(name, labelled)) for name in files]
    fitted, measured = confidence_fitted(questions, settings)
    if write:
        keep_confidence(fitted, settings, reads_sentences=reads_sentences(settings))
    told = {"confidence": fitted.to_dict(), "out_of_fold": measured}
    if as_json:
        print_json(told)
        return
    print_confidence(fitted, measured)


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


def print_confidence(fitted: Confidence, measured: dict[str, Any]) -> None:
    """Print what was fitted with a pipeline, and what it is worth on other items."""
    typer.echo(f"threshold: {fitted.threshold:.4f}")
    center, temperature = fitted.right.center, fitted.right.temperature
    typer.echo(f"right: center {center:.3f}, temperature {temperature:.3f}")
    typer.echo(
        f"{measured['questions']} questions in {measured['folds']} folds by item, each measured "
        "with what was fitted on the others:"
    )
    typer.echo(f"calibration error: {measured['ece']:.3f}")
    typer.echo(f"answered: {measured['answered']:.1%}, of which wrong: {_share(measured['error'])}")
    for percent in (10, 20, 30):
        covered = measured[f"coverage_at_{percent}"]
        typer.echo(f"coverage at {percent} % error: {covered:.1%}")
    if counting := measured.get("counting"):
        print_counting(counting)
    lowest = measured["lowest_error"]
    typer.echo(f"lowest max_error that is kept: {'none' if lowest is None else f'{lowest:g}'}")
    for error, each in measured["max_error"].items():
        if each["folds"]:
            typer.echo(
                f"max_error {error}: answered {each['coverage']:.1%}, of which wrong: "
                f"{_share(each['error'])} (a threshold in {each['folds']} folds)"
            )


def print_counting(measured: dict[str, Any]) -> None:
    """Print how well mentions and stances are told of other items, a line for each data set."""
    for number, each in enumerate(measured["data"], start=1):
        typer.echo(
            f"mentions of data set {number}: precision {each['precision']:.3f}, "
            f"recall {each['recall']:.3f}, count error {each['count_error']:.2f}"
        )
    told, precision = _share(measured["stances_told"]), _share(measured["stance_precision"])
    typer.echo(f"mentions with a stance: {told}, of which right: {precision}")


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"
