"""Pickles, recognised without loading one: by name, by content, inside archives."""

from __future__ import annotations

import bz2
import lzma
import pickletools
import re
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from qa_system.errors import ModelError

__all__ = ["PICKLES", "is_pickle", "refuse_pickle"]

PICKLES: Final = frozenset(
    {".pkl", ".pickle", ".joblib", ".pt", ".pth", ".ckpt", ".dill", ".cloudpickle"}
)
"""By which endings pickles go."""
HEAD: Final = 1 << 16
"""Bytes that are looked at."""
_BINARY: Final = re.compile(rb"\x80[\x01-\x05]")
_DOTTED: Final = re.compile(r"[\w.]+ [\w.]+")


def refuse_pickle(path: Path) -> None:
    """Refuse a file that is a pickle, or an archive with one in it.

    Raises:
        ModelError: saying what to keep instead.
    """
    if path.suffix.casefold() in PICKLES or _holds_pickle(path):
        raise ModelError(
            f"{path.name!r} is a pickle, which runs whatever it says when it is loaded",
            where=str(path),
            remedy="Keep a scikit-learn model by skops (skops.io.dump), weights as safetensors.",
        )


def is_pickle(head: bytes) -> bool:
    """Tell whether bytes begin as a pickle does.

    >>> import pickle
    >>> [is_pickle(pickle.dumps(ValueError, protocol)) for protocol in range(6)]
    [True, True, True, True, True, True]
    >>> is_pickle(b"colour\\nred\\nblue\\n"), is_pickle(b"")
    (False, False)
    """
    if _BINARY.match(head):
        return True
    # Older protocols have no sign of their own: they are read, not run. One that names nothing
    # runs nothing.
    named, place = False, 0
    try:
        with warnings.catch_warnings(action="ignore"):  # of escapes in what is no pickle
            for opcode, value, at in pickletools.genops(head):
                named |= opcode.name in ("GLOBAL", "INST") and bool(_DOTTED.fullmatch(str(value)))
                place = at or 0
                if opcode.name == "STOP":
                    return named
    except (ValueError, EOFError, IndexError):
        pass  # it is no pickle, or its end is not in `head`
    return named and len(head) == HEAD and place > HEAD // 2


def _holds_pickle(path: Path) -> bool:
    with path.open("rb") as file:
        head = file.read(HEAD)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if Path(member.filename).suffix.casefold() in PICKLES:
                    return True
                with archive.open(member) as file:
                    if _is_packed(file.read(HEAD)):
                        return True
    return _is_packed(head)


def _is_packed(head: bytes) -> bool:
    """Tell a pickle, a compressed one, and an array of Python objects, which numpy pickles."""
    if head.startswith(b"\x93NUMPY"):
        return b"|O" in head[:512]
    return is_pickle(head) or is_pickle(_decompressed(head))


def _decompressed(head: bytes) -> bytes:
    """Return what the beginning of a compressed file holds; nothing of any other."""
    for sign, decompress in DECOMPRESSORS.items():
        if head.startswith(sign):
            try:
                return decompress(head)
            except (OSError, EOFError, ValueError, lzma.LZMAError, zlib.error):
                return b""
    return b""


DECOMPRESSORS: Final[dict[bytes, Callable[[bytes], bytes]]] = {
    b"\x1f\x8b": lambda head: zlib.decompressobj(31).decompress(head, HEAD),
    b"x": lambda head: zlib.decompressobj().decompress(head, HEAD),
    b"BZh": lambda head: bz2.BZ2Decompressor().decompress(head, HEAD),
    b"\xfd7zXZ": lambda head: lzma.LZMADecompressor().decompress(head, HEAD),
}
