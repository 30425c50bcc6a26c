"""Labels -> what a retriever learns from: questions, passages that answer, and some that do not.

A passage is what the store embeds: the part of a text that the encoder reads. An answer that
lies beyond it cannot be found by its embedding, so that nothing is learnt from it either.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from qa_system.errors import DataError
from qa_system.labels import is_answered
from qa_system.records import Label
from qa_system.texts.passages import split
from qa_system.training.negatives import Asked, answering_texts, ranked_by_bm25
from qa_system.training.recipes import RetrieverNegatives
from qa_system.training.retriever.sources import Corpus

__all__ = [
    "Cut",
    "Pair",
    "Triple",
    "labelled_pairs",
    "passage_cutter",
    "passages_of",
    "triples_of",
    "with_negatives",
]

CANDIDATES = 10
"""Of BM25's ranking, from which hard negatives are drawn."""

Cut = Callable[[str], Sequence[tuple[int, int]]]
"""A text -> its passages: the stretches of it that are embedded, in characters."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A question and a passage that answers it.

    Args:
        question: what is asked.
        item_id: of which item; None: texts belong to none.
        passage: what answers.
        text: the whole text that the passage is from.
    """

    question: str
    item_id: str | None
    passage: str
    text: str


@dataclass(frozen=True, slots=True)
class Triple:
    """A question, a passage that answers it, and passages that are not known to."""

    question: str
    positive: str
    negatives: tuple[str, ...]


def passage_cutter(max_words: int | None, overlap_words: int, reach: Callable[[str], int]) -> Cut:
    """Return a function that cuts texts into the passages that an encoder reads of them.

    Args:
        max_words: see `qa_system.texts.passages.split`.
        overlap_words: likewise.
        reach: a passage -> how many of its characters the encoder reads.
    """

    def cut(text: str) -> list[tuple[int, int]]:
        stretches = split(text, max_words, overlap_words)
        return [(start, start + reach(text[start:end])) for start, end in stretches]

    return cut


def triples_of(
    corpora: Iterable[Corpus],
    pairs_of: Callable[[Corpus], tuple[Sequence[Pair], Counter[str]]],
    negatives: RetrieverNegatives,
    cut: Cut,
) -> tuple[list[Triple], Counter[str]]:
    """Return what a retriever learns from corpora in one epoch.

    Args:
        corpora: each counts by the weight of its source.
        pairs_of: a corpus -> pairs of question and passage, and counts of them by kind.
        negatives: how many of which kind.
        cut: cuts texts into passages.

    Returns:
        The triples, and counts by kind.

    Raises:
        DataError: there is no passage that could be a negative.
    """
    triples: list[Triple] = []
    counts: Counter[str] = Counter()
    for corpus in corpora:
        pairs, counted = pairs_of(corpus)
        answering: dict[str, set[str]] = {}
        for (question, _), texts in answering_texts(corpus.labels).items():
            answering.setdefault(question, set()).update(texts)
        of_source, drawn = with_negatives(
            pairs, corpus.texts, answering, negatives, cut, corpus.seed
        )
        triples += corpus.source.weighted(of_source, corpus.seed)
        counts += counted + drawn
    return triples, counts


def labelled_pairs(labels: Iterable[Label], cut: Cut) -> tuple[list[Pair], Counter[str]]:
    """Pair each question with the passages in which an annotator marked an answer.

    Args:
        labels: those without an answer pair with nothing.
        cut: cuts texts into passages.

    Returns:
        The pairs, and counts: `pairs`; `beyond`, labels whose answers all lie in no passage;
        `unlocated`, labels whose text has several passages and nobody knows which one answers.

    >>> from qa_system.records import AnswerSpan
    >>> label = Label("q", "Is it light?", "B", "r", "Good. Very light.", (AnswerSpan("y", 6, 17),))
    >>> labelled_pairs([label], lambda text: [(0, 5), (6, len(text))])[0][0].passage
    'Very light.'
    >>> labelled_pairs([label], lambda text: [(0, 5)])
    ([], Counter({'beyond': 1}))
    """
    pairs: list[Pair] = []
    counts: Counter[str] = Counter()
    for label in filter(is_answered, labels):
        stretches = cut(label.context)
        if label.answers:
            holding = [
                (start, end)
                for start, end in stretches
                if any(start <= span.start and span.end <= end for span in label.answers)
            ]
        else:
            holding = list(stretches) if len(stretches) == 1 else []
        if not holding:
            counts["beyond" if label.answers else "unlocated"] += 1
        counts["pairs"] += len(holding)
        pairs += [
            Pair(label.question, label.item_id, label.context[start:end], label.context)
            for start, end in holding
        ]
    return pairs, +counts


