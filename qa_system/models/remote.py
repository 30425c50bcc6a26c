"""Packaged models at an address that fsspec knows: fetched once, checked, kept in a cache.

An address is for example `s3://BUCKET/MODEL`, `gs://BUCKET/MODEL`, `hf://OWNER/NAME`,
`file:///FOLDER` or `memory://FOLDER`. A copy is named by the hash of its `artifacts.json`, so that
another version is another copy, and is moved into place when it is complete.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from qa_system.errors import MissingDependencyError, ModelError, QASystemError
from qa_system.models.artifacts import (
    CONTENTS,
    LARGEST,
    Contents,
    File,
    read_contents,
)
from qa_system.models.checkpoints import reason

__all__ = ["BLOCK", "fetch", "is_local", "open_address", "told"]

BLOCK: Final = 1 << 20


def fetch(address: str) -> Path:
    """Return a local copy of the package at an address.

    Raises:
        ModelError: there is no package, it cannot be read, or a file is not what it says.
        MissingDependencyError: fsspec, or its package for such addresses, is not installed.
    """
    files, root = open_address(address)
    with told(address), files.open(f"{root}/{CONTENTS}", "rb") as file:
        said = file.read(LARGEST + 1)
    contents = read_contents(said, address)
    copy = _cache() / hashlib.sha256(said).hexdigest()
    if not _is_whole(copy, contents):
        with told(address):
            copy.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryDirectory(prefix=".fetch-", dir=copy.parent) as folder:
                work = Path(folder) / "copy"
                work.mkdir()
                for path, expected in contents.files.items():
                    _fetch_file(files, root, path, work, expected)
                (work / CONTENTS).write_bytes(said)
                _put_in_place(work, copy, contents)
    return copy


def open_address(address: str) -> tuple[Any, str]:
    """Return the fsspec file system of an address, and the path in it.

    Raises:
        ModelError: no file system has such addresses.
        MissingDependencyError: fsspec, or its package for such addresses, is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ImportError as error:
        raise MissingDependencyError(
            f"the address {address!r} needs the package 'fsspec'",
            remedy="Install it: pip install 'qa-system[artifacts]'.",
        ) from error
    with told(address):
        files, root = url_to_fs(address)
        files.invalidate_cache()  # somebody else may have written since
    return files, str(root).rstrip("/")


def is_local(files: Any) -> bool:
    """Tell whether a file system of fsspec is this machine's."""
    return "local" in files.protocol


@contextmanager
def told(address: str) -> Iterator[None]:
    """Raise what a file system raises as an error that names the address."""
    try:
        yield
    except QASystemError:
        raise
    except ImportError as error:
        raise MissingDependencyError(
            f"the address cannot be used: {reason(error)}",
            where=address,
            remedy="Install the package of fsspec for such addresses, for example s3fs or gcsfs.",
        ) from error
    except FileNotFoundError as error:
        raise ModelError(
            "there is nothing at the address",
            where=address,
            remedy="Check it. A packaged model is put there by `qa export MODEL --out ADDRESS`.",
        ) from error
    except Exception as error:  # the file systems' exceptions share no base
        raise ModelError(
            f"the address cannot be used: {reason(error)}",
            where=address,
            remedy="Check the address, the network, and the rights to it.",
        ) from error


def _fetch_file(files: Any, root: str, path: str, work: Path, expected: File) -> None:
    source = f"{root}/{path}"
    _refuse_link(files, root, path)
    place = work / path
    place.parent.mkdir(parents=True, exist_ok=True)
    digest, size = hashlib.sha256(), 0
    with files.open(source, "rb") as remote, place.open("wb") as local:
        while size <= expected.size and (block := remote.read(BLOCK)):
            digest.update(block)
            size += len(block)
            local.write(block)
    if (size, digest.hexdigest()) != (expected.size, expected.sha256):
        raise ModelError(
            "a file of the package is not the one that was exported",
            where=source,
            remedy="If somebody exports to the address now, try again; else export it again.",
        )


def _refuse_link(files: Any, root: str, path: str) -> None:
    """Refuse a link in a package on a disk; other file systems have none."""
    parts = path.split("/") if is_local(files) else []
    for end in range(1, len(parts) + 1):
        place = "/".join([root, *parts[:end]])
        if files.info(place).get("islink"):
            raise ModelError(
                "a file of the package is a link",
                where=place,
                remedy="Export the model to the address again.",
            )


def _is_whole(copy: Path, contents: Contents) -> bool:
    """Tell whether a copy is there; its files were checked when they were fetched."""
    places = ((copy / path, expected.size) for path, expected in contents.files.items())
    return all(place.is_file() and place.stat().st_size == size for place, size in places)


def _put_in_place(work: Path, copy: Path, contents: Contents) -> None:
    if copy.exists():
        if _is_whole(copy, contents):  # another process was faster
            return
        copy.rename(work.parent / "damaged")
    work.rename(copy)


def _cache() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(base).expanduser() / "qa-system" / "models"
