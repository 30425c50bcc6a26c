"""`qa average`: several models' weights in one."""

from __future__ import annotations

from typing import Annotated

import typer

from qa_system.cli.train import OutOption
from qa_system.console.app import print_json
from qa_system.console.options import JsonOption

__all__ = ["average"]


def average(
    models: Annotated[
        list[str], typer.Argument(help="Average these checkpoints, which have one shape.")
    ],
    *,
    out: OutOption,
    weight: Annotated[
        list[float] | None,
        typer.Option(
            help="Weigh a model by this number; one --weight for each model.",
            show_default="all the same",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Average the weights of models that were trained from the same model."""
    from qa_system.training.average import average as make

    record = make(models, out, weights=weight)
    if as_json:
        print_json(record)
        return
    for part in record["models"]:
        typer.echo(f"{part['share']:.3f} of {part['model']}")
