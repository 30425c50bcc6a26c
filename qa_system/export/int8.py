"""fp32 ONNX graph -> int8 graph: nearly the same answers from a quarter of the bytes.

A transformer's activations have a few outliers, ten times as large as the rest, most of them on
`[CLS]`. One int8 scale for a whole tensor spends its steps on them, which is why plain dynamic
quantisation changes one answer in seven. So each part of the graph gets what it needs:

- Embedding tables become int8 with a scale for each row: a row is as exact as int8 can be,
  whatever the other 30,000 hold.
- A channel of the activations that stands out is divided by how far it does, and its row of
  weights multiplied by it, which leaves the product as it was. (Xiao et al., SmoothQuant, ICML
  2023; for the outlying channels only, since the others would pay with the weights' precision.)
- Products with weights become int8 products: a scale for each output channel of the weights, one
  for all activations of a call.
- Or they become blockwise: a scale for each 64 weights, and for each 64 activations of a row. A
  row's result then does not depend on the other rows of its batch, and is four times as exact,
  in 1.6 times the time.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qa_system.export.session import open_graph, run_graph

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto, TensorProto

__all__ = ["quantize"]

FloatArray = NDArray[np.float32]

BLOCK = 64
"""Weights, and activations of a row, that share a scale in a blockwise product."""

ORDINARY = 99.5
"""The percentile of a tensor's channels, by magnitude, above which a channel is an outlier."""

OUTLYING = 2.0
"""How many times the ordinary magnitude the largest channel has in a tensor with outliers."""

SMALLEST_TABLE = 1 << 20
"""An embedding table of fewer numbers (positions, token types) weighs nothing and stays fp32."""

NARROWEST = 16
"""A product with fewer output channels (the head) costs nothing and stays fp32."""


def quantize(
    model: ModelProto,
    probes: Iterable[Mapping[str, NDArray[np.int64]]],
    *,
    blockwise: bool = False,
) -> ModelProto:
    """Return the int8 graph of an fp32 graph.

    Args:
        model: the fp32 graph; it is not changed.
        probes: a few inputs, to see which channels of the activations stand out.
        blockwise: for outputs that must not depend on the other rows of the batch, such as
            embeddings that are stored and compared.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    work = onnx.ModelProto()
    work.CopyFrom(model)
    _spell_out_gemms(work)
    if blockwise:
        for product in [node for nodes in _products(work).values() for node in nodes]:
            _make_blockwise(work, product)
    else:
        _tame_outliers(work, _channel_maxima(work, probes))
    _quantize_tables(work)
    with tempfile.TemporaryDirectory(prefix="qa-quantize-") as folder:
        source, target = Path(folder, "fp32.onnx"), Path(folder, "int8.onnx")
        onnx.save(work, source)
        quantize_dynamic(
            source,
            target,
            op_types_to_quantize=["MatMul"],
            nodes_to_exclude=_narrow_products(work),
            per_channel=True,
            # Seven bits of the weights' eight: without VNNI instructions the sum of two eight-bit
            # products can overflow its sixteen bits.
            reduce_range=True,
            weight_type=QuantType.QInt8,
            extra_options={"DefaultTensorType": onnx.TensorProto.FLOAT},
        )
        return onnx.load(target)


def _spell_out_gemms(model: ModelProto) -> None:
    """Replace each `Gemm` with constant weights by `MatMul` and `Add`, which are quantised here."""
    import onnx

    graph = model.graph
    for node in [each for each in graph.node if each.op_type == "Gemm"]:
        weight = _initializers(model).get(node.input[1])
        factors = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        is_plain = (
            factors.get("alpha", 1.0) == factors.get("beta", 1.0) == 1.0
            and not factors.get("transA", 0)
            and sum(node.input[1] in each.input for each in graph.node) == 1
        )
        if weight is None or not is_plain:
            continue
        if factors.get("transB", 0):
            name = weight.name
            turned = np.ascontiguousarray(onnx.numpy_helper.to_array(weight).T)
            weight.CopyFrom(onnx.numpy_helper.from_array(turned, name))
            for stated in [each for each in graph.value_info if each.name == name]:
                graph.value_info.remove(stated)
        bias = [name for name in node.input[2:] if name]
        product = f"{node.name}_product" if bias else node.output[0]
        steps = [onnx.helper.make_node("MatMul", node.input[:2], [product], name=node.name)]
        if bias:
            added = f"{node.name}_bias"
            steps.append(onnx.helper.make_node("Add", [product, *bias], node.output, name=added))
        position = list(graph.node).index(node)
        graph.node.remove(node)
        for offset, step in enumerate(steps):
            graph.node.insert(position + offset, step)


def _initializers(model: ModelProto) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in model.graph.initializer}


def _products(model: ModelProto) -> dict[str, list[NodeProto]]:
    """Return the wide products with constant weights, by the name of the activations they take."""
    weights = _initializers(model)
    products: dict[str, list[NodeProto]] = {}
    for node in model.graph.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            weight = weights[node.input[1]]
            if len(weight.dims) == 2 and weight.dims[1] >= NARROWEST:
                products.setdefault(node.input[0], []).append(node)
    return products


def _narrow_products(model: ModelProto) -> list[str]:
    wide = {node.name for nodes in _products(model).values() for node in nodes}
    return [n.name for n in model.graph.node if n.op_type == "MatMul" and n.name not in wide]


def _channel_maxima(
    model: ModelProto, probes: Iterable[Mapping[str, NDArray[np.int64]]]
) -> dict[str, FloatArray]:
    """Measure the largest magnitude of each channel of each product's activations."""
    import onnx

    names = list(_products(model))
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    for name in names:
        probe.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = open_graph(probe)
    maxima: dict[str, FloatArray] = {}
    for feeds in probes:
        for name, values in zip(names, run_graph(session, feeds, names), strict=True):
            largest = np.abs(values).reshape(-1, values.shape[-1]).max(axis=0)
            maxima[name] = np.maximum(maxima.get(name, np.float32(0)), largest)
    return maxima


