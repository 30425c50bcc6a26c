"""Questions and passages as vectors: ONNX exports, and checkpoints of every kind of encoder.

An encoder is one tower for both sides, or two as in DPR (Karpukhin et al., 2020,
https://arxiv.org/abs/2004.04906). Texts are tokenised once, sorted by length and batched by a
budget of padded tokens: on a CPU small batches are several times faster than the usual 32 rows.
"""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.config import EncoderSettings
from qa_system.errors import ModelError
from qa_system.models.inference import (
    IntArray,
    OnnxSession,
    choose_backend,
    choose_torch_device,
    choose_torch_precision,
    load_tokenizer,
    pad,
    token_batches,
)
from qa_system.models.locate import ModelLocation, locate, stamp, weights_hash
from qa_system.models.manifest import POSITIONS
from qa_system.models.sharing import Shared
from qa_system.models.tokenizing import encodable
from qa_system.records import EncoderIdentity, Similarity
from qa_system.retrievers.sentence_models import Role, check_role, load_sentence_model

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

__all__ = [
    "Encoder",
    "OnnxTower",
    "TorchTower",
    "Tower",
    "load_encoder",
    "load_tower",
    "shared_encoder",
]

logger = logging.getLogger(__name__)

CPU_BATCH_TOKENS = 512
GPU_BATCH_TOKENS = 32_768


