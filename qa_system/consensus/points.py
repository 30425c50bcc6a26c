"""Points: mentions that say the same, put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from qa_system.consensus.duplicates import normalized
from qa_system.consensus.mentions import Mention
from qa_system.opinions import Polarity, Stance, are_opposed
from qa_system.ties import tie_breaker

__all__ = ["Group", "groups_of", "similarity", "similarity_of_words"]

FloatArray = NDArray[np.float64]

_POLARITIES: Final[Sequence[Polarity]] = ("for", "against", "mixed", "neither")
"""Of equally many, the first is a group's."""


@dataclass(frozen=True, slots=True)
class Group:
    """Mentions that say the same.

    Args:
        mentions: the most confident first.
        central: the one that is most like the others.
    """

    mentions: tuple[Mention, ...]
    central: Mention

    @property
    def stance(self) -> Stance | None:
        """What the mentions that are decided answer; None: none is. They agree."""
        return next((each.stance for each in self.mentions if each.stance is not None), None)

    @property
    def stances(self) -> Mapping[Stance | Literal["undecided"], int]:
        """How many of the mentions answer what."""
        return Counter(each.stance or "undecided" for each in self.mentions)

    @property
    def polarity(self) -> Polarity | None:
        """What most of the mentions are; None: they were not judged."""
        found = Counter(each.polarity for each in self.mentions)
        known = [each for each in _POLARITIES if found[each]]
        return max(known, key=found.__getitem__) if known else None

    @property
    def subjective(self) -> float | None:
        """The share of opinions; None: the mentions were not judged."""
        found = [each.subjective for each in self.mentions if each.subjective is not None]
        return sum(found) / len(found) if found else None

    @property
    def confidence(self) -> float:
        """The mean of the mentions' confidences."""
        return sum(each.confidence for each in self.mentions) / len(self.mentions)


def groups_of(
    mentions: Sequence[Mention], alike: FloatArray, threshold: float, same_stance: float = 0.0
) -> list[Group]:
    """Group mentions that say the same, those of most reviews first.

    Average linkage: the two groups whose mentions are most alike, on average, become one, again
    and again, until none are alike enough. Groups with opposed mentions stay apart, however alike
    they are: "it is loud" and "it is not loud" share nearly all their words.

    Args:
        mentions: one a review.
        alike: how alike each two of them are, (n, n).
        threshold: the average from which on two groups become one.
        same_stance: what is added where two mentions answer a polar question alike.

    >>> said = [Mention(f"r{at}", at, 0, 4, text, 0.9, stance=stance)
    ...     for at, (text, stance) in enumerate([("Loud", "yes"), ("So loud", "yes"),
    ...     ("Not loud", "no")])]
    >>> [[each.text for each in group.mentions] for group in groups_of(said, np.ones((3, 3)), 0.6)]
    [['Loud', 'So loud'], ['Not loud']]
    """
    if not mentions:
        return []
    linkage = alike + same_stance * _agreeing(mentions)
    groups = [_group(mentions, alike, members) for members in _linked(mentions, linkage, threshold)]
    return sorted(
        groups,
        key=lambda each: (
            -len(each.mentions),
            -each.confidence,
            tie_breaker(each.central.review_id),
        ),
    )


def similarity(embeddings: NDArray[np.float32]) -> FloatArray:
    """Return the cosine of each two embeddings, (n, n).

    Args:
        embeddings: (n, dimension) of any length; one of zeros is like none.
    """
    wide = embeddings.astype(np.float64)
    lengths = np.linalg.norm(wide, axis=1, keepdims=True)
    wide /= np.where(lengths == 0, 1, lengths)
    alike: FloatArray = wide @ wide.T
    return alike


def similarity_of_words(texts: Sequence[str]) -> FloatArray:
    """Return how many words each two texts share, for a system without an encoder, (n, n).

    It is the cosine of their sets of words.

    >>> similarity_of_words(["Very loud", "LOUD!", "Red"]).round(2).tolist()
    [[1.0, 0.71, 0.0], [0.71, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    sets = [normalized(text).split() for text in texts]
    places = {word: at for at, word in enumerate(dict.fromkeys(w for each in sets for w in each))}
    found = np.zeros((len(texts), len(places)), np.float32)
    for row, words in enumerate(sets):
        found[row, [places[word] for word in words]] = 1
    return similarity(found)


def _agreeing(mentions: Sequence[Mention]) -> FloatArray:
    """Return 1 where two mentions have the same stance, else 0, (n, n)."""
    stances = [mention.stance for mention in mentions]
    return np.array(
        [[float(one is not None and one == other) for other in stances] for one in stances]
    )


def _linked(mentions: Sequence[Mention], linkage: FloatArray, threshold: float) -> list[list[int]]:
    count = len(mentions)
    linkage = linkage.astype(np.float64)
    np.fill_diagonal(linkage, -np.inf)
    for one in range(count):
        for other in range(one):
            if are_opposed(mentions[one], mentions[other]):
                linkage[one, other] = linkage[other, one] = -np.inf
    members = {at: [at] for at in range(count)}
    while True:
        one, other = divmod(int(linkage.argmax()), count)
        if linkage[one, other] < threshold:
            return list(members.values())
        weights = len(members[one]), len(members[other])
        row = np.average(linkage[[one, other]], axis=0, weights=weights)
        row[one] = -np.inf
        linkage[one] = linkage[:, one] = row
        linkage[other] = linkage[:, other] = -np.inf
        members[one] += members.pop(other)


def _group(mentions: Sequence[Mention], alike: FloatArray, members: Sequence[int]) -> Group:
    places = sorted(members, key=lambda at: (-mentions[at].confidence, at))
    # Rounded, so that mentions that are equally central tie.
    nearness = alike[np.ix_(places, places)].mean(axis=1).round(6)
    return Group(tuple(mentions[at] for at in places), mentions[places[int(nearness.argmax())]])
