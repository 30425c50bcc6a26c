"""Values of metadata and ids: what they look like, and how they become JSON of one type.

The same value has the same outcome whichever format it comes in: a CSV cell `4.50`, the JSON number
`4.5` and a decimal of Parquet are one number.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final, Literal

__all__ = [
    "Kind",
    "Look",
    "MisfitError",
    "UnusableError",
    "convert",
    "day_first",
    "described",
    "has_day_and_month",
    "id_text",
    "is_whole",
    "look_of",
]

Kind = Literal["text", "number", "boolean", "date", "day_first_date", "rating", "json", "whole"]
"""A column's type; `whole` is that of ids that are whole numbers, `json` of anything nested."""
Look = Literal["text", "number", "boolean", "json", "missing", "not a number"]

MAX_DEPTH: Final = 20
TRUE: Final = frozenset(("true", "True", "TRUE"))
FALSE: Final = frozenset(("false", "False", "FALSE"))
NOT_A_NUMBER: Final = frozenset(("nan", "inf", "+inf", "-inf", "infinity", "-infinity"))
MISSING: Final = frozenset(("na", "n/a", "#n/a", "null", "none", "-"))
"""What CSV files write for a value that is not there; in a column of text it is text."""
_NO_VALUE: Final = MISSING | {"", "nan"}  # in a column of any other type

_WORDS: Final = (
    (str, "a text"),
    (bytes, "binary data"),
    ((int, float, Decimal), "a number"),
    ((list, tuple), "a list"),
    (dict, "an object"),
)
_NUMBER = re.compile(
    r"[+-]?(?:(?:0|[1-9][0-9]{0,400})(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
)
_DECLARED_NUMBER = re.compile(
    r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
)
_INTEGER = re.compile(r"[+-]?[0-9]+")
_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0*)?")
_RATING = re.compile(r"\D{0,20}?(-?[0-9]{1,6}(?:[.,][0-9]{1,6})?)(?![0-9])")
_DIGITS = re.compile(r"[0-9]+(?:[.,][0-9]+)?")
_STARS = re.compile(r"(★+)[☆✩]*|(⭐️?)+")
_EPOCH = re.compile(r"[0-9]{9,19}(?:\.0*)?")
_DAY_AND_MONTH = re.compile(
    r"\s*([0-9]{1,2})\s*([./-])\s*([0-9]{1,2})\s*\2\s*[0-9]{2,4}\b.*", re.DOTALL
)
_YEAR = re.compile(r"(?<![0-9])[0-9]{4}(?![0-9])|[-/ .][0-9]{2}$")


class MisfitError(Exception):
    """A value that does not fit its column's type; the message says what it is."""

    reason: Final = "wrong type"


class UnusableError(Exception):
    """A value with which no row can be kept.

    Args:
        reason: as a reject has it.
        what: the message: what the value is.
    """

    def __init__(self, reason: Literal["bad encoding", "nesting too deep"], what: str) -> None:
        super().__init__(what)
        self.reason: Literal["bad encoding", "nesting too deep"] = reason


def look_of(value: Any) -> Look:
    """Tell what a value looks like, before its column has a type.

    >>> [look_of(each) for each in ("4.50", 5, "TRUE", "007", "NaN", "n/a", [1], "10 kg")]
    ['number', 'number', 'boolean', 'text', 'not a number', 'missing', 'json', 'text']
    """
    match value:
        case None | "":
            return "missing"
        case bool():
            return "boolean"
        case int():
            return "number" if _fits(value) else "text"
        case float():
            return "number" if math.isfinite(value) else "not a number"
        case Decimal():
            return _look_of_text(str(value))
        case str():
            return _look_of_text(value)
        case list() | tuple() | dict():
            return "json"
    return "text"


def _look_of_text(text: str) -> Look:
    stripped = text.strip()
    if stripped in TRUE or stripped in FALSE:
        return "boolean"
    # Cheap first: most cells are words.
    last = stripped[-1:]
    if last.isdecimal() or last == ".":
        if _NUMBER.fullmatch(stripped) is None:
            return "text"
        return "text" if _INTEGER.fullmatch(stripped) and not _fits(int(stripped)) else "number"
    lower = stripped.lower() if len(stripped) <= 9 else ""
    if lower in NOT_A_NUMBER:
        return "not a number"
    return "missing" if lower in MISSING else "text"


