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

from qa_system.checkpoints import has_token_types, pad_id_of, positions_of, reason
from qa_system.errors import MissingDependencyError, ModelError, QASystemError
from qa_system.inference import load_tokenizer
from qa_system.models import MANIFEST, POSITIONS, ModelLocation, locate, weights_sha256
from qa_system.noise import without_stderr
from qa_system.readers.backends import load_checkpoint
from qa_system.readers.calibration import calibration_of
from qa_system.readers.windows import WindowCutter
from qa_system.retrievers.sentence_models import load_sentence_model
from qa_system.training.fuse import fuse_attention

if TYPE_CHECKING:
    from onnx import ModelProto
    from tokenizers import Tokenizer

__all__ = ["MANIFEST_FORMAT", "export_model"]

MANIFEST_FORMAT = 1
UNSAID = ("inputs", "outputs", "tokenizer", "vocabulary")
"""Of what is known of a network, what the manifest does not say."""

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
        precision: `int8` quantises (see `qa_system.training.quantize`); `fp16` is for a GPU
            (see `qa_system.training.half`): a CPU without fp16 arithmetic runs it, no faster than
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
    try:
        with without_stderr():  # a graph that torch cannot export is printed whole
            model = _convert(network, facts, location, task, precision)
    except QASystemError:
        raise
    except Exception as error:  # the errors of torch's exporter and of ONNX Runtime share no base
        cause = error.__cause__ if isinstance(error.__cause__, Exception) else error
        raise ModelError(
            f"the architecture {facts['architecture']} cannot be exported: {reason(cause)}",
            where=str(location.path),
            remedy="Run the checkpoint as it is, with backend: torch.",
        ) from error
    folder = Path(location.name).expanduser()
    named = "/".join(folder.resolve().parts[-2:]) if folder.is_dir() else location.name
    manifest = {
        "format": MANIFEST_FORMAT,
        "task": task,
        "precision": precision,
        **{key: value for key, value in facts.items() if key not in UNSAID},
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
    try:
        _write(Path(out), model, load_tokenizer(facts["tokenizer"]), manifest)
    except OSError as error:
        raise ModelError(
            f"the export cannot be written: {error.strerror or error}",
            where=str(out),
            remedy="Name a folder that can be written, on a disk with room.",
        ) from error
    return manifest


def _convert(
    network: Any, facts: dict[str, Any], location: ModelLocation, task: str, precision: str
) -> ModelProto:
    model = _trace(network, facts)
    _check_equal(network, model, facts, location)
    if task == "reader":
        fuse_attention(model)
        _check_equal(network, model, facts, location, padded=False)
    if precision == "int8":
        from qa_system.training.quantize import quantize

        return quantize(model, _probes(facts), blockwise=task == "encoder")
    return _halved(model, facts, location) if precision == "fp16" else model


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

    # No window could be cut for a reader without a token that stands for "no answer".
    WindowCutter(load_tokenizer(location.path, checkpoint.config), where=str(location.path))
    config = checkpoint.config
    return Reader().eval(), {
        "tokenizer": location.path,
        "vocabulary": config.vocab_size,
        "inputs": _inputs_of(config),
        "outputs": ("start_logits", "end_logits"),
        "architecture": type(checkpoint).__name__,
        "max_seq_length": positions_of(checkpoint),
        "pad_id": pad_id_of(config),
    }


def _load_encoder(location: ModelLocation) -> tuple[Any, dict[str, Any]]:
    import torch

    loaded = load_sentence_model(
        location, model_options={"dtype": torch.float32, "attn_implementation": "eager"}
    )
    checkpoint = loaded.model

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

    encoder = checkpoint[0].auto_model
    stages = {type(stage).__name__: stage for stage in checkpoint}
    normalised = "Normalize" in stages
    question_prefix, passage_prefix = loaded.prefixes
    # What manifests of version 0.1.0 do not say has the value that it had then.
    further: dict[str, Any] = {"role": loaded.role} if loaded.role != "both" else {}
    if loaded.positions != POSITIONS:
        further["positions"] = loaded.positions
    return Encoder().eval(), {
        "tokenizer": loaded.tokenizer,
        "vocabulary": encoder.config.vocab_size,
        "inputs": _inputs_of(encoder.config),
        "outputs": ("sentence_embedding",),
        "architecture": type(encoder).__name__,
        "dimension": checkpoint.get_embedding_dimension(),
        # Of unit vectors the cosine is the dot product, which every index computes fastest.
        "similarity": "dot_product"
        if normalised and loaded.similarity == "cosine"
        else loaded.similarity,
        "normalize": normalised,
        "pooling": str(getattr(stages.get("Pooling"), "pooling_mode", "none")),
        "max_seq_length": loaded.max_seq_length,
        "pad_id": pad_id_of(encoder.config),
        "question_prefix": question_prefix,
        "passage_prefix": passage_prefix,
        **further,
    }


def _inputs_of(config: Any) -> tuple[str, ...]:
    return INPUTS if has_token_types(config) else INPUTS[:2]


def _trace(network: Any, facts: dict[str, Any]) -> ModelProto:
    import torch

    inputs = facts["inputs"]
    example = {name: torch.from_numpy(value) for name, value in _random_batch(2, 16, facts).items()}
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
    for rows, most in ((1, 7), (3, 40), (5, 96)):
        width = min(most, facts.get("positions") or facts["max_seq_length"] or most)
        batch = _random_batch(rows, width, facts, padded=padded)
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

    from qa_system.training.half import LARGEST, largest_activation, to_half

    remedy = (
        "Export this model in fp32 or int8, or run the checkpoint in bf16 (backend: torch): "
        "bf16 has fp32's range."
    )
    largest = largest_activation(exact, _probes(facts))
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
    for batch in _probes(facts):
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
    rows: int, width: int, facts: dict[str, Any], *, padded: bool = True
) -> dict[str, NDArray[np.int64]]:
    """Give rows of ordinary tokens, of different lengths if padded; the same for the same shape."""
    generator = np.random.default_rng(rows * 1000 + width)
    lengths = np.maximum(width - 2 * np.arange(rows) * padded, 3)[:, None]
    mask = (np.arange(width) < lengths).astype(np.int64)
    ids = generator.integers(5, min(100, facts["vocabulary"]), size=(rows, width)) * mask
    types = (np.arange(width) >= lengths // 3) * mask
    batch = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
    return {name: batch[name] for name in facts["inputs"]}


def _probes(facts: dict[str, Any]) -> Iterator[dict[str, NDArray[np.int64]]]:
    tokenizer = load_tokenizer(facts["tokenizer"])
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


def _write(out: Path, model: ModelProto, tokenizer: Tokenizer, manifest: dict[str, Any]) -> None:
    """Put the files in place, the manifest last: a folder with a manifest is complete."""
    import onnx

    out.mkdir(parents=True, exist_ok=True)
    (out / MANIFEST).unlink(missing_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=out) as folder:
        work = Path(folder)
        onnx.save(model, work / "model.onnx")
        tokenizer.save(str(work / "tokenizer.json"), pretty=False)
        (work / MANIFEST).write_bytes(orjson.dumps(manifest, option=orjson.OPT_INDENT_2) + b"\n")
        for name in ("model.onnx", "tokenizer.json", MANIFEST):
            shutil.move(work / name, out / name)
