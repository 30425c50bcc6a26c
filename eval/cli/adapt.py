"""`qa-eval adapt`: what adapting a reader to a domain gains, and what it costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

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
LabelsOption = Annotated[
    Literal["given", "generated"],
    typer.Option(
        "--labels",
        help="generated: also train a reader on questions generated from the training texts, and "
        "on no label of the domain.",
    ),
]
GeneratedOption = Annotated[
    Path | None,
    typer.Option(
        "--generated",
        metavar="FILE",
        help="Generated labels to train that reader on: what qa questions wrote. Default: the "
        "rules ask about the training texts.",
    ),
]
RoundTripOption = Annotated[
    str | None,
    typer.Option(
        "--round-trip",
        metavar="READER",
        help="Keep generated questions whose answers this reader finds again. Default: the "
        "general reader.",
    ),
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
    labels: LabelsOption = "given",
    generated: GeneratedOption = None,
    round_trip: RoundTripOption = None,
    set_: RecipeSetOption = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Adapt a reader to a domain in several ways, and compare the readers on its test split.

    A run that was stopped resumes: readers that are trained already are not trained again.
    """
    from eval.adaptation.compare import PAGE
    from eval.adaptation.compare import adapt as run
    from eval.adaptation.generated import Generation
    from eval.adaptation.readers import Ingredients, open_reader, source_of
    from eval.datasets import load_dataset
    from qa_system.training.recipes import Adaptation, load_training

    if labels == "given" and (generated is not None or round_trip is not None):
        raise typer.BadParameter("--generated and --round-trip go with --labels generated")
    told = load_training(Adaptation, recipe, set_ or ())
    ingredients = Ingredients(
        general,
        start,
        tuple(map(source_of, replay or ())),
        tuple(map(source_of, replay_dev or ())),
        told,
    )
    if labels == "generated":
        reader, _ = open_reader(round_trip or general, told)
        ingredients = replace(ingredients, generation=Generation(reader, generated))
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
