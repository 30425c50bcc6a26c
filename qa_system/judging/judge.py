"""The judge: a question and texts in; whether each answers, and what it says, out."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from qa_system.arguments import check_question, check_texts
from qa_system.config import JudgeSettings
from qa_system.errors import InvalidArgumentError, ModelError
from qa_system.judging.backends import JudgeBackend, load_backend
from qa_system.judging.judgements import LOGITS, Judgements
from qa_system.models.inference import pad, token_batches
from qa_system.models.locate import locate, stamp
from qa_system.models.sharing import Shared
from qa_system.models.tokenizing import encodable
from qa_system.stages import stage

if TYPE_CHECKING:
    from tokenizers import Encoding

__all__ = ["Judge", "logits_of"]

DEFAULTS = JudgeSettings()

CPU_BATCH_TOKENS = 512
GPU_BATCH_TOKENS = 32_768

INT8_BATCH_TOKENS = 1
"""Each pair alone: int8 has one scale for all activations of a pass, so a pair's logits would
depend on its company. On a CPU it costs next to nothing."""


class Judge:
    """Read a question with each of some texts, normally sentences, and say what they answer.

    Loading happens on first use, or by `warm_up`. One judge may be used by many threads, and
    judges of the same model have one copy of it in memory.

    Args:
        model: `bundled:NAME`, a folder (an export of `qa export`, or a checkpoint of
            `qa train judge`), or a Hub id.
        backend: `onnx`, `torch`, or `auto`: the one that the model is for.
        precision: `fp32`, `bf16`, `fp16`, `int8`, or `auto`: what the export holds; for a
            checkpoint bf16 where the hardware multiplies it.
        device: `cpu`, `cuda`, or `auto`.
        threads: on the CPU: batches that an export computes side by side, or threads inside a
            checkpoint's forward pass; None takes all cores.
        batch_tokens: padded tokens of a forward pass; None takes what measured best, and in int8
            judges each pair alone, so that what is said of it depends on nothing else.

    >>> judge = Judge()
    >>> [judged] = judge.judge(["Is it loud?"], [["Very loud.", "I bought two."]])
    >>> judged.answers.shape, judged.stance.shape, judged.polarity.shape
    ((2,), (2, 3), (2, 4))
    """

    def __init__(
        self,
        model: str = DEFAULTS.model,
        *,
        backend: Literal["auto", "onnx", "torch"] = DEFAULTS.backend,
        precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = DEFAULTS.precision,
        device: str = DEFAULTS.device,
        threads: int | None = DEFAULTS.threads,
        batch_tokens: int | None = DEFAULTS.batch_tokens,
    ) -> None:
        self.model = model
        self.backend: Literal["auto", "onnx", "torch"] = backend
        self.precision = precision
        self.device = device
        self.threads = threads
        self.batch_tokens = batch_tokens
        self._loaded: JudgeBackend | None = None
        self._loading = Lock()

    def warm_up(self) -> None:
        """Load the model.

        Raises:
            ModelError: it is missing, damaged, or no judge.
            MissingDependencyError: it needs a package that is not installed.
        """
        self._ready()

    @property
    def threshold(self) -> float:
        """The probability from which on a text counts as an answer; fitted with the model."""
        return self._ready().calibration.threshold

    def judge(self, questions: Sequence[str], texts: Sequence[Sequence[str]]) -> list[Judgements]:
        """Judge texts.

        A pair that is longer than what the model reads (128 tokens) is cut at its end.

        Args:
            questions: what is asked.
            texts: of each question, those that may answer it; there may be none.

        Returns:
            The judgements of each question's texts, in order.

        Raises:
            EmptyQuestionError: a question has no words.
            InvalidArgumentError: a question or a text is no text, or the two sequences differ in
                length.
            ModelError: the model cannot be loaded, or computes NaN or infinity.
        """
        _check(questions, texts)
        loaded = self._ready()
        pairs = [
            (encodable(question), encodable(text))
            for question, each in zip(questions, texts, strict=True)
            for text in each
        ]
        with stage("judge") as span:
            span.set_tags(
                {"qa_system.judge.model": self.model, "qa_system.judge.texts": len(pairs)}
            )
            logits = logits_of(loaded, pairs, self.batch_tokens)
        if not np.isfinite(logits).all():
            raise ModelError(
                "the judge computes NaN or infinity",
                where=self.model,
                remedy="Check the judge's weights, or name another judge.",
            )
        ends = np.cumsum([len(each) for each in texts])
        parts = np.split(logits, ends[:-1]) if len(ends) else []
        return [Judgements.of_logits(part, loaded.calibration) for part in parts]

    def _ready(self) -> JudgeBackend:
        with self._loading:
            if self._loaded is None:
                location = locate(self.model)
                self._loaded = _backends.get(
                    (stamp(location.path), self.backend, self.precision, self.device, self.threads),
                    lambda: load_backend(
                        location,
                        backend=self.backend,
                        precision=self.precision,
                        device=self.device,
                        threads=self.threads,
                    ),
                )
            return self._loaded


_backends: Shared[JudgeBackend] = Shared()


def logits_of(
    backend: JudgeBackend, pairs: Sequence[tuple[str, str]], batch_tokens: int | None = None
) -> NDArray[np.float32]:
    """Return the logits of pairs of a question and a text, in order, (n, 9).

    Args:
        backend: a loaded judge.
        pairs: without lone surrogates.
        batch_tokens: padded tokens of a forward pass at most; None: what measured best.
    """
    logits = np.empty((len(pairs), len(LOGITS)), dtype=np.float32)
    if not pairs:
        return logits
    encodings = backend.tokenizer.encode_batch(list(pairs))
    if batch_tokens is None:
        batch_tokens = GPU_BATCH_TOKENS if backend.on_gpu else CPU_BATCH_TOKENS
        if backend.precision == "int8":
            batch_tokens = INT8_BATCH_TOKENS
    lengths = [len(each) for each in encodings]
    batches = list(token_batches(lengths, batch_tokens, padded=backend.pads))
    parts = [[encodings[row] for row in rows] for rows in batches]
    workers = min(backend.workers, len(parts))
    if workers > 1:
        # Threads of a pass wait for each other after every layer; passes side by side do not.
        with ThreadPoolExecutor(workers) as pool:
            computed = list(pool.map(partial(_logits, backend), parts))
    else:
        computed = [_logits(backend, part) for part in parts]
    for rows, found in zip(batches, computed, strict=True):
        logits[rows] = found
    return logits


def _logits(backend: JudgeBackend, encodings: Sequence[Encoding]) -> NDArray[np.float32]:
    return backend.logits(
        pad([each.ids for each in encodings], backend.pad_id),
        pad([each.attention_mask for each in encodings]),
        pad([each.type_ids for each in encodings]),
    )


def _check(questions: Sequence[str], texts: Sequence[Sequence[str]]) -> None:
    check_texts("questions", questions)
    if len(questions) != len(texts):
        raise InvalidArgumentError(
            f"{len(questions)} questions came with {len(texts)} lists of texts",
            remedy="Pass a list of texts, which may be empty, for each question.",
        )
    for place, (question, each) in enumerate(zip(questions, texts, strict=True)):
        check_question(question, "question" if len(questions) == 1 else f"question {place + 1}")
        check_texts(f"texts[{place}]", each)