def convert(value: Any, kind: Kind, *, is_declared: bool = False) -> Any:
    """Make a JSON value of a column's type; None for what is missing.

    Args:
        value: as the file holds it.
        kind: the column's type.
        is_declared: somebody said so: then `007` is a number, too.

    Raises:
        MisfitError: it does not fit the type.
        UnusableError: its row cannot be kept.

    >>> convert("4.50", "number"), convert("TRUE", "boolean"), convert(5.0, "text")
    (4.5, True, '5.0')
    >>> convert("4.0 out of 5 stars", "rating"), convert("09 16, 2009", "date")
    (4, '2009-09-16')
    """
    if value is None or value == "":
        return None
    if isinstance(value, float | Decimal) and math.isnan(value):
        return None
    match kind:
        case "number":
            return _number(value, is_declared=is_declared)
        case "boolean":
            return _boolean(value)
        case "rating":
            return _rating(value)
        case "date" | "day_first_date":
            return _date(value, day_first=kind == "day_first_date")
        case "json":
            return _json(value)
    return _text(value)


def id_text(value: Any, kind: Kind | None) -> str | None:
    """Make the text of an id; None where it is missing. A whole number has no fraction: `100.0`
    is `100`.

    Args:
        value: as the file holds it.
        kind: `whole` where all ids of the column are whole numbers.

    Raises:
        MisfitError: it is no id.
        UnusableError: its row cannot be kept.

    >>> id_text(100.0, None), id_text("100.0", "whole"), id_text("007", "whole")
    ('100', '100', '007')
    >>> id_text("100.0", "text"), id_text(" B00 ", "text")  # ids are compared exactly
    ('100.0', ' B00 ')
    """
    match value:
        case None:
            return None
        case bool():
            raise MisfitError("is true or false, not an id")
        case float() | Decimal():
            if not math.isfinite(value):
                return None
            whole = int(value)
            return str(whole) if whole == value and abs(whole) <= 2**53 else str(value)
        case str() | int() | bytes():
            text = _text(value) or ""
            bare = text.strip()
            if bare and kind == "whole":
                if bare.lower() in NOT_A_NUMBER or bare.lower() in MISSING:
                    return None
                found = _WHOLE.fullmatch(bare)
                return text if found is None else found[1]
            return text if bare else None
    raise MisfitError(f"is {described(value)}, not an id")


def is_whole(text: str) -> bool:
    """Whether a text is a whole number, possibly written with a fraction of zeros.

    >>> is_whole("100.0"), is_whole("100.5"), is_whole("007")
    (True, False, False)
    """
    return _WHOLE.fullmatch(text.strip()) is not None


def day_first(text: str) -> bool | None:
    """Whether a date's day comes before its month; None where that cannot be told.

    >>> day_first("16/09/2009"), day_first("09/16/2009"), day_first("09/08/2009")
    (True, False, None)
    """
    found = _DAY_AND_MONTH.fullmatch(text)
    if found is None:
        return None
    first, second = int(found[1]), int(found[3])
    if first > 12 >= second or found[2] == ".":
        return True
    return False if second > 12 >= first else None


def has_day_and_month(text: str) -> bool:
    """Whether a date names day and month by numbers, so that one could be taken for the other.

    >>> has_day_and_month("09/08/2009"), has_day_and_month("2009-08-09")
    (True, False)
    """
    return _DAY_AND_MONTH.fullmatch(text) is not None


