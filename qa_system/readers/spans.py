"""Logits -> the spans of a review that answer best: pure functions on arrays.

A span's score is the logit of its first token plus that of its last, minus the same sum for the
null token of its window: the log-odds of "here" against "not in this window". The null logit
makes the scores of different windows and different reviews comparable, which raw logits are not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Span", "WindowLogits", "best_spans"]

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class WindowLogits:
    """What the reader says to the review's tokens in one window.

    Args:
        start: start logits, shape (tokens,).
        end: end logits, shape (tokens,).
        null: start + end logit of the window's null token.
        offsets: each token's first character in the review and the one after its last,
            shape (tokens, 2).
    """

    start: FloatArray
    end: FloatArray
    null: float
    offsets: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a review, in characters, and its log-odds against no answer."""

    start: int
    end: int
    log_odds: float


def best_spans(
    windows: Sequence[WindowLogits],
    top_k: int = 1,
    max_answer_length: int = 40,
    border: int = 0,
) -> list[Span]:
    """Find the best spans of one review, none overlapping another.

    The best span is taken, then the best of those that share no character with it, and so on.
    So an answer that two overlapping windows both hold counts once, and the second answer is
    another answer, not the first with a word more.

    Args:
        windows: the windows of one review.
        top_k: spans wanted at most.
        max_answer_length: tokens of a span at most.
        border: the character that no span crosses: where a review's text begins behind its title.

    Returns:
        Best first; of equal scores the one in the earlier window, starting earlier, shorter.

    >>> logits = np.array([0.0, 3.0, 1.0], dtype=np.float32)
    >>> words = np.array([[0, 3], [4, 9], [10, 14]], dtype=np.int32)
    >>> best_spans([WindowLogits(logits, logits, 2.0, words)], top_k=2)
    [Span(start=4, end=9, log_odds=4.0), Span(start=10, end=14, log_odds=0.0)]
    """
    bands = [_Band(window, max_answer_length, border) for window in windows if len(window.start)]
    spans: list[Span] = []
    while bands and len(spans) < top_k:
        span = max((band.best() for band in bands), key=lambda found: found.log_odds)
        if span.log_odds == -np.inf:
            break
        spans.append(span)
        if len(spans) < top_k:
            for band in bands:
                band.remove(span)
    return spans


class _Band:
    """All spans of a window: row = first token, column = further tokens."""

    def __init__(self, window: WindowLogits, max_answer_length: int, border: int) -> None:
        tokens = len(window.start)
        columns = min(max_answer_length, tokens)
        beyond = np.full(columns - 1, -np.inf, dtype=np.float32)
        ends = np.lib.stride_tricks.sliding_window_view(
            np.concatenate((window.end, beyond)), columns
        )
        self._scores = window.start[:, None] + ends - np.float32(window.null)
        self._offsets = window.offsets
        self._columns = np.arange(columns)
        # A token without characters, of white space alone, can neither begin nor end a span.
        if (empty := self._offsets[:, 0] >= self._offsets[:, 1]).any():
            self._scores[empty] = -np.inf
            self._scores[self._last_tokens(empty)] = -np.inf
        behind = self._offsets[:, 0] >= border
        if not behind.all():
            self._scores[~behind[:, None] & self._last_tokens(behind)] = -np.inf

    def best(self) -> Span:
        first, further = divmod(int(self._scores.argmax()), len(self._columns))
        score = float(self._scores[first, further])
        last = min(first + further, len(self._offsets) - 1)
        return Span(int(self._offsets[first, 0]), int(self._offsets[last, 1]), score)

    def remove(self, span: Span) -> None:
        """Take out every span that shares a character with the one given."""
        begins_before = self._offsets[:, 0] < span.end
        ends_after = self._offsets[:, 1] > span.start
        self._scores[begins_before[:, None] & self._last_tokens(ends_after)] = -np.inf

    def _last_tokens(self, of_token: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return a property of tokens for the last token of each span."""
        last = np.minimum(np.arange(len(of_token))[:, None] + self._columns, len(of_token) - 1)
        found: NDArray[np.bool_] = of_token[last]
        return found
