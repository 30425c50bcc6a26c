"""The vectors of one encoder by every pooling and layer, each text read once for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from eval.tasks.pooling import Task
from qa_system.config import Settings
from qa_system.console.progress import progress
from qa_system.embeddings.pooling import pooled
from qa_system.embeddings.spaces.checks import Floats

if TYPE_CHECKING:
    from qa_system.embeddings.embedder import Embedder

__all__ = ["OWN", "embedder_of", "own_vectors", "variant_name", "variants"]

OWN: Final = "the model's own"
"""What `qa embed` makes without a pooling and a layer."""
CHUNK: Final = 256
"""Texts whose tokens are in memory at a time."""
Role = Literal["question", "passage"]


def embedder_of(settings: Settings, role: Role = "passage", **given: Any) -> Embedder:
    """Return the embedder of the encoder that the settings name.

    Args:
        settings: `encoder` is used; `encoder.question_model` encodes questions.
        role: what is encoded.
        given: keys of `EmbeddingSettings`: pooling, layer and so on.

    Raises:
        QASystemError: as in `load_embedder`.
    """
    from qa_system.embeddings.embedder import load_embedder

    encoder = settings.encoder
    names = ("backend", "precision", "device", "max_seq_length", "batch_tokens", "threads")
    model = encoder.question_model if role == "question" else None
    return load_embedder(
        model=model or encoder.model,
        role=role,
        **{name: getattr(encoder, name) for name in names},
        **given,
    )


def variant_name(pooling: str, layer: int) -> str:
    """Return what a table calls a pooling with a layer.

    >>> variant_name("mean", 6)
    'mean, layer 6'
    """
    return f"{pooling}, layer {layer}"


def own_vectors(task: Task, settings: Settings) -> tuple[Floats, Floats]:
    """Return the vectors of a task's questions and passages, as the model makes them itself.

    Raises:
        QASystemError: as in `load_embedder`.
    """
    questions = np.empty((0, 1), np.float32)
    if task.questions:
        questions = embedder_of(settings, "question").encode(task.questions)
    return questions, embedder_of(settings).encode(task.passages)


def variants(
    task: Task, settings: Settings, poolings: Sequence[str], layers: Sequence[int]
) -> Iterator[tuple[str, Floats, Floats]]:
    """Yield the vectors of a task's texts by every pooling of every layer.

    The model reads each text once. The vectors lie in files that are deleted afterwards, so that
    memory does not grow with the number of poolings and layers.

    Args:
        task: whose texts are encoded.
        settings: of the encoder.
        poolings: functions of the tokens, as in `POOLINGS`.
        layers: as numbers from 0, the embeddings.

    Returns:
        A name, vectors of the questions, vectors of the passages.

    Raises:
        QASystemError: as in `load_embedder`.
    """
    with TemporaryDirectory(prefix="qa-eval-") as folder:
        sides = []
        roles: tuple[tuple[Role, tuple[str, ...]], ...] = (
            ("question", task.questions),
            ("passage", task.passages),
        )
        for role, texts in roles:
            sides.append(_pooled(texts, role, settings, poolings, layers, Path(folder) / role))
        for at, pooling in enumerate(poolings):
            for place, layer in enumerate(layers):
                questions, passages = (
                    np.array(side[at].reshape(len(side[at]), len(layers), -1)[:, place])
                    for side in sides
                )
                yield variant_name(pooling, layer), questions, passages


def _pooled(
    texts: Sequence[str],
    role: Role,
    settings: Settings,
    poolings: Sequence[str],
    layers: Sequence[int],
    path: Path,
) -> Floats:
    """Return an array (poolings, texts, layers * dimension) that lies in a file."""
    if not texts:
        return np.empty((len(poolings), 0, len(layers)), np.float32)
    embedder = embedder_of(
        settings, role, pooling="none", layer=list(layers), combine="concat", normalize=False
    )
    shape = (len(poolings), len(texts), embedder.dimension)
    vectors = np.memmap(path, np.float32, "w+", shape=shape)
    with progress(f"{role}s", unit="texts", total=len(texts)) as shown:
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            for row, found in enumerate(embedder.encode_tokens(chunk), start):
                if len(found.vectors):
                    mask = np.ones((1, len(found.vectors)), np.int64)
                    for at, pooling in enumerate(poolings):
                        vectors[at, row] = pooled(found.vectors[None], mask, pooling)[0]
            shown.advance(len(chunk))
    return vectors
