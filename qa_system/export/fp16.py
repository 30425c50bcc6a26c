"""fp32 ONNX graph -> fp16 graph: half the bytes, for a GPU with fast fp16 arithmetic.

fp16 has eleven bits of precision and ends at 65,504 and at 6e-8. A transformer's products and
its layer norm stay well inside, and ONNX Runtime's CUDA kernels add up in fp32. What sums a whole
row, squares or divides does not: it stays fp32, between casts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qa_system.export.session import open_graph, run_graph

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["LARGEST", "largest_activation", "to_fp16"]

LARGEST = 65504.0
"""The largest number in fp16."""

MEANT_AS_INFINITE = 1e30
"""A number from here on is a mask's, and may become fp16's largest without harm."""

IN_FP32 = ("Softmax", "ReduceSum", "ReduceMean", "ReduceL2", "Pow", "Sqrt", "Div", "Clip")
"""Operators that stay fp32: pooling, the length of an embedding, a softmax that was not fused.
`LayerNormalization` and `MultiHeadAttention` are not among them: they compute in fp32 inside."""


def to_fp16(model: ModelProto) -> ModelProto:
    """Return the fp16 graph of an fp32 graph; inputs and outputs keep their types.

    A weight beyond fp16's range (a mask's -3e38) becomes the largest number that it has.

    Args:
        model: the fp32 graph; it is not changed.
    """
    import onnx
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    work = onnx.ModelProto()
    work.CopyFrom(model)
    rounded: ModelProto = convert_float_to_float16(
        work,
        keep_io_types=True,
        op_block_list=[*DEFAULT_OP_BLOCK_LIST, *IN_FP32],
    )
    made: set[str] = set()
    for node in list(rounded.graph.node):
        # The converter casts a value once for each operator in fp32 that takes it, by one name.
        if made.issuperset(node.output):
            rounded.graph.node.remove(node)
        made.update(node.output)
    return rounded


def largest_activation(
    model: ModelProto, probes: Iterable[Mapping[str, NDArray[np.int64]]]
) -> float:
    """Return the largest magnitude that comes up anywhere in an fp32 graph.

    ONNX Runtime's CPU provider computes an fp16 graph in fp32 and leaves out casts in between, so
    running that graph would not show what overflows on a GPU.
    """
    import onnx

    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    known = {output.name for output in probe.graph.output}
    names = [name for node in probe.graph.node for name in node.output if name]
    probe.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in known
    )
    session = open_graph(probe)
    largest = 0.0
    for feeds in probes:
        for values in run_graph(session, feeds, names):
            if values.dtype == np.float32 and values.size:
                magnitude = np.abs(values)
                ours = magnitude[magnitude < MEANT_AS_INFINITE]
                largest = max(largest, float(ours.max(initial=0.0)))
    return largest
