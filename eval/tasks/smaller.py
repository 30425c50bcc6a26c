"""Vectors cut to fewer dimensions and kept in fewer bits: what it costs on a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any, Final

import numpy as np

from eval.tasks.pooling import Task, measure
from qa_system.arguments import check_choice
from qa_system.embeddings.spaces.checks import Floats
from qa_system.embeddings.spaces.neighbours import nearest
from qa_system.embeddings.spaces.steps import Normalized
from qa_system.errors import ConfigError

__all__ = ["DTYPES", "measure_sizes", "neighbours_kept", "shrunk"]

DTYPES: Final = ("float32", "int8", "binary")
BITS: Final = {"float32": 32, "int8": 8, "binary": 1}
NEIGHBOURS: Final = 10
MOST_ASKED: Final = 500
"""Passages that ask for their neighbours, where a task has no questions."""


def measure_sizes(
    task: Task,
    questions: Floats,
    passages: Floats,
    *,
    dimensions: Sequence[int] = (),
    dtypes: Sequence[str] = (),
    normalize: bool = True,
) -> dict[str, Any]:
    """Measure smaller vectors on a task, compared with the vectors as they are.

    Args:
        task: what they are measured by.
        questions: vectors of its questions; they stay whole numbers of 32 bits.
        passages: vectors of its passages, which are cut and kept in fewer bits.
        dimensions: the first so many numbers are kept (Kusupati et al., Matryoshka Representation
            Learning, 2022, https://arxiv.org/abs/2205.13147); all is measured, too.
        dtypes: of `DTYPES`; float32 is measured, too.
        normalize: give every vector length 1.

    Returns:
        What `measure` returns, and in each row `dimensions`, `dtype`, `bytes` of a vector, and
        `kept`: see `neighbours_kept`. `notes`: how vectors are made smaller.

    Raises:
        ConfigError: there is no such dtype, or there are not so many dimensions.
    """
    whole = passages.shape[1]
    for dtype in dtypes:
        check_choice("dtype", dtype, DTYPES)
    for each in dimensions:
        if not 0 < each <= whole:
            raise ConfigError(
                f"the vectors have {whole} dimensions, and not {each}",
                where="--dimensions",
                remedy=f"Name numbers from 1 to {whole}.",
            )
    kinds = [
        (kept, dtype)
        for dtype in dict.fromkeys(("float32", *dtypes))
        for kept in dict.fromkeys((whole, *sorted(dimensions, reverse=True)))
    ]
    kept_of: dict[str, float] = {}

    def smaller() -> Iterator[tuple[str, Floats, Floats]]:
        for kept, dtype in kinds:
            found = questions[:, :kept], shrunk(passages[:, :kept], dtype, normalize=normalize)
            kept_of[_name(kept, dtype)] = neighbours_kept(questions, passages, *found)
            yield _name(kept, dtype), *found

    report = measure(task, smaller(), _name(whole, "float32"), normalize=normalize)
    for kept, dtype in kinds:
        name = _name(kept, dtype)
        report["rows"][name] |= {
            "dimensions": kept,
            "dtype": dtype,
            "bytes": ceil(kept * BITS[dtype] / 8),
            "kept": kept_of[name],
        }
    report["notes"] = [
        (
            f"Neighbours kept: of the {NEIGHBOURS} nearest passages by the whole vectors, the share "
            "that is among as many by the smaller ones. int8: a number from -127 to 127 of the "
            "dimension's largest; binary: the sign. Questions keep all bits."
        )
    ]
    return report


def shrunk(vectors: Floats, dtype: str, *, normalize: bool = True) -> Floats:
    """Return vectors as they are read again once they were kept in fewer bits.

    Args:
        vectors: shape (texts, dimension).
        dtype: of `DTYPES`.
        normalize: give them length 1 first.

    >>> shrunk(np.array([[2.0, -1.0], [-1.0, 0.0]], np.float32), "binary").tolist()
    [[1.0, -1.0], [-1.0, -1.0]]
    """
    if normalize:
        vectors = Normalized(vectors.shape[1]).apply(vectors)
    if dtype == "int8":
        largest = np.abs(vectors).max(axis=0, initial=0)
        scale = np.where(largest > 0, largest, 1) / np.float32(127)
        return (np.round(vectors / scale) * scale).astype(np.float32)
    if dtype == "binary":
        return np.where(vectors > 0, np.float32(1), np.float32(-1))
    return vectors


def neighbours_kept(
    questions: Floats, passages: Floats, small_questions: Floats, small_passages: Floats
) -> float:
    """Return how many of the nearest passages are still the nearest once vectors are smaller.

    Args:
        questions: whole; none: up to 500 passages take their place.
        passages: whole.
        small_questions: of the same questions.
        small_passages: of the same passages.

    Returns:
        The share of the ten nearest by the cosine that both have in common, 0 to 1.
    """
    if not len(questions):
        questions, small_questions = passages[:MOST_ASKED], small_passages[:MOST_ASKED]
    count = min(NEIGHBOURS, len(passages))
    before = _nearest(questions, passages, count)
    after = _nearest(small_questions, small_passages, count)
    return float(
        np.mean([len(np.intersect1d(*each)) / count for each in zip(before, after, strict=True)])
    )


def _nearest(questions: Floats, passages: Floats, count: int) -> Floats:
    unit = Normalized(passages.shape[1])
    blocks = nearest(unit.apply(questions), unit.apply(passages), count)
    return np.concatenate([found for _, found, _ in blocks])


def _name(dimensions: int, dtype: str) -> str:
    return f"{dimensions} dimensions, {dtype}"
