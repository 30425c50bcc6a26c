"""Checkpoint -> ONNX export: a folder that answers without torch.

An export is `model.onnx`, `tokenizer.json` and the manifest `model.json`, which says what the
model is, how to use it, and what it was made from. Nothing in it depends on when or where it was
made: the same checkpoint and the same packages give the same bytes.
"""

from __future__ import annotations

import shutil
import tempfile
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.errors import MissingDependencyError, ModelError
from qa_system.export.fuse_attention import fuse_attention
from qa_system.inference import load_tokenizer
from qa_system.models import MANIFEST, ModelLocation, locate, weights_sha256
from qa_system.readers.backends import has_token_types, load_checkpoint, usable_positions
from qa_system.readers.calibration import calibration_of

if TYPE_CHECKING:
    from onnx import ModelProto

__all__ = ["MANIFEST_FORMAT", "export_model"]

MANIFEST_FORMAT = 1
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
TOLERANCE = 1e-4
"""The largest difference between torch's output and the fp32 export's."""

HALF_TOLERANCE = 0.02
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


def export_model(
    source: str | Path,
    out: str | Path,
    *,
    task: Literal["reader", "encoder"],
    precision: Literal["int8", "fp16", "fp32"] = "int8",
) -> dict[str, Any]:
    """Export a checkpoint to ONNX.

    A reader's calibration, where training left one in the checkpoint's `training.json`, goes
    into the manifest.

    Args:
        source: a checkpoint's folder or Hub id: one for extractive question answering, or a
            sentence-transformers model.
        out: the folder to write; what else it holds (a model card) is left alone.
        task: `reader` gives start and end logits, of windows without padding; `encoder` gives
            sentence embeddings, pooled and normalised inside the graph as the model was trained.
        precision: `int8` quantises (see `qa_system.export.int8`); `fp16` is for a GPU
            (see `qa_system.export.fp16`): a CPU without fp16 arithmetic runs it, no faster than
            fp32.

    Returns:
        The manifest that was written.

    Raises:
        MissingDependencyError: torch, transformers or onnx is not installed.
        ModelError: the source is not a checkpoint of that kind, its export does not compute
            what it computes, or its `training.json` is damaged.
    """
    location = locate(str(source))
    if location.format != "torch":
        raise ModelError(
            f"{location.name!r} is an export already",
            where=str(location.path),
            remedy="Name the checkpoint that it was exported from.",
        )
    try:
        import onnx  # noqa: F401
        import torch  # noqa: F401
        import transformers  # noqa: F401
    except ImportError as fault:
        raise MissingDependencyError(
            f"an export needs the package {fault.name!r}",
            remedy="Install it: pip install 'qa-system[train]'.",
        ) from fault
    calibration = calibration_of(location)
    network, facts = _load_reader(location) if task == "reader" else _load_encoder(location)
    model = _trace(network, facts)
    _check_equal(network, model, facts, location)
    if task == "reader":
        fuse_attention(model)
        _check_equal(network, model, facts, location, padded=False)
    if precision == "int8":
        from qa_system.export.int8 import quantize

        model = quantize(
            model,
            _probes(location.path, facts),
            blockwise=task == "encoder",
        )
    elif precision == "fp16":
        model = _halved(model, facts, location)
    folder = Path(location.name).expanduser()
    named = "/".join(folder.resolve().parts[-2:]) if folder.is_dir() else location.name
    manifest = {
        "format": MANIFEST_FORMAT,
        "task": task,
        "precision": precision,
        **{key: value for key, value in facts.items() if key not in ("inputs", "outputs")},
        "made_with": {
            "command": f"qa export {named} --task {task} --precision {precision}",
            "source": named,
            "source_sha256": weights_sha256(location),
            "versions": {
                name: version(name) for name in ("onnx", "onnxruntime", "torch", "transformers")
            },
        },
    }
    if task == "reader" and calibration.fitted_on is not None:
        manifest["calibration"] = calibration.to_dict()
    _write(Path(out), model, location, manifest)
    return manifest


