"""Baselines of readers: a first sentence, a random span, and one annotator against the others."""

from __future__ import annotations

import re
from collections.abc import Sequence
from random import Random
from statistics import fmean

from qa_system.metrics import exact_match, f1
from qa_system.records import Label

__all__ = ["first_sentence", "human_agreement", "random_span"]

_FIRST_SENTENCE = re.compile(r"\s*(.+?)(?:(?<=[.!?…。！？])[\"'”’)\]]*(?=\s)|\s*\n|\s*\Z)")
_WORD = re.compile(r"\S+")

LONGEST_SPAN = 10
"""Words in a random span at most; the median answer of SubjQA has 6."""


def first_sentence(text: str) -> str:
    """Return a text up to its first full stop (or other end of a sentence) or line break.

    >>> first_sentence("Works with 2.4 GHz only! A pity.")
    'Works with 2.4 GHz only!'
    """
    found = _FIRST_SENTENCE.match(text)
    return found[0].strip() if found else ""


def random_span(text: str, rng: Random) -> str:
    """Return a span of 1 to 10 whole words: every length is as likely, then every place.

    One draw says little: take the mean score of twenty or so.

    Args:
        text: without words, the span is empty.
        rng: with the same seed it draws the same spans.

    >>> random_span("lamp", Random(13))
    'lamp'
    """
    words = [word.span() for word in _WORD.finditer(text)]
    if not words:
        return ""
    length = rng.randint(1, min(LONGEST_SPAN, len(words)))
    first = rng.randint(0, len(words) - length)
    return text[words[first][0] : words[first + length - 1][1]]


def human_agreement(labels: Sequence[Label]) -> list[tuple[float, float] | None]:
    """Score each annotator against the others, by the rules for systems.

    An annotator's prediction is the first span marked, or nothing; the references are what all
    the others marked. (A system has one annotator more to agree with, which favours it.)
    An answer that could not be located in the review is no annotation.

    Returns:
        For each label the mean EM and F1 of its annotators; None where fewer than two said
        something.

    >>> from qa_system.records import AnswerSpan
    >>> good = (AnswerSpan("good", 0, 4),)
    >>> human_agreement([Label("q", "?", None, "r", "good", good, (good, good, ()))])
    [(0.666..., 0.666...)]
    """
    return [_agreement(label) for label in labels]


def _agreement(label: Label) -> tuple[float, float] | None:
    said = label.annotations
    if len(said) < 2:
        return None
    exact, shared = [], []
    for one, spans in enumerate(said):
        prediction = spans[0].text if spans else ""
        others = [span.text for other in (*said[:one], *said[one + 1 :]) for span in other]
        exact.append(exact_match(prediction, others))
        shared.append(f1(prediction, others))
    return fmean(exact), fmean(shared)
