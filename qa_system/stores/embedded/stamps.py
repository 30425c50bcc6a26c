"""What a derived file says of itself: which store it is of, and up to which generation.

A stamp has a checksum of its own, and those of the files that it vouches for (`checksums`). One of
version 0.1 has neither.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any, Final

import orjson

from qa_system.stores.embedded.access import create_file

__all__ = ["FILES", "read_stamp", "replace_file", "write_stamp"]

FILES: Final = "files"
"""The key of the files' records: name -> [bytes, CRC-32, time of the last change]."""
_SUM: Final = "crc32"


def read_stamp(path: Path, **fields: type) -> dict[str, Any] | None:
    """Return a stamp, None where there is none that can be read.

    Args:
        path: a JSON file.
        fields: the type of each value that the stamp must have; it may have others, too.

    >>> import tempfile
    >>> place = Path(tempfile.mkdtemp(), "stamp.json")
    >>> write_stamp(place, {"generation": 7})
    >>> read_stamp(place, generation=int), read_stamp(place, generation=str)
    ({'generation': 7}, None)
    >>> _ = place.write_text(place.read_text().replace("7", "8"))
    >>> read_stamp(place, generation=int) is None
    True
    """
    try:
        stamp = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    is_whole = (
        isinstance(stamp, dict)
        and _is_as_written(stamp)
        and all(type(stamp.get(name)) is kind for name, kind in fields.items())
    )
    return stamp if is_whole else None


def write_stamp(path: Path, stamp: dict[str, Any]) -> None:
    """Replace a stamp, at once and durably; what it vouches for is on the disk already."""
    fresh = path.with_name(f"{path.name}.new")
    # A link that somebody put there is removed, not followed.
    fresh.unlink(missing_ok=True)
    with create_file(fresh) as file:
        file.write(orjson.dumps(stamp | {_SUM: _sum(stamp)}))
    replace_file(fresh, path)


def replace_file(fresh: Path, path: Path) -> None:
    """Put a finished file in another's place, at once and durably."""
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(path)


def _is_as_written(stamp: dict[str, Any]) -> bool:
    if _SUM not in stamp:
        return FILES not in stamp
    return bool(stamp.pop(_SUM) == _sum(stamp))


def _sum(stamp: dict[str, Any]) -> int:
    return zlib.crc32(orjson.dumps(stamp))
