"""What every step refuses, and the packages that some need."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from qa_system.errors import InvalidArgumentError, MissingDependencyError

__all__ = ["Floats", "Ints", "check_vectors", "extra_package"]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


def check_vectors(vectors: ArrayLike, dimension: int | None = None, least: int = 0) -> Floats:
    """Return vectors as an array of float32, or refuse them.

    Args:
        vectors: shape (texts, dimension).
        dimension: that they have to have; None: any.
        least: how many there have to be.

    Raises:
        InvalidArgumentError: they have another shape, are too few, or a number is not finite.

    >>> check_vectors([[1, 2]], dimension=3)
    Traceback (most recent call last):
        ...
    qa_system.errors.InvalidArgumentError: the vectors have 2 dimensions, not 3. Embed the texts \
with the model, pooling and layer that the space was fitted with.
    """
    found = np.asarray(vectors, dtype=np.float32)
    if found.ndim != 2 or not found.shape[1]:
        raise InvalidArgumentError(
            f"the vectors have shape {found.shape}",
            remedy="Pass one array of shape (texts, dimension).",
        )
    if dimension is not None and found.shape[1] != dimension:
        raise InvalidArgumentError(
            f"the vectors have {found.shape[1]} dimensions, not {dimension}",
            remedy="Embed the texts with the model, pooling and layer that the space was fitted "
            "with.",
        )
    if len(found) < least:
        raise InvalidArgumentError(
            f"there are {len(found)} vectors, and fitting needs {least} or more",
            remedy="Pass more texts.",
        )
    if not np.isfinite(found).all():
        row = int(np.flatnonzero(~np.isfinite(found).all(axis=1))[0])
        raise InvalidArgumentError(
            f"vector {row} has a number that is not finite",
            remedy="Leave the text out, or embed it again.",
        )
    return found


def extra_package(name: str, purpose: str, extra: str) -> Any:
    """Import a module of a package that an extra installs.

    Raises:
        MissingDependencyError: it is not installed, or cannot be imported.
    """
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingDependencyError(
            f"{purpose} needs the package {error.name or name!r}",
            remedy=f"Install it: pip install 'qa-system[{extra}]'.",
        ) from error
