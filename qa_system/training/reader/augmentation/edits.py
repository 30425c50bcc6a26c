"""Edits of a text that take the answers' places along."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from qa_system.errors import InvalidArgumentError

__all__ = ["Edit", "Span", "edited", "touches"]

Span = tuple[int, int]
"""Start and end characters."""
Edit = tuple[int, int, str]
"""Start and end characters of what is replaced, and by what."""


def edited(text: str, edits: Iterable[Edit], spans: Sequence[Span]) -> tuple[str, list[Span]]:
    """Replace parts of a text, and move the spans in it along.

    Args:
        text: the review.
        edits: in any order; none overlaps another, and each lies inside a span or outside of it.
        spans: of the answers.

    Returns:
        The new text, and the spans in it, which begin and end with the same parts as before.

    Raises:
        InvalidArgumentError: two edits overlap, or one crosses the border of a span.

    >>> edited("The lid leaks badly.", [(4, 7, "cover")], [(8, 19)])
    ('The cover leaks badly.', [(10, 21)])
    """
    ordered = sorted(edits)
    for (_, end, _), (start, _, _) in pairwise(ordered):
        if start < end:
            raise InvalidArgumentError("two edits overlap", remedy="Pass edits that are apart.")
    for start, end, _ in ordered:
        for first, last in spans:
            if start < first < end or start < last < end:
                raise InvalidArgumentError(
                    "an edit crosses the border of an answer",
                    remedy="Pass edits that lie inside answers, or outside.",
                )

    def moved(place: int, *, is_end: bool) -> int:
        grown = sum(
            len(new) - (end - start)
            for start, end, new in ordered
            # At the border itself, what is inserted stays outside of the span.
            if end <= place and not (is_end and start == end == place)
        )
        return place + grown

    parts, at = [], 0
    for start, end, new in ordered:
        parts += [text[at:start], new]
        at = end
    parts.append(text[at:])
    return "".join(parts), [
        (moved(first, is_end=False), moved(last, is_end=True)) for first, last in spans
    ]


def touches(start: int, end: int, spans: Iterable[Span]) -> bool:
    """Tell whether a part of a text has a character of a span, or stands right beside one."""
    return any(start <= last and first <= end for first, last in spans)
