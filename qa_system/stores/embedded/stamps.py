"""What a derived file says of itself: which store it is of, and up to which generation."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import orjson

__all__ = ["read_stamp", "replace_file", "write_stamp"]


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
    """
    try:
        stamp = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return None
    is_whole = isinstance(stamp, dict) and all(
        type(stamp.get(name)) is kind for name, kind in fields.items()
    )
    return stamp if is_whole else None


def write_stamp(path: Path, stamp: dict[str, Any]) -> None:
    """Replace a stamp, at once and durably; what it vouches for is on the disk already."""
    fresh = path.with_name(f"{path.name}.new")
    # A link that somebody put there is removed, not followed.
    fresh.unlink(missing_ok=True)
    with fresh.open("xb") as file:
        file.write(orjson.dumps(stamp, option=orjson.OPT_SERIALIZE_NUMPY))
    replace_file(fresh, path)


def replace_file(fresh: Path, path: Path) -> None:
    """Put a finished file in another's place, at once and durably."""
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(path)