class Tower(ABC):
    """One model that turns token ids into vectors.

    Args:
        tokenizer: its tokenizer; truncates to `max_seq_length`.
        role: what it encodes.
        max_seq_length: tokens that it reads of a text, special tokens included; None: all.
        similarity: the one that it was trained with.
        prefixes: what is put before a question and before a passage.
        batch_tokens: padded tokens in one forward pass.
    """

    takes_padding = True
    """Whether rows of different lengths may be in one batch."""

    def __init__(
        self,
        location: ModelLocation,
        tokenizer: Tokenizer,
        *,
        role: Role,
        max_seq_length: int | None,
        similarity: Similarity,
        prefixes: tuple[str, str] = ("", ""),
        batch_tokens: int,
    ) -> None:
        if max_seq_length is not None:
            tokenizer.enable_truncation(max_seq_length)
        self.location = location
        self.role: Role = role
        self.tokenizer = tokenizer
        self.max_seq_length = max_seq_length
        self.similarity: Similarity = similarity
        self.question_prefix, self.passage_prefix = prefixes
        self.batch_tokens = batch_tokens
        pads = (tokenizer.token_to_id(name) for name in ("[PAD]", "<pad>"))
        self.pad_id = next((pad_id for pad_id in pads if pad_id is not None), 0)
        self.truncated = 0

    def fingerprint(self, *, titles: bool = False) -> str:
        """Hash what decides the vectors: the weights, and how a text reaches them."""
        shape = [
            weights_hash(self.location.path),
            self.max_seq_length,
            self.question_prefix,
            self.passage_prefix,
            *(["titles"] if titles else []),
        ]
        return hashlib.sha256(orjson.dumps(shape)).hexdigest()

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Numbers in a vector."""

    @abstractmethod
    def forward(self, input_ids: IntArray, attention_mask: IntArray) -> NDArray[np.float32]:
        """Turn a padded batch (n, length) into vectors (n, dimension)."""

    def tokenize(self, texts: Sequence[str | tuple[str, str]]) -> list[Encoding]:
        """Turn texts, or pairs of a title and a text, into tokens; long ones are cut."""
        encodings = self.tokenizer.encode_batch(
            [
                encodable(text) if isinstance(text, str) else tuple(map(encodable, text))
                for text in texts
            ],
        )
        cut = sum(1 for encoding in encodings if encoding.overflowing)
        if cut and not self.truncated:
            logger.info(
                "%s reads the first %d tokens of a text; longer ones are cut. "
                "Set indexing.passages.max_words to split them.",
                self.location.name,
                self.max_seq_length,
            )
        self.truncated += cut
        return encodings

    def batches(
        self, ids: Sequence[Sequence[int]]
    ) -> Iterator[tuple[IntArray, IntArray, IntArray]]:
        """Group rows of tokens: positions in `ids`, and the batch that `forward` takes."""
        for batch in token_batches(
            [len(row) for row in ids], self.batch_tokens, padded=self.takes_padding
        ):
            rows = [ids[position] for position in batch]
            yield batch, pad(rows, self.pad_id), pad([[1] * len(row) for row in rows])

    def encode(self, texts: Sequence[str | tuple[str, str]]) -> NDArray[np.float32]:
        """Turn texts, or pairs of a title and a text, into vectors (n, dimension), in order."""
        ids = [encoding.ids for encoding in self.tokenize(texts)]
        vectors = np.empty((len(ids), self.dimension), dtype=np.float32)
        for batch, input_ids, attention_mask in self.batches(ids):
            vectors[batch] = self.forward(input_ids, attention_mask)
        return vectors


class OnnxTower(Tower):
    """An export of `qa export`: its graph pools and normalises."""

    tasks: tuple[str, ...] = ("encoder",)
    """What the export may have been made for."""

    def __init__(
        self, location: ModelLocation, settings: EncoderSettings, outputs: Sequence[str] = ()
    ) -> None:
        self._session = OnnxSession(
            location,
            precision=settings.precision,
            device=settings.device,
            threads=settings.threads,
            outputs=outputs,
        )
        manifest = self._session.manifest
        if manifest["task"] not in self.tasks:
            raise ModelError(
                f"{location.name!r} is a {manifest['task']}, not an encoder",
                where="encoder.model",
                remedy="Name an encoder, for example bundled:encoder.",
            )
        self._dimension: int = manifest.get("dimension") or 0
        super().__init__(
            location,
            load_tokenizer(location.path),
            role=manifest.get("role", "both"),
            max_seq_length=_length(
                settings, manifest["max_seq_length"], manifest.get("positions", POSITIONS), location
            ),
            similarity=manifest.get("similarity") or "cosine",
            prefixes=(manifest.get("question_prefix", ""), manifest.get("passage_prefix", "")),
            batch_tokens=_batch_tokens(settings, gpu=self._session.on_gpu),
        )

    @property
    def dimension(self) -> int:
        """Numbers in a vector, as the manifest says."""
        return self._dimension

    def forward(self, input_ids: IntArray, attention_mask: IntArray) -> NDArray[np.float32]:
        """Return the vectors of a padded batch (n, dimension)."""
        return self.run(input_ids, attention_mask)[0]

    def run(self, input_ids: IntArray, attention_mask: IntArray) -> list[NDArray[np.float32]]:
        """Return the outputs asked for, or all that the graph has."""
        return self._session.run(
            {
                "input_ids": input_ids,
                "attention_mask": attention_mask,
                "token_type_ids": np.zeros_like(input_ids),
            }
        )


class TorchTower(Tower):
    """A checkpoint that torch runs, with its own pooling, prompts and normalisation."""

    def __init__(self, location: ModelLocation, settings: EncoderSettings) -> None:
        self._device = choose_torch_device(settings.device)
        dtype = choose_torch_precision(settings.precision, self._device)
        if settings.threads is not None:
            import torch

            torch.set_num_threads(settings.threads)
        loaded = load_sentence_model(location, device=self._device)
        self.model = loaded.model.to(dtype)
        tokenizer = loaded.model.tokenizer.backend_tokenizer
        tokenizer.no_padding()
        super().__init__(
            location,
            tokenizer,
            role=loaded.role,
            max_seq_length=_length(settings, loaded.max_seq_length, loaded.positions, location),
            similarity=loaded.similarity,
            prefixes=loaded.prefixes,
            batch_tokens=_batch_tokens(settings, gpu=self._device.type == "cuda"),
        )

    @property
    def dimension(self) -> int:
        """Numbers in a vector, as the model's modules make it."""
        return cast("int", self.model.get_embedding_dimension())

    def forward(self, input_ids: IntArray, attention_mask: IntArray) -> NDArray[np.float32]:
        """Return the vectors of a padded batch (n, dimension)."""
        import torch

        with torch.inference_mode():
            output = self.model(self.features(input_ids, attention_mask))
            vectors = output["sentence_embedding"].float().cpu().numpy()
        return cast("NDArray[np.float32]", vectors)

    def features(self, input_ids: IntArray, attention_mask: IntArray) -> dict[str, Any]:
        """Return a padded batch as the model's device takes it."""
        import torch

        return {
            "input_ids": torch.from_numpy(input_ids).to(self._device),
            "attention_mask": torch.from_numpy(attention_mask).to(self._device),
        }


