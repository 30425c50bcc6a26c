"""The interval of a share of few reviews."""

from __future__ import annotations

from math import sqrt
from typing import Final

__all__ = ["wilson"]

Z: Final = 1.959963984540054
"""The 97.5 % quantile of the normal distribution: intervals are of 95 %."""


def wilson(part: int, whole: int) -> tuple[float, float]:
    """Return the 95 % interval of a share (Wilson, 1927).

    It stays between 0 and 1, and it is wide where there are few, so that it holds for the numbers
    of reviews that items have (Brown, Cai and DasGupta, 2001).

    Args:
        part: how many of `whole`, from 0 on.
        whole: how many there are; of none, the share can be anything.

    Raises:
        ValueError: `part` is negative or more than `whole`.

    >>> [round(end, 3) for end in wilson(6, 9)]
    [0.354, 0.879]
    >>> wilson(0, 0)
    (0.0, 1.0)
    """
    if not 0 <= part <= whole:
        raise ValueError(f"{part} is no part of {whole}")
    if whole == 0:
        return 0.0, 1.0
    share, spread = part / whole, Z * Z / whole
    middle = share + spread / 2
    half = sqrt(spread * (share * (1 - share) + spread / 4))
    low = (middle - half) / (1 + spread) if part else 0.0
    high = (middle + half) / (1 + spread) if part < whole else 1.0
    return low, high
