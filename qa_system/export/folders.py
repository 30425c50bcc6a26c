"""The folder that an export writes: it is complete or not there, and nothing else is replaced."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from qa_system.errors import ConfigError, ModelError

__all__ = ["check_free", "put_in_place"]

WORK: Final = ".export-"


def check_free(out: Path, names: Sequence[str], is_export: Callable[[Path], bool]) -> None:
    """Refuse a folder in which an export would replace files that no export wrote.

    Args:
        out: the folder.
        names: of the export's files.
        is_export: whether a folder holds such an export.

    Raises:
        ConfigError: naming the files that are there.
    """
    there = [name for name in names if (out / name).exists()]
    if not there or any(out.glob(f"{WORK}*")):  # the second: an export was killed
        return
    if not is_export(out):
        raise ConfigError(
            f"the folder holds {', '.join(there)}, which no export has written",
            where=str(out),
            remedy="Name another folder.",
        )


def put_in_place(out: Path, names: Sequence[str], write: Callable[[Path], None]) -> None:
    """Write an export's files, and move them into a folder.

    Args:
        out: the folder; what else it holds is left alone.
        names: of the files, in the order in which they are put in place: a folder with the last
            is complete.
        write: writes all of them into the folder that it is given.

    Raises:
        ModelError: the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / names[-1]).unlink(missing_ok=True)
        with tempfile.TemporaryDirectory(prefix=WORK, dir=out) as folder:
            work = Path(folder)
            write(work)
            for name in names:
                shutil.move(work / name, out / name)
    except OSError as error:
        raise ModelError(
            f"the export cannot be written: {error.strerror or error}",
            where=str(out),
            remedy="Name a folder that can be written, on a disk with room.",
        ) from error
