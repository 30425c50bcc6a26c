"""`qa distill`: a small reader from a large one."""

from __future__ import annotations

from typing import Annotated

import typer

from qa_system.cli.train import JsonOption, OutOption, RecipeOption, SetOption, show

__all__ = ["distill"]


def distill(
    teacher: Annotated[str, typer.Argument(help="A reader: bundled, a folder, or a Hub id.")],
    student: Annotated[
        str | None,
        typer.Argument(help="A checkpoint with the teacher's tokenizer; none: the teacher itself."),
    ] = None,
    *,
    recipe: RecipeOption,
    out: OutOption,
    layers: Annotated[
        int | None, typer.Option(help="Keep so many of the student's layers.", min=1)
    ] = None,
    set_: SetOption = None,
    as_json: JsonOption = False,
) -> None:
    """Teach a small reader what a large one says: qa distill READER --layers 3 ..."""
    from qa_system.config import override_items
    from qa_system.training.reader.distill import distill as train_student
    from qa_system.training.recipes import DistillTraining, load_training

    named = {"teacher": teacher, "model": student or teacher, "layers": layers}
    overrides = dict(override_items(set_ or ())) | dict(override_items(named))
    show(train_student(load_training(DistillTraining, recipe, overrides), out), as_json)
