"""What computes a judge's logits: an ONNX export or a torch checkpoint behind one call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from qa_system.errors import ModelError
from qa_system.judging.judgements import LOGITS, Calibration, calibration_of
from qa_system.models.checkpoints import has_token_types, load_model, pad_id_of
from qa_system.models.inference import (
    IntArray,
    OnnxSession,
    choose_backend,
    choose_torch_device,
    choose_torch_precision,
    cores,
    load_tokenizer,
)
from qa_system.models.locate import MANIFEST, ModelLocation
from qa_system.models.positions import positions_of
from qa_system.models.tokenizing import check_vocabulary

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["JudgeBackend", "TorchJudge", "load_backend", "load_checkpoint"]

FloatArray = NDArray[np.float32]

MAX_SEQ_LENGTH = 128
"""Tokens of question and text that are read; nine sentences of ten have fewer than 60."""

REMEDY = "Name a judge: bundled:judge, or a folder that `qa train judge` or `qa export` wrote."


class JudgeBackend(Protocol):
    """A loaded judge; safe to call from several threads at once.

    Attributes:
        tokenizer: its own; it cuts a pair to what the judge reads.
        pad_id: the id that short rows of a batch are filled with.
        calibration: what its logits mean.
        on_gpu: whether it runs on one.
        pads: whether rows of different lengths may share a batch.
        precision: of its weights (`fp32`, `bf16`, `fp16`, `int8`).
        workers: batches that are computed side by side, each by one thread.
    """

    tokenizer: Tokenizer
    pad_id: int
    calibration: Calibration
    on_gpu: bool
    pads: bool
    precision: str
    workers: int

    def logits(
        self, input_ids: IntArray, attention_mask: IntArray, token_type_ids: IntArray
    ) -> FloatArray:
        """Return the logits of a batch in the order of `LOGITS`, (rows, 9)."""


def load_backend(
    location: ModelLocation,
    *,
    backend: Literal["auto", "onnx", "torch"] = "auto",
    precision: str = "auto",
    device: str = "auto",
    threads: int | None = None,
) -> JudgeBackend:
    """Load a judge.

    Args:
        location: an export of `qa export`, or a checkpoint of `qa train judge`.
        backend: `auto` takes the one that the model is for.
        precision: `auto` takes the export's own, or bf16 where the hardware multiplies it.
        device: `auto` takes a GPU where there is one.
        threads: of an export, batches that are computed side by side, each by one thread; None:
            as many as there are cores. Of a checkpoint, threads inside one call.

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
    return TorchJudge(model, load_tokenizer(location.path), calibration_of(location))


def load_checkpoint(location: ModelLocation, **options: Any) -> Any:
    """Load a torch checkpoint of a judge, ready to infer.

    Args:
        location: the folder, with weights in safetensors.
        options: handed on to transformers' `from_pretrained`.

    Raises:
        MissingDependencyError: transformers is not installed.
        ModelError: it is not a judge.
    """
    model = load_model(
        location,
        "AutoModelForSequenceClassification",
        purpose="judging texts",
        remedy=REMEDY,
        **options,
    )
    labels = getattr(model.config, "id2label", {})
    check_heads([labels[place] for place in sorted(labels)], location)
    check_vocabulary(load_tokenizer(location.path, model.config), model, str(location.path))
    return model


def check_heads(found: Sequence[str], location: ModelLocation) -> None:
    """Refuse a model whose outputs are not a judge's.

    Raises:
        ModelError: naming what they are.
    """
    if tuple(found) != LOGITS:
        raise ModelError(
            f"{location.name!r} is no judge: its outputs are {', '.join(found) or 'not named'}",
            where=str(location.path),
            remedy=REMEDY,
        )


def cut_to(tokenizer: Tokenizer, length: int) -> Tokenizer:
    """Make a tokenizer cut a pair to so many tokens, off the end of the longer text."""
    tokenizer.enable_truncation(length, strategy="longest_first")
    return tokenizer


class _Onnx:
    def __init__(
        self, location: ModelLocation, precision: str, device: str, threads: int | None
    ) -> None:
        self._session = OnnxSession(location, precision=precision, device=device, threads=1)
        manifest = self._session.manifest
        if manifest.get("task") != "judge":
            raise ModelError(
                f"{location.name!r} is an export for the task {manifest.get('task')!r}, "
                "not a judge",
                where=str(location.path),
                remedy=REMEDY,
            )
        check_heads(manifest.get("outputs") or (), location)
        self.tokenizer = cut_to(load_tokenizer(location.path), manifest["max_seq_length"])
        self.pad_id: int = manifest.get("pad_id", 0)
        self.calibration = Calibration.from_manifest(manifest, str(location.path / MANIFEST))
        self.on_gpu = self._session.on_gpu
        self.workers = 1 if self.on_gpu else threads or cores()
        self.pads = False
        self.precision = self._session.precision

    def logits(
        self, input_ids: IntArray, attention_mask: IntArray, token_type_ids: IntArray
    ) -> FloatArray:
        return self._session.run(
            {
                "input_ids": input_ids,
                "attention_mask": attention_mask,
                "token_type_ids": token_type_ids,
            }
        )[0]


class TorchJudge:
    """A torch model that judges, on whatever device it is.

    Args:
        model: one of transformers' `...ForSequenceClassification` with a judge's outputs.
        tokenizer: its own, without truncation and padding; it is changed.
        calibration: what was fitted with it.
        max_seq_length: tokens of question and text that are read; None: 128, or as many as the
            model has positions.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        calibration: Calibration | None = None,
        max_seq_length: int | None = None,
    ) -> None:
        self._model = model
        self._has_types = has_token_types(model.config)
        length = max_seq_length or min(MAX_SEQ_LENGTH, positions_of(model) or MAX_SEQ_LENGTH)
        self.tokenizer = cut_to(tokenizer, length)
        self.pad_id = pad_id_of(model.config)
        self.calibration = calibration or Calibration()
        self.on_gpu = model.device.type == "cuda"
        self.workers = 1
        self.pads = True
        self.precision = {"bfloat16": "bf16", "float16": "fp16"}.get(
            str(model.dtype).removeprefix("torch."), "fp32"
        )

    def logits(
        self, input_ids: IntArray, attention_mask: IntArray, token_type_ids: IntArray
    ) -> FloatArray:
        """Return the logits of a batch."""
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
        logits: FloatArray = output.logits.float().cpu().numpy()
        return logits
