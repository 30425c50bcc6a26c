"""What the reader and the encoders share: tokenizers, sessions, devices, batches by length."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import MissingDependencyError, ModelError
from qa_system.models.checkpoints import reason
from qa_system.models.differences import restored
from qa_system.models.hidden_states import with_outputs
from qa_system.models.locate import MANIFEST, ModelLocation, locate, read_manifest
from qa_system.models.manifest import Difference
from qa_system.models.tokenizing import take_literally

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = [
    "IntArray",
    "OnnxSession",
    "choose_backend",
    "choose_torch_device",
    "choose_torch_precision",
    "cores",
    "load_tokenizer",
    "pad",
    "token_batches",
    "weights_of",
]

IntArray = NDArray[np.int64]

OLDER_TOKENIZERS = (
    "vocab.txt",
    "vocab.json",
    "spm.model",
    "spiece.model",
    "sentencepiece.bpe.model",
)


def choose_backend(
    location: ModelLocation, backend: Literal["auto", "onnx", "torch"]
) -> Literal["onnx", "torch"]:
    """Match the backend asked for with the model found.

    Raises:
        ModelError: the model is of the other kind, or is static vectors.
    """
    if location.format == "static":
        raise ModelError(
            f"{location.name!r} has static vectors, which only an encoder can be, with the "
            "backend auto",
            where=str(location.path),
            remedy="Name it as encoder.model, and set backend: auto.",
        )
    if backend in ("auto", location.format):
        return location.format
    remedy = (
        "Export the checkpoint first: qa export --help."
        if backend == "onnx"
        else "Name the checkpoint that it was exported from, or set backend: onnx."
    )
    raise ModelError(
        f"backend {backend!r} cannot run {location.name!r}, which is a model for {location.format}",
        where=str(location.path),
        remedy=remedy,
    )


def cores() -> int:
    """Return how many of the machine's cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def load_tokenizer(folder: Path, config: Any = None) -> Tokenizer:
    """Load a folder's tokenizer, with its own truncation and padding off.

    It is a `tokenizer.json`, or what transformers makes of older files (`vocab.txt`, `merges.txt`,
    `spm.model`). Special tokens in a text are the letters that they are written with.

    Args:
        folder: of the model, or of the tokenizer alone.
        config: the model's, as transformers has it, where the folder holds none.

    Raises:
        ModelError: the files are missing or damaged.
    """
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    has_older = not path.is_file() and any((folder / name).is_file() for name in OLDER_TOKENIZERS)
    try:
        tokenizer = _converted(folder, config) if has_older else Tokenizer.from_file(str(path))
    except Exception as error:  # the Rust extension raises bare Exception
        raise ModelError(
            f"the tokenizer cannot be read: {reason(error)}",
            where=str(folder if has_older else path),
            remedy="The model needs a fast tokenizer (tokenizer.json); save it again with one.",
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    take_literally(tokenizer)
    return tokenizer


def _converted(folder: Path, config: Any) -> Tokenizer:
    from transformers import AutoTokenizer

    options = {} if config is None else {"config": config}
    slow = AutoTokenizer.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False, **options
    )
    return cast("Tokenizer", slow.backend_tokenizer)


