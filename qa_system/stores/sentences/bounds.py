"""How much either store looks into for one question; beyond, its indexes choose documents."""

from __future__ import annotations

from typing import Final

__all__ = ["CANDIDATES", "MOST_DIVIDED"]

MOST_DIVIDED: Final = 1_000
"""Documents without stored sentences that are divided; one takes a quarter of a millisecond."""
CANDIDATES: Final = 300
"""Documents that each of the two indexes finds, where there are too many to look into all."""
