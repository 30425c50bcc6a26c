"""ONNX export of a reader -> checkpoint, so that training can go on where no checkpoint is left.

The graph keeps the names of biases, norms and embeddings, and what each product is added to says
whose weights it multiplies with. Weights in int8 come back with the rounding of int8.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import ModelError
from qa_system.export.checks import probes
from qa_system.export.networks import load_reader
from qa_system.export.onnx import check_packages
from qa_system.export.session import open_graph, run_graph
from qa_system.models.inference import load_tokenizer, weights_of
from qa_system.models.locate import ModelLocation, locate, read_manifest
from qa_system.readers.calibration import calibration_of, keep_calibration

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

__all__ = ["restore_reader"]

FloatArray = NDArray[np.float32]

ARCHITECTURE = "BertForQuestionAnswering"
WRAPPED = "checkpoint."
"""What the exported module puts before a parameter's name."""

TOLERANCE = 0.1
"""The largest difference between the logits of an int8 export and of what is restored from it, as a
share of the largest logit: the export rounds its activations, too."""


def restore_reader(location: ModelLocation, folder: Path) -> ModelLocation:
    """Write a checkpoint that computes what a reader's export computes, calibrated alike.

    Args:
        location: of the export.
        folder: for the checkpoint; it is made.

    Returns:
        Where the checkpoint is.

    Raises:
        MissingDependencyError: torch, transformers or onnx is not installed.
        ModelError: the export is of another architecture than BERT's, or what is restored computes
            something else.
    """
    check_packages()
    import onnx
    from transformers import BertConfig, BertForQuestionAnswering

    architecture = read_manifest(location.path).get("architecture")
    if architecture != ARCHITECTURE:
        raise _not_restored(location, f"it is a {architecture}, not a {ARCHITECTURE}")
    stored = weights_of(location)
    model = onnx.load(stored) if isinstance(stored, str) else onnx.load_model_from_string(stored)
    graph = _Graph(model)
    try:
        weights = graph.weights()
        config = BertConfig(**graph.shape(weights))
        network = BertForQuestionAnswering(config)
        network.load_state_dict(_tensors(weights))
    except (LookupError, ValueError, RuntimeError) as error:
        raise _not_restored(location, "its graph is not that of qa export") from error
    network.save_pretrained(folder)
    load_tokenizer(location.path).save(str(folder / "tokenizer.json"), pretty=False)
    restored = locate(str(folder))
    _check(restored, model, location)
    for of_sentences in (False, True):
        fitted = calibration_of(location, of_sentences=of_sentences)
        if fitted.fitted_on is not None:
            keep_calibration(fitted, restored, of_sentences=of_sentences)
    return restored


class _Graph:
    """The weights of an exported reader, by the names of transformers."""

    def __init__(self, model: ModelProto) -> None:
        from onnx import numpy_helper

        self._nodes = list(model.graph.node)
        self._constants = {
            tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer
        }
        self._maker = {output: node for node in self._nodes for output in node.output}

    def weights(self) -> dict[str, FloatArray]:
        """Return every parameter of the checkpoint."""
        found = {
            name.removeprefix(WRAPPED): value.astype(np.float32)
            for name, value in self._constants.items()
            if name.startswith(WRAPPED) and name.endswith((".weight", ".bias"))
        }
        found |= self._quantised_tables()
        for node in self._nodes:
            if node.op_type == "Add" and node.input[1].startswith(WRAPPED):
                parameter = node.input[1].removeprefix(WRAPPED).removesuffix(".bias")
                found[f"{parameter}.weight"] = self._multiplied(node.input[0])
        for number, node in enumerate(self._attentions()):
            biases = np.split(self._constants[node.input[3]], 3)
            for name, product, bias in zip(
                ("query", "key", "value"), node.input, biases, strict=False
            ):
                parameter = f"bert.encoder.layer.{number}.attention.self.{name}"
                found[f"{parameter}.weight"] = self._multiplied(product)
                found[f"{parameter}.bias"] = bias.astype(np.float32)
        return found

    def shape(self, weights: dict[str, FloatArray]) -> dict[str, Any]:
        """Return what the configuration of the checkpoint says of its size."""
        words, hidden = weights["bert.embeddings.word_embeddings.weight"].shape
        norm = next(node for node in self._nodes if node.op_type == "LayerNormalization")
        attentions = list(self._attentions())
        return {
            "vocab_size": words,
            "hidden_size": hidden,
            "num_hidden_layers": len(attentions),
            "num_attention_heads": _attribute(attentions[0], "num_heads"),
            "intermediate_size": len(weights["bert.encoder.layer.0.intermediate.dense.bias"]),
            "max_position_embeddings": len(weights["bert.embeddings.position_embeddings.weight"]),
            "type_vocab_size": len(weights["bert.embeddings.token_type_embeddings.weight"]),
            "layer_norm_eps": float(f"{_attribute(norm, 'epsilon'):.6g}"),
        }

    def _attentions(self) -> Iterator[NodeProto]:
        return (node for node in self._nodes if node.op_type == "MultiHeadAttention")

    def _quantised_tables(self) -> dict[str, FloatArray]:
        return {
            name.removeprefix(WRAPPED).removesuffix("_int8"): table.astype(np.float32)
            * self._constants[f"{name.removesuffix('_int8')}_scale"]
            for name, table in self._constants.items()
            if name.startswith(WRAPPED) and name.endswith("_int8")
        }

    def _multiplied(self, product: str) -> FloatArray:
        """Return the weights of a product, shape (outputs, inputs)."""
        node = self._maker[product]
        if node.op_type == "MatMul":
            return np.ascontiguousarray(self._constants[node.input[1]].astype(np.float32).T)
        # int8: cast(MatMulInteger(x, W)) * (scale of x * scale of W)
        integers, scales = (self._maker[name] for name in node.input)
        matmul = self._maker[integers.input[0]]
        stored, zero = (self._constants[matmul.input[at]].astype(np.float32) for at in (1, 3))
        weights = (stored - zero) * self._constants[scales.input[1]]
        activations = self._maker[self._maker[matmul.input[0]].input[0]]
        if activations.name.endswith("_tamed"):  # see qa_system.export.int8
            weights *= self._constants[activations.input[1]][:, None]
        return np.ascontiguousarray(weights.astype(np.float32).T)


def _attribute(node: NodeProto, name: str) -> Any:
    import onnx

    return next(
        onnx.helper.get_attribute_value(each) for each in node.attribute if each.name == name
    )


def _tensors(weights: dict[str, FloatArray]) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(np.array(value)) for name, value in weights.items()}


def _check(restored: ModelLocation, model: ModelProto, location: ModelLocation) -> None:
    """Refuse a checkpoint that computes something else than its export."""
    import torch

    network = load_reader(restored)
    session = open_graph(model)
    for batch in probes(network):
        with torch.inference_mode():
            expected = network.module(
                **{name: torch.from_numpy(ids) for name, ids in batch.items()}
            )
        for ours, theirs in zip(expected, run_graph(session, batch), strict=True):
            off = float(np.abs(ours.numpy() - theirs).max() / np.abs(theirs).max())
            if not off <= TOLERANCE:
                raise _not_restored(
                    location, f"what is restored is off by {off:.0%} of the largest logit"
                )


def _not_restored(location: ModelLocation, reason: str) -> ModelError:
    return ModelError(
        f"no checkpoint can be made of the export {location.name!r}: {reason}",
        where=str(location.path),
        remedy="Name the checkpoint that it was exported from.",
    )
