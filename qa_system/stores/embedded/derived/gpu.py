"""FAISS indexes on a GPU: which it can hold, and how deep it can search."""

from __future__ import annotations

import logging
from typing import Any, Final

from qa_system.errors import MissingDependencyError

__all__ = ["DEEPEST", "NOT_ON_GPU", "on_gpu"]

log = logging.getLogger(__name__)

NOT_ON_GPU: Final = frozenset({"hnsw", "sq8"})
"""Kinds of index that FAISS has no GPU version of; a CPU searches them."""
DEEPEST: Final = 2_048
"""Hits of one search, and lists that it looks into, at most."""


def on_gpu(faiss: Any, index: Any, kind: str) -> Any | None:
    """Copy an index to the first GPU; None, which is logged: it cannot hold this one.

    Raises:
        MissingDependencyError: there is no GPU, or FAISS cannot use it.
    """
    if getattr(faiss, "get_num_gpus", lambda: 0)() < 1:
        raise MissingDependencyError(
            "gpu: true needs faiss-gpu and a GPU that it can see",
            remedy="Install it (pip install 'qa-system[gpu]'), or set gpu: false.",
        )
    options = faiss.GpuClonerOptions()
    # Of more than 48 parts, only 16-bit tables fit into the shared memory of a GPU.
    options.useFloat16 = kind == "ivf_pq"
    try:
        copied = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, index, options)
    except RuntimeError as error:
        log.warning("the GPU cannot hold the %s index, a CPU searches it: %s", kind, error)
        return None
    if hasattr(index, "nprobe"):
        copied.nprobe = index.nprobe
    return copied
