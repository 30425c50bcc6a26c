"""`qa tune`: a search for the values of a recipe with which a model becomes best."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from qa_system.cli.train import RecipeOption, SetOption
from qa_system.config.shipped import shipped
from qa_system.console.app import print_json
from qa_system.console.options import JsonOption
from qa_system.console.wording import counted, printable

__all__ = ["tune"]

Kind = Literal["reader", "distill", "retriever", "ranker", "judge", "generator", "language-model"]
Pruner = Literal["median", "none"]


def tune(
    kind: Annotated[Kind, typer.Argument(help="Tune this training: qa train KIND, or qa distill.")],
    *,
    recipe: RecipeOption,
    space: Annotated[
        Path,
        typer.Option(
            "--space",
            help="Try the values that this YAML file names, or the space of this name: "
            f"{', '.join(shipped('space'))}.",
        ),
    ],
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Go on until the search has so many trials.")
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Search in this folder; several processes may share it.")
    ],
    set_: SetOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Choose values by this seed.")] = 13,
    pruner: Annotated[
        Pruner,
        typer.Option(
            "--pruner",
            help="median: end a trial that is worse than the median of the others at the same "
            "measurement.",
        ),
    ] = "median",
    startup: Annotated[
        int, typer.Option("--startup", min=0, help="End none before so many are complete.")
    ] = 5,
    as_json: JsonOption = False,
) -> None:
    """Search for a recipe's best values: qa tune reader --recipe NAME --space FILE ...

    A search that was stopped goes on when it is run again.
    """
    from qa_system.training.tuning.record import BEST, table
    from qa_system.training.tuning.space import load_search
    from qa_system.training.tuning.study import tune as search

    asked = load_search(kind, recipe, space, set_ or ())
    record = search(asked, out, trials=trials, seed=seed, pruner=pruner, startup=startup)
    if as_json:
        print_json(record)
        return
    for line in table(record):
        typer.echo(printable(line))
    failed = [each for each in record["trials"] if each["state"] == "failed"]
    for each in failed:
        typer.echo(printable(f"trial {each['number']} failed: {each['error']}"))
    counts = ", ".join(f"{number} {state}" for state, number in record["counts"].items() if number)
    typer.echo(f"{counted(len(record['trials']), 'trial')}: {counts}")
    if record["best"] is not None:
        typer.echo(f"best: trial {record['best']['number']}, {out / BEST}")
