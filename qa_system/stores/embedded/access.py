"""Who may read and write a store's files: whoever may read and write `store.sqlite3`.

Every other file takes the mode of that one, as SQLite's own side files do. A store is made for
its owner alone, or for a group; one that is there keeps the modes that it has.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, Final

from qa_system.errors import StoreError

__all__ = [
    "LEDGER",
    "PRIVATE",
    "append_to",
    "create_file",
    "describe",
    "file_mode",
    "find_group",
    "is_shared_with",
    "make_folder",
    "open_file",
    "share",
    "share_file",
    "sync_folder",
]

LEDGER: Final = "store.sqlite3"
PRIVATE: Final = 0o600
SHARED: Final = 0o660


def file_mode(store: Path) -> int:
    """Return the mode of a store's files; that of a private one, where there is none yet."""
    try:
        return (store / LEDGER).stat().st_mode & 0o666 | PRIVATE
    except OSError:
        return PRIVATE


def find_group(name: str | None) -> int | None:
    """Return the number of a group of users; None: no group is named.

    Raises:
        StoreError: there is no such group.
    """
    if name is None:
        return None
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        raise StoreError(
            f"there is no group {name!r} on this machine",
            where="store.group",
            remedy=f"Make it (groupadd {name}) and add the users to it, or name another.",
        ) from None


def is_shared_with(store: Path, group: int | None) -> bool:
    """Tell whether the members of a group may use a store; True where none is named (None)."""
    found = (store / LEDGER).stat()
    return group is None or (found.st_gid == group and found.st_mode & 0o060 == 0o060)


def open_file(path: Path, flags: int, mode: int | None = None) -> BinaryIO:
    """Open a file for reading and writing; a new one has the mode of the store's files.

    A link that somebody put there is an error, not followed.

    Args:
        path: in the store's folder.
        flags: of `os.open`, beside reading and writing.
        mode: None: that of the store's files.
    """
    wanted = file_mode(path.parent) if mode is None else mode
    number = os.open(path, os.O_RDWR | flags | getattr(os, "O_NOFOLLOW", 0), wanted)
    file = os.fdopen(number, "r+b")
    _set_mode(path, wanted)  # whatever the process's umask takes away
    return file


def append_to(path: Path, size: int) -> BinaryIO:
    """Open a file for appending after its first `size` bytes; what a crash left there goes."""
    file = open_file(path, os.O_CREAT)
    file.truncate(size)
    file.seek(size)
    return file


def sync_folder(path: Path) -> None:
    """Write a folder's list of files to the disk, where the system can do that."""
    if hasattr(os, "O_DIRECTORY"):
        number = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def create_file(path: Path, mode: int | None = None) -> BinaryIO:
    """Open a file that is not there yet."""
    return open_file(path, os.O_CREAT | os.O_EXCL, mode)


def make_folder(path: Path, mode: int | None = None) -> None:
    """Make a folder in a store's; its group is that of the store's folder.

    Args:
        path: of the folder.
        mode: of the files in it; None: that of the store's files.
    """
    files = file_mode(path.parent) if mode is None else mode
    path.mkdir(mode=_folder_mode(files))
    _set_mode(path, _folder_mode(files))


def share(store: Path, paths: Iterable[Path], group: int | None = None) -> None:
    """Set files and folders to the mode of the store's files, as far as they are this user's.

    Args:
        store: the store's folder.
        paths: in it.
        group: the number of the group that they are to belong to; None: as it is.

    Raises:
        StoreError: the user is not in the group.
    """
    files = file_mode(store)
    for path in paths:
        if group is not None:
            _set_group(path, group)
        with suppress(FileNotFoundError):
            _set_mode(path, _folder_mode(files) if path.is_dir() else files)


def describe(store: Path, group: str | None) -> tuple[str, str | None]:
    """Return who may use a store, and what to do where that is not as the settings have it.

    Args:
        store: the store's folder.
        group: that of the settings.
    """
    found = (store / LEDGER).stat()
    mode, owner = found.st_mode & 0o777, f"user {found.st_uid}, group {found.st_gid}"
    detail = f"{mode:o}, {owner}"
    if mode & 0o007:
        closed = "go=" if group is None else "o="
        return f"{detail}: every user of this machine may read it", f"chmod -R {closed} {store}"
    if not is_shared_with(store, find_group(group)):
        change = f"chgrp -R {group} {store} && chmod -R g=u {store}"
        folders = f"find {store} -type d -exec chmod g+s {{}} +"
        return f"{detail}: it was not made for the group {group}", f"{change} && {folders}"
    return detail, None


def share_file(path: Path, group: int) -> None:
    """Let a group read and write one file.

    Raises:
        StoreError: the user is not in the group.
    """
    _set_group(path, group)
    _set_mode(path, SHARED)


def _set_group(path: Path, group: int) -> None:
    try:
        os.chown(path, -1, group)
    except FileNotFoundError:
        return
    except PermissionError:
        raise StoreError(
            "the store's files cannot be given to the group: you are not in it",
            where=str(path),
            remedy="Add this user to the group of store.group, and log in again.",
        ) from None


def _set_mode(path: Path, mode: int) -> None:
    if stat.S_IMODE(path.stat().st_mode) != mode:
        with suppress(PermissionError):  # another user of the group made it
            path.chmod(mode)


def _folder_mode(files: int) -> int:
    """Return a folder's mode: who may read files may enter it; a group keeps what is made in it.

    >>> oct(_folder_mode(0o600)), oct(_folder_mode(0o660)), oct(_folder_mode(0o644))
    ('0o700', '0o2770', '0o755')
    """
    enter = (files & 0o444) >> 2
    return files | enter | (stat.S_ISGID if files & 0o020 else 0)
