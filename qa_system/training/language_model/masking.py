"""Words to hide: whole words, drawn at random, as BERT hides them.

Devlin et al., 2019, "BERT: Pre-training of Deep Bidirectional Transformers for Language
Understanding" (https://arxiv.org/abs/1810.04805), section 3.1; whole words as in the README of
https://github.com/google-research/bert ("Whole Word Masking Models").
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qa_system.models.inference import IntArray

__all__ = ["IGNORED", "NO_WORD", "Mask", "Masked", "hide"]

IGNORED = -100
"""The target of a token that is not to be predicted, as transformers and torch have it."""
NO_WORD = -1
"""The word of a token that is never hidden: special, unknown, or nothing but white space."""


@dataclass(frozen=True, slots=True)
class Mask:
    """What takes the place of tokens that are to be predicted.

    Args:
        share: of the tokens, that are predicted.
        mask_id: the mask token.
        ordinary: ids from which a token is drawn at random: none is special.
        masked: share of the predicted tokens that become masks.
        random: share of them that become a token drawn at random; the rest stays.
    """

    share: float
    mask_id: int
    ordinary: NDArray[np.int32]
    masked: float = 1.0
    random: float = 0.0


@dataclass(frozen=True, slots=True)
class Masked:
    """Tokens as the model reads them, and what it is to predict.

    Args:
        ids: shape (tokens,).
        targets: the hidden tokens, `IGNORED` elsewhere; shape (tokens,).
    """

    ids: IntArray
    targets: IntArray

    def __len__(self) -> int:
        return len(self.ids)


def hide(
    ids: NDArray[np.int32], words: NDArray[np.int32], mask: Mask, draw: np.random.Generator
) -> Masked:
    """Hide words of a text, at least one where there is any.

    Words are taken in random order until the share is reached. The last one is taken with the
    probability that makes the expected share exact. What takes a token's place is drawn for each
    token of a word by itself.

    Args:
        ids: of the tokens.
        words: the number of each token's word, `NO_WORD` for those that are never hidden.
        mask: how many, and what takes their place.
        draw: the random choice.

    >>> ids, words = np.array([2, 7, 8, 9, 3], np.int32), np.array([-1, 0, 0, 1, -1], np.int32)
    >>> mask = Mask(0.5, mask_id=4, ordinary=np.array([7, 8, 9], np.int32))
    >>> hidden = hide(ids, words, mask, np.random.default_rng(1))
    >>> hidden.ids.tolist(), hidden.targets.tolist()
    ([2, 4, 4, 9, 3], [-100, 7, 8, -100, -100])
    """
    chosen = _chosen(words, mask.share, draw)
    hidden = ids.astype(np.int64)
    fate = draw.random(len(ids))
    hidden[chosen & (fate < mask.masked)] = mask.mask_id
    exchanged = chosen & (fate >= mask.masked) & (fate < mask.masked + mask.random)
    hidden[exchanged] = draw.choice(mask.ordinary, int(exchanged.sum()))
    return Masked(hidden, np.where(chosen, ids, IGNORED).astype(np.int64))


def _chosen(words: NDArray[np.int32], share: float, draw: np.random.Generator) -> NDArray[np.bool_]:
    numbers, sizes = np.unique(words[words != NO_WORD], return_counts=True)
    if not len(numbers):
        return np.zeros(len(words), np.bool_)
    order = draw.permutation(len(numbers))
    reached = np.cumsum(sizes[order])
    budget = share * reached[-1]
    whole = int(np.searchsorted(reached, budget, side="right"))
    taken = order[:whole]
    if whole < len(order):
        rest = budget - (reached[whole - 1] if whole else 0)
        if not whole or draw.random() < rest / sizes[order[whole]]:
            taken = order[: whole + 1]
    return np.isin(words, numbers[taken])
