"""Versions of a reader: numbered folders with records, and a link to the one that serves.

    MODELS/1/record.json, MODELS/1/model/    the reader that improvement began with
    MODELS/2/record.json, MODELS/2/model/    a version that was promoted
    MODELS/3/record.json                     one that was refused
    MODELS/serving -> 2/model                what a service's settings name

    MODELS/served.json                       what a command meant to serve, and whether it is done

A version is complete when its folder has its number: it is renamed into place. The link is replaced
in one step, and only by one to a version whose weights are those of its record, so that at any
moment, whatever is killed, it leads to a complete version. A command writes down what it means to
serve before it does anything else: so what a kill left half done, which the next command completes,
is told from a link that a person has set, which it respects.
"""

from __future__ import annotations

import getpass
import logging
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
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from qa_system import __version__
from qa_system.config import describe
from qa_system.errors import ConfigError, ModelError
from qa_system.models.locate import ModelLocation, locate, weights_sha256

__all__ = ["MODEL", "SERVING", "Decision", "Version", "Versions"]

SERVING: Final = "serving"
MODEL: Final = "model"
RECORD: Final = "record.json"
SERVED: Final = "served.json"
LOCK: Final = ".lock"

Decision = Literal["adopted", "promoted", "refused"]

_log = logging.getLogger(__name__)


class _Record(BaseModel):
    """What a record must have to be used."""

    model_config = ConfigDict(strict=True)
    version: int
    decision: Decision
    parent: int | None
    labels: list[str]
    sha256: str | None
    items: dict[str, list[str]] = {}
    texts: dict[str, list[str]] = {}
    rolled_back: dict[str, Any] | None = None

    @model_validator(mode="after")
    def _follows_its_parent(self) -> _Record:
        if self.parent is not None and self.parent >= self.version:
            raise ValueError(f"the parent of version {self.version} is {self.parent}")
        return self


