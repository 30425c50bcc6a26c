"""The files of a tantivy index: which they are, and whether they are what was written.

tantivy does not look: damage shows as a panic, as an abort of the process, or as wrong hits. The
stamp of the index therefore has a record of every file that counted when it was written. tantivy
merges segments behind our back; the files of a later merge are checked against the checksum at
their own end, and the number of documents against the stamp's, which no merge changes.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import orjson

from qa_system.stores.embedded.access import share
from qa_system.stores.embedded.checksums import Checker, Record, crc_of, record_of
from qa_system.stores.embedded.layout import lexical_files
from qa_system.stores.embedded.stamps import FILES, read_stamp

__all__ = ["DOCUMENTS", "damage", "openable", "opstamp_of", "records_of", "share_files"]

DOCUMENTS: Final = "documents"
"""The key of the number of documents that are not deleted."""
META: Final = "meta.json"
_ID: Final = 32
"""Letters of a segment's id, with which the names of its files begin."""
_TRIES: Final = 10
_FOOTER: Final = struct.Struct("<II")
_MAGIC: Final = 1337


def opstamp_of(folder: Path) -> int | None:
    """Return tantivy's count of operations at its last commit."""
    meta = read_stamp(folder / META, opstamp=int)
    return None if meta is None else int(meta["opstamp"])


def records_of(folder: Path, known: Mapping[str, Any], checker: Checker) -> dict[str, Any]:
    """Return what a stamp says of the files that count now.

    Args:
        folder: of the index.
        known: the records of files that were recorded before; tantivy never changes one.
        checker: knows what was read before.

    Returns:
        The files' records and the number of documents.

    Raises:
        ValueError: a file is not what tantivy has just written.
        OSError: the files cannot be read.
    """
    for attempt in range(_TRIES):
        raw = (folder / META).read_bytes()
        meta = orjson.loads(raw)
        try:
            records = {
                path.name: known.get(path.name) or _new_record(path, checker)
                for path in _segment_files(folder, meta)
            }
        except FileNotFoundError:
            if attempt == _TRIES - 1:
                raise
            continue  # a merge has replaced it
        if (folder / META).read_bytes() == raw:
            break
    records[META] = record_of(folder / META, len(raw), crc_of(folder / META))
    return {FILES: records, DOCUMENTS: _count(meta)}


def damage(folder: Path, stamp: Mapping[str, Any], checker: Checker) -> str | None:
    """Return what is wrong with an index, as the end of a sentence; None: it is whole.

    Args:
        folder: of the index.
        stamp: that of the index.
        checker: knows what was read before.
    """
    found = None
    for _ in range(_TRIES):
        try:
            raw = (folder / META).read_bytes()
            found = _damage(folder, orjson.loads(raw), stamp, checker)
            if found is None or (folder / META).read_bytes() == raw:
                return found  # else a merge has replaced the files meanwhile
        except OSError as error:
            return f"{META} cannot be read: {error.strerror or error}"
        except (ValueError, TypeError, KeyError):
            return f"{META} is damaged"
    return found


def _damage(folder: Path, meta: Any, stamp: Mapping[str, Any], checker: Checker) -> str | None:
    records, paths = stamp.get(FILES, {}), _segment_files(folder, meta)
    count = _count(meta)
    # A commit that was killed before its stamp was written has another count of operations: its
    # files are compared with the checksums at their ends, its documents are counted by the writer.
    if META in records and meta["opstamp"] == stamp["opstamp"]:
        is_same = checker.damage_of(folder / META, Record(*records[META])) is None
        if not is_same and (stamp.get("closed") is True or count != stamp.get(DOCUMENTS)):
            return f"{META} is damaged: it is not what was noted"
    found = {path.name for path in paths}
    segments = {name[:_ID] for name in found}
    for name in records:
        if name[:_ID] in segments and name not in found and not name.endswith(".del"):
            return f"{name} is missing"
    for path in paths:
        noted = records.get(path.name)
        told = (
            _footer_damage(path, checker)
            if noted is None
            else checker.damage_of(path, Record(*noted))
        )
        if told is not None:
            return told
    return None


def share_files(folder: Path) -> None:
    """Let those use an index who may use the store: tantivy thinks of its owner only."""
    share(folder.parent, lexical_files(folder))


def openable(folder: Path) -> tuple[Path, TemporaryDirectory[str] | None]:
    """Return a folder that tantivy can make its lock in, even if the index's is read-only."""
    if os.access(folder, os.W_OK) or not folder.is_dir():
        return folder, None
    links = TemporaryDirectory(prefix="qa-lexical-")
    for path in folder.iterdir():
        if path.suffix != ".lock":
            Path(links.name, path.name).symlink_to(path.absolute())
    return Path(links.name), links


def _segment_files(folder: Path, meta: Any) -> list[Path]:
    """Return the files of the segments that count, of each the newest file of deletions."""
    deletions = {
        segment["segment_id"].replace("-", ""): segment["deletes"]
        and f".{segment['deletes']['opstamp']}.del"
        for segment in meta["segments"]
    }
    found = [
        path
        for path in lexical_files(folder)
        if path.name[:_ID] in deletions
        and (path.suffix != ".del" or path.name[_ID:] == deletions[path.name[:_ID]])
    ]
    expected = {name + end for name, end in deletions.items() if end}
    return found + [folder / name for name in expected - {path.name for path in found}]


def _count(meta: Any) -> int:
    return sum(
        segment["max_doc"] - (segment["deletes"] or {"num_deleted_docs": 0})["num_deleted_docs"]
        for segment in meta["segments"]
    )


def _new_record(path: Path, checker: Checker) -> list[int]:
    found = _footer_damage(path, checker)
    if found is not None:
        if not path.exists():
            raise FileNotFoundError(path)
        raise ValueError(found)
    return record_of(path, path.stat().st_size, crc_of(path))


def _footer_damage(path: Path, checker: Checker) -> str | None:
    """Compare a file with the checksum that tantivy has put at its end."""
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            file.seek(max(0, size - _FOOTER.size))
            length, magic = _FOOTER.unpack(file.read())
            start = size - _FOOTER.size - length
            if magic != _MAGIC or start < 0:
                return f"{path.name} is damaged: its end is missing"
            file.seek(start)
            crc = orjson.loads(file.read(length))["crc"]
    except OSError as error:
        return f"{path.name} cannot be read: {error.strerror or error}"
    except (ValueError, TypeError, KeyError, struct.error):
        return f"{path.name} is damaged: its end is not what tantivy writes"
    return checker.damage_of(path, Record(start, crc, 0), may_grow=True)
