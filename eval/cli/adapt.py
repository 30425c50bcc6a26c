"""`qa-eval adapt`: what adapting a reader to a domain gains, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.cli.options import ResamplesOption
from qa_system.console.app import print_json
from qa_system.console.options import JsonOption

__all__ = ["adapt"]

SOURCE = "SOURCE[:SPLIT]"

DomainArgument = Annotated[
    str,
    typer.Argument(
        help="Data set with train, dev and test: SubjQA folder or hub:subjqa/DOMAIN, SQuAD .json "
        "or labels .jsonl. "
        "`qa-eval split` writes such a file."
    ),
]
GeneralOption = Annotated[
    str, typer.Option("--general", help="Checkpoint of a reader trained on general questions.")
]
OutOption = Annotated[Path, typer.Option("--out", help="Folder for the readers and the report.")]
StartOption = Annotated[
    str | None,
    typer.Option(
        "--start",
        help="Plain encoder for a reader trained on the domain only. Default: no such reader.",
    ),
]
ReplayOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar=SOURCE,
        help="General questions that one reader is also trained on. May be repeated. Default: no "
        "such reader.",
    ),
]
ReplayDevOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar=SOURCE, help="General questions that reader is also tuned on. May be repeated."
    ),
]
HeldOutOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar=SOURCE,
        help="General questions that no reader was trained on: they measure the cost. May be "
        "repeated.",
    ),
]
RecipeOption = Annotated[
    Path | None,
    typer.Option(
        "--recipe", "-r", help="YAML file; the recipe of the name adapt explains the keys."
    ),
]
FoldsOption = Annotated[
    int | None,
    typer.Option(min=2, help="Also cross-validate with so many folds, over all splits joined."),
]
RecipeSetOption = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Any key of the recipe, e.g. epochs=3."),
]


def adapt(
    domain: DomainArgument,
    general: GeneralOption,
    out: OutOption,
    start: StartOption = None,
    replay: ReplayOption = None,
    replay_dev: ReplayDevOption = None,
    held_out: HeldOutOption = None,
    recipe: RecipeOption = None,
    folds: FoldsOption = None,
    set_: RecipeSetOption = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Adapt a reader to a domain in several ways, and compare the readers on its test split.

    A run that was stopped resumes: readers that are trained already are not trained again.
    """
    from eval.adaptation.compare import PAGE
    from eval.adaptation.compare import adapt as run
    from eval.adaptation.readers import Ingredients, source_of
    from eval.datasets import load_dataset
    from qa_system.training.recipes import Adaptation, load_training

    ingredients = Ingredients(
        general,
        start,
        tuple(map(source_of, replay or ())),
        tuple(map(source_of, replay_dev or ())),
        load_training(Adaptation, recipe, set_ or ()),
    )
    result = run(
        load_dataset(domain),
        ingredients,
        out,
        held_out=tuple(map(source_of, held_out or ())),
        number_of_folds=folds,
        resamples=resamples,
    )
    if as_json:
        print_json(result)
        return

    from eval.report.adaptation import print_adaptation

    print_adaptation(result)
    typer.echo(f"report: {out / PAGE}")
