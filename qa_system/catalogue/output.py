"""The answers file: a JSON object a row, in the order of the questions, and whose it is.

Every line has its row's number and the run that it is of. So the file alone says how far a run has
come, and a file of somebody else is told from it.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from json import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import BinaryIO, ClassVar, Final, Self

import orjson

from qa_system.errors import ConfigError

__all__ = ["Output", "Run", "open_output", "refuse_other_kinds"]

LONGEST_LINE: Final = 1 << 26
OPTIONS: Final = orjson.OPT_NON_STR_KEYS | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_APPEND_NEWLINE
_PART: Final = re.compile(r"[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class Run:
    """What the answers of a run depend on: digests of 12 hexadecimal digits.

    Args:
        questions: of the questions file, and of the options that say how it is read.
        reviews: of the store and its generation.
        settings: of the settings, the models, and what is asked for.
    """

    NAMES: ClassVar[Mapping[str, str]] = {
        "questions": "the questions file (or --item, --encoding)",
        "reviews": "the reviews in the store",
        "settings": "the settings or the models",
    }
    """What the digests are of, in words."""

    questions: str
    reviews: str
    settings: str

    def __str__(self) -> str:
        return f"{self.questions}-{self.reviews}-{self.settings}"

    @classmethod
    def parse(cls, text: object) -> Self | None:
        """Read what `str` wrote; None: it is something else."""
        parts = text.split("-") if isinstance(text, str) else []
        if len(parts) != len(fields(cls)) or not all(map(_PART.fullmatch, parts)):
            return None
        return cls(*parts)

    def differences(self, earlier: Run) -> list[str]:
        """Name what was different in an earlier run."""
        return [
            text
            for name, text in self.NAMES.items()
            if getattr(self, name) != getattr(earlier, name)
        ]


@dataclass
class Output:
    """An answers file that is written on.

    Args:
        run: that its lines are of.
        rows: that it has.
        errors: of them.
    """

    run: Run
    rows: int
    errors: int
    _stream: BinaryIO

    def write(self, lines: Iterable[Mapping[str, object]]) -> None:
        """Add lines, each with its row's number, and hand them to the operating system."""
        written = bytearray()
        for line in lines:
            self.rows += 1
            self.errors += line.get("error") is not None
            own = {"row": self.rows, "id": None, "run": str(self.run)}
            written += orjson.dumps({**own, **line}, option=OPTIONS)
        self._stream.write(written)
        self._stream.flush()


def refuse_other_kinds(path: Path) -> None:
    """Refuse a path that is there and is no regular file: a folder, a pipe, a device.

    Opening a pipe would wait for whoever reads it.

    Raises:
        ConfigError: it is none, or cannot be looked at.
    """
    try:
        kind = path.stat().st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error) from error
    if not stat.S_ISREG(kind):
        raise ConfigError(
            "the answers can be written to a regular file only",
            where=str(path),
            remedy="Name another file: --out FILE.",
        )


@contextmanager
def open_output(path: Path, run: Run, *, restart: bool = False) -> Iterator[Output]:
    """Open an answers file behind the rows that an earlier run of the same command has done.

    Args:
        path: of the file; made if it is not there. A last line of a run that is half written is
            cut off.
        run: the lines to come are of.
        restart: begin anew, whatever run its lines are of.

    Raises:
        ConfigError: the file holds something else, lines of another run, or cannot be written, or
            another process writes it.
    """
    refuse_other_kinds(path)
    try:
        with path.open("ab") as stream:
            _refuse_second_writer(stream, path)
            rows, errors, size = _checked(path, None if restart else run)
            if restart:
                rows, errors, size = 0, 0, 0
            stream.truncate(size)
            yield Output(run, rows, errors, stream)
    except OSError as error:
        raise _unwritable(path, error) from error


def _refuse_second_writer(stream: BinaryIO, path: Path) -> None:
    try:
        import fcntl
    except ImportError:  # Windows
        return
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ConfigError(
            "another process is writing these answers",
            where=str(path),
            remedy="Wait for it, or end it; the same command goes on from there.",
        ) from None


def _checked(path: Path, run: Run | None) -> tuple[int, int, int]:
    """Return the rows of a file, the errors among them, and the length of its whole lines.

    Args:
        path: of the file.
        run: all lines must be of; None: any run will do.

    Raises:
        ConfigError: a line is not one of these answers, or is of another run.
    """
    rows = errors = size = 0
    with path.open("rb") as lines:
        while line := lines.readline(LONGEST_LINE):
            begins = b'{"row":%d,"id":' % (rows + 1)
            is_cut = not line.endswith(b"\n")
            try:
                found = orjson.loads(line)
            except orjson.JSONDecodeError:
                if is_cut and _is_part_of_ours(line, begins):
                    break
                raise _not_ours(path) from None
            if not line.startswith(begins):
                raise _not_ours(path)
            its_run = Run.parse(found.get("run")) if isinstance(found, dict) else None
            if its_run is None:
                raise _not_ours(path)
            if run is not None and str(its_run) != str(run):
                raise _of_another_run(path, run.differences(its_run))
            if is_cut:
                break
            rows += 1
            errors += found.get("error") is not None
            size += len(line)
    return rows, errors, size


def _is_part_of_ours(line: bytes, begins: bytes) -> bool:
    """Tell whether a line without its end is a part of one that a run has begun to write.

    Args:
        line: the last one of the file.
        begins: what a run's line begins with: the row's number. Behind it are the row's id, of any
            kind, and the run.
    """
    if len(line) <= len(begins):
        return begins.startswith(line)
    text = line.removeprefix(begins).decode(errors="replace")
    try:
        _, end = JSONDecoder().raw_decode(text)
    except JSONDecodeError:  # cut inside the id
        return line.startswith(begins)
    behind, run = text[end:], ',"run":"'
    return line.startswith(begins) and (behind.startswith(run) or run.startswith(behind))


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"the answers cannot be written: {error.strerror}",
        where=str(path),
        remedy="Name another file: --out FILE; or mend that, and run the same command again.",
    )


def _not_ours(path: Path) -> ConfigError:
    return ConfigError(
        "the file is there and holds something else than these answers",
        where=str(path),
        remedy="Name another file: --out FILE.",
    )


def _of_another_run(path: Path, changed: list[str]) -> ConfigError:
    what = " and ".join(changed)
    return ConfigError(
        f"{what} changed since these answers were begun",
        where=str(path),
        remedy="Ask all questions again: --restart. Or keep them, and name another file: "
        "--out FILE.",
    )
