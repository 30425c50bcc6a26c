"""`qa export`: a checkpoint as an ONNX model or static vectors, alone or with further files."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["export"]

Task = Literal["reader", "encoder", "judge"]
Precision = Literal["int8", "fp16", "fp32"]

ModelArgument = Annotated[
    str,
    typer.Argument(
        help="Export this model: a folder, bundled:NAME, a Hub id or an address. To ONNX: a "
        "Hugging Face checkpoint."
    ),
]
OutOption = Annotated[
    str,
    typer.Option(
        "--out",
        metavar="FOLDER|ADDRESS",
        help="Write to this folder, to an address such as s3://BUCKET/MODEL, or to a repository of "
        "the Hub: hf://OWNER/NAME.",
    ),
]
DifferenceOption = Annotated[
    str | None,
    typer.Option(
        help="Store the table of embeddings as the difference from this export's, which "
        "compresses to less than half."
    ),
]
StaticOption = Annotated[
    bool,
    typer.Option(
        "--static", help="Of an encoder, write a vector for each token: less exact, and fast."
    ),
]
WithOption = Annotated[
    list[str] | None,
    typer.Option(
        "--with",
        metavar="NAME=FILE",
        help="Add a file of your own by this name: a scikit-learn model by skops, a table, "
        "anything but a pickle. Repeatable.",
    ),
]


def export(
    model: ModelArgument,
    out: OutOption,
    task: Annotated[
        Task | None,
        typer.Option(help="What the model does; without it, the model is exported as it is."),
    ] = None,
    precision: Annotated[
        Precision | None,
        typer.Option(
            help="int8: a quarter of the size, for a CPU; fp16: half, for a GPU.",
            show_default="int8",
        ),
    ] = None,
    difference_from: DifferenceOption = None,
    static: StaticOption = False,
    dimensions: Annotated[
        int | None, typer.Option(min=1, help="Of static vectors.", show_default="256")
    ] = None,
    with_: WithOption = None,
    card: Annotated[
        Path | None,
        typer.Option(help="The model's card, in Markdown.", show_default="the model's own"),
    ] = None,
) -> None:
    """Turn a checkpoint into a model that runs without torch, and send models to where they run.

    With --with or --card, without --task, and at an address, artifacts.json is written beside the
    model: the hash of each file, which is checked when the model is loaded from an address.
    """
    if static and task is not None:
        raise typer.BadParameter("--static makes an encoder of an encoder; leave out --task")
    if dimensions is not None and not static:
        raise typer.BadParameter("--dimensions goes with --static")
    if task is None and (precision is not None or difference_from is not None):
        raise typer.BadParameter("--precision and --difference-from go with --task")
    artifacts = dict(_named(each) for each in with_ or ())
    build = _static(model, dimensions) if static else None
    if task is not None:
        build = _onnx(model, task, precision or "int8", difference_from)
    if build is not None and not artifacts and card is None and "://" not in out:
        build(Path(out))
        return
    from qa_system.export.package import package_model

    package_model(model, out, artifacts=artifacts, card=card, build=build)


def _onnx(
    model: str, task: Task, precision: Precision, difference_from: str | None
) -> Callable[[Path], object]:
    from qa_system.export.onnx import export_model

    return partial(
        export_model, model, task=task, precision=precision, difference_from=difference_from
    )


def _static(model: str, dimensions: int | None) -> Callable[[Path], object]:
    from qa_system.export.static import DIMENSIONS, distill_static

    return partial(distill_static, model, dimensions=dimensions or DIMENSIONS)


def _named(given: str) -> tuple[str, str]:
    name, _, file = given.partition("=")
    if not name or not file:
        raise typer.BadParameter(f"{given!r} is not NAME=FILE", param_hint="--with")
    return name, file
