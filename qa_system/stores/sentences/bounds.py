"""How much either store scores for one question; beyond that, its indexes choose candidates."""

from __future__ import annotations

from typing import Final

__all__ = ["CANDIDATES", "MOST_DIVIDED"]

MOST_DIVIDED: Final = 1_000
"""Documents without stored sentences that are divided. One of 1,300 characters takes a quarter of a
millisecond."""
CANDIDATES: Final = 300
"""Documents that each of the two indexes finds, where a filter selects too many to score all."""
