"""The logits that a teacher computes for windows, kept in files, so that it reads none twice.

A folder holds the files of one teacher: its name is the digest of the teacher's weights and their
precision. Each file is in safetensors: `keys`, the digests of its windows; `ends`, where the
logits of each window end; `logits`, those of all of them, one after the other. A run that is
stopped finds the files that it has written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from qa_system.console.progress import progress
from qa_system.errors import DataError, ModelError
from qa_system.readers.backends import rows_of_logits

if TYPE_CHECKING:
    from qa_system.readers.backends import ReaderBackend
    from qa_system.readers.windows import Window

__all__ = ["soft_targets"]

FloatArray = NDArray[np.float32]

BATCH_TOKENS = 4096
"""Of the teacher's forward passes."""
WINDOWS_PER_FILE = 512
"""Windows that a run asks again at most after it was stopped."""


def soft_targets(
    teacher: ReaderBackend, weights: str, windows: Sequence[Window], folder: Path
) -> list[FloatArray]:
    """Return a teacher's logits of windows, from files where an earlier run left them.

    Args:
        teacher: reads the windows that no file has.
        weights: the digest of its weights.
        windows: of the teacher's tokenizer; the same one may come more than once.
        folder: of the files; it need not exist.

    Returns:
        For each window the start and end logits of the null token and then of its text's tokens,
        shape (2, 1 + tokens).

    Raises:
        ModelError: the teacher computes NaN or infinity.
        DataError: a file is damaged.
    """
    folder = folder / f"{weights[:16]}-{teacher.precision}"
    folder.mkdir(parents=True, exist_ok=True)
    keys = [_key(window) for window in windows]
    known = _read(folder)
    missing = {key: window for key, window in zip(keys, windows, strict=True) if key not in known}
    with progress("asking the teacher", unit="windows", total=len(missing)) as shown:
        new = list(missing.items())
        for first in range(0, len(new), WINDOWS_PER_FILE):
            part = dict(new[first : first + WINDOWS_PER_FILE])
            judged = dict(zip(part, _ask(teacher, list(part.values())), strict=True))
            _write(judged, folder)
            known |= judged
            shown.advance(len(part))
    return [known[key] for key in keys]


def _key(window: Window) -> bytes:
    parts = (window.input_ids, window.type_ids, np.array([window.context_start]))
    return hashlib.sha256(b"".join(part.astype("<i8").tobytes() for part in parts)).digest()


def _ask(teacher: ReaderBackend, windows: Sequence[Window]) -> list[FloatArray]:
    found = []
    rows = rows_of_logits(teacher, windows, BATCH_TOKENS)
    for window, logits in zip(windows, rows, strict=True):
        text = np.arange(window.context_start, window.context_start + len(window.offsets))
        found.append(np.stack(logits)[:, np.concatenate(([0], text))].astype(np.float32))
    if not all(np.isfinite(logits).all() for logits in found):
        raise ModelError(
            "the teacher computes NaN or infinity",
            remedy="Check the teacher's weights, or name another teacher.",
        )
    return found


def _write(judged: dict[bytes, FloatArray], folder: Path) -> None:
    from safetensors.numpy import save_file

    keys = b"".join(judged)
    path = folder / f"{hashlib.sha256(keys).hexdigest()[:16]}.safetensors"
    unfinished = path.with_suffix(".part")
    save_file(
        {
            "keys": np.frombuffer(keys, dtype=np.uint8).reshape(len(judged), -1),
            "ends": np.cumsum([logits.shape[1] for logits in judged.values()]),
            # safetensors writes memory as it lies.
            "logits": np.ascontiguousarray(np.concatenate(list(judged.values()), axis=1)),
        },
        unfinished,
    )
    unfinished.replace(path)


def _read(folder: Path) -> dict[bytes, FloatArray]:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    known: dict[bytes, FloatArray] = {}
    for path in sorted(folder.glob("*.safetensors")):
        try:
            kept = load_file(path)
            parts = np.split(kept["logits"], kept["ends"][:-1], axis=1)
        except (SafetensorError, KeyError, ValueError, OSError) as error:
            raise DataError(
                f"a file of soft targets cannot be read: {error}",
                where=str(path),
                remedy="Delete it: the teacher is asked again.",
            ) from None
        known |= {row.tobytes(): part for row, part in zip(kept["keys"], parts, strict=True)}
    return known
