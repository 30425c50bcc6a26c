"""Versions of a reader: numbered folders with records, and a link to the one that serves.

    MODELS/1/record.json, MODELS/1/model/    the reader that improvement began with
    MODELS/2/record.json, MODELS/2/model/    a version that was promoted
    MODELS/3/record.json                     one that was refused
    MODELS/serving -> 2/model                what a service's settings name

A version is complete when its folder has its number: it is renamed into place. The link is replaced
in one step, so that at any moment, whatever is killed, it leads to a complete version. What a kill
left half done, `settle` completes.
"""

from __future__ import annotations

import getpass
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import orjson
from filelock import FileLock, Timeout

from qa_system import __version__
from qa_system.errors import ConfigError, ModelError
from qa_system.models.locate import ModelLocation, locate, weights_sha256

__all__ = ["MODEL", "SERVING", "Decision", "Version", "Versions"]

SERVING: Final = "serving"
MODEL: Final = "model"
RECORD: Final = "record.json"
LOCK: Final = ".lock"

Decision = Literal["adopted", "promoted", "refused"]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a reader.

    Args:
        number: its folder's name.
        record: what is known of it, as JSON values: `parent`, `decision`, `reasons`, `labels` and
            so on.
    """

    number: int
    record: Mapping[str, Any]

    @property
    def decision(self) -> Decision:
        """What was decided about it."""
        decision: Decision = self.record["decision"]
        return decision

    @property
    def parent(self) -> int | None:
        """The version that served when this one was trained; None: it is the first."""
        parent: int | None = self.record["parent"]
        return parent

    @property
    def rolled_back(self) -> Mapping[str, Any] | None:
        """When, by whom, why and to which version it was rolled back; None: it was not."""
        return self.record.get("rolled_back")


class Versions:
    """A folder of versions.

    Args:
        folder: it is made with the first version.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def link(self) -> Path:
        """What a service's settings name as `reader.model`."""
        return self.folder / SERVING

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other commands from changing the versions; a killed command's lock is free.

        What a kill left half done is completed first.

        Raises:
            ConfigError: another command has the lock, or the folder cannot be written.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with FileLock(self.folder / LOCK, timeout=0):
                self._settle()
                yield
        except Timeout as error:
            raise ConfigError(
                "another command works on these versions",
                where=str(self.folder),
                remedy="Wait until it has finished.",
            ) from error

    def all(self) -> list[Version]:
        """Return every version, by number.

        Raises:
            ModelError: a record is damaged.
        """
        numbers = [int(path.name) for path in self.folder.glob("*") if path.name.isdecimal()]
        return [Version(number, self._read(number)) for number in sorted(numbers)]

    def serving(self) -> Version | None:
        """Return the version that serves; None: there is none yet.

        Raises:
            ModelError: the link leads to no version.
        """
        if not self.link.is_symlink():
            return None
        target = self.link.readlink()
        number = target.parts[0]
        if not number.isdecimal() or not self.link.is_dir():
            raise ModelError(
                f"the link leads to {str(target)!r}, which is no version",
                where=str(self.link),
                remedy=f"Link it to a version by hand: ln -sfn NUMBER/{MODEL} {self.link}.",
            )
        return Version(int(number), self._read(int(number)))

    def adopt(self, location: ModelLocation) -> Version:
        """Make a copy of a reader the first version, which serves.

        Raises:
            ModelError: it cannot be copied.
        """
        staged = self.folder / ".adopted"
        shutil.rmtree(staged, ignore_errors=True)
        try:
            shutil.copytree(location.path, staged / MODEL)
        except (OSError, shutil.Error) as error:
            raise ModelError(
                f"the reader cannot be copied: {error}",
                where=str(self.folder),
                remedy="Name a folder that can be written, on a disk with room.",
            ) from error
        return self.add(staged, "adopted", {"source": location.name, "reasons": [], "labels": []})

    def add(self, staged: Path, decision: Decision, record: Mapping[str, Any]) -> Version:
        """Make a folder the newest version; if it is not refused, it serves from now on.

        Args:
            staged: a folder in `folder`, with the reader in `model/` unless that is not kept.
            decision: about it.
            record: what is known of it.

        Returns:
            The version, with its whole record.
        """
        known, before = self.all(), self.serving()
        number = max((each.number for each in known), default=0) + 1
        model = staged / MODEL
        whole = {
            "version": number,
            "parent": None if before is None else before.number,
            "decision": decision,
            "at": _now(),
            "package": __version__,
            "sha256": weights_sha256(locate(str(model))) if model.is_dir() else None,
            **record,
        }
        _write(staged / RECORD, whole)
        staged.rename(self.folder / str(number))
        _sync(self.folder)
        if decision != "refused":
            self._serve(number)
        return Version(number, whole)

    def roll_back(self, why: str) -> Version:
        """Let the version serve that served before, and record who did so, when and why.

        Returns:
            The version that serves now.

        Raises:
            ConfigError: no version was promoted, or there is none at all.
        """
        now = self.serving()
        if now is None or now.parent is None:
            raise ConfigError(
                "there are no versions" if now is None else "no version served before this one",
                where=str(self.folder),
                remedy="Name a folder in which `qa-eval improve` has promoted a version.",
            )
        note = {"to": now.parent, "at": _now(), "by": getpass.getuser(), "why": why}
        _write(self.folder / str(now.number) / RECORD, {**now.record, "rolled_back": note})
        self._serve(now.parent)
        return Version(now.parent, self._read(now.parent))

    def _settle(self) -> None:
        """Complete a promotion or a rollback whose link was not replaced any more."""
        known, serving = self.all(), self.serving()
        left = known if serving is None else [e for e in known if e.parent == serving.number]
        promoted = [e for e in left if e.decision != "refused" and e.rolled_back is None]
        if serving is not None and serving.rolled_back is not None:
            self._serve(serving.rolled_back["to"])
        elif promoted:
            self._serve(promoted[-1].number)

    def _serve(self, number: int) -> None:
        temporary = self.folder / f".{SERVING}"
        temporary.unlink(missing_ok=True)
        temporary.symlink_to(Path(str(number)) / MODEL, target_is_directory=True)
        temporary.replace(self.link)
        _sync(self.folder)

    def _read(self, number: int) -> dict[str, Any]:
        path = self.folder / str(number) / RECORD
        try:
            record: dict[str, Any] = orjson.loads(path.read_bytes())
            _ = record["decision"], record["parent"], record["labels"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(
                f"the record of a version cannot be read: {error!r}",
                where=str(path),
                remedy="Move the version's folder away if it does not serve.",
            ) from error
        return record


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(path: Path, record: Mapping[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file:
        file.write(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make what was renamed in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
