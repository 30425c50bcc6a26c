"""The file of labels, and beside it the record: what it was made of, and how far it has come.

The record is replaced behind each item. Labels that a killed run wrote after the last one are cut
off when the run goes on, so that the file is the same as if nothing had happened.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import SEEK_END
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from qa_system.errors import ConfigError
from qa_system.labels import encode_label
from qa_system.records import Label

__all__ = ["Output", "open_output", "record_of"]

FORMAT: Final = 1


@dataclass
class Output:
    """A file of labels that is written on.

    Args:
        path: of the file.
        source: where the reviews are from, for the record.
        made_with: what its labels depend on.
        items: that are done.
        counts: of what was proposed, kept, and left out, by reason.
    """

    path: Path
    source: str
    made_with: Mapping[str, Any]
    items: int
    counts: Counter[str]
    _stream: BinaryIO

    def write(self, labels: Iterable[Label], counts: Mapping[str, int]) -> None:
        """Add the labels of the next item."""
        self._stream.write(b"".join(encode_label(label) + b"\n" for label in labels))
        self._stream.flush()
        self.items += 1
        self.counts.update(counts)
        self._note(finished=False)

    def finish(self, further: Mapping[str, int]) -> None:
        """Note that all items are done.

        Args:
            further: counts of what concerns no single item.
        """
        self.counts.update(further)
        self._note(finished=True)

    def _note(self, *, finished: bool) -> None:
        record = {
            "format": FORMAT,
            "source": self.source,
            "made_with": self.made_with,
            "items": self.items,
            "bytes": self._stream.tell(),
            "counts": dict(self.counts),
            "finished": finished,
        }
        path = record_of(self.path)
        unfinished = path.with_name(f"{path.name}.part")
        unfinished.write_bytes(orjson.dumps(record, option=orjson.OPT_INDENT_2) + b"\n")
        unfinished.replace(path)


def record_of(path: Path) -> Path:
    """Return the place of a file's record.

    >>> record_of(Path("questions.jsonl")).name
    'questions.record.json'
    """
    return path.with_name(f"{path.stem}.record.json")


@contextmanager
def open_output(
    path: Path, source: str, made_with: Mapping[str, Any], *, restart: bool = False
) -> Iterator[tuple[Output, bool]]:
    """Open a file of labels behind the items that an earlier run of the same command has done.

    Args:
        path: ends in `.jsonl`.
        source: where the reviews are from; another place of the same reviews is no difference.
        made_with: what the labels depend on, as JSON values.
        restart: begin anew, whatever the file holds.

    Returns:
        The file, and whether an earlier run has finished it.

    Raises:
        ConfigError: the file was made with something else, is none of ours, or cannot be written.
    """
    if path.suffix != ".jsonl":
        raise ConfigError(
            "labels are written as JSON Lines", where=str(path), remedy="Name a file.jsonl."
        )
    wanted = orjson.loads(orjson.dumps(made_with))
    try:
        done = None if restart else _record(path, wanted)
        if done is None and not restart and path.is_file() and path.stat().st_size:
            raise ConfigError(
                "the file is there, and no run was stopped in it",
                where=str(path),
                remedy="Name another file: qa questions --out FILE; or write over it: "
                "qa questions --restart.",
            )
        with path.open("ab") as stream:
            stream.truncate(0 if done is None else done["bytes"])
            stream.seek(0, SEEK_END)
            items = 0 if done is None else done["items"]
            counts = Counter({} if done is None else done["counts"])
            output = Output(path, source, wanted, items, counts, stream)
            yield output, done is not None and done["finished"]
    except OSError as error:
        raise ConfigError(
            f"the labels cannot be written: {error.strerror}",
            where=str(path),
            remedy="Name another file: qa questions --out FILE.",
        ) from error


def _record(path: Path, wanted: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the record of an earlier run with the same means; None: there was none."""
    place = record_of(path)
    if not place.is_file() or not path.is_file():
        return None
    try:
        record: dict[str, Any] = orjson.loads(place.read_bytes())
        made_with, size = record["made_with"], record["bytes"]
        changed = sorted(
            name
            for name in made_with.keys() | wanted.keys()
            if made_with.get(name) != wanted.get(name)
        )
        is_whole = record["format"] == FORMAT and path.stat().st_size >= size
        _ = record["items"], record["counts"], record["finished"]
    except (ValueError, KeyError, TypeError, AttributeError):
        is_whole, changed = False, []
    if not is_whole:
        raise ConfigError(
            "the record beside the labels is damaged, or is not theirs",
            where=str(place),
            remedy="Make the labels again: qa questions --restart.",
        )
    if changed:
        raise ConfigError(
            f"the labels there were made with other {', '.join(changed)}",
            where=str(place),
            remedy="Make them again: qa questions --restart; or name another file: "
            "qa questions --out FILE.",
        )
    return record