def passages_of(texts: Iterable[str], cut: Cut) -> dict[str, str]:
    """Return every passage, with the text that it is from.

    >>> passages_of(["Good. Light."], lambda text: [(0, 5), (6, 12)])
    {'Good.': 'Good. Light.', 'Light.': 'Good. Light.'}
    """
    return {text[start:end]: text for text in texts for start, end in cut(text)}


def with_negatives(
    pairs: Sequence[Pair],
    texts: Mapping[str, str | None],
    answering: Mapping[str, Collection[str]],
    negatives: RetrieverNegatives,
    cut: Cut,
    seed: int,
) -> tuple[list[Triple], Counter[str]]:
    """Return each pair with passages of other texts that are not known to answer the question.

    Every triple has as many: where an item has too few, those of other items, drawn at random,
    take their place.

    Args:
        pairs: questions and passages that answer them.
        texts: all that compete, each with its item (None: it belongs to none).
        answering: question -> texts known to answer it, of whatever item; no passage of theirs
            is a negative.
        negatives: how many of which kind.
        cut: cuts texts into passages.
        seed: of the draw.

    Returns:
        The triples in the order of the pairs, and counts of the negatives: `same_item`,
        `other_item` (both found by BM25), `at_random`.

    Raises:
        DataError: there is no passage that could be a negative.
    """
    draw = random.Random(seed)
    rivals = _Rivals(pairs, texts, negatives, cut)
    counts: Counter[str] = Counter()
    triples = []
    for pair in pairs:
        barred = {pair.text, *answering.get(pair.question, ())}
        near = _some(rivals.of_the_item(pair, barred), negatives.same_item, draw)
        far = _some(rivals.of_other_items(pair, barred, near), negatives.other_item, draw)
        missing = negatives.same_item + negatives.other_item - len(near) - len(far)
        easy = [rivals.any_but(barred, draw) for _ in range(missing)]
        counts += Counter(same_item=len(near), other_item=len(far), at_random=missing)
        triples.append(Triple(pair.question, pair.passage, (*near, *far, *easy)))
    return triples, counts


class _Rivals:
    """Passages that compete with those that answer, as BM25 ranks them for each question."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        texts: Mapping[str, str | None],
        negatives: RetrieverNegatives,
        cut: Cut,
    ) -> None:
        self._text_of = passages_of(texts, cut)
        self._item_of = {passage: texts[text] for passage, text in self._text_of.items()}
        self._all = list(self._text_of)
        asked = [(pair.question, pair.item_id) for pair in pairs]
        openly: list[Asked] = [(question, None) for question, _ in asked]
        # The best ones are often of the very text that answers, and fall out.
        depth = 3 * CANDIDATES
        self._in_item = ranked_by_bm25(self._item_of, asked, depth) if negatives.same_item else {}
        self._in_all = ranked_by_bm25(self._item_of, openly, depth) if negatives.other_item else {}

    def of_the_item(self, pair: Pair, barred: Collection[str]) -> list[str]:
        """Return passages of the item asked about, best first, of no barred text."""
        ranked = self._in_item.get((pair.question, pair.item_id), [])
        return [passage for passage in ranked if self._text_of[passage] not in barred]

    def of_other_items(
        self, pair: Pair, barred: Collection[str], taken: Collection[str]
    ) -> list[str]:
        """Return passages of other items, best first, of no barred text, that are not taken."""
        return [
            passage
            for passage in self._in_all.get((pair.question, None), [])
            if self._text_of[passage] not in barred
            and passage not in taken
            and (pair.item_id is None or self._item_of[passage] != pair.item_id)
        ]

    def any_but(self, barred: Collection[str], draw: random.Random) -> str:
        """Draw a passage of no barred text.

        Raises:
            DataError: there is none.
        """
        # Nearly every passage fits, so that the first draw is nearly always the last.
        for _ in range(10):
            if self._text_of[passage := draw.choice(self._all)] not in barred:
                return passage
        fitting = [passage for passage in self._all if self._text_of[passage] not in barred]
        if not fitting:
            raise DataError(
                "every text answers the question, so that none can be a negative",
                remedy="Name a source with more texts, or set both `negatives` to 0.",
            )
        return draw.choice(fitting)


def _some(ranked: Sequence[str], number: int, draw: random.Random) -> list[str]:
    best = ranked[:CANDIDATES]
    return draw.sample(best, min(number, len(best)))
