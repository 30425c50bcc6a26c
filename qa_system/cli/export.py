"""`qa export`: a checkpoint as an ONNX model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

__all__ = ["export"]


def export(
    checkpoint: Annotated[
        Path, typer.Argument(help="Export the Hugging Face checkpoint in this folder.")
    ],
    out: Annotated[Path, typer.Option("--out", help="Write the model to this folder.")],
    task: Annotated[
        Literal["reader", "encoder", "judge"], typer.Option(help="What the model does.")
    ],
    precision: Annotated[
        Literal["int8", "fp16", "fp32"],
        typer.Option(help="int8: a quarter of the size, for a CPU; fp16: half, for a GPU."),
    ] = "int8",
    difference_from: Annotated[
        str | None,
        typer.Option(
            help="Store the table of embeddings as the difference from this export's, which "
            "compresses to less than half."
        ),
    ] = None,
) -> None:
    """Turn a checkpoint into an ONNX model that runs without torch."""
    from qa_system.export.onnx import export_model

    export_model(checkpoint, out, task=task, precision=precision, difference_from=difference_from)
