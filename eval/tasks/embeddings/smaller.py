"""Vectors cut to fewer dimensions and kept in fewer bits: what it costs on a task."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil
from typing import Any, Final, cast

from eval.tasks.embeddings.pooling import Task, measure
from qa_system.arguments import check_choice
from qa_system.embeddings.pooling import normalized
from qa_system.embeddings.quantizing import DTYPES, Dtype, neighbours_kept, quantize
from qa_system.embeddings.spaces.checks import Floats
from qa_system.errors import ConfigError

__all__ = ["kinds_of", "measure_sizes"]

BITS: Final = {"float32": 32, "int8": 8, "binary": 1}
MOST_ASKED: Final = 1000
"""Passages of which the neighbours are compared."""
NOTE: Final = (
    "Neighbours kept: of the 10 passages nearest to a passage, the share that is among as many by "
    "the smaller vectors. Passages are made smaller; questions keep all bits."
)


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
        questions: vectors of its questions, which keep all bits.
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
    kinds = kinds_of(passages.shape[1], dimensions, dtypes)
    asking = slice(None, None, ceil(len(passages) / MOST_ASKED))
    kept_of: dict[str, float | None] = {}

    def smaller() -> Iterator[tuple[str, Floats, Floats]]:
        for kept, dtype in kinds:
            found = _smaller(passages, kept, dtype, normalize=normalize)
            kept_of[_name(kept, dtype)] = neighbours_kept(passages[asking], found[asking])
            yield _name(kept, dtype), questions[:, :kept], found

    report = measure(task, smaller(), _name(*kinds[0]), normalize=normalize)
    for kept, dtype in kinds:
        name = _name(kept, dtype)
        report["rows"][name] |= {
            "dimensions": kept,
            "dtype": dtype,
            "bytes": ceil(kept * BITS[dtype] / 8),
            "kept": kept_of[name],
        }
    report["notes"] = [NOTE]
    return report


def kinds_of(whole: int, dimensions: Sequence[int], dtypes: Sequence[str]) -> list[tuple[int, str]]:
    """Return dimensions and dtype of all vectors to measure, the whole ones first.

    Args:
        whole: dimensions that there are.
        dimensions: as in `measure_sizes`.
        dtypes: as there.

    Raises:
        ConfigError: there is no such dtype, or there are not so many dimensions.

    >>> kinds_of(8, [4], ["binary"])
    [(8, 'float32'), (4, 'float32'), (8, 'binary'), (4, 'binary')]
    """
    for dtype in dtypes:
        check_choice("dtype", dtype, DTYPES)
    for each in dimensions:
        if not 0 < each <= whole:
            raise ConfigError(
                f"the vectors have {whole} dimensions, and not {each}",
                where="--dimensions",
                remedy=f"Name numbers from 1 to {whole}.",
            )
    return [
        (kept, dtype)
        for dtype in dict.fromkeys(("float32", *dtypes))
        for kept in dict.fromkeys((whole, *sorted(dimensions, reverse=True)))
    ]


def _smaller(vectors: Floats, kept: int, dtype: str, *, normalize: bool) -> Floats:
    """Return vectors as they are read again once they were cut and kept in fewer bits."""
    cut = vectors[:, :kept]
    if normalize:
        cut = normalized(cut)
    # Bits are filled up to whole bytes.
    return quantize(cut, cast("Dtype", dtype)).restored()[:, :kept]


def _name(dimensions: int, dtype: str) -> str:
    return f"{dimensions} dimensions, {dtype}"
