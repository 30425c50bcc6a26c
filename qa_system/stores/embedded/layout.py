"""The names of a store's files, and whether a folder may become a store.

Only what has such a name, in a store's folder, is ever replaced or deleted. A folder that is no
store yet may hold what a store has left behind (a killed creation, a checkpoint, derived files
whose `store.sqlite3` was deleted), but nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from qa_system.errors import StoreError
from qa_system.stores.embedded.access import LEDGER
from qa_system.stores.embedded.stamps import read_stamp

__all__ = [
    "ANNOTATOR_LOCK",
    "ANN_FILES",
    "JOBS",
    "LEDGER",
    "LEXICAL_FOLDER",
    "LEXICAL_STAMP",
    "SENTENCES_FILE",
    "VECTORS_FILE",
    "VECTORS_STAMP",
    "check_free",
    "lexical_files",
    "own_paths",
    "remove_lexical",
    "strangers",
]

JOBS: Final = "jobs"
"""The folder inside a store's in which `qa-index` keeps the checkpoints of its jobs."""
LEXICAL_STAMP: Final = "lexical.json"
_NUMBER: Final = "(0|[1-9][0-9]*)"
LEXICAL_FOLDER: Final = re.compile(f"lexical(?:-{_NUMBER})?")
"""`lexical` is that of a store written before the folder had an epoch."""
VECTORS_FILE: Final = re.compile(rf"vectors-{_NUMBER}-{_NUMBER}\.(?:f32|rows)")
ANN_FILES: Final = ("ann.json", "ann.json.new", "ann.faiss", "ann.faiss.new")
SENTENCES_FILE: Final = re.compile(rf"sentences-{_NUMBER}-{_NUMBER}\.(?:records|terms)")
VECTORS_STAMP: Final = re.compile(rf"vectors-{_NUMBER}\.json")
ANNOTATOR_LOCK: Final = re.compile(r"annotator-[0-9a-f]{16}\.lock")
_SEGMENT_ENDS: Final = r"[0-9]+\.del|idx|pos|term|fast|fieldnorm|store|temp|store\.temp"
_LEXICAL_FILE: Final = re.compile(
    r"meta\.json|\.managed\.json|\.tantivy-[a-z]+\.lock|\.tmp[0-9A-Za-z]{6}"
    rf"|[0-9a-f]{{32}}\.(?:{_SEGMENT_ENDS})"
)
_NEW_LEDGER: Final = re.compile(rf"{re.escape(LEDGER)}\.new(?:-wal|-shm|-journal)?")
_LEDGER_SIDE: Final = re.compile(rf"{re.escape(LEDGER)}-(?:wal|shm|journal)")
_JOB_FILE: Final = re.compile(
    r".+-[0-9a-f]{8}(?:-rebuild)?\.(?:sqlite(?:-wal|-shm|-journal)?|lock|rejects\.jsonl)"
)
_NAMED: Final = 3
"""Files that an error message names; the rest is counted."""


def check_free(folder: Path) -> None:
    """Refuse a place in which a new store would stand among other files, or cannot be made.

    Args:
        folder: has no store.

    Raises:
        StoreError: the folder is not empty, or no folder, or cannot be read.

    >>> import tempfile
    >>> check_free(Path(tempfile.mkdtemp()) / "not there yet")
    """
    where = str(folder)
    try:
        strangers = [path.name for path in folder.iterdir() if not _is_ours(path)]
    except FileNotFoundError:
        if not folder.is_symlink():
            return
        raise StoreError(
            "the path is a link that leads nowhere",
            where=where,
            remedy="Make the folder that it leads to, or name another one.",
        ) from None
    except NotADirectoryError:
        raise StoreError(
            "the path leads through a file, where a folder is needed",
            where=where,
            remedy="Name another folder.",
        ) from None
    except OSError as error:
        raise StoreError(
            f"the folder cannot be read: {error.strerror or error}",
            where=where,
            remedy="Check its permissions, or name another folder.",
        ) from error
    if strangers:
        named = ", ".join(repr(name) for name in sorted(strangers)[:_NAMED])
        more = f" and {len(strangers) - _NAMED} more" if len(strangers) > _NAMED else ""
        raise StoreError(
            f"the folder is no store and not empty: it holds {named}{more}",
            where=where,
            remedy="Name another folder: one that is not there yet, or is empty.",
        )


