"""Weights of which a table is stored as its difference from another model's.

A model that was trained from another one keeps most of its table of embeddings: as bytes, the
difference of the two tables compresses to less than half of what the table does. So the wheel
holds the table of the bundled encoder, and the difference of the bundled reader's from it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from qa_system.errors import ModelError
from qa_system.models.manifest import Difference

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["difference_of", "restored"]

WEIGHTS: Final = "model.onnx"


def restored(folder: Path, base: Path, difference: Difference) -> bytes:
    """Return the whole weights of a model.

    Args:
        folder: the model's; its `model.onnx` holds a difference in place of a table.
        base: the folder of the model that it is a difference from.
        difference: which bytes, from the model's manifest.

    Raises:
        ModelError: the other model is not the one that the difference was made with.
    """
    weights = np.fromfile(folder / WEIGHTS, dtype=np.uint8)
    table = np.fromfile(
        base / WEIGHTS, dtype=np.uint8, count=difference.length, offset=difference.base_offset
    )
    own = weights[difference.offset : difference.offset + difference.length]
    if len(own) == len(table):
        own += table
    whole = weights.tobytes()
    if hashlib.sha256(whole).hexdigest() != difference.sha256:
        raise ModelError(
            f"the weights are a difference from another model than this {difference.model!r}",
            where=str(folder),
            remedy="Install qa-system again, or export the model again with `qa export`.",
        )
    return whole


def difference_of(whole: bytes, base: bytes, model: str) -> tuple[bytes, Difference]:
    """Return weights with their largest table as a difference from another model's.

    Args:
        whole: an ONNX model.
        base: another one that has a table of the same shape and type.
        model: the other one's name.

    Returns:
        The weights to store; which bytes they are a difference in.

    Raises:
        ModelError: the two have no table in common.
    """
    own, others = _tables(whole), _tables(base)
    shared = [shape for shape in own if shape in others]
    if not shared:
        raise ModelError(
            "the two models have no table of the same shape and type",
            where=model,
            remedy="Store the weights as they are, or name an export that has one.",
        )
    table = max(shared, key=lambda shape: len(own[shape]))
    offset, base_offset = whole.index(own[table]), base.index(others[table])
    stored = np.frombuffer(whole, dtype=np.uint8).copy()
    stored[offset : offset + len(own[table])] -= np.frombuffer(others[table], dtype=np.uint8)
    return stored.tobytes(), Difference(
        model=model,
        sha256=hashlib.sha256(whole).hexdigest(),
        offset=offset,
        base_offset=base_offset,
        length=len(own[table]),
    )


def _tables(weights: bytes) -> Mapping[tuple[int, ...], bytes]:
    """Return a model's 8-bit tables, by their type and shape."""
    import onnx

    model = onnx.load_model_from_string(weights)
    return {
        (each.data_type, *each.dims): each.raw_data
        for each in model.graph.initializer
        if each.data_type in (onnx.TensorProto.INT8, onnx.TensorProto.UINT8) and len(each.dims) == 2
    }