class _Served(BaseModel):
    """What a command means to serve.

    Args:
        number: the version.
        instead_of: the version that served before; None: none did.
        rolled_back: what is to be recorded of that one; None: nothing.
        done: whether the link leads to the version.
    """

    model_config = ConfigDict(strict=True, frozen=True)
    number: int
    instead_of: int | None = None
    rolled_back: dict[str, Any] | None = None
    done: bool = False


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
        lock = FileLock(self.folder / LOCK)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock.acquire(timeout=0)
        except Timeout as error:
            raise ConfigError(
                "another command works on these versions",
                where=str(self.folder),
                remedy="Wait until it has finished.",
            ) from error
        except OSError as error:
            raise ConfigError(
                f"the folder of the versions cannot be used: {error.strerror}",
                where=str(self.folder),
                remedy="Name a folder that can be written: qa-eval improve --models FOLDER.",
            ) from error
        try:
            self._settle()
            yield
        finally:
            lock.release()

    def all(self) -> list[Version]:
        """Return every version, by number.

        Raises:
            ModelError: a record is damaged.
        """
        return [Version(number, self._read(number)) for number in self._numbers()]

    def serving(self) -> Version | None:
        """Return the version that serves; None: there is none yet.

        Raises:
            ModelError: the link leads to no version, or is no link.
        """
        if not self.link.is_symlink():
            if self.link.exists():
                raise self._no_version("there is something else in the place of the link")
            return None
        number = self._linked()
        if number is None or not self.link.is_dir():
            raise self._no_version(
                f"the link leads to {str(self.link.readlink())!r}, which is no version"
            )
        return Version(number, self._read(number))

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
        serves = decision != "refused"
        whole = {
            "version": number,
            "parent": None if before is None else before.number,
            "decision": decision,
            "at": _now(),
            "package": __version__,
            "sha256": weights_sha256(locate(str(model))) if serves or model.is_dir() else None,
            **record,
        }
        _write(staged / RECORD, whole)
        meant = _Served(number=number, instead_of=whole["parent"])
        if serves:
            self._mean(meant)
        with _writing(self.folder / str(number)):
            staged.rename(self.folder / str(number))
            _sync(self.folder)
        if serves:
            self._complete(meant)
        return Version(number, whole)

    def roll_back(self, why: str) -> Version:
        """Let the version serve that served before, and record who did so, when and why.

        Returns:
            The version that serves now.

        Raises:
            ConfigError: no version was promoted, or there is none at all.
            ModelError: the version that served before is not whole.
        """
        now = self.serving()
        if now is None or now.parent is None:
            raise ConfigError(
                "there are no versions" if now is None else "no version served before this one",
                where=str(self.folder),
                remedy="Name a folder in which `qa-eval improve` has promoted a version.",
            )
        note = {"to": now.parent, "at": _now(), "by": getpass.getuser(), "why": why}
        before = self._whole(now.parent)
        meant = _Served(number=now.parent, instead_of=now.number, rolled_back=note)
        self._mean(meant)
        self._complete(meant)
        return before

    def _settle(self) -> None:
        """Complete what was meant to serve, or record that a person has linked another version.

        Raises:
            ModelError: the version is not whole, or the link is gone; nothing was changed.
        """
        meant, serving = self._meant(), self.serving()
        linked = None if serving is None else serving.number
        if meant is not None and not meant.done and linked == meant.instead_of:
            if meant.number in self._numbers():  # else killed before it was there
                self._whole(meant.number)
                self._complete(meant)
        elif serving is None:
            if self._numbers():
                raise self._no_version("there are versions, and no link to the one that serves")
        elif meant is None:
            self._mean(_Served(number=serving.number, done=True))
        elif linked != meant.number:
            self._whole(serving.number)
            note = {"instead_of": meant.number, "noticed_at": _now()}
            self._note(serving.number, "linked_by_hand", note)
            self._mean(_Served(number=serving.number, instead_of=meant.number, done=True))
            _log.warning(
                "%s: linked by hand to version %d, version %d served before; it is recorded",
                *(self.link, serving.number, meant.number),
            )

    def _mean(self, meant: _Served) -> None:
        _write(self.folder / SERVED, meant.model_dump())

    def _meant(self) -> _Served | None:
        path = self.folder / SERVED
        try:
            return _Served.model_validate_json(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise ModelError(
                f"the file cannot be read: {_told(error)}",
                where=str(path),
                remedy="Remove it: the version that is linked serves.",
            ) from error

    def _complete(self, meant: _Served) -> None:
        """Record and link what is meant to serve, which is known to be whole."""
        if meant.rolled_back is not None and meant.instead_of is not None:
            self._note(meant.instead_of, "rolled_back", meant.rolled_back)
        with _writing(self.link):
            temporary = self.folder / f".{SERVING}"
            temporary.unlink(missing_ok=True)
            target = Path(str(meant.number)) / MODEL
            temporary.symlink_to(target, target_is_directory=True)
            temporary.replace(self.link)
            _sync(self.folder)
        self._mean(meant.model_copy(update={"done": True}))

    def _note(self, number: int, key: str, note: Mapping[str, Any]) -> None:
        _write(self.folder / str(number) / RECORD, {**self._read(number), key: note})

    def _whole(self, number: int) -> Version:
        """Return a version whose weights are there, and are those of its record.

        Raises:
            ModelError: they are not, or there is no such version.
        """
        folder = self.folder / str(number)
        version = Version(number, self._read(number))
        what = "has no reader"
        if (folder / MODEL).is_dir():
            if weights_sha256(locate(str(folder / MODEL))) == version.record["sha256"]:
                return version
            what = "has other weights than its record says"
        raise ModelError(
            f"version {number} cannot serve: it {what}",
            where=str(folder / MODEL),
            remedy=f"Restore it from a backup, or link a version by hand: {self._by_hand}.",
        )

    def _numbers(self) -> list[int]:
        return sorted(int(path.name) for path in self.folder.glob("*") if path.name.isdecimal())

    def _linked(self) -> int | None:
        """Return the number of the version that the link names; None: it names none."""
        folder = Path(os.path.abspath(self.folder))  # noqa: PTH100 (a version's links stay)
        target = Path(os.path.normpath(folder / self.link.readlink()))
        number = target.parent.name
        is_version = target == folder / number / MODEL and number.isdecimal()
        return int(number) if is_version else None

    @property
    def _by_hand(self) -> str:
        return f"ln -sfn NUMBER/{MODEL} {self.link}"

    def _no_version(self, what: str) -> ModelError:
        remedy = f"Link a version by hand: {self._by_hand}."
        if self.link.exists() and not self.link.is_symlink():
            remedy = f"Move it away, and link a version by hand: {self._by_hand}."
        return ModelError(what, where=str(self.link), remedy=remedy)

    def _read(self, number: int) -> dict[str, Any]:
        path = self.folder / str(number) / RECORD
        try:
            record: dict[str, Any] = orjson.loads(path.read_bytes())
            if _Record.model_validate(record).version != number:
                raise ValueError(f"it is the record of version {record['version']}")
        except (OSError, ValueError) as error:
            raise ModelError(
                f"the record of a version cannot be read: {_told(error)}",
                where=str(path),
                remedy="Restore it from a backup; move the version's folder away if it does not "
                f"serve, or link another version first: {self._by_hand}.",
            ) from error
        return record


def _told(error: Exception) -> str:
    """Say what is wrong with a file."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, ValidationError):
        return describe(error, {}, whole="the file")
    return str(error)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(
            f"it cannot be written: {error.strerror}",
            where=str(path),
            remedy="Make the folder of the versions writable, on a disk with room.",
        ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _write(path: Path, record: Mapping[str, Any]) -> None:
    temporary = path.with_suffix(".tmp")
    with _writing(path):
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