def lexical_files(folder: Path) -> list[Path]:
    """Return the files of a lexical index; others in its folder are somebody else's."""
    return [path for path in folder.iterdir() if _is_lexical_file(path)]


def remove_lexical(folder: Path) -> None:
    """Delete the files of a lexical index one by one, and the folder if nothing else is in it."""
    with suppress(OSError):  # it is tried again when the store is opened the next time
        for path in lexical_files(folder):
            path.unlink(missing_ok=True)
        folder.rmdir()


def own_paths(store: Path) -> Iterator[Path]:
    """Yield the files and folders of a store that are in its folder, by their names."""
    for path in store.iterdir():
        if not _is_named(path):
            continue
        yield path
        if path.is_dir():
            yield from (each for each in path.iterdir() if _is_named_inside(each))


def strangers(store: Path) -> list[Path]:
    """Return what is in a store's folder and no part of the store, which it leaves alone."""
    found = []
    for path in sorted(store.iterdir()):
        if not _is_named(path):
            found.append(path)
        elif path.is_dir():
            found += [each for each in sorted(path.iterdir()) if not _is_named_inside(each)]
    return found


def _is_named(path: Path) -> bool:
    """Tell whether a path has the name and the kind of one of a store's."""
    name = path.name
    if path.is_symlink():
        return False
    if path.is_dir():
        return name == JOBS or LEXICAL_FOLDER.fullmatch(name) is not None
    named = name.removesuffix(".new")
    if named in (LEDGER, LEXICAL_STAMP, "ann.json", "ann.faiss", "writer.lock", "writer.json"):
        return True
    if ANNOTATOR_LOCK.fullmatch(name):
        return True
    return any(
        kind.fullmatch(each)
        for kind, each in (
            (_LEDGER_SIDE, name),
            (_NEW_LEDGER, name),
            (VECTORS_STAMP, named),
            (VECTORS_FILE, name),
            (SENTENCES_FILE, name),
        )
    )


def _is_named_inside(path: Path) -> bool:
    if path.parent.name == JOBS:
        return _JOB_FILE.fullmatch(path.name) is not None and path.is_file()
    return _is_lexical_file(path)


def _is_lexical_file(path: Path) -> bool:
    return _LEXICAL_FILE.fullmatch(path.name) is not None and path.is_file()


def _is_ours(path: Path) -> bool:
    """Tell whether a store has left it; a common name alone, such as `writer.json`, is no proof."""
    name, folder = path.name, path.parent
    if path.is_symlink():
        return False
    if path.is_dir():
        if name == JOBS:
            return all(_JOB_FILE.fullmatch(each.name) and each.is_file() for each in path.iterdir())
        is_index = LEXICAL_FOLDER.fullmatch(name) and _is_stamped(folder / LEXICAL_STAMP)
        return bool(is_index) and all(map(_is_lexical_file, path.iterdir()))
    if name == "writer.lock" or ANNOTATOR_LOCK.fullmatch(name):
        return _is_empty(path)
    if name == "writer.json":
        return _is_empty(path) or read_stamp(path, pid=int, host=str, since=str) is not None
    if _NEW_LEDGER.fullmatch(name):
        begun = folder / f"{LEDGER}.new"
        return begun.is_file() and (_is_empty(begun) or _is_sqlite(begun))
    if _LEDGER_SIDE.fullmatch(name):
        return _is_empty(path)  # SQLite would replay a log with anything in it into a new file
    if name.removesuffix(".new") == LEXICAL_STAMP:
        return _is_stamped(path)
    if VECTORS_STAMP.fullmatch(name.removesuffix(".new")):
        return _is_stamped(path)
    if found := VECTORS_FILE.fullmatch(name):
        return _is_stamped(folder / f"vectors-{found[1]}.json")
    if found := SENTENCES_FILE.fullmatch(name):
        return _is_stamped(folder / f"vectors-{found[1]}.json")
    if name in ANN_FILES:
        stamp = folder / "ann.json" if "faiss" in name else path
        return read_stamp(stamp, kind=str, space=int, epoch=int, count=int) is not None
    return False


def _is_stamped(path: Path) -> bool:
    return read_stamp(path, store_id=str, generation=int) is not None


def _is_empty(path: Path) -> bool:
    return path.stat().st_size == 0


def _is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"
