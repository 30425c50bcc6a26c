"""JSON as rows: an object a line, or a list of objects laid out in any way.

JSON Lines are read by lines, so that a broken one spoils only itself. Anything else (a list, with
or without line breaks; objects over several lines) is cut where its brackets close.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from math import isfinite
from typing import IO, Any, Final, NamedTuple, Self

import orjson

from qa_system.errors import DataError
from qa_system.sources.csv_format import undecodable
from qa_system.sources.encodings import BOM
from qa_system.sources.rows import BadRow, Position, RawRow
from qa_system.sources.streams import Lines
from qa_system.sources.values import described

__all__ = ["is_json_lines", "read_json_lines", "read_json_values"]

logger = logging.getLogger(__name__)

CHUNK_BYTES: Final = 1 << 16
SHOWN_BYTES: Final = 2000
LONG_NUMBER: Final = 2.0**63
_BETWEEN: Final = re.compile(rb"[\s,\xef\xbb\xbf]*+")
_IN_TEXT: Final = re.compile(rb'[^"\\\n]*+(?:\\.[^"\\\n]*+)*+', re.DOTALL)
_TOKEN: Final = re.compile(rb'"[^"\\\n]*+(?:\\.[^"\\\n]*+)*+"|["{}\[\]]', re.DOTALL)
_SCALAR: Final = re.compile(rb"[^,\]\[{}\n]*+")
_KEY: Final = re.compile(rb'"\s*:')


def is_json_lines(head: bytes) -> bool:
    """Whether a text is JSON Lines, rather than JSON laid out in another way.

    >>> [is_json_lines(text) for text in (b'{"a": 1}\\n{"a": 2}', b'[{"a": 1}]', b'{\\n"a": 1}')]
    [True, False, False]
    """
    lines = [line.removeprefix(BOM).strip() for line in head.splitlines()[:100]]
    lines = [line for line in lines if line]
    objects = sum(line.startswith(b"{") and line.endswith(b"}") for line in lines)
    return 2 * objects >= len(lines)


def read_json_lines(lines: Lines, start: Position, encoding: str = "utf-8") -> Iterator[RawRow]:
    """Read an object a line.

    Args:
        lines: of the file, from `start` on.
        start: where to begin.
        encoding: that the file is in, for messages.

    Raises:
        DataError: the file is damaged so that it cannot be read on.
    """
    for data, size in lines:
        text = data.removeprefix(BOM)
        if not text or text.isspace():
            continue
        values: dict[str, Any] | BadRow
        if size > lines.max_bytes:
            values = _over_long("line", size, lines.max_bytes)
        else:
            values = _values(text, encoding)
        after = Position(start.file, lines.offset, lines.line)
        yield RawRow(values, lines.line, after, data[:SHOWN_BYTES])


def read_json_values(
    stream: IO[bytes], name: str, max_bytes: int, start: Position, encoding: str = "utf-8"
) -> Iterator[RawRow]:
    """Read the objects of a list, or objects one after the other.

    Args:
        stream: the file, from `start` on.
        name: of the file, for messages.
        max_bytes: of one object.
        start: where to begin.
        encoding: that the file is in, for messages.

    Raises:
        DataError: the file is damaged, or ends within an object.
    """
    for value in _Values(stream, name, max_bytes, start):
        values: dict[str, Any] | BadRow
        if value.size > max_bytes:
            values = _over_long("object", value.size, max_bytes)
        else:
            values = _values(value.data, encoding)
        yield RawRow(values, value.line, value.after, value.data[:SHOWN_BYTES])


class _Value(NamedTuple):
    data: bytes
    size: int
    line: int
    after: Position


class _Values:
    """The values in a list, or one after the other, as the bytes between their brackets."""

    def __init__(self, stream: IO[bytes], name: str, max_bytes: int, start: Position) -> None:
        self._stream = stream
        self._name = name
        self._max = max_bytes
        self._file = start.file
        self._offset = start.offset
        self._line = start.line
        self._buffer = b""
        self._at = 0

    def __iter__(self) -> Iterator[_Value]:
        is_list = self._offset > 0
        is_closed = False
        while self._skip_between():
            first = self._buffer[self._at : self._at + 1]
            if first in b"[]":
                is_list |= first == b"["
                is_closed = first == b"]"
                self._take(self._at + 1)
                continue
            is_closed = False
            line = self._line + 1
            data, size = self._bracketed(line) if first in b'{}"' else self._scalar()
            yield _Value(data, size, line, Position(self._file, self._offset, self._line))
        if is_list and not is_closed:
            logger.warning("%s: the list is not closed: the file may be cut off", self._name)

    def _take(self, end: int) -> bytes:
        """Take the buffer up to a place."""
        taken = self._buffer[self._at : end]
        self._offset += end - self._at
        self._line += taken.count(b"\n")
        self._at = end
        return taken

    def _fill(self) -> bool:
        """Read on, and forget what was taken; False at the end."""
        chunk = self._stream.read(CHUNK_BYTES)
        self._buffer = self._buffer[self._at :] + chunk
        self._at = 0
        return bool(chunk)

    def _skip_between(self) -> bool:
        while True:
            self._take(_end(_BETWEEN, self._buffer, self._at))
            if self._at < len(self._buffer):
                return True
            if not self._fill():
                return False

    def _scalar(self) -> tuple[bytes, int]:
        """Take a number or a word, which is no review."""
        data = b""
        size = 0
        while True:
            part = self._take(_end(_SCALAR, self._buffer, self._at))
            size += len(part)
            data = (data + part)[: self._max]
            if self._at < len(self._buffer) or not self._fill():
                return data, size

    def _bracketed(self, line: int) -> tuple[bytes, int]:
        """Take an object or a text, to where it closes; one that is too long is not held.

        A text ends with its line: JSON has no other. So one that is not closed spoils its object,
        and not those that follow.
        """
        at = self._at
        dropped = depth = 0
        is_in_text = False
        while True:
            is_closed = False
            if is_in_text:
                at = _end(_IN_TEXT, self._buffer, at)
                end = self._buffer[at : at + 1]
                is_in_text = end in (b"", b"\\")
                at += end == b'"'
                is_closed = end == b"\n" or (depth == 0 and not is_in_text)
            elif found := _TOKEN.search(self._buffer, at):
                at = found.end()
                is_in_text = found[0] == b'"'
                depth += (found[0] in (b"{", b"[")) - (found[0] in (b"}", b"]"))
                is_closed = depth <= 0 and not is_in_text
            else:
                at = len(self._buffer)
            if is_closed:
                size = dropped + at - self._at
                return self._take(at), size
            if at < len(self._buffer) - is_in_text:
                continue
            if at - self._at > self._max:
                dropped += len(self._take(at))
            at -= self._at
            if not self._fill():
                raise DataError(
                    "the file ends within an object or a text that begins here: it is cut off, "
                    "or a bracket is missing",
                    where=f"{self._name}, line {line}",
                    remedy="Fetch or mend it, then run the same command: it goes on where it "
                    "stopped.",
                )


def _end(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    found = pattern.match(text, at)
    return at if found is None else found.end()


def _over_long(what: str, size: int, max_bytes: int) -> BadRow:
    return BadRow("over-long", f"the {what} has {size:,} bytes, at most {max_bytes:,} are read")


def _values(data: bytes, encoding: str) -> dict[str, Any] | BadRow:
    """Read an object; say why it is none."""
    try:
        value = _loaded(data)
    except (orjson.JSONDecodeError, ValueError, RecursionError) as error:
        try:
            data.decode()
        except UnicodeDecodeError:
            return BadRow("bad encoding", undecodable(data, encoding))
        if isinstance(error, RecursionError) or "depth limit" in str(error):
            return BadRow("nesting too deep", "it is nested too deep to be read")
        return BadRow("malformed", f"not JSON: {error}")
    if not isinstance(value, dict):
        return BadRow("malformed", f"{described(value)} where an object is needed")
    value.pop("", None)
    return value


def _loaded(data: bytes) -> Any:
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        # What Python writes for a number that is none, and numbers beyond 64 bits.
        if b"NaN" not in data and b"Infinity" not in data and "infinity" not in str(error):
            raise
        return _loaded_strictly(data)
    # orjson rounds long numbers, and takes the last of two keys, and does not say so.
    if isinstance(value, dict):
        keys, has_long_number = _looked_through(value)
        if has_long_number or len(_KEY.findall(data)) > keys:
            return _loaded_strictly(data)
    return value


def _loaded_strictly(data: bytes) -> Any:
    """Read JSON with every digit of its numbers; two values of one key are an error."""

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(items)
        if len(found) < len(items):
            names = [name for name, _ in items]
            twice = next(name for name in names if names.count(name) > 1)
            raise ValueError(f"the key {twice!r} comes twice")
        return found

    value = json.loads(
        data.decode(),
        object_pairs_hook=pairs,
        parse_float=lambda text: number if isfinite(number := float(text)) else _Spelt(text),
        parse_constant=_Spelt,
    )
    if b"\\u" in data:
        # Half a character; orjson refuses it, too.
        json.dumps(value, ensure_ascii=False).encode()
    return value


class _Spelt(float):
    """A number that is infinite or none; its text is that of the file, as it would be of a cell."""

    def __new__(cls, text: str) -> Self:
        number = super().__new__(cls, text)
        number._text = text
        return number

    _text: str

    def __str__(self) -> str:
        return self._text


def _looked_through(value: dict[str, Any] | list[Any]) -> tuple[int, bool]:
    """Count the keys, and look for numbers that may have been whole and too long."""
    keys, members = (len(value), value.values()) if isinstance(value, dict) else (0, value)
    has_long_number = False
    for each in members:
        kind = type(each)
        if kind is float:
            has_long_number |= not -LONG_NUMBER < each < LONG_NUMBER
        elif kind is dict or kind is list:
            inner, is_found = _looked_through(each)
            keys += inner
            has_long_number |= is_found
    return keys, has_long_number
