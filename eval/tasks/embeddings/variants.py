"""The vectors of one encoder by every pooling and layer, each text read once for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from eval.tasks.embeddings.pooling import Task, measure
from eval.tasks.embeddings.smaller import kinds_of, measure_sizes
from qa_system.arguments import check_choice
from qa_system.config import Settings
from qa_system.console.progress import progress
from qa_system.embeddings.pooling import POOLINGS, pooled
from qa_system.embeddings.spaces.checks import Floats

if TYPE_CHECKING:
    from qa_system.embeddings.embedder import Embedder

__all__ = ["OWN", "compare_variants", "embedder_of"]

OWN: Final = "the model's own"
"""What `qa embed` makes without a pooling and a layer."""
POOLER: Final = "pooler"
CHOICES: Final = (*POOLINGS, POOLER)
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


def compare_variants(
    task: Task,
    settings: Settings,
    *,
    poolings: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    normalize: bool = True,
    dimensions: Sequence[int] = (),
    dtypes: Sequence[str] = (),
) -> dict[str, Any]:
    """Measure one encoder's poolings and layers, and smaller vectors, on a task.

    Args:
        task: what they are measured by.
        settings: `encoder` says which.
        poolings: None: all that are functions of the tokens. `pooler` costs another reading.
        layers: None: all that the model shows.
        normalize: give every vector length 1.
        dimensions: to which vectors are cut.
        dtypes: of `DTYPES`, in which vectors are kept.

    Returns:
        What `measure` returns, and in each row its `pooling` and `layer`; `sizes`: the same for
        smaller vectors, of the pooling and layer if one was named, else of the model's own
        vectors; None: none were asked for.

    Raises:
        ConfigError: the model has no such layer or so many dimensions, or there is no such dtype.
        ModelError: there is no such model, or it does not show its layers.
        MissingDependencyError: it needs a package that is not installed.
    """
    chosen = tuple(POOLINGS) if poolings is None else tuple(dict.fromkeys(poolings))
    for pooling in chosen:
        check_choice("pooling", pooling, CHOICES)
    shown = embedder_of(settings, pooling="mean", layer=0).layers
    numbers = shown if layers is None else tuple(dict.fromkeys(_numbers(layers, shown)))
    own = kept = _encoded(task, settings)
    kinds_of(own[1].shape[1], dimensions, dtypes)  # refuses before the long part
    said: dict[str, tuple[str, int | None]] = {OWN: (OWN, None)}

    def all_vectors() -> Iterator[tuple[str, Floats, Floats]]:
        nonlocal kept
        yield OWN, *own
        for pooling, layer, *vectors in _variants(task, settings, chosen, numbers, max(shown)):
            name = f"{pooling}, layer {layer}"
            said[name] = pooling, layer
            if len(chosen) == len(numbers) == 1:
                kept = vectors[0], vectors[1]
            yield name, vectors[0], vectors[1]

    report = measure(task, all_vectors(), OWN, normalize=normalize)
    for name, row in report["rows"].items():
        row["pooling"], row["layer"] = said[name]
    report["sizes"] = None
    if dimensions or dtypes:
        report["sizes"] = measure_sizes(
            task, *kept, dimensions=dimensions, dtypes=dtypes, normalize=normalize
        )
    return report


def _numbers(layers: Sequence[int], shown: Sequence[int]) -> Iterator[int]:
    """Return layers as numbers from 0; the embedder refuses those that are not there."""
    count = max(shown)
    for layer in layers:
        yield layer + count + 1 if -count - 1 <= layer < 0 else layer


def _encoded(task: Task, settings: Settings, **given: Any) -> tuple[Floats, Floats]:
    """Return the vectors of a task's questions and passages."""
    passages = embedder_of(settings, **given).encode(task.passages)
    if not task.questions:
        return np.empty((0, passages.shape[1]), np.float32), passages
    return embedder_of(settings, "question", **given).encode(task.questions), passages


def _variants(
    task: Task,
    settings: Settings,
    poolings: Sequence[str],
    layers: Sequence[int],
    last: int,
) -> Iterator[tuple[str, int, Floats, Floats]]:
    """Yield a pooling, a layer, and the vectors of the task's questions and passages.

    The model reads each text once for all functions of the tokens. The vectors lie in files that
    are deleted afterwards, so that memory does not grow with the number of poolings and layers.
    """
    of_tokens = [pooling for pooling in poolings if pooling in POOLINGS]
    roles: tuple[tuple[Role, tuple[str, ...]], ...] = (
        ("question", task.questions),
        ("passage", task.passages),
    )
    with TemporaryDirectory(prefix="qa-eval-") as folder:
        sides = [
            _pooled(texts, role, settings, of_tokens, layers, Path(folder) / role)
            for role, texts in roles
        ]
        for at, pooling in enumerate(of_tokens):
            for place, layer in enumerate(layers):
                questions, passages = (np.array(side[at, :, place]) for side in sides)
                yield pooling, layer, questions, passages
    if POOLER in poolings:
        yield POOLER, last, *_encoded(task, settings, pooling=POOLER)


def _pooled(
    texts: Sequence[str],
    role: Role,
    settings: Settings,
    poolings: Sequence[str],
    layers: Sequence[int],
    path: Path,
) -> Floats:
    """Return an array (poolings, texts, layers, dimension) that lies in a file."""
    if not texts or not poolings:
        return np.empty((len(poolings), len(texts), len(layers), 1), np.float32)
    embedder = embedder_of(
        settings, role, pooling="none", layer=list(layers), combine="concat", normalize=False
    )
    shape = (len(poolings), len(texts), len(layers), embedder.dimension // len(layers))
    vectors = np.memmap(path, np.float32, "w+", shape=shape)
    with progress(f"{role}s", unit="texts", total=len(texts)) as shown:
        for start in range(0, len(texts), CHUNK):
            chunk = texts[start : start + CHUNK]
            for row, found in enumerate(embedder.encode_tokens(chunk), start):
                if len(found.vectors):
                    mask = np.ones((1, len(found.vectors)), np.int64)
                    for at, pooling in enumerate(poolings):
                        joined = pooled(found.vectors[None], mask, pooling)[0]
                        vectors[at, row] = joined.reshape(len(layers), -1)
            shown.advance(len(chunk))
    return vectors
