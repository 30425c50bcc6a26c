"""Checkpoint -> ONNX export: a folder that answers without torch.

An export is `model.onnx`, `tokenizer.json` and the manifest `model.json`, which says what the
model is, how to use it, and what it was made from. Nothing in it depends on when or where it was
made: the same checkpoint and the same packages give the same bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import orjson

from qa_system.console.noise import without_stderr
from qa_system.errors import MissingDependencyError, ModelError, QASystemError
from qa_system.export.checks import checked_fp16, compare, example_batch, probes
from qa_system.export.folders import check_free, put_in_place
from qa_system.export.fuse_attention import fuse_attention
from qa_system.export.int8 import quantize
from qa_system.export.networks import Network, load_encoder, load_judge, load_reader
from qa_system.export.select_early import select_early
from qa_system.judging.judgements import calibration_of as judging_of
from qa_system.models.checkpoints import reason
from qa_system.models.differences import difference_of
from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import (
    MANIFEST,
    ModelLocation,
    is_export,
    locate,
    named,
    weights_sha256,
)
from qa_system.readers.calibration import calibration_of

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["MANIFEST_FORMAT", "check_packages", "export_model"]

MANIFEST_FORMAT = 1
FILES = ("model.onnx", "tokenizer.json", MANIFEST)
"""What an export is, in the order in which its files are put in place."""

Task = Literal["reader", "encoder", "judge"]
Precision = Literal["int8", "fp16", "fp32"]
LOADERS: dict[Task, Callable[[ModelLocation], Network]] = {
    "reader": load_reader,
    "encoder": load_encoder,
    "judge": load_judge,
}


def export_model(
    source: str | Path,
    out: str | Path,
    *,
    task: Task,
    precision: Precision = "int8",
    difference_from: str | None = None,
) -> dict[str, Any]:
    """Export a checkpoint to ONNX.

    The calibration of a reader or a judge, where training left one in the checkpoint's
    `training.json`, goes into the manifest.

    Args:
        source: a checkpoint's folder or Hub id: one for extractive question answering, or a
            sentence-transformers model, or a judge.
        out: the folder to write; what else it holds (a model card) is left alone.
        task: `reader` computes start and end logits, of windows without padding; `encoder`
            computes sentence embeddings, pooled and normalised inside the graph as the model was
            trained; `judge` computes the logits of each pair of question and text.
        precision: `int8` quantises (see `qa_system.export.int8`); `fp16` is for a GPU
            (see `qa_system.export.fp16`): a CPU without fp16 arithmetic runs it, no faster than
            fp32.
        difference_from: an export whose table of embeddings is like this one's: the table is
            stored as the difference from it, which compresses to less than half. None: as it is.

    Returns:
        The manifest that was written.

    Raises:
        MissingDependencyError: torch, transformers or onnx is not installed.
        ConfigError: the folder holds files of those names that no export has written.
        ModelError: the source is not a checkpoint of that kind, its export does not compute
            what it computes, or its `training.json` is damaged.
    """
    check_free(Path(out), FILES, is_export)
    location = locate(str(source))
    if location.format != "torch":
        raise ModelError(
            f"{location.name!r} is an export already",
            where=str(location.path),
            remedy="Name the checkpoint that it was exported from.",
        )
    check_packages()
    network = LOADERS[task](location)
    model = _converted(network, task, precision, where=str(location.path))
    manifest = _manifest(network, task, precision) | _calibrations(location, task)
    weights = _stored(model, manifest, difference_from)
    tokenizer = load_tokenizer(network.tokenizer)

    def write(folder: Path) -> None:
        (folder / "model.onnx").write_bytes(weights)
        tokenizer.save(str(folder / "tokenizer.json"), pretty=False)
        (folder / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")

    put_in_place(Path(out), FILES, write)
    return manifest


def _calibrations(location: ModelLocation, task: Task) -> dict[str, Any]:
    """Return the calibrations that were fitted with a checkpoint, as entries of its manifest."""
    if task == "encoder":
        return {}
    if task == "judge":
        fitted = judging_of(location)
        return {} if fitted.fitted_on is None else {"calibration": fitted.to_dict()}
    whole, of_sentences = calibration_of(location), calibration_of(location, of_sentences=True)
    found = {}
    if whole.fitted_on is not None:
        found["calibration"] = whole.to_dict()
    if of_sentences.fitted_on not in (None, whole.fitted_on):
        found["calibration_of_sentences"] = of_sentences.to_dict()
    return found


def check_packages() -> None:
    """Raise a MissingDependencyError if what an export needs is not installed."""
    try:
        import onnx  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError(
            f"an export needs the package {error.name!r}",
            remedy="Install it: pip install 'qa-system[train]'.",
        ) from error


def _converted(network: Network, task: Task, precision: Precision, *, where: str) -> Any:
    """Convert a network; what torch or ONNX Runtime raise is an error that names it."""
    try:
        with without_stderr():  # a graph that torch cannot export is printed whole
            return _convert(network, task, precision)
    except QASystemError:
        raise
    except Exception as error:  # the errors of torch's exporter and of ONNX Runtime share no base
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise ModelError(
            f"the architecture {network.facts['architecture']} cannot be exported: {reason(cause)}",
            where=where,
            remedy="Run the checkpoint as it is, with backend: torch.",
        ) from error


def _convert(network: Network, task: Task, precision: Precision) -> ModelProto:
    model = _trace(network)
    compare(network, model)
    if task != "encoder":
        model = _changed(network, model, fuse_attention)
    if task == "judge":
        model = _changed(network, model, select_early)
    if precision == "int8":
        return quantize(model, probes(network), blockwise=task == "encoder")
    if precision == "fp16":
        return checked_fp16(network, model)
    return model


def _changed(
    network: Network, model: ModelProto, change: Callable[[ModelProto], int]
) -> ModelProto:
    """Return the graph with a change, or as it is where that computes something else.

    A mask that is no padding's, such as a decoder's, is lost when attention is fused.
    """
    import onnx

    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    if not change(changed):
        return model
    try:
        compare(network, changed, padded=False)
    except ModelError:
        return model
    return changed


def _trace(network: Network) -> ModelProto:
    import torch

    batch = example_batch(network, 2, 16)
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network.module,
            (),
            kwargs={name: torch.from_numpy(value) for name, value in batch.items()},
            input_names=list(network.inputs),
            output_names=list(network.outputs),
            dynamic_shapes=dict.fromkeys(network.inputs, axes),
            opset_version=20,
            dynamo=True,
            verbose=False,
        )
    model: ModelProto = cast("Any", program).model_proto
    for node in model.graph.node:  # stack traces of the machine that it was made on
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    return model


def _manifest(network: Network, task: Task, precision: Precision) -> dict[str, Any]:
    source = named(network.location)
    return {
        "format": MANIFEST_FORMAT,
        "task": task,
        "precision": precision,
        **network.facts,
        "made_with": {
            "command": f"qa export {source} --task {task} --precision {precision}",
            "source": source,
            "source_sha256": weights_sha256(network.location),
            "versions": {
                name: version(name) for name in ("onnx", "onnxruntime", "torch", "transformers")
            },
        },
    }


def _stored(model: ModelProto, manifest: dict[str, Any], difference_from: str | None) -> bytes:
    """Return the weights as they are stored; the manifest is told of a difference."""
    weights: bytes = model.SerializeToString()
    if difference_from is not None:
        base = locate(difference_from).path / "model.onnx"
        weights, difference = difference_of(weights, base.read_bytes(), difference_from)
        manifest["difference_from"] = difference.model_dump()
    return weights
