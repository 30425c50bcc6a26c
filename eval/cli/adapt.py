"""`qa-eval adapt`: what adapting a reader to a domain buys, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from eval.cli.options import JsonOption, ResamplesOption
from qa_system.console import print_json

__all__ = ["adapt"]


def adapt(
    domain: Annotated[
        str,
        typer.Argument(
            help="With train, dev and test: SubjQA folder, SQuAD .json, labels .jsonl; "
            "`qa-eval split` makes such a file."
        ),
    ],
    general: Annotated[
        str, typer.Option("--general", help="A reader of general questions: a checkpoint.")
    ],
    out: Annotated[Path, typer.Option("--out", help="A folder for readers and report.")],
    start: Annotated[
        str | None,
        typer.Option("--start", help="A plain encoder; none: no reader learns the domain only."),
    ] = None,
    replay: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE[:SPLIT]",
            help="General questions to go on learning from; may be repeated; none: no such reader.",
        ),
    ] = None,
    replay_dev: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE[:SPLIT]", help="General questions that reader is tuned on, too."
        ),
    ] = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option(
            metavar="SOURCE[:SPLIT]",
            help="General questions that nothing was learnt from: what adaptation costs.",
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", "-r", help="YAML: configs/train/adapt.yaml, explained."),
    ] = None,
    folds: Annotated[
        int | None, typer.Option(min=2, help="Also cross-validate, over all splits joined.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Any key of the recipe, e.g. epochs=3."),
    ] = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Adapt a reader to a domain in several ways, and compare them on its test split.

    Run again after a stop, it goes on where it was: a reader that is there is not trained again.
    """
    from eval.adaptation.compare import PAGE
    from eval.adaptation.compare import adapt as run
    from eval.adaptation.readers import Ingredients, source_of
    from eval.datasets import load_dataset
    from qa_system.training.settings import Adaptation, load_training

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

    from eval.report.tables import print_adaptation

    print_adaptation(result)
    typer.echo(f"report: {out / PAGE}")
