"""Words that may stand for each other: neighbours in an encoder's embeddings, or WordNet's.

Embeddings place opposites beside each other ("inside", "outside"), and numbers, colours and what
is of one kind. So only nouns are exchanged that may name an aspect, which leaves out numbers,
negations, colours, units and opinions (`qa_system.aspects.words`), and no opposites. Of what is
left some are of one kind and no synonyms ("knife", "fork"): that is why a word is replaced in the
question and in the review alike (`augment`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qa_system.aspects.phrases import Catalogue
from qa_system.aspects.words import is_content, stem, words
from qa_system.config import EncoderSettings
from qa_system.training.reader.augmentation.wordnet import wordnet_synonyms

__all__ = ["WORDNET_PREFIX", "Synonyms", "are_opposites", "synonyms_of"]

Synonyms = Mapping[str, Sequence[str]]
"""A word in lower case -> what may stand for it."""

WORDNET_PREFIX: Final = "wordnet:"
MOST_WORDS: Final = 4_000
"""Different words that are compared: the most frequent ones."""
FEWEST: Final = 2
"""How often a word occurs that stands for another; what occurs once may be a slip."""
NEAREST: Final = 3
"""Two words stand for each other if each is among so many nearest of the other."""
SURELY_A_NOUN: Final = 0.6
SAME_BEGINNING: Final = 4
"""Letters that words of one root share: "reader", "reading"."""

_NUMBERS: Final = """
    zero eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty thirty
    forty fifty sixty seventy eighty ninety million billion half quarter triple
""".split()  # noqa: SIM905 (read as a text)
_OPPOSITES: Final = frozenset(
    frozenset(pair.split("/"))
    for pair in """
    inside/outside inwards/outwards indoors/outdoors upstairs/downstairs interior/exterior
    front/rear heat/cold summer/winter day/night morning/evening sunrise/sunset beginning/end
    start/finish advantage/disadvantage advantages/disadvantages strength/weakness
    strengths/weaknesses
    success/failure increase/decrease gain/loss profit/loss entrance/exit entry/exit input/output
    upload/download buyer/seller lender/borrower hardware/software male/female boy/girl boys/girls
    uncle/aunt nephew/niece grandmother/grandfather king/queen love/hate pleasure/pain peace/war
    truth/lie life/death birth/death friend/enemy victory/defeat
    light/darkness comfort/discomfort hope/despair praise/blame wealth/poverty arrival/departure
    question/answer cause/effect minimum/maximum majority/minority asleep/awake alive/dead
    breakfast/dinner lunch/dinner breakfast/lunch
    """.split()  # noqa: SIM905 (read as a text)
)
_PLURALS: Final = {"feet": "foot", "teeth": "tooth", "mice": "mouse", "geese": "goose"}
_NEGATIONS: Final = ("un", "in", "im", "ir", "dis", "non", "anti")


def synonyms_of(texts: Iterable[str], source: str, similarity: float) -> Synonyms:
    """Return the words of texts that may stand for each other.

    Args:
        texts: questions and reviews.
        source: an encoder, or `wordnet:FOLDER`.
        similarity: the cosine of two words' embeddings, from which on they may.

    Raises:
        ModelError: the encoder is not there.
        DataError: the folder holds no WordNet.
    """
    catalogue, counts = Catalogue(), Counter[str]()
    for text in texts:
        catalogue.add(text)
        counts.update(word.text for word in words(text) if is_content(word))
    there = [word for word, _ in counts.most_common() if word not in _NUMBERS]
    if source.startswith(WORDNET_PREFIX):
        folder = Path(source.removeprefix(WORDNET_PREFIX)).expanduser()
        return {
            word: kept
            for word, found in wordnet_synonyms(folder, there).items()
            if (kept := tuple(each for each in found if not are_opposites(word, each)))
        }
    nouns = [word for word in there if catalogue.noun(stem(word)) >= SURELY_A_NOUN]
    return _neighbours(nouns[:MOST_WORDS], counts, source, similarity)


def are_opposites(one: str, other: str) -> bool:
    """Tell whether two words mean the opposite: both are listed, or one negates the other.

    >>> are_opposites("inside", "outside"), are_opposites("comfort", "discomfort")
    (True, True)
    >>> are_opposites("photo", "picture")
    False
    """
    short, long = sorted((one, other), key=len)
    return (
        frozenset((one, other)) in _OPPOSITES
        or any(long == f"{prefix}{short}" for prefix in _NEGATIONS)
        or long in (f"{short}less", f"{short.removesuffix('ful')}less")
    )


def _neighbours(
    there: Sequence[str], counts: Counter[str], model: str, similarity: float
) -> Synonyms:
    if len(there) < 2:
        return {}
    from qa_system.retrievers.encoders import shared_encoder

    encoder = shared_encoder(EncoderSettings(model=model))
    embedded: NDArray[np.float32] = encoder.encode_passages(there, [None] * len(there))
    embedded = embedded / np.maximum(np.linalg.norm(embedded, axis=1, keepdims=True), 1e-9)
    alike = embedded @ embedded.T
    np.fill_diagonal(alike, -1)
    nearest = np.argsort(-alike, axis=1, kind="stable")[:, :NEAREST]
    near = [set(row.tolist()) for row in nearest]
    found: dict[str, list[str]] = {}
    for at, word in enumerate(there):
        for other in nearest[at].tolist():
            if (
                alike[at, other] >= similarity
                and at in near[other]
                and counts[there[other]] >= FEWEST
                and _are_exchangeable(word, there[other])
            ):
                found.setdefault(word, []).append(there[other])
    return found


def _are_exchangeable(one: str, other: str) -> bool:
    same_root = one[:SAME_BEGINNING] == other[:SAME_BEGINNING] or one in other or other in one
    return not (
        same_root
        or stem(one) == stem(other)
        or one.endswith("s") != other.endswith("s")
        or are_opposites(one, other)
        or _PLURALS.get(one) == other
        or _PLURALS.get(other) == one
    )
