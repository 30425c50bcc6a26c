"""ONNX graph -> the same graph with its attention in one operator.

What torch exports as some twenty nodes (transposes, two products, scaling, mask, softmax) is one
`MultiHeadAttention` in ONNX Runtime. Without a mask it never writes the length x length scores
to memory (flash attention), so the mask goes too: the graph is for rows without padding.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["fuse_attention"]


def fuse_attention(model: ModelProto) -> int:
    """Replace attention as transformers' BERT and its like compute it, in place.

    Where at least one attention is of another shape, nothing is replaced, and the graph goes on
    taking its mask.

    Args:
        model: a graph as torch exports it with `attn_implementation="eager"`.

    Returns:
        How many were replaced.
    """
    import onnx

    graph = model.graph
    found = _Graph(model)
    fused: list[tuple[NodeProto, NodeProto]] = []
    for softmax in [node for node in graph.node if node.op_type == "Softmax"]:
        pair = found.attention_around(softmax)
        if pair is None:
            return 0
        fused.append(pair)
    for last, attention in fused:
        position = list(graph.node).index(last)
        graph.node.remove(last)
        graph.node.insert(position, attention)
    if fused:
        graph.initializer.extend(found.biases)
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))
        _drop_unused(model)
    return len(fused)


class _Graph:
    def __init__(self, model: ModelProto) -> None:
        self.biases: list[object] = []
        self._constants = {tensor.name: tensor for tensor in model.graph.initializer}
        self._maker = {output: node for node in model.graph.node for output in node.output}
        self._users: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self._users.setdefault(name, []).append(node)

    def attention_around(self, softmax: NodeProto) -> tuple[NodeProto, NodeProto] | None:
        """Return the last node of an attention and what replaces it; None if it is no attention."""
        import onnx

        try:
            mask = self._made(softmax.input[0], "Add")
            scaled = self._made(mask.input[0], "Mul")
            scores = self._made(scaled.input[0], "MatMul")
            mixed = self._used(softmax.output[0], "MatMul")
            last = self._used(self._used(mixed.output[0], "Transpose").output[0], "Reshape")
            heads = [
                self._made(self._made(name, "Transpose").input[0], "Reshape")
                for name in (scores.input[0], scores.input[1], mixed.input[1])
            ]
            shifts = [self._made(head.input[0], "Add") for head in heads]
            bias = np.concatenate([self._constant(shift.input[1]) for shift in shifts])
            head_size = int(self._constant(self._made(heads[0].input[1], "Concat").input[-1])[0])
            scale = float(self._constant(scaled.input[1]))
        except LookupError:
            return None
        name = f"{softmax.output[0]}_bias"
        self.biases.append(onnx.numpy_helper.from_array(bias, name))
        return last, onnx.helper.make_node(
            "MultiHeadAttention",
            [*(shift.input[0] for shift in shifts), name],
            list(last.output),
            name=f"{softmax.name}_attention",
            domain="com.microsoft",
            num_heads=len(bias) // 3 // head_size,
            scale=scale,
        )

    def _made(self, name: str, operator: str) -> NodeProto:
        node = self._maker.get(name)
        if node is None or node.op_type != operator:
            raise LookupError(name)
        return node

    def _used(self, name: str, operator: str) -> NodeProto:
        users = self._users.get(name, [])
        if len(users) != 1 or users[0].op_type != operator:
            raise LookupError(name)
        return users[0]

    def _constant(self, name: str) -> np.ndarray:
        import onnx

        values: np.ndarray = onnx.numpy_helper.to_array(self._constants[name])
        return values


def _drop_unused(model: ModelProto) -> None:
    """Take out what no longer leads to an output: nodes, constants, inputs."""
    graph = model.graph
    needed = {output.name for output in graph.output}
    for node in reversed(list(graph.node)):
        if needed.isdisjoint(node.output):
            graph.node.remove(node)
        else:
            needed.update(node.input)
    for values in (graph.initializer, graph.input):
        for value in [value for value in values if value.name not in needed]:
            values.remove(value)
    del graph.value_info[:]
