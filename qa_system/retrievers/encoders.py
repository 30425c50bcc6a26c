"""Questions and passages as vectors: ONNX exports, DPR checkpoints, sentence-transformers models.

An encoder is one tower for both sides, or two as in DPR (Karpukhin et al., 2020,
https://arxiv.org/abs/2004.04906). Texts are tokenised once, sorted by length and batched by a
budget of padded tokens: on a CPU small batches are several times faster than the usual 32 rows.
"""

from __future__ import annotations

import hashlib
import logging
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import orjson
from numpy.typing import NDArray

from qa_system.config import EncoderSettings
from qa_system.errors import MissingDependencyError, ModelError
from qa_system.inference import (
    IntArray,
    OnnxSession,
    choose_backend,
    choose_torch_device,
    choose_torch_precision,
    load_tokenizer,
    pad,
    token_batches,
)
from qa_system.models import ModelLocation, locate, weights_hash
from qa_system.records import EncoderIdentity, Similarity

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["Encoder", "load_encoder"]

logger = logging.getLogger(__name__)

CPU_BATCH_TOKENS = 512
GPU_BATCH_TOKENS = 32_768
DPR_TRAINED_LENGTH = 256


class Tower(ABC):
    """One model that turns token ids into vectors.

    Args:
        tokenizer: its tokenizer; truncates to `max_seq_length`.
        max_seq_length: tokens that it reads of a text, special tokens included.
        similarity: the one that it was trained with.
        prefixes: what is put before a question and before a passage.
        batch_tokens: padded tokens in one forward pass.
    """

    def __init__(
        self,
        location: ModelLocation,
        tokenizer: Tokenizer,
        *,
        max_seq_length: int,
        similarity: Similarity,
        prefixes: tuple[str, str] = ("", ""),
        batch_tokens: int,
    ) -> None:
        tokenizer.enable_truncation(max_seq_length)
        self.location = location
        self.tokenizer = tokenizer
        self.max_seq_length = max_seq_length
        self.similarity: Similarity = similarity
        self.question_prefix, self.passage_prefix = prefixes
        self.batch_tokens = batch_tokens
        pads = (tokenizer.token_to_id(name) for name in ("[PAD]", "<pad>"))
        self.pad_id = next((pad_id for pad_id in pads if pad_id is not None), 0)
        self.truncated = 0

    @property
    def fingerprint(self) -> str:
        """Hash what decides the vectors: the weights, and how a text reaches them."""
        shape = [
            weights_hash(self.location.path),
            self.max_seq_length,
            self.question_prefix,
            self.passage_prefix,
        ]
        return hashlib.sha256(orjson.dumps(shape)).hexdigest()

    @property
    @abstractmethod
    def dimension(self) -> int:
        """Numbers in a vector."""

    @abstractmethod
    def forward(self, input_ids: IntArray, attention_mask: IntArray) -> NDArray[np.float32]:
        """Turn a padded batch (n, length) into vectors (n, dimension)."""

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Turn texts into vectors (n, dimension), in the order of the texts."""
        encodings = self.tokenizer.encode_batch(list(texts))
        cut = sum(1 for encoding in encodings if encoding.overflowing)
        if cut and not self.truncated:
            logger.info(
                "%s reads the first %d tokens of a text; longer ones are cut. "
                "Set indexing.passages.max_words to split them.",
                self.location.name,
                self.max_seq_length,
            )
        self.truncated += cut
        ids = [encoding.ids for encoding in encodings]
        vectors = np.empty((len(ids), self.dimension), dtype=np.float32)
        for batch in token_batches([len(row) for row in ids], self.batch_tokens):
            rows = [ids[position] for position in batch]
            mask = pad([[1] * len(row) for row in rows])
            vectors[batch] = self.forward(pad(rows, self.pad_id), mask)
        return vectors


class OnnxTower(Tower):
    """An export of `qa export`: its graph pools and normalises."""

    def __init__(self, location: ModelLocation, settings: EncoderSettings) -> None:
        self._session = OnnxSession(
            location,
            precision=settings.precision,
            device=settings.device,
            threads=settings.threads,
        )
        manifest = self._session.manifest
        if manifest["task"] != "encoder":
            raise ModelError(
                f"{location.name!r} is a {manifest['task']}, not an encoder",
                where="encoder.model",
                remedy="Name an encoder, for example bundled:encoder.",
            )
        self._dimension: int = manifest["dimension"]
        super().__init__(
            location,
            load_tokenizer(location.path),
            max_seq_length=_length(settings, manifest["max_seq_length"], 512, location),
            similarity=manifest["similarity"],
            prefixes=(manifest.get("question_prefix", ""), manifest.get("passage_prefix", "")),
            batch_tokens=_batch_tokens(settings, gpu=self._session.on_gpu),
        )

    @property
    def dimension(self) -> int:
        return self._dimension

    def forward(self, input_ids: IntArray, attention_mask: IntArray) -> NDArray[np.float32]:
        return self._session.run(
            {
                "input_ids": input_ids,
                "attention_mask": attention_mask,
                "token_type_ids": np.zeros_like(input_ids),
            }
        )[0]


class TorchTower(Tower):
    """A checkpoint that torch runs; subclasses say how the model is loaded and pooled."""

    model: Any

    def __init__(self, location: ModelLocation, settings: EncoderSettings, **shape: Any) -> None:
        self.device = choose_torch_device(settings.device)
        self.dtype = choose_torch_precision(settings.precision, self.device)
        if settings.threads is not None:
            import torch

            torch.set_num_threads(settings.threads)
        super().__init__(
            location,
            batch_tokens=_batch_tokens(settings, gpu=self.device.type == "cuda"),
            **shape,
        )

    @abstractmethod
    def pooled(self, features: dict[str, Any]) -> Any:
        """Run the model; give a tensor (n, dimension)."""

    def forward(self, input_ids: IntArray, attention_mask: IntArray) -> NDArray[np.float32]:
        import torch

        features = {
            "input_ids": torch.from_numpy(input_ids).to(self.device),
            "attention_mask": torch.from_numpy(attention_mask).to(self.device),
        }
        with torch.inference_mode():
            vectors = self.pooled(features).float().cpu().numpy()
        return cast("NDArray[np.float32]", vectors)


class DPRTower(TorchTower):
    """A DPRQuestionEncoder or DPRContextEncoder checkpoint: the vector of its first token.

    DPR was trained on texts of at most 256 tokens, which is the default; its positions reach 512.
    """

    def __init__(self, location: ModelLocation, settings: EncoderSettings, role: str) -> None:
        transformers = _import_transformers()
        config = transformers.AutoConfig.from_pretrained(location.path)
        wanted = {"question": "DPRQuestionEncoder", "passage": "DPRContextEncoder"}[role]
        if wanted not in (config.architectures or []):
            raise ModelError(
                f"{location.name!r} holds {config.architectures}, and a {role} needs {wanted}",
                where=str(location.path),
                remedy="Set encoder.model to the context encoder and encoder.question_model to "
                "the question encoder.",
            )
        super().__init__(
            location,
            settings,
            tokenizer=_fast_tokenizer(transformers, location),
            max_seq_length=_length(
                settings, DPR_TRAINED_LENGTH, config.max_position_embeddings, location
            ),
            similarity="dot_product",
        )
        model = getattr(transformers, wanted).from_pretrained(location.path, dtype=self.dtype)
        self.model = model.eval().to(self.device)

    @property
    def dimension(self) -> int:
        return cast("int", self.model.config.projection_dim or self.model.config.hidden_size)

    def pooled(self, features: dict[str, Any]) -> Any:
        return self.model(**features).pooler_output


class SentenceTransformerTower(TorchTower):
    """A sentence-transformers model, with its own pooling, prompts and normalisation."""

    def __init__(self, location: ModelLocation, settings: EncoderSettings) -> None:
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as fault:
            raise MissingDependencyError(
                f"the checkpoint {location.name!r} needs sentence-transformers",
                remedy="Install it: pip install 'qa-system[torch]', or use a `bundled:` model.",
            ) from fault
        device = choose_torch_device(settings.device)
        model = SentenceTransformer(
            str(location.path),
            device=str(device),
            local_files_only=True,
            model_kwargs={"use_safetensors": True},
        )
        similarities: dict[str, Similarity] = {
            "cosine": "cosine",
            "dot": "dot_product",
            "euclidean": "l2",
        }
        trained_with = model.similarity_fn_name or "cosine"
        if trained_with not in similarities:
            raise ModelError(
                f"{location.name!r} compares by {trained_with}",
                where=str(location.path),
                remedy=f"Supported: {', '.join(similarities)}.",
            )
        backend_tokenizer = getattr(model.tokenizer, "backend_tokenizer", None)
        if backend_tokenizer is None:
            raise ModelError(
                f"{location.name!r} has no fast tokenizer",
                where=str(location.path),
                remedy="Name a transformer model that has a tokenizer.json.",
            )
        backend_tokenizer.no_padding()
        own_length = model.max_seq_length
        super().__init__(
            location,
            settings,
            tokenizer=backend_tokenizer,
            max_seq_length=_length(
                settings, 512 if own_length is None else own_length, 1 << 20, location
            ),
            similarity=similarities[trained_with],
            prefixes=_prompts(model.prompts),
        )
        self.model = model.eval().to(self.dtype)

    @property
    def dimension(self) -> int:
        return cast("int", self.model.get_embedding_dimension())

    def pooled(self, features: dict[str, Any]) -> Any:
        return self.model(features)["sentence_embedding"]


class Encoder:
    """Turn questions and passages into vectors of one space.

    Args:
        name: the model's name as it was given.
        passages: the tower for passages.
        questions: the tower for questions; None shares the passages'.

    >>> encoder = load_encoder(EncoderSettings(model="bundled:encoder"))
    >>> encoder.encode_questions(["Is it good for reading?"]).shape
    (1, 384)
    """

    def __init__(self, name: str, passages: Tower, questions: Tower | None = None) -> None:
        self._passages = passages
        self._questions = passages if questions is None else questions
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
            weights_hash=passages.fingerprint,
        )

    @property
    def max_seq_length(self) -> int:
        """Tokens of a passage that are read; what is longer is cut."""
        return self._passages.max_seq_length

    @property
    def truncated_passages(self) -> int:
        """How many of the passages encoded so far were longer than that."""
        return self._passages.truncated

    def encode_questions(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode questions as vectors (n, dimension)."""
        prefix = self._questions.question_prefix
        return self._questions.encode([prefix + text for text in texts])

    def encode_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Encode passages as vectors (n, dimension)."""
        prefix = self._passages.passage_prefix
        return self._passages.encode([prefix + text for text in texts])


def load_encoder(settings: EncoderSettings) -> Encoder:
    """Load the encoder that the settings name.

    Raises:
        ModelError: there is no such model, or it is of another kind.
        MissingDependencyError: it needs a package that is not installed.
    """
    if settings.question_model is None:
        return Encoder(settings.model, _load_tower(settings.model, settings, "passage"))
    return Encoder(
        settings.model,
        _load_tower(settings.model, settings, "passage"),
        _load_tower(settings.question_model, settings, "question"),
    )


def _load_tower(name: str, settings: EncoderSettings, role: str) -> Tower:
    location = locate(name)
    if choose_backend(location, settings.backend) == "onnx":
        return OnnxTower(location, settings)
    try:
        if _is_dpr(location.path):
            return DPRTower(location, settings, role)
        return SentenceTransformerTower(location, settings)
    except (OSError, ValueError) as fault:
        raise ModelError(
            f"the checkpoint cannot be loaded: {fault}",
            where=str(location.path),
            remedy="It needs config.json, a tokenizer and safetensors weights.",
        ) from fault


def _is_dpr(folder: Path) -> bool:
    path = folder / "config.json"
    if not path.is_file():
        return False
    try:
        return cast("dict[str, Any]", orjson.loads(path.read_bytes())).get("model_type") == "dpr"
    except orjson.JSONDecodeError as fault:
        raise ModelError(
            f"the checkpoint's config is not JSON: {fault}",
            where=str(path),
            remedy="Download or save the checkpoint again.",
        ) from fault


def _fast_tokenizer(transformers: Any, location: ModelLocation) -> Tokenizer:
    tokenizer = transformers.AutoTokenizer.from_pretrained(location.path).backend_tokenizer
    tokenizer.no_padding()
    return cast("Tokenizer", tokenizer)


def _import_transformers() -> Any:
    try:
        import transformers
    except ImportError as fault:
        raise MissingDependencyError(
            "a DPR checkpoint needs transformers and torch",
            remedy="Install them: pip install 'qa-system[torch]', or use a `bundled:` model.",
        ) from fault
    return transformers


def _length(settings: EncoderSettings, own: int, limit: int, location: ModelLocation) -> int:
    if settings.max_seq_length is None:
        return own
    if settings.max_seq_length > limit:
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


def _prompts(prompts: dict[str, str]) -> tuple[str, str]:
    passage = next((prompts[name] for name in ("document", "passage") if name in prompts), "")
    return prompts.get("query", ""), passage
