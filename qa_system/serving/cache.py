"""Answers kept in memory while the store's generation is the one that they are from."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from qa_system.stores.contract import Generation

__all__ = ["Cache"]

OVERHEAD: Final = 300
"""Bytes that an entry takes beside its value."""


class Cache:
    """Keeps what was used last, up to a number of bytes; all of it is of one generation.

    Args:
        most: bytes; 0: nothing is kept.

    >>> cache = Cache(1_000)
    >>> cache.put(Generation("s", 1), b"key", b"answer")
    >>> cache.get(Generation("s", 1), b"key"), cache.get(Generation("s", 2), b"key"), cache.bytes
    (b'answer', None, 0)
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._generation: Generation | None = None
        self._kept: OrderedDict[bytes, bytes] = OrderedDict()
        self.bytes = 0

    def get(self, generation: Generation, key: bytes) -> bytes | None:
        """Return what was kept; None: nothing was, or it is of another generation."""
        self._turn_to(generation)
        value = self._kept.get(key)
        if value is not None:
            self._kept.move_to_end(key)
        return value

    def put(self, generation: Generation, key: bytes, value: bytes) -> None:
        """Keep a value of a generation; the one used longest ago leaves for it."""
        self._turn_to(generation)
        if _size(value) > self._most:
            return
        if key in self._kept:
            self.bytes -= _size(self._kept.pop(key))
        self._kept[key] = value
        self.bytes += _size(value)
        while self.bytes > self._most:
            _, dropped = self._kept.popitem(last=False)
            self.bytes -= _size(dropped)

    def _turn_to(self, generation: Generation) -> None:
        if generation != self._generation:
            self._kept.clear()
            self.bytes = 0
            self._generation = generation


def _size(value: bytes) -> int:
    return len(value) + OVERHEAD
