"""How the values of metadata compare with those of a filter, the same in every store.

Each value has keys, short texts of which the first character is their kind:

    =   a text, a list or a dictionary, as it is
    #   a number; the order of these keys is that of the numbers, whole or not, exactly
    n   the clock of a date without a time zone, in microseconds
    z   the clock of a date with a time zone
    i   the instant of a date with a time zone

A document's value equals a filter's where they share a key, and is greater where a key of the
same kind is. Both are Haystack's comparisons: 1 equals 1.0 and True, a text that is a whole ISO
date is that date, and dates of which one has no time zone compare by their clocks. Two things
Haystack leaves open are decided here: a list matches where one of its values does, and what has
no order (a text against a number) does not match and is no error.
"""

from __future__ import annotations

import json
import math
import re
import struct
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

import dateutil.parser

__all__ = ["Range", "iso_date", "keys_of", "keys_of_filter", "predicate", "ranges_of"]

_LOOKS_LIKE_DATE = re.compile(r"\d{4}-\d{2}-\d{2}([Tt ]|$)", re.ASCII)
_MICROSECOND: Final = timedelta(microseconds=1)
_TWO_DAYS: Final = timedelta(days=2)
"""Instants of the first day in the first year are not negative then, whatever the zone."""
_MOST_REST: Final = 0xFFF


class Range(NamedTuple):
    """The keys of one kind on one side of a bound.

    Args:
        kind: of the keys.
        operator: ">", ">=", "<" or "<=".
        bound: a key of that kind.
    """

    kind: str
    operator: str
    bound: str

    def holds(self, key: str) -> bool:
        """Tell whether a key is in the range.

        >>> Range("#", ">", number_key(4.5)).holds(number_key(5))
        True
        """
        if key[0] != self.kind:
            return False
        if self.operator[0] == ">":
            return key > self.bound or (self.operator == ">=" and key == self.bound)
        return key < self.bound or (self.operator == "<=" and key == self.bound)


def keys_of(value: Any) -> list[str]:
    """Return the keys of a document's value, as JSON has it; None has none.

    >>> keys_of("bright"), keys_of(True) == keys_of(1.0)
    (['=sbright'], True)
    """
    if not isinstance(value, list):
        return _keys_of_one(value)
    return [_whole(value), *(key for each in value for key in _keys_of_one(each))]


def _keys_of_one(value: Any) -> list[str]:
    if value is None:
        return []
    if isinstance(value, int | float):
        return [] if value != value else [number_key(value)]
    if not isinstance(value, str):
        return [_whole(value)]
    when = iso_date(value)
    return [_whole(value)] if when is None else [_whole(value), *_keys_of_date(when)]


def _keys_of_date(when: datetime) -> list[str]:
    clock = _clock(when)
    return [f"n{clock}"] if when.tzinfo is None else [f"z{clock}", f"i{_instant(when)}"]


def keys_of_filter(value: Any) -> list[str]:
    """Return the keys of which a document's value has one, if it equals a filter's.

    >>> bool(set(keys_of_filter("2024-02-29")) & set(keys_of("2024-02-29T00:00:00+02:00")))
    True
    """
    when = iso_date(value)
    if when is not None:
        return [_whole(value), *(each.bound for each in _ranges_of_date(">=", when))]
    if value is None or isinstance(value, int | float):
        return _keys_of_one(value)
    return [_whole(value)]


def ranges_of(operator: str, value: Any) -> list[Range]:
    """Return the ranges of which one has a key of a document's value, if that is in order.

    Args:
        operator: ">", ">=", "<" or "<=".
        value: a filter's number or ISO date; anything else has no order.
    """
    if isinstance(value, int | float):
        return [] if value != value else [Range("#", operator, number_key(value))]
    when = iso_date(value)
    return [] if when is None else _ranges_of_date(operator, when)


def _ranges_of_date(operator: str, when: datetime) -> list[Range]:
    naive = Range("n", operator, f"n{_clock(when)}")
    if when.tzinfo is None:
        return [naive, Range("z", operator, f"z{_clock(when)}")]
    return [naive, Range("i", operator, f"i{_instant(when)}")]


def predicate(operator: str, values: Sequence[Any]) -> Callable[[Any], bool]:
    """Return what tells whether a document's value matches.

    Args:
        operator: "in", or an order.
        values: of the filter: for "in" any number, where None is a missing value; else one.

    >>> predicate("in", [1, None])(1.0), predicate(">", [4])("5"), predicate(">", [4])([1, 5])
    (True, False, True)
    """
    if operator == "in":
        wanted = frozenset(key for value in values for key in keys_of_filter(value))
        takes_missing = None in values
        return lambda found: (
            takes_missing if found is None else not wanted.isdisjoint(keys_of(found))
        )
    ranges = ranges_of(operator, values[0])
    return lambda found: any(each.holds(key) for key in keys_of(found) for each in ranges)


def number_key(value: float) -> str:
    """Return a key whose order is that of the numbers.

    The number's floor among the 64-bit floats comes first, then what is left: a whole number of
    64 bits is less than 2,048 away from it.

    >>> number_key(2**53) < number_key(2**53 + 1) < number_key(2.0**53 + 2)
    True
    """
    rest = 0
    try:
        near = float(value) + 0.0  # -0.0 becomes 0.0
        if isinstance(value, int):
            if near > value:
                near = math.nextafter(near, -math.inf)
            rest = value - int(near)
    except OverflowError:
        near, rest = math.nextafter(math.inf, 0) if value > 0 else -math.inf, _MOST_REST
    [bits] = struct.unpack(">Q", struct.pack(">d", near))
    ordered = bits ^ (0xFFFF_FFFF_FFFF_FFFF if bits >> 63 else 1 << 63)
    return f"#{ordered:016x}{min(rest, _MOST_REST):03x}"


def iso_date(value: Any) -> datetime | None:
    """Read a text as the date that Haystack's `==` takes it for, None if it is no date.

    >>> iso_date("2024-02-29"), iso_date("2024")
    (datetime.datetime(2024, 2, 29, 0, 0), None)
    """
    if not isinstance(value, str) or not _LOOKS_LIKE_DATE.match(value):
        return None
    try:
        return datetime.fromisoformat(value)
    except ValueError:
        try:
            read: datetime = dateutil.parser.isoparse(value)
        except (ValueError, OverflowError):
            return None
        return read


def _clock(when: datetime) -> str:
    return f"{(when.replace(tzinfo=None) - datetime.min) // _MICROSECOND:018d}"  # noqa: DTZ901


def _instant(when: datetime) -> str:
    elapsed = when.replace(tzinfo=None) - datetime.min  # noqa: DTZ901
    return f"{(elapsed - (when.utcoffset() or timedelta()) + _TWO_DAYS) // _MICROSECOND:018d}"


def _whole(value: Any) -> str:
    if isinstance(value, str):
        return f"=s{value}"
    return f"=j{json.dumps(_canonical(value), sort_keys=True)}"


def _canonical(value: Any) -> Any:
    """Return the same for parts that Python calls equal; texts differ from all else."""
    if value is None:
        return None
    if isinstance(value, str):
        return f"s{value}"
    if isinstance(value, int | float):
        return number_key(value)
    if isinstance(value, dict):
        return {key: _canonical(part) for key, part in value.items()}
    return [_canonical(part) for part in value]
