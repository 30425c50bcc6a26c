"""Names of clusters, from the words that set each apart: class-based TF-IDF."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

from qa_system.stores.function_words import FUNCTION_WORDS

__all__ = ["class_tf_idf", "cluster_names", "words_of"]

WORD: Final = re.compile(r"[^\W\d_]+")
NUMBERS: Final = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NAMELESS: Final = FUNCTION_WORDS | set(NUMBERS)
"""Words that reviews of anything have."""


def class_tf_idf(counts: Sequence[Mapping[str, int]]) -> list[dict[str, float]]:
    """Weigh the words of each cluster by how far they set it apart.

    The weight of word t in cluster c is tf(t, c) * ln(1 + A / f(t)): tf(t, c) is how often the
    cluster has the word, f(t) how often all clusters have it together, and A how many words a
    cluster has on average.

    Args:
        counts: word -> how often, for each cluster.

    Source: Grootendorst, BERTopic: Neural topic modeling with a class-based TF-IDF procedure,
    2022, https://arxiv.org/abs/2203.05794, equation 2.

    >>> heavy = class_tf_idf([{"zoom": 3, "good": 1}, {"screen": 2, "good": 2}])
    >>> {word: round(weight, 3) for word, weight in heavy[0].items()}
    {'zoom': 2.542, 'good': 0.847}
    """
    together: Counter[str] = Counter()
    for each in counts:
        together.update(each)
    average = together.total() / max(1, len(counts))
    return [
        {word: often * math.log1p(average / together[word]) for word, often in each.items()}
        for each in counts
    ]


def cluster_names(
    texts: Sequence[str], labels: Sequence[int], clusters: int, words: int = 3
) -> tuple[str, ...]:
    """Name each cluster by its heaviest words.

    A text counts a word once, so that no text names a cluster alone by saying a word often.

    Args:
        texts: of the reviews.
        labels: the number of each one's cluster, from 0; -1: none.
        clusters: how many there are.
        words: how many words a name has at most.

    Returns:
        A name for each; that of a cluster without a word is its number.

    >>> cluster_names(["The zoom is good", "A good screen", "my screen"], [0, 1, 1], 2)
    ('zoom, good', 'screen, good')
    """
    counts: list[Counter[str]] = [Counter() for _ in range(clusters)]
    for text, label in zip(texts, labels, strict=True):
        if label >= 0:
            counts[label].update(set(words_of(text)))
    names = []
    for number, weights in enumerate(class_tf_idf(counts)):
        heaviest = sorted(weights.items(), key=lambda each: (-each[1], each[0]))[:words]
        names.append(", ".join(word for word, _ in heaviest) or f"cluster {number}")
    return tuple(names)


def words_of(text: str) -> list[str]:
    """Return the words that can name a cluster, in lower case.

    Function words, numbers and single letters cannot.

    >>> words_of("The battery's 2 lives aren't GREAT")
    ['battery', 'lives', 'great']
    """
    return [word for word in WORD.findall(text.lower()) if len(word) > 1 and word not in NAMELESS]
