"""An export against its checkpoint: the same inputs must give the same outputs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import ModelError
from qa_system.export.fp16 import LARGEST, largest_activation, to_fp16
from qa_system.export.networks import EMBEDDING, JUDGEMENT, Network
from qa_system.export.session import open_graph, run_graph
from qa_system.models.inference import load_tokenizer

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["checked_fp16", "compare", "example_batch", "probes"]

TOLERANCE = 1e-4
"""The largest difference between torch's output and the fp32 export's."""

SHAPES = ((1, 7), (3, 40), (5, 96), (1, 1024))
"""Rows and tokens of the batches that are compared; a mask may be there for long texts only."""

FP16_TOLERANCE = 0.02
"""The largest difference between the fp32 and the fp16 export's output, as a share of the largest
output: fifty times what rounding costs a six-layer reader."""

PROBES = (
    ("How is the battery?", "The battery lasts about two days, but the strap feels cheap."),
    ("Is the room clean?", "Spotless! Breakfast, however: cold eggs & weak coffee... 2/5."),
    ("Does it work with a Mac", "I returned it; the driver wouldn't install on OS X 10.9, sadly"),
    ("Would you go again?", "We've been here a dozen times and the ramen is as good as ever."),
    ("What size should I order?", "Runs small. I'm 5'9\" and the large was tight in the arms."),
    ("Is this suitable for beginners?", "My daughter (7) learned the chords in a weekend."),
)
"""Questions and reviews that show the graph what activations look like. They need not resemble
the data: what stands out stands out on `[CLS]` and on every text."""

Feeds = dict[str, NDArray[np.int64]]


def compare(network: Network, model: ModelProto, *, padded: bool = True) -> None:
    """Check that a graph computes what its network does.

    Args:
        network: the checkpoint's.
        model: the fp32 graph.
        padded: whether batches have rows of different lengths.

    Raises:
        ModelError: the checkpoint computes NaN or infinity, or an output differs by more than
            `TOLERANCE`.
    """
    import torch

    session = open_graph(model)
    for rows, width in SHAPES:
        batch = example_batch(network, rows, width, padded=padded)
        feeds = {name: torch.from_numpy(value) for name, value in batch.items()}
        with torch.inference_mode():
            expected = network.module(**feeds)
        expected = expected if isinstance(expected, tuple) else (expected,)
        attended = batch["attention_mask"].astype(bool)
        found = run_graph(session, batch)
        for name, ours, theirs in zip(network.outputs, found, expected, strict=True):
            counted = slice(None) if name in (EMBEDDING, JUDGEMENT) else attended
            computed = theirs.numpy()[counted]
            if not np.isfinite(computed).all():
                raise ModelError(
                    f"the checkpoint's {name} hold NaN or infinity",
                    where=str(network.location.path),
                    remedy="Check the checkpoint's weights, or export another checkpoint.",
                )
            worst = float(np.abs(ours[counted] - computed).max())
            if not worst <= TOLERANCE:
                raise ModelError(
                    f"the export's {name} differ from the checkpoint's by {worst:.2g} "
                    f"on a batch of {rows} x {width} tokens",
                    where=str(network.location.path),
                    remedy="This architecture cannot be exported by this release of torch; "
                    "run the checkpoint with backend: torch.",
                )


def checked_fp16(network: Network, exact: ModelProto) -> ModelProto:
    """Return the fp16 graph of an fp32 graph, if fp16 is enough for it.

    Raises:
        ModelError: an activation overflows on ordinary text, or an output is too far off.
    """
    where = str(network.location.path)
    remedy = (
        "Export this model in fp32 or int8, or run the checkpoint in bf16 (backend: torch): "
        "bf16 has fp32's range."
    )
    largest = largest_activation(exact, probes(network))
    if largest > LARGEST:
        raise ModelError(
            f"the model's activations reach {largest:.2g}, and fp16 ends at {LARGEST:,.0f}",
            where=where,
            remedy=remedy,
        )
    rounded = to_fp16(exact)
    sessions = [open_graph(model) for model in (exact, rounded)]
    for batch in probes(network):
        expected, found = (run_graph(session, batch) for session in sessions)
        for name, ours, theirs in zip(network.outputs, found, expected, strict=True):
            worst = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
            if not worst <= FP16_TOLERANCE:
                raise ModelError(
                    f"in fp16 the {name} are off by {worst:.0%} of the largest",
                    where=where,
                    remedy=remedy,
                )
    return rounded


def probes(network: Network) -> Iterator[Feeds]:
    """Yield inputs of a network: a reader's questions with reviews, an encoder's apart."""
    tokenizer = load_tokenizer(network.tokenizer)
    for question, review in PROBES:
        encodings = (
            [tokenizer.encode(question), tokenizer.encode(review)]
            if EMBEDDING in network.outputs
            else [tokenizer.encode(question, review)]
        )
        for encoding in encodings:
            batch = {
                "input_ids": np.array([encoding.ids]),
                "attention_mask": np.array([encoding.attention_mask]),
                "token_type_ids": np.array([encoding.type_ids]),
            }
            yield {name: batch[name] for name in network.inputs}


def example_batch(network: Network, rows: int, width: int, *, padded: bool = True) -> Feeds:
    """Return rows of ordinary tokens, the same for the same shape.

    Args:
        network: that reads them.
        rows: of the batch.
        width: tokens of the longest row, if it has so many positions.
        padded: whether the rows have different lengths.
    """
    width = min(width, network.positions or width)
    generator = np.random.default_rng(rows * 1000 + width)
    lengths = np.maximum(width - 2 * np.arange(rows) * padded, 3)[:, None]
    mask = (np.arange(width) < lengths).astype(np.int64)
    ids = generator.integers(5, min(100, network.vocabulary), size=(rows, width)) * mask
    types = (np.arange(width) >= lengths // 3) * mask
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: batch[name] for name in network.inputs}