def _tame_outliers(model: ModelProto, maxima: Mapping[str, FloatArray]) -> None:
    import onnx

    nodes = model.graph.node
    for name, products in _products(model).items():
        ordinary = max(float(np.percentile(maxima[name], ORDINARY)), 1e-6)
        excess = np.maximum(maxima[name] / ordinary, 1.0).astype(np.float32)
        if excess.max() < OUTLYING:
            continue
        weights = _initializers(model)
        tamed, divisor = f"{name}_tamed", f"{name}_excess"
        model.graph.initializer.append(onnx.numpy_helper.from_array(1.0 / excess, divisor))
        tame = onnx.helper.make_node("Mul", [name, divisor], [tamed], name=tamed)
        nodes.insert(list(nodes).index(products[0]), tame)
        for product in products:
            weight = weights[product.input[1]]
            scaled = onnx.numpy_helper.to_array(weight) * excess[:, None]
            weight.CopyFrom(onnx.numpy_helper.from_array(scaled, weight.name))
            product.input[0] = tamed


def _make_blockwise(model: ModelProto, product: NodeProto) -> None:
    """Replace a product by ONNX Runtime's `MatMulNBits`, computed in int8 (accuracy level 4)."""
    import onnx

    weight = _initializers(model)[product.input[1]]
    values = onnx.numpy_helper.to_array(weight)
    rows, columns = values.shape
    blocks = -(-rows // BLOCK)
    padded = np.zeros((columns, blocks * BLOCK), dtype=np.float32)
    padded[:, :rows] = values.T
    integers, scale = _to_int8(padded.reshape(columns, blocks, BLOCK))
    stored = (integers.astype(np.int16) + 128).astype(np.uint8)
    node = onnx.helper.make_node(
        "MatMulNBits",
        [product.input[0], f"{weight.name}_int8", f"{weight.name}_scale"],
        list(product.output),
        name=product.name,
        domain="com.microsoft",
        K=rows,
        N=columns,
        bits=8,
        block_size=BLOCK,
        accuracy_level=4,
    )
    graph = model.graph
    graph.initializer.remove(weight)
    graph.initializer.append(onnx.numpy_helper.from_array(stored, f"{weight.name}_int8"))
    graph.initializer.append(
        onnx.numpy_helper.from_array(scale.reshape(columns, blocks), f"{weight.name}_scale")
    )
    position = list(graph.node).index(product)
    graph.node.remove(product)
    graph.node.insert(position, node)
    if all(opset.domain != "com.microsoft" for opset in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid("com.microsoft", 1))


def _quantize_tables(model: ModelProto) -> None:
    import onnx

    graph = model.graph
    for node in list(graph.node):
        table = _initializers(model).get(node.input[0]) if node.op_type == "Gather" else None
        if table is None or len(table.dims) != 2 or np.prod(table.dims) < SMALLEST_TABLE:
            continue
        integers, scale = _to_int8(onnx.numpy_helper.to_array(table))
        name, ids = table.name, node.input[1]
        make = onnx.helper.make_node
        steps = [
            make("Gather", [f"{name}_int8", ids], [f"{name}_row"], name=f"{name}_row"),
            make("Cast", [f"{name}_row"], [f"{name}_float"], name=f"{name}_float", to=1),
            make("Gather", [f"{name}_scale", ids], [f"{name}_by"], name=f"{name}_by"),
            make("Mul", [f"{name}_float", f"{name}_by"], list(node.output), name=node.name),
        ]
        graph.initializer.remove(table)
        graph.initializer.append(onnx.numpy_helper.from_array(integers, f"{name}_int8"))
        graph.initializer.append(onnx.numpy_helper.from_array(scale, f"{name}_scale"))
        position = list(graph.node).index(node)
        graph.node.remove(node)
        for offset, step in enumerate(steps):
            graph.node.insert(position + offset, step)


def _to_int8(values: FloatArray) -> tuple[NDArray[np.int8], FloatArray]:
    """Round to int8 with one scale along the last axis.

    >>> integers, scale = _to_int8(np.array([[0.5, -1.27], [0.0, 0.0]], dtype=np.float32))
    >>> integers.tolist(), (1 / scale).round().tolist()
    ([[50, -127], [0, 0]], [[100.0], [1.0]])
    """
    scale = np.abs(values).max(axis=-1, keepdims=True).astype(np.float32) / np.float32(127)
    scale[scale == 0] = 1.0
    return np.rint(values / scale).astype(np.int8), scale