def _load_reader(location: ModelLocation) -> tuple[Any, dict[str, Any]]:
    import torch

    checkpoint = load_checkpoint(location, dtype=torch.float32, attn_implementation="eager")

    class Reader(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.checkpoint = checkpoint

        def forward(
            self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None
        ) -> tuple[Any, Any]:
            feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
            if token_type_ids is not None:
                feeds["token_type_ids"] = token_type_ids
            output = self.checkpoint(**feeds)
            return output.start_logits, output.end_logits

    config = checkpoint.config
    return Reader().eval(), {
        "inputs": _inputs_of(config),
        "outputs": ("start_logits", "end_logits"),
        "architecture": type(checkpoint).__name__,
        "max_seq_length": usable_positions(config),
        "pad_id": 0 if config.pad_token_id is None else int(config.pad_token_id),
    }


def _load_encoder(location: ModelLocation) -> tuple[Any, dict[str, Any]]:
    import torch

    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as fault:
        raise MissingDependencyError(
            "exporting an encoder needs sentence-transformers",
            remedy="Install it: pip install 'qa-system[train]'.",
        ) from fault
    try:
        checkpoint = SentenceTransformer(
            str(location.path),
            device="cpu",
            trust_remote_code=False,
            model_kwargs={
                "dtype": torch.float32,
                "attn_implementation": "eager",
                "use_safetensors": True,
            },
        )
    except (OSError, ValueError, KeyError) as fault:
        raise ModelError(
            f"the checkpoint cannot be loaded for sentence embeddings: {fault}",
            where=str(location.path),
            remedy="Name a sentence-transformers model with its weights in safetensors.",
        ) from fault

    class Encoder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stages = torch.nn.ModuleList(list(checkpoint))

        def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
            features = {"input_ids": input_ids, "attention_mask": attention_mask}
            if token_type_ids is not None:
                features["token_type_ids"] = token_type_ids
            for stage in self.stages:
                features = stage(features)
            return features["sentence_embedding"]

    config = checkpoint[0].auto_model.config
    stages = {type(stage).__name__: stage for stage in checkpoint}
    normalised = "Normalize" in stages
    trained_with = {"dot": "dot_product", "euclidean": "l2"}.get(
        str(checkpoint.similarity_fn_name), "cosine"
    )
    return Encoder().eval(), {
        "inputs": _inputs_of(config),
        "outputs": ("sentence_embedding",),
        "architecture": type(checkpoint[0].auto_model).__name__,
        "dimension": checkpoint.get_embedding_dimension(),
        # Of unit vectors the cosine is the dot product, which every index computes fastest.
        "similarity": "dot_product" if normalised and trained_with == "cosine" else trained_with,
        "normalize": normalised,
        "pooling": str(getattr(stages.get("Pooling"), "pooling_mode", "none")),
        "max_seq_length": min(int(checkpoint.max_seq_length), usable_positions(config)),
        "pad_id": 0 if config.pad_token_id is None else int(config.pad_token_id),
        "question_prefix": checkpoint.prompts.get("query") or "",
        "passage_prefix": checkpoint.prompts.get("document") or "",
    }


def _inputs_of(config: Any) -> tuple[str, ...]:
    return INPUTS if has_token_types(config) else INPUTS[:2]


def _trace(network: Any, facts: dict[str, Any]) -> ModelProto:
    import torch

    inputs = facts["inputs"]
    example = {
        name: torch.from_numpy(value) for name, value in _random_batch(2, 16, inputs).items()
    }
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with warnings.catch_warnings(), torch.inference_mode():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            network,
            (),
            kwargs=example,
            input_names=list(inputs),
            output_names=list(facts["outputs"]),
            dynamic_shapes=dict.fromkeys(inputs, axes),
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


def _check_equal(
    network: Any,
    model: ModelProto,
    facts: dict[str, Any],
    location: ModelLocation,
    *,
    padded: bool = True,
) -> None:
    import onnxruntime
    import torch

    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    for rows, width in ((1, 7), (3, 40), (5, 96)):
        batch = _random_batch(rows, width, facts["inputs"], padded=padded)
        with torch.inference_mode():
            expected = network(**{name: torch.from_numpy(value) for name, value in batch.items()})
        expected = expected if isinstance(expected, tuple) else (expected,)
        attended = batch["attention_mask"].astype(bool)
        for name, ours, theirs in zip(
            facts["outputs"], _run(session, batch), expected, strict=True
        ):
            difference = np.abs(ours - theirs.numpy())
            worst = float(
                (difference if name == "sentence_embedding" else difference[attended]).max()
            )
            if not worst <= TOLERANCE:
                raise ModelError(
                    f"the export's {name} differ from the checkpoint's by {worst:.2g} "
                    f"on a batch of {rows} x {width} tokens",
                    where=str(location.path),
                    remedy="This architecture cannot be exported by this release of torch; "
                    "run the checkpoint with backend: torch.",
                )


def _halved(exact: ModelProto, facts: dict[str, Any], location: ModelLocation) -> ModelProto:
    """Give the fp16 graph, if it fits: what overflows does so on ordinary text."""
    import onnxruntime

    from qa_system.export.fp16 import LARGEST, largest_activation, to_half

    remedy = (
        "Export this model in fp32 or int8, or run the checkpoint in bf16 (backend: torch): "
        "bf16 has fp32's range."
    )
    largest = largest_activation(exact, _probes(location.path, facts))
    if largest > LARGEST:
        raise ModelError(
            f"the model's activations reach {largest:.2g}, and fp16 ends at {LARGEST:,.0f}",
            where=str(location.path),
            remedy=remedy,
        )
    half = to_half(exact)
    sessions = [
        onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        for model in (exact, half)
    ]
    for batch in _probes(location.path, facts):
        expected, found = (_run(session, batch) for session in sessions)
        for name, ours, theirs in zip(facts["outputs"], found, expected, strict=True):
            worst = float(np.abs(ours - theirs).max() / np.abs(theirs).max())
            if not worst <= HALF_TOLERANCE:
                raise ModelError(
                    f"in fp16 the {name} are off by {worst:.0%} of the largest",
                    where=str(location.path),
                    remedy=remedy,
                )
    return half


def _run(session: Any, batch: dict[str, NDArray[np.int64]]) -> Any:
    taken = {node.name for node in session.get_inputs()}
    return session.run(None, {name: ids for name, ids in batch.items() if name in taken})


def _random_batch(
    rows: int, width: int, inputs: tuple[str, ...], *, padded: bool = True
) -> dict[str, NDArray[np.int64]]:
    """Give rows of ordinary tokens, of different lengths if padded; the same for the same shape."""
    generator = np.random.default_rng(rows * 1000 + width)
    lengths = np.maximum(width - 2 * np.arange(rows) * padded, 3)[:, None]
    mask = (np.arange(width) < lengths).astype(np.int64)
    ids = generator.integers(5, 100, size=(rows, width)) * mask
    types = (np.arange(width) >= lengths // 3) * mask
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: batch[name] for name in inputs}


def _probes(folder: Path, facts: dict[str, Any]) -> Iterator[dict[str, NDArray[np.int64]]]:
    tokenizer = load_tokenizer(folder)
    for question, review in PROBES:
        encodings = (
            [tokenizer.encode(question, review)]
            if "start_logits" in facts["outputs"]
            else [tokenizer.encode(question), tokenizer.encode(review)]
        )
        for encoding in encodings:
            batch = {
                "input_ids": np.array([encoding.ids]),
                "attention_mask": np.array([encoding.attention_mask]),
                "token_type_ids": np.array([encoding.type_ids]),
            }
            yield {name: batch[name] for name in facts["inputs"]}


def _write(out: Path, model: ModelProto, source: ModelLocation, manifest: dict[str, Any]) -> None:
    """Put the files in place, the manifest last: a folder with a manifest is complete."""
    import onnx

    out.mkdir(parents=True, exist_ok=True)
    (out / MANIFEST).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as folder:
        work = Path(folder)
        onnx.save(model, work / "model.onnx")
        load_tokenizer(source.path).save(str(work / "tokenizer.json"), pretty=False)
        (work / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
        for name in ("model.onnx", "tokenizer.json", MANIFEST):
            shutil.move(work / name, out / name)