def described(value: Any) -> str:
    """Say what a value is, in the words of JSON.

    >>> [described(each) for each in (None, True, "x", 5, [1], {})]
    ['null', 'true', 'a text', 'a number', 'a list', 'an object']
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    named = (name for kind, name in _WORDS if isinstance(value, kind))
    return next(named, f"a {type(value).__name__}")


def _fits(value: int) -> bool:
    return -(2**63) <= value < 2**63


def _shown(value: Any) -> str:
    if isinstance(value, bool | list | dict | tuple):  # of any depth
        return described(value)
    text = repr(value)
    return text if len(text) <= 60 else text[:60] + "…"


def _text(value: Any) -> str | None:
    match value:
        case str():
            text = value
        case bytes():
            try:
                text = value.decode()
            except UnicodeDecodeError:
                raise MisfitError("is binary data, not text") from None
        case bool():
            return "true" if value else "false"
        case int() | float() | Decimal():
            return str(value)
        case date() | datetime() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case _:
            raise MisfitError(f"is {_shown(value)}, not a text")
    if "\0" in text:
        raise UnusableError("bad encoding", "holds a NUL character")
    return text


def _number(value: Any, *, is_declared: bool) -> int | float | None:
    match value:
        case bool():
            raise MisfitError(f"is {described(value)}, not a number")
        case int():
            number: int | float = value
        case float():
            number = value
        case Decimal():
            number = float(value) if value.as_tuple().exponent else int(value)
        case str():
            text = value.strip()
            if text.lower() in _NO_VALUE:
                return None
            allowed = _DECLARED_NUMBER if is_declared else _NUMBER
            if allowed.fullmatch(text) is None:
                raise MisfitError(f"is {_shown(value)}, not a number")
            number = int(text) if _INTEGER.fullmatch(text) else float(text)
        case _:
            raise MisfitError(f"is {_shown(value)}, not a number")
    if isinstance(number, float) and not math.isfinite(number):
        raise MisfitError("is infinite")
    if isinstance(number, int) and not _fits(number):
        raise MisfitError(f"is {_shown(number)}, which does not fit signed 64 bits")
    return number


def _boolean(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str):
        text = value.strip()
        if text in TRUE or text in FALSE:
            return text in TRUE
        if text.lower() in _NO_VALUE:
            return None
    raise MisfitError(f"is {_shown(value)}, not true or false")


def _rating(value: Any) -> int | float | None:
    """Read `4`, `4.0`, `4,5`, `4½`, `4/5`, `4.0 out of 5 stars`, `Rated 4`, `★★★★☆`.

    `8/10` and `80%` are on other scales: they are no ratings in stars.
    """
    if isinstance(value, str):
        text = value.strip()
        if text.lower() in _NO_VALUE:
            return None
        stars = _STARS.fullmatch(text)
        if stars is not None:
            return text.count("★") + text.count("⭐")
        found = _RATING.match(text)
        rest = "" if found is None else text[found.end() :]
        if (
            found is None
            or "%" in rest
            or any(float(each.replace(",", ".")) != 5 for each in _DIGITS.findall(rest))
        ):
            raise MisfitError(f"is {_shown(value)}, not a rating of 5")
        value = float(found[1].replace(",", ".")) + 0.5 * rest.startswith("½")
    number = _number(value, is_declared=True)
    if isinstance(number, float) and number.is_integer():
        return int(number)
    return number


def _date(value: Any, *, day_first: bool) -> str | None:
    match value:
        case datetime():
            return _iso(value)
        case date():
            return value.isoformat()
        case bool():
            pass
        case int() | float() | Decimal() | str():
            if not isinstance(value, str):
                number = float(value)
                if abs(number) >= 1e8:
                    return _epoch(number, value)
                value = str(int(number))  # 2009, 20090916
            text = value.strip()
            if text.lower() in _NO_VALUE:
                return None
            if _EPOCH.fullmatch(text):
                return _epoch(float(text), value)
            parsed = _parsed_date(text, day_first)
            if parsed is not None:
                return parsed
    raise MisfitError(f"is {_shown(value)}, not a date")


def _epoch(number: float, value: Any) -> str:
    """Read seconds since 1970; so many that it must be milli-, micro- or nanoseconds, as those."""
    for _ in range(3):
        if abs(number) < 1e11:
            break
        number /= 1000
    try:
        return _iso(datetime.fromtimestamp(number, UTC))
    except (ValueError, OverflowError, OSError):
        raise MisfitError(f"is {_shown(value)}, not a date") from None


def _iso(moment: datetime) -> str:
    # Midnight by no clock in particular is a day.
    if moment.time() == time() and moment.utcoffset() in (None, timedelta()):
        return moment.date().isoformat()
    return moment.isoformat()


@lru_cache(maxsize=4096)
def _parsed_date(text: str, day_first: bool) -> str | None:
    """Read a date in words or numbers, a month or a year as its first day; None: it is none."""
    if len(text) > 80:
        return None
    try:
        return _iso(datetime.fromisoformat(text))
    except ValueError:
        pass
    if _YEAR.search(text) is None:
        return None
    from dateutil import parser

    # Parts that the text leaves out are taken from the default: so two tell whether it has a year.
    found = []
    for default in (datetime(2000, 1, 1), datetime(2001, 1, 1)):  # noqa: DTZ001
        try:
            found.append(
                parser.parse(
                    text.rpartition(" on ")[2],
                    default=default,
                    dayfirst=day_first,
                    tzinfos=_time_zone,
                )
            )
        except (ValueError, OverflowError, TypeError, RecursionError):
            return None
    one, other = found
    return _iso(one) if one.year == other.year else None


def _time_zone(name: str | None, seconds: int | None) -> timezone | None:  # noqa: ARG001
    """Keep an offset; a name such as EST says too little."""
    return None if seconds is None else timezone(timedelta(seconds=seconds))


def _json(value: Any, depth: int = 0) -> Any:
    """Make JSON of anything nested; what is missing is null."""
    match value:
        case None | bool():
            return value
        case float():
            if math.isinf(value):
                raise MisfitError("holds an infinite number")
            return None if math.isnan(value) else value
        case int():
            if not _fits(value):
                raise MisfitError(f"holds {_shown(value)}, which does not fit signed 64 bits")
            return value
        case Decimal():
            return float(value) if value.is_finite() else None
    if depth == MAX_DEPTH:
        raise UnusableError("nesting too deep", f"is nested more than {MAX_DEPTH} levels deep")
    match value:
        case list() | tuple():
            return [_json(each, depth + 1) for each in value]
        case dict():
            if not all(isinstance(key, str) for key in value):
                raise MisfitError("has keys that are not text")
            return {key: _json(each, depth + 1) for key, each in value.items()}
    return _text(value)
