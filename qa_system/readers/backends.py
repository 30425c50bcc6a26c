"""What computes the logits: an ONNX export or a torch checkpoint behind one call."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import ModelError
from qa_system.models.checkpoints import has_token_types, load_model, pad_id_of
from qa_system.models.inference import (
    IntArray,
    OnnxSession,
    choose_backend,
    choose_torch_device,
    choose_torch_precision,
    cores,
    load_tokenizer,
    pad,
    token_batches,
)
from qa_system.models.locate import MANIFEST, ModelLocation
from qa_system.models.positions import positions_of
from qa_system.models.tokenizing import check_vocabulary
from qa_system.readers.calibration import Calibration, calibration_of
from qa_system.readers.spans import WindowLogits
from qa_system.readers.windows import Window

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = [
    "ReaderBackend",
    "TorchBackend",
    "load_backend",
    "load_checkpoint",
    "rows_of_logits",
    "score_windows",
]

FloatArray = NDArray[np.float32]


class ReaderBackend(Protocol):
    """A loaded reader; safe to call from several threads at once.

    Attributes:
        tokenizer: the model's own, without truncation and padding.
        positions: tokens of a window at most; None: any number.
        pad_id: the id that short rows of a batch are filled with.
        calibration: what was fitted with the model on whole reviews.
        of_sentences: the same where the best sentences are read.
        on_gpu: whether it runs on one.
        pads: whether rows of different lengths may share a batch.
        precision: of its weights (`fp32`, `bf16`, `fp16`, `int8`).
        workers: batches that are computed side by side, each by one thread.
    """

    tokenizer: Tokenizer
    positions: int | None
    pad_id: int
    calibration: Calibration
    of_sentences: Calibration
    on_gpu: bool
    pads: bool
    precision: str
    workers: int

    def logits(
        self, input_ids: IntArray, attention_mask: IntArray, token_type_ids: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return start and end logits of a batch, each of shape (rows, length)."""


