"""Numbers with units in the words of reviews: "2.4 kg", "nineteen days", "two and a half hours"."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, NamedTuple

__all__ = ["Unit", "numbers_in", "quantities_in", "unit_of"]


class Unit(NamedTuple):
    """What a unit measures, and how many of that dimension's first unit it is."""

    dimension: str
    factor: float


def _units(dimension: str, **spelled: str) -> dict[str, Unit]:
    return {
        name: Unit(dimension, float(words.split()[0]))
        for words in spelled.values()
        for name in words.split()[1:]
    }


_UNITS: Final[Mapping[str, Unit]] = {
    **_units(
        "mass",
        g="1 g gr gram grams gramme grammes",
        mg="0.001 mg",
        kg="1000 kg kgs kilo kilos kilogram kilograms",
        lb="453.59237 lb lbs pound pounds",
        oz="28.349523125 oz ounce ounces",
    ),
    **_units(
        "length",
        m="1 m metre metres meter meters",
        mm="0.001 mm millimetre millimetres millimeter millimeters",
        cm="0.01 cm cms centimetre centimetres centimeter centimeters",
        km="1000 km kms kilometre kilometres kilometer kilometers",
        inch='0.0254 inch inches "',
        foot="0.3048 foot feet ft",
        mile="1609.344 mile miles",
    ),
    **_units(
        "time",
        s="1 s sec secs second seconds",
        min="60 min mins minute minutes",
        h="3600 h hr hrs hour hours",
        day="86400 day days",
        week="604800 week weeks",
        month="2592000 month months",
        year="31536000 year years",
    ),
    **_units(
        "volume",
        l="1 l litre litres liter liters",
        ml="0.001 ml millilitre millilitres milliliter milliliters",
        cl="0.01 cl",
        oz="0.0295735295625 floz",
    ),
    **_units("power", w="1 w watt watts", kw="1000 kw kilowatt kilowatts"),
    **_units("voltage", v="1 v volt volts"),
    **_units("charge", ah="1 ah", mah="0.001 mah"),
    **_units("data", gb="1 gb gigabyte gigabytes", mb="0.001 mb", tb="1000 tb terabyte terabytes"),
    **_units("sound", db="1 db decibel decibels"),
    **_units("share", percent="1 % percent"),
    **_units("euro", euro="1 € eur euro euros", cent="0.01 cent cents"),
    **_units("dollar", dollar="1 $ usd dollar dollars bucks"),
    **_units("pound sterling", gbp="1 £ gbp quid"),
    **_units("pixel", mp="1 mp megapixel megapixels"),
}


def _counted(words: str, start: int, step: int) -> dict[str, int]:
    return {word: start + step * at for at, word in enumerate(words.split())}


_ONES: Final = _counted(
    """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen
    fifteen sixteen seventeen eighteen nineteen""",
    0,
    1,
)
_TENS: Final = _counted("twenty thirty forty fifty sixty seventy eighty ninety", 20, 10)
_SIGNS: Final = "€$£"
_WRITTEN: Final = "|".join([*_TENS, *sorted(_ONES, key=len, reverse=True)])
_DIGITS: Final = r"(?:\d{1,3}(?:,\d{3}){1,3}(?:\.\d{1,6})?|\d{1,9}(?:[.,]\d{1,6})?)(?!\d)"
"""So few digits as prices and sizes have: a longer run of them is no number of a review."""
_NUMBER: Final = re.compile(
    rf"(?<![\w.,'’])(?P<sign>[{_SIGNS}])?\s?"
    rf"(?P<number>{_DIGITS}|(?:{_WRITTEN})(?:[ -](?:{'|'.join(_ONES)})\b)?(?![a-z]))"
    r"(?P<half>\s(?:and a half|1/2)|½)?"
    r"(?:[ -]?(?P<unit>[a-z]+|[%€$£\"”]))?",
    re.IGNORECASE,
)
_RANGE: Final = re.compile(rf"(?<![\w.,])({_DIGITS})\s?[-–—]\s?(?={_DIGITS})")
_HALF_A: Final = re.compile(r"\bhalf an?\s(?P<unit>[a-z]+)", re.IGNORECASE)


def unit_of(name: str) -> Unit | None:
    """Return a unit by any of its names; None: it is not known.

    >>> unit_of("Minutes"), unit_of("furlong")
    (Unit(dimension='time', factor=60.0), None)
    """
    return _UNITS.get(name.strip().lower().replace("”", '"'))


def quantities_in(text: str, unit: Unit) -> list[float]:
    """Return what a text says in units of one dimension, in the order of the text.

    Args:
        text: words of a review.
        unit: to which values are converted; others of its dimension are read, too.

    >>> quantities_in("2.4 kg with everything, 2,100 g without", Unit("mass", 1))
    [2400.0, 2100.0]
    >>> quantities_in("Six and a half hours, then half an hour", Unit("time", 3600))
    [6.5, 0.5]
    """
    found = [
        (at, number * read.factor / unit.factor)
        for at, number, read in _with_units(text)
        if read.dimension == unit.dimension
    ]
    return [round(value, 6) for _, value in sorted(found)]


def numbers_in(text: str) -> list[float]:
    """Return the numbers in a text that have no unit that is known.

    >>> numbers_in("2 to 5 players, about 70 minutes")
    [2.0, 5.0]
    """
    return [
        _value(found["number"], found["half"])
        for found in _NUMBER.finditer(_RANGE.sub(r"\1 to ", text))
        if not found["sign"] and unit_of(found["unit"] or "") is None
    ]


def _with_units(text: str) -> Iterator[tuple[int, float, Unit]]:
    """Yield where a quantity stands, its number and its unit."""
    pending: list[tuple[int, float]] = []
    spread = _RANGE.sub(lambda found: f"{found[1]} to ", text)
    for found in _NUMBER.finditer(spread):
        value = _value(found["number"], found["half"])
        unit = unit_of(found["sign"] or found["unit"] or "")
        if unit is None:
            # "25 to 30 minutes": the unit of the second is that of the first.
            is_range = (found["unit"] or "").lower() in {"to", "or", ""}
            pending = [(found.start(), value)] if is_range else []
            continue
        yield from ((at, number, unit) for at, number in _joined(pending, spread, found.start()))
        pending = []
        yield found.start(), value, unit
    for half in _HALF_A.finditer(spread):
        if (unit := unit_of(half["unit"])) is not None:
            yield half.start(), 0.5, unit


def _joined(pending: Iterable[tuple[int, float]], text: str, end: int) -> list[tuple[int, float]]:
    """Return the numbers before a quantity that share its unit."""
    return [
        (at, number)
        for at, number in pending
        if re.fullmatch(r"\W*[\w.,]+\s(?:to|or)\s+", text[at:end], re.IGNORECASE)
    ]


def _value(number: str, half: str | None) -> float:
    extra = 0.5 if half else 0.0
    if number[0].isdigit():
        if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", number):
            return float(number.replace(",", "")) + extra
        return float(number.replace(",", ".")) + extra
    first, *rest = re.split(r"[ -]", number.lower())
    return float(_TENS.get(first, _ONES.get(first, 0)) + sum(_ONES[word] for word in rest)) + extra