def token_batches(
    lengths: Sequence[int], batch_tokens: int, *, padded: bool = True
) -> Iterator[IntArray]:
    """Group rows of like length, so that little of a batch is padding.

    Args:
        lengths: tokens of each row.
        batch_tokens: upper bound of rows x longest row in a batch; a single longer row is a
            batch of its own.
        padded: False puts only rows of equal length together.

    Returns:
        Positions into `lengths`, each exactly once, longest rows first (so that too large a
        batch fails at once, not at the end).

    >>> [batch.tolist() for batch in token_batches([3, 9, 3, 8], 18)]
    [[1, 3], [0, 2]]
    """
    order = np.argsort(np.asarray(lengths), kind="stable")[::-1]
    start = 0
    while start < len(order):
        longest = max(int(lengths[order[start]]), 1)
        stop = start + max(batch_tokens // longest, 1)
        if not padded:
            while lengths[order[min(stop, len(order)) - 1]] < longest:
                stop = min(stop, len(order)) - 1
        yield np.sort(order[start:stop])
        start = stop


def pad(rows: Sequence[Sequence[int] | NDArray[np.integer[Any]]], value: int = 0) -> IntArray:
    """Stack rows of different lengths, filling with `value` on the right.

    >>> pad([[1, 2], [3]]).tolist()
    [[1, 2], [3, 0]]
    """
    width = max((len(row) for row in rows), default=0)
    padded = np.full((len(rows), width), value, dtype=np.int64)
    for position, row in enumerate(rows):
        padded[position, : len(row)] = row
    return padded


def _session(
    location: ModelLocation, device: str, threads: int | None, outputs: Sequence[str]
) -> Any:
    """Open the export's graph in ONNX Runtime."""
    try:
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            f"the model {location.name!r} runs on onnxruntime, which is not installed",
            remedy="Install it: pip install 'qa-system[cpu]'.",
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is an exception, which says the same
    if threads is not None:
        options.intra_op_num_threads = threads
    available = onnxruntime.get_available_providers()
    if device.startswith("cuda") and "CUDAExecutionProvider" not in available:
        raise ModelError(
            f"device {device!r} was asked for, and this onnxruntime has no CUDA provider",
            where=location.name,
            remedy="Install 'qa-system[gpu]', or set device: cpu.",
        )
    providers = ["CPUExecutionProvider"]
    if device != "cpu" and "CUDAExecutionProvider" in available:
        providers.insert(0, "CUDAExecutionProvider")
    weights = weights_of(location)
    if outputs:
        whole = weights if isinstance(weights, bytes) else Path(weights).read_bytes()
        weights = with_outputs(whole, outputs)
    try:
        return onnxruntime.InferenceSession(
            weights,
            options,
            providers=providers,
            # The fused kernel of its CPU provider takes four times as long as the parts.
            disabled_optimizers=["SkipLayerNormFusion"],
        )
    except Exception as error:  # onnxruntime's exceptions share no base
        raise ModelError(
            f"the ONNX model cannot be loaded: {error}",
            where=str(location.path / "model.onnx"),
            remedy="Export the model again with `qa export`.",
        ) from error


def weights_of(location: ModelLocation) -> str | bytes:
    """Return the file of the weights, or the weights where the file holds a difference."""
    difference = read_manifest(location.path).get("difference_from")
    if difference is None:
        return str(location.path / "model.onnx")
    difference = Difference.model_validate(difference)
    return restored(location.path, locate(difference.model).path, difference)


class OnnxSession:
    """An ONNX Runtime session over a model folder that `qa export` made.

    Safe to call from several threads at once.

    Args:
        location: the model's folder.
        precision: `auto` takes what the folder holds.
        device: `cpu`, `cuda` or `auto`.
        threads: threads inside one call; None takes a thread for each physical core.
        outputs: tensors inside the graph that `run` returns; none: the graph's own outputs.

    Raises:
        MissingDependencyError: onnxruntime is not installed.
        ModelError: the precision is not the folder's, or the file is damaged.
    """

    def __init__(
        self,
        location: ModelLocation,
        *,
        precision: str = "auto",
        device: str = "auto",
        threads: int | None = None,
        outputs: Sequence[str] = (),
    ) -> None:
        self._session = _session(location, device, threads, outputs)
        self._outputs = list(outputs) or None
        self.manifest = read_manifest(location.path)
        for key in ("precision", "max_seq_length"):
            if key not in self.manifest:
                raise ModelError(
                    f"the model's manifest does not say its {key}",
                    where=str(location.path / MANIFEST),
                    remedy="Export the model again with `qa export`.",
                )
        self.precision: str = self.manifest["precision"]
        if precision not in ("auto", self.precision):
            raise ModelError(
                f"{location.name!r} holds {self.precision} weights, not {precision}",
                where=str(location.path),
                remedy=f"Set precision to auto or {self.precision}, "
                f"or name a checkpoint or an export in {precision}.",
            )
        self.inputs = {node.name for node in self._session.get_inputs()}
        self.on_gpu = "CUDAExecutionProvider" in self._session.get_providers()

    def run(self, feeds: Mapping[str, IntArray]) -> list[NDArray[np.float32]]:
        """Run one batch; inputs that the model does not have are left out."""
        known = {name: value for name, value in feeds.items() if name in self.inputs}
        return cast("list[NDArray[np.float32]]", self._session.run(self._outputs, known))


def choose_torch_device(device: str) -> Any:
    """Return the torch device that a setting means; `auto` takes a GPU where there is one.

    Raises:
        MissingDependencyError: torch is not installed.
        ModelError: the device is not there.
    """
    try:
        import torch
    except ImportError as error:
        raise MissingDependencyError(
            "this checkpoint runs on torch, which is not installed",
            remedy="Install it: pip install 'qa-system[torch]'. "
            "The bundled reader and encoder run without.",
        ) from error
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(
            f"device {device!r} was asked for, and torch sees no GPU",
            remedy="Set device: cpu, or install a CUDA build of torch.",
        )
    try:
        return torch.device(device)
    except RuntimeError as error:
        raise ModelError(
            f"torch knows no device {device!r}", remedy="Set device: auto, cpu or cuda."
        ) from error


def choose_torch_precision(precision: str, device: Any) -> Any:
    """Return the torch dtype that a setting means on a device.

    `auto` takes bf16 where the hardware multiplies it (bf16 keeps 99 % of the answers), fp32
    elsewhere.

    Raises:
        ModelError: int8 was asked of a checkpoint; that takes an export.
    """
    import torch

    if precision == "int8":
        raise ModelError(
            "int8 runs on ONNX Runtime only",
            remedy="Export the checkpoint: "
            "qa export CHECKPOINT --task TASK --precision int8 --out FOLDER.",
        )
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else _cpu_multiplies_bf16()
        precision = "bf16" if fast else "fp32"
    return {"bf16": torch.bfloat16, "fp16": torch.float16, "fp32": torch.float32}[precision]


def _cpu_multiplies_bf16() -> bool:
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