class Encoder:
    """Turn questions and passages into vectors of one space.

    Args:
        name: the model's name as it was given.
        passages: the tower for passages.
        questions: the tower for questions; None shares the passages'.
        question_name: that tower's name as it was given.
        embed_title: whether passages are read with their titles.
        max_seq_length: the setting, for messages; None: the models' own.

    Raises:
        ModelError: the two towers give vectors of different dimensions, or the only one encodes
            passages alone, as DPR's context encoder does.

    >>> encoder = load_encoder(EncoderSettings(model="bundled:encoder"))
    >>> encoder.encode_questions(["Is it good for reading?"]).shape
    (1, 384)
    """

    def __init__(
        self,
        name: str,
        passages: Tower,
        questions: Tower | None = None,
        *,
        question_name: str | None = None,
        embed_title: bool = False,
        max_seq_length: int | None = None,
    ) -> None:
        self._passages = passages
        self._questions = passages if questions is None else questions
        self.embed_title = embed_title
        if self._questions.role == "passage":
            raise ModelError(
                f"{name!r} encodes passages only, and nothing encodes the questions",
                where="encoder.question_model",
                remedy="Set encoder.question_model to the question encoder that was trained with "
                "it.",
            )
        if self._questions.dimension != passages.dimension:
            raise ModelError(
                f"questions have {self._questions.dimension} dimensions and passages "
                f"{passages.dimension}",
                where="encoder.question_model",
                remedy="Name two towers that were trained together.",
            )
        self.identity = EncoderIdentity(
            name=name,
            dimension=passages.dimension,
            similarity=passages.similarity,
            weights_hash=passages.fingerprint(titles=embed_title),
            question_name=question_name,
            question_hash=self._questions.fingerprint(),
            max_seq_length=max_seq_length,
            embed_title=embed_title,
        )

    @property
    def max_seq_length(self) -> int | None:
        """Tokens of a passage that are read; what is longer is cut. None: all are read."""
        return self._passages.max_seq_length

    @property
    def truncated_passages(self) -> int:
        """How many of the passages encoded so far were longer than that."""
        return self._passages.truncated

    def encode_questions(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode questions as vectors (n, dimension)."""
        prefix = self._questions.question_prefix
        return self._questions.encode([prefix + text for text in texts])

    def encode_passages(
        self, texts: Sequence[str], titles: Sequence[str | None] | None = None
    ) -> NDArray[np.float32]:
        """Encode passages as vectors (n, dimension).

        Args:
            texts: of the passages.
            titles: theirs; None where one has none. Where `embed_title` is set, title and text are
                read as a pair, as DPR was trained; else the titles are not looked at.

        Raises:
            ModelError: `embed_title` is set, and the titles were not given.
        """
        prefix = self._passages.passage_prefix
        if not self.embed_title:
            return self._passages.encode([prefix + text for text in texts])
        if titles is None:
            raise ModelError(
                "the encoder reads passages with their titles, and is given none",
                where="encoder.embed_title",
                remedy="Index the reviews anew, with `qa-index run`, or set "
                "encoder.embed_title to false.",
            )
        return self._passages.encode(
            [
                prefix + text if title is None else (prefix + title, text)
                for text, title in zip(texts, titles, strict=True)
            ]
        )


def load_encoder(settings: EncoderSettings) -> Encoder:
    """Load the encoder that the settings name.

    Raises:
        ModelError: there is no such model, it is of another kind, or it encodes passages only and
            `question_model` names no partner.
        MissingDependencyError: it needs a package that is not installed.
    """
    passages = load_tower(settings.model, settings, "passage")
    questions = None
    if settings.question_model is not None:
        questions = load_tower(settings.question_model, settings, "question")
    return Encoder(
        settings.model,
        passages,
        questions,
        question_name=settings.question_model,
        embed_title=settings.embed_title,
        max_seq_length=settings.max_seq_length,
    )


def shared_encoder(settings: EncoderSettings) -> Encoder:
    """Return the encoder that the settings name; components that use the same share one copy.

    Raises:
        QASystemError: as in `load_encoder`.
    """
    names = [
        settings.model,
        *([] if settings.question_model is None else [settings.question_model]),
    ]
    key = (settings.model_dump_json(), *(stamp(locate(name).path) for name in names))
    return _encoders.get(key, lambda: load_encoder(settings))


_encoders: Shared[Encoder] = Shared()


def load_tower(name: str, settings: EncoderSettings, role: Role) -> Tower:
    """Load one tower of an encoder.

    Args:
        name: of the model.
        settings: how it runs.
        role: what it is to encode.

    Raises:
        ModelError: there is no such model, or it encodes something else.
        MissingDependencyError: it needs a package that is not installed.
    """
    location = locate(name)
    tower: Tower
    if location.format == "static" and settings.backend == "auto":
        from qa_system.retrievers.static_tower import StaticTower  # which is a Tower, too

        tower = StaticTower(location, settings)
    elif choose_backend(location, settings.backend) == "onnx":
        tower = OnnxTower(location, settings)
    else:
        tower = TorchTower(location, settings)
    check_role(location, tower.role, role)
    return tower


def _length(settings: EncoderSettings, own: int, limit: int | None, location: ModelLocation) -> int:
    if settings.max_seq_length is None:
        return own
    if limit is not None and settings.max_seq_length > limit:
        raise ModelError(
            f"{location.name!r} has {limit} positions, fewer than {settings.max_seq_length}",
            where="encoder.max_seq_length",
            remedy=f"Set at most {limit}, or none for the model's own {own}.",
        )
    return settings.max_seq_length


def _batch_tokens(settings: EncoderSettings, *, gpu: bool) -> int:
    if settings.batch_tokens is not None:
        return settings.batch_tokens
    return GPU_BATCH_TOKENS if gpu else CPU_BATCH_TOKENS
