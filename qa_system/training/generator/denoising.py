"""Texts alone -> examples from which a generator learns to find a place in a text and to copy.

BART learns to restore noised texts (Lewis et al., 2019, "BART: Denoising Sequence-to-Sequence
Pre-training", https://arxiv.org/abs/1910.13461, section 2.2, text infilling: spans of Poisson
length, each replaced by one mask). Here the question is a stretch of the text with gaps, the whole
text stands beside it, and the target is the stretch. So

- each of the target's tokens can be copied, and those of the gaps only from the text, as those of
  an answer: guessing words that stand nowhere would take a larger model and longer training;
- the target is as short as an answer, and the encoder's pass, which costs most, is of few tokens.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from qa_system.texts.passages import split
from qa_system.training.generator.examples import Example
from qa_system.training.recipes import Noise

__all__ = ["denoising_examples"]

GAP = "_"
"""Stands for the words left out; plain text, because a question holds no special tokens."""
FEWEST_WORDS = 4
"""Of a stretch: its first and last are kept, and some between them are not."""

_WORD = re.compile(r"\S+")


def denoising_examples(texts: Iterable[str], noise: Noise, seed: int) -> list[Example]:
    """Return an example of a stretch of each passage, drawn at random; short passages make none.

    The first and the last word of a stretch stay, or nobody could tell where it begins and ends.

    Args:
        texts: one that occurs twice makes different examples.
        noise: how much is left out, of how much.
        seed: of the draw.

    >>> text = "It is light and cheap, and after a year the battery lasts for two days."
    >>> [example] = denoising_examples([text], Noise(target_words=8), seed=5)
    >>> example.question, example.answers
    ('a year _ lasts for two', (('a year the battery lasts for two', 1.0),))
    """
    draw = np.random.default_rng(seed)
    return [
        example
        for text in texts
        for start, end in split(text, noise.text_words)
        if (example := _example_of(text[start:end], noise, draw)) is not None
    ]


def _example_of(text: str, noise: Noise, draw: np.random.Generator) -> Example | None:
    words = [match.span() for match in _WORD.finditer(text)]
    if len(words) < FEWEST_WORDS:
        return None
    length = int(draw.integers(FEWEST_WORDS, min(noise.target_words, len(words)) + 1))
    first = int(draw.integers(0, len(words) - length + 1))
    chosen = words[first : first + length]
    target = text[chosen[0][0] : chosen[-1][1]]
    kept = _kept(length, noise, draw)
    question = " ".join(_gapped([text[start:end] for start, end in chosen], kept))
    return Example(question, (text,), ((target, 1.0),))


def _kept(length: int, noise: Noise, draw: np.random.Generator) -> list[bool]:
    kept = [True] * length
    missing = min(max(round(noise.share * length), 1), length - 2)
    while missing > 0:
        gap = min(max(int(draw.poisson(noise.mean_length)), 1), missing)
        start = int(draw.integers(1, length - gap))
        kept[start : start + gap] = [False] * gap
        missing -= gap
    return kept


def _gapped(words: Sequence[str], kept: Sequence[bool]) -> Iterator[str]:
    in_gap = False
    for word, stays in zip(words, kept, strict=True):
        if stays:
            yield word
        elif not in_gap:
            yield GAP
        in_gap = not stays