def load_backend(
    location: ModelLocation,
    *,
    backend: Literal["auto", "onnx", "torch"] = "auto",
    precision: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> ReaderBackend:
    """Load a reader.

    Args:
        location: an export of `qa export`, or a checkpoint for extractive question answering
            with its weights in safetensors.
        backend: `auto` takes the one that the model is for.
        precision: `auto` takes the export's own, or bf16 where the hardware multiplies it.
        device: `auto` takes a GPU where there is one.
        threads: of an export, windows that are read side by side, each by one thread; None: as
            many as there are cores. Of a checkpoint, threads inside one call; None leaves the
            choice to torch, which has one such setting for the whole process.

    Raises:
        ModelError: the model is of another kind, is damaged, or cannot run as asked.
        MissingDependencyError: onnxruntime, or torch and transformers, are not installed.
    """
    if choose_backend(location, backend) == "onnx":
        return _Onnx(location, precision, device, threads)
    torch_device = choose_torch_device(device)
    dtype = choose_torch_precision(precision, torch_device)
    model = load_checkpoint(location, dtype=dtype).to(torch_device)
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    return TorchBackend(
        model,
        load_tokenizer(location.path),
        calibration_of(location),
        calibration_of(location, of_sentences=True),
    )


def score_windows(
    backend: ReaderBackend,
    windows: Sequence[Window],
    batch_tokens: int,
    where: str | None = None,
) -> list[WindowLogits]:
    """Score windows in batches: of like length where the backend pads, else of equal.

    Args:
        backend: computes the logits.
        windows: in any order.
        batch_tokens: padded tokens of a forward pass at most.
        where: the model's name, for the error.

    Returns:
        The logits of each window, in the order of the windows.

    Raises:
        ModelError: the model computes NaN or infinity.
    """
    scored = [
        _of_text(window, start, end)
        for window, (start, end) in zip(
            windows, rows_of_logits(backend, windows, batch_tokens), strict=True
        )
    ]
    for each in scored:
        if not all(np.isfinite(values).all() for values in (each.start, each.end, each.null)):
            raise ModelError(
                "the reader computes NaN or infinity",
                where=where,
                remedy="Check the reader's weights, or name another reader.",
            )
    return scored


def _of_text(window: Window, start: FloatArray, end: FloatArray) -> WindowLogits:
    context = slice(window.context_start, window.context_start + len(window.offsets))
    return WindowLogits(
        start=start[context],
        end=end[context],
        null=float(start[0] + end[0]),
        offsets=window.offsets,
    )


def rows_of_logits(
    backend: ReaderBackend, windows: Sequence[Window], batch_tokens: int
) -> list[tuple[FloatArray, FloatArray]]:
    """Return the start and end logits of all tokens of each window, and of the padding after them.

    Args:
        backend: as in `score_windows`.
        windows: likewise.
        batch_tokens: likewise.
    """
    lengths = [len(window) for window in windows]
    batches = list(token_batches(lengths, batch_tokens, padded=backend.pads))
    parts = [[windows[row] for row in rows] for rows in batches]
    workers = min(backend.workers, len(parts))
    if workers > 1:
        # Threads of a pass wait for each other after every layer; passes side by side do not.
        with ThreadPoolExecutor(workers) as pool:
            computed = list(pool.map(partial(_logits, backend), parts))
    else:
        computed = [_logits(backend, part) for part in parts]
    found: dict[int, tuple[FloatArray, FloatArray]] = {}
    for rows, logits in zip(batches, computed, strict=True):
        found.update(zip(rows.tolist(), zip(*logits, strict=True), strict=True))
    return [found[row] for row in range(len(windows))]


def _logits(backend: ReaderBackend, windows: Sequence[Window]) -> tuple[FloatArray, FloatArray]:
    """Return the logits of one batch."""
    lengths = np.array([[len(window)] for window in windows])
    return backend.logits(
        pad([window.input_ids for window in windows], backend.pad_id),
        (np.arange(lengths.max()) < lengths).astype(np.int64),
        pad([window.type_ids for window in windows]),
    )


def load_checkpoint(location: ModelLocation, *, new_head: bool = False, **options: Any) -> Any:
    """Load a torch checkpoint for extractive question answering, ready to infer.

    Args:
        location: the folder, with weights in safetensors.
        new_head: whether an encoder without a head gets one that knows nothing, to be trained.
        options: handed on to transformers' `from_pretrained`.

    Raises:
        MissingDependencyError: transformers is not installed.
        ModelError: it is not such a checkpoint; a head that was never trained counts as that.
    """
    model = load_model(
        location,
        "AutoModelForQuestionAnswering",
        purpose="extractive question answering",
        remedy="Name a checkpoint with a trained question-answering head, in safetensors.",
        new_head=new_head,
        **options,
    )
    check_vocabulary(load_tokenizer(location.path, model.config), model, str(location.path))
    return model


class _Onnx:
    def __init__(
        self, location: ModelLocation, precision: str, device: str, threads: int | None
    ) -> None:
        self._session = OnnxSession(location, precision=precision, device=device, threads=1)
        manifest = self._session.manifest
        if manifest.get("task") != "reader":
            raise ModelError(
                f"{location.name!r} is an export for the task {manifest.get('task')!r}, "
                "not a reader",
                where=str(location.path),
                remedy="Name a reader, such as bundled:reader.",
            )
        self.tokenizer = load_tokenizer(location.path)
        self.positions: int | None = manifest["max_seq_length"]
        self.pad_id: int = manifest.get("pad_id", 0)
        where = location.path / MANIFEST
        self.calibration = Calibration.from_manifest(manifest, where=where)
        self.of_sentences = Calibration.from_manifest(manifest, where=where, of_sentences=True)
        self.on_gpu = self._session.on_gpu
        self.workers = 1 if self.on_gpu else threads or cores()
        self.pads = False
        self.precision = self._session.precision

    def logits(
        self, input_ids: IntArray, attention_mask: IntArray, token_type_ids: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        start, end = self._session.run(
            {
                "input_ids": input_ids,
                "attention_mask": attention_mask,
                "token_type_ids": token_type_ids,
            }
        )
        return start, end


class TorchBackend:
    """A torch model for extractive question answering, on whatever device it is.

    Args:
        model: one of transformers' `...ForQuestionAnswering`.
        tokenizer: its own, without truncation and padding.
        calibration: what was fitted with it on whole reviews.
        of_sentences: the same where the best sentences are read; None: `calibration`.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        calibration: Calibration | None = None,
        of_sentences: Calibration | None = None,
    ) -> None:
        config = model.config
        self._model = model
        self._has_types = has_token_types(config)
        self.tokenizer = tokenizer
        self.positions = positions_of(model)
        self.pad_id = pad_id_of(config)
        self.calibration = calibration or Calibration()
        self.of_sentences = of_sentences or self.calibration
        self.on_gpu = model.device.type == "cuda"
        self.pads = self.on_gpu
        self.workers = 1
        self.precision = {"bfloat16": "bf16", "float16": "fp16"}.get(
            str(model.dtype).removeprefix("torch."), "fp32"
        )

    def logits(
        self, input_ids: IntArray, attention_mask: IntArray, token_type_ids: IntArray
    ) -> tuple[FloatArray, FloatArray]:
        """Return start and end logits of a batch."""
        import torch

        feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
        if self._has_types:
            feeds["token_type_ids"] = token_type_ids
        with torch.inference_mode():
            output = self._model(
                **{
                    name: torch.from_numpy(ids).to(self._model.device)
                    for name, ids in feeds.items()
                }
            )
        return output.start_logits.float().cpu().numpy(), output.end_logits.float().cpu().numpy()
