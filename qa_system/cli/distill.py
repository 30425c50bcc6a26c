"""`qa distill`: a small reader from a large one."""

from __future__ import annotations

from typing import Annotated

import typer

from qa_system.cli.train import OutOption, RecipeOption, SetOption, show
from qa_system.console.options import JsonOption

__all__ = ["distill"]


def distill(
    teacher: Annotated[
        str, typer.Argument(help="Learn from this reader: bundled:NAME, a folder or a Hub id.")
    ],
    student: Annotated[
        str | None,
        typer.Argument(
            help="Train this checkpoint, whose tokenizer differs in special tokens at most.",
            show_default="the teacher",
        ),
    ] = None,
    *,
    recipe: RecipeOption,
    out: OutOption,
    layers: Annotated[
        int | None,
        typer.Option(help="Keep this many layers of the student.", min=1, show_default="all"),
    ] = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Teach a small reader what a large one says: qa distill READER --layers 3 ..."""
    from qa_system.config import Override
    from qa_system.training.reader.distill import distill as train_student
    from qa_system.training.recipes import DistillTraining, load_training

    told = [
        Override(("teacher",), teacher, "TEACHER"),
        Override(("model",), student or teacher, "STUDENT"),
        *([] if layers is None else [Override(("layers",), layers, "--layers")]),
        *(Override.parse(text, "--set") for text in set_ or ()),
    ]
    show(train_student(load_training(DistillTraining, recipe, told), out), as_json)
