"""What several reviews say together: records, and how a notebook shows them."""

from __future__ import annotations

from qa_system.opinions.records import (
    Decision,
    Field,
    Opinion,
    Point,
    Polarity,
    Quote,
    Stance,
    Verdict,
    VerdictAnswer,
    are_opposed,
)

__all__ = [
    "Decision",
    "Field",
    "Opinion",
    "Point",
    "Polarity",
    "Quote",
    "Stance",
    "Verdict",
    "VerdictAnswer",
    "are_opposed",
]
