"""`qa-eval curve`: how good a reader becomes with so many labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from eval.cli.options import ResamplesOption
from qa_system.console.app import print_json
from qa_system.console.options import JsonOption

__all__ = ["curve"]

NAMED = "NAME=PATH"

DatasetArgument = Annotated[
    str,
    typer.Argument(
        help="Data set with a test split; all its other labels are those that can be had."
    ),
]
ModelOption = Annotated[
    str, typer.Option("--model", help="Checkpoint to start from: an encoder, or a reader.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder for the points and the figure.")]
StartOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar=NAMED,
        help="Another checkpoint to start from, for a line of this name: a folder of qa train "
        "language-model, for example. May be repeated.",
    ),
]
ExtraOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar=NAMED,
        help="Questions to learn from beside the labels, for a line of this name: generated "
        "ones, for example. May be repeated.",
    ),
]
ReplayOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOURCE[:SPLIT]",
        help="Questions that every reader learns from beside the labels. May be repeated.",
    ),
]
LabelsOption = Annotated[
    str, typer.Option("--labels", help="Numbers of labels, with commas; all: all there are.")
]
SeedsOption = Annotated[
    int, typer.Option("--seeds", min=1, help="Repeat each point with so many draws of labels.")
]
RecipeOption = Annotated[
    Path | None,
    typer.Option(
        "--recipe", "-r", help="YAML file; the recipe of the name curve explains the keys."
    ),
]
RecipeSetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key of the recipe, e.g. epochs=3."),
]


def curve(
    dataset: DatasetArgument,
    *,
    model: ModelOption,
    out: OutOption,
    start: StartOption = None,
    extra: ExtraOption = None,
    replay: ReplayOption = None,
    labels: LabelsOption = "0,50,200,all",
    seeds: SeedsOption = 3,
    recipe: RecipeOption = None,
    set_: RecipeSetOption = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Train readers with few and with many labels, in several ways, and compare them on test.

    A run that was stopped resumes: points that are measured already are not measured again.
    """
    from eval.adaptation.curve import CurveRecipe, Plan, learning_curve
    from eval.adaptation.readers import source_of
    from eval.datasets import load_dataset
    from qa_system.training.recipes import load_training

    plan = Plan(
        model,
        _named(start or (), "--start"),
        _named(extra or (), "--extra"),
        tuple(map(source_of, replay or ())),
        _sizes(labels),
        seeds,
        load_training(CurveRecipe, recipe, set_ or ()),
    )
    result = learning_curve(load_dataset(dataset), plan, out, resamples=resamples)
    if as_json:
        print_json(result)
        return

    from eval.report.curve import print_curve

    print_curve(result)
    typer.echo(f"figure: {out / 'curve.png'}")


def _named(texts: Sequence[str], option: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in texts:
        name, equals, path = text.partition("=")
        if not (equals and name.strip() and path):
            raise typer.BadParameter(f"{option} is {text!r}, and not {NAMED}")
        if name in found:
            raise typer.BadParameter(f"{option} names {name!r} twice")
        found[name] = path
    return found


def _sizes(text: str) -> tuple[int | None, ...]:
    try:
        return tuple(None if part.strip() == "all" else _number(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"--labels is {text!r}, and not numbers with commas, or all"
        ) from None


def _number(text: str) -> int:
    if (value := int(text)) < 0:
        raise ValueError
    return value
