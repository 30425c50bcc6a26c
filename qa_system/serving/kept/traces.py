"""By what a review that is to be forgotten is recognised in what a service has kept."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

__all__ = ["Traces"]

QUOTED: Final = 40
"""Characters in a row by which a text is recognised."""
ID_FIELDS: Final = frozenset(("id", "meta.review_id", "review_id"))
"""Of filters: those that name a review."""


class Traces:
    """The ids of reviews, and every 40 characters of their texts.

    Args:
        review_ids: of the reviews.
        texts: theirs, as far as they are known; a shorter one is recognised where it stands alone.

    >>> traces = Traces(["r1"], ["The light hums, and after an hour it smells of plastic."])
    >>> traces.are_in({"evidence": [{"review_id": "r1"}]}), traces.are_in({"item_id": "r1"})
    (True, False)
    >>> traces.are_in({"question": "Is it true that after an hour it smells of plastic?"})
    False
    >>> traces.are_in({"question": "“hums, and after  an hour it smells of plastic.” Really?"})
    True
    """

    def __init__(self, review_ids: Iterable[str], texts: Iterable[str] = ()) -> None:
        self._ids = frozenset(review_ids)
        joined = {" ".join(text.split()) for text in texts} - {""}
        self._short = {text for text in joined if len(text) < QUOTED}
        self._long = {part for text in joined for part in _parts(text)}

    def are_in(self, value: Any, *, is_id: bool = False) -> bool:
        """Tell whether JSON values name one of the reviews, or quote it.

        Args:
            value: the values.
            is_id: whether a text is the id of a review.
        """
        if isinstance(value, dict):
            names_review = value.get("field") in ID_FIELDS
            return any(
                self.are_in(each, is_id=key == "review_id" or (names_review and key == "value"))
                for key, each in value.items()
            )
        if isinstance(value, list):
            return any(self.are_in(each, is_id=is_id) for each in value)
        if not isinstance(value, str):
            return False
        return value in self._ids if is_id else self._quoted_in(" ".join(value.split()))

    def _quoted_in(self, text: str) -> bool:
        return text in self._short or any(part in self._long for part in _parts(text))


def _parts(text: str) -> Iterable[str]:
    return (text[at : at + QUOTED] for at in range(len(text) - QUOTED + 1))
