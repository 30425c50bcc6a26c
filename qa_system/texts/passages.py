"""Long reviews as passages: stretches of at most so many words, cut where sentences end."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["Spans", "hash_of", "matched", "split"]

Spans = Sequence[tuple[int, int]]
"""Start and end characters of passages in their review."""

# A "word" of more than 64 characters (a URL, a script without spaces) is cut.
_WORD = re.compile(r"\S{1,64}")
# Not the rules of `sentences`: a store keeps a hash of its passages' places (`hash_of`), and other
# places would have every long review embedded again.
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’)\]]*$")


def split(text: str, max_words: int | None, overlap_words: int = 0) -> list[tuple[int, int]]:
    """Cut a text into passages that overlap, at the ends of sentences where there are any.

    A passage ends after the last sentence that fits, if the passage is then at least half full,
    otherwise after `max_words` words. The next passage starts at the first sentence within the
    last `overlap_words` words, or, if no sentence starts there, `overlap_words` before the end.

    Args:
        text: the whole review.
        max_words: words in a passage at most; None leaves the text in one piece.
        overlap_words: words that two neighbouring passages share at most; less than `max_words`.

    Returns:
        Start and end characters of each passage, `text[start:end]`, in order; every word of the
        text is in at least one. A text that fits comes back whole, white space included.

    Raises:
        ValueError: `overlap_words` is not less than `max_words`.

    >>> text = "It is light. It is cheap. The screen broke."
    >>> [text[start:end] for start, end in split(text, max_words=6)]
    ['It is light. It is cheap.', 'The screen broke.']
    """
    if max_words is None:
        return [(0, len(text))]
    if not 0 <= overlap_words < max_words:
        message = f"overlap_words ({overlap_words}) must be less than max_words ({max_words})"
        raise ValueError(message)
    words = [match.span() for match in _WORD.finditer(text)]
    if len(words) <= max_words:
        return [(0, len(text))]
    ends = _sentence_ends(text, words)
    passages = []
    first = last = 0
    while True:
        at_least = max(first + (max_words + 1) // 2, last + 1)
        last = min(first + max_words, len(words))
        if last == len(words):
            passages.append((words[first][0], words[-1][1]))
            return passages
        last = next((end for end in range(last, at_least - 1, -1) if ends[end]), last)
        passages.append((words[first][0], words[last - 1][1]))
        earliest = max(last - overlap_words, first + 1)
        first = next((start for start in range(earliest, last) if ends[start]), earliest)


def _sentence_ends(text: str, words: list[tuple[int, int]]) -> list[bool]:
    """Tell for each n whether a sentence ends between word n - 1 and word n."""
    ends = [False] * (len(words) + 1)
    for number in range(1, len(words)):
        start, end = words[number - 1]
        gap = text[end : words[number][0]]
        ends[number] = bool(gap) and ("\n" in gap or bool(_SENTENCE_END.search(text, start, end)))
    return ends


def hash_of(content_hash: str, spans: Spans) -> str:
    """Return the content hash of a review in passages; it changes with the passages, too.

    Args:
        content_hash: the review's own (`Review.content_hash`).
        spans: its passages; with one passage the hash is the review's.

    >>> hash_of("0123", [(0, 40)])
    '0123'
    >>> hash_of("0123", [(0, 20), (15, 40)])
    '0123:fde4e1d1'
    """
    if len(spans) == 1:
        return content_hash
    text = ",".join(f"{start}-{end}" for start, end in spans)
    return f"{content_hash}:{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def matched(text: str, meta: Mapping[str, Any]) -> str:
    """Return the passage of a review that a search matched; the whole review if it has no passages.

    Args:
        text: the review.
        meta: the search result's metadata, where `passage_start` and `passage_end` name it.

    >>> matched("It is light. It is cheap.", {"passage_start": 13, "passage_end": 25})
    'It is cheap.'
    """
    start, end = meta.get("passage_start"), meta.get("passage_end")
    if isinstance(start, int) and isinstance(end, int) and 0 <= start < end <= len(text):
        return text[start:end]
    return text
