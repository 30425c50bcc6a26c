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
from qa_system.training.negatives import Asked, ranked_by_bm25
from qa_system.training.recipes import RetrieverNegatives

__all__ = ["CANDIDATES", "Cut", "Pair", "Triple", "pairs_of", "passages_of", "with_negatives"]

CANDIDATES = 10
"""Of BM25's ranking, from which hard negatives are drawn."""

Cut = Callable[[str], Sequence[tuple[int, int]]]
"""A text -> the stretches of it that are embedded, in characters."""


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


def pairs_of(labels: Iterable[Label], cut: Cut) -> tuple[list[Pair], Counter[str]]:
    """Pair each question with the passages in which an annotator marked an answer.

    Args:
        labels: those without an answer pair with nothing.
        cut: says what of a text is embedded.

    Returns:
        The pairs, and counts: `pairs`; `beyond`, labels whose answers all lie in no passage;
        `unlocated`, labels whose text has several passages and nobody knows which one answers.

    >>> from qa_system.records import AnswerSpan
    >>> label = Label("q", "Is it light?", "B", "r", "Good. Very light.", (AnswerSpan("y", 6, 17),))
    >>> pairs_of([label], lambda text: [(0, 5), (6, len(text))])[0][0].passage
    'Very light.'
    >>> pairs_of([label], lambda text: [(0, 5)])
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
    """Give every passage, and the text that it is from.

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
    """Give each pair passages of other texts, none of which is known to answer the question.

    Every triple has as many: where an item has too few, those of other items, drawn at random,
    take their place.

    Args:
        pairs: questions and passages that answer them.
        texts: all that compete, each with its item (None: it belongs to none).
        answering: question -> texts known to answer it, of whatever item; no passage of theirs
            is a negative.
        negatives: how many of which kind.
        cut: says what of a text is embedded.
        seed: of the draw.

    Returns:
        The triples in the order of the pairs, and counts of the negatives: `same_item`,
        `other_item` (both found by BM25), `at_random`.

    Raises:
        DataError: there is no passage that could be a negative.
    """
    draw = random.Random(seed)
    source = passages_of(texts, cut)
    item_of = {passage: texts[text] for passage, text in source.items()}
    asked = [(pair.question, pair.item_id) for pair in pairs]
    openly: list[Asked] = [(question, None) for question, _ in asked]
    # The best ones are often of the very text that answers, and fall out.
    depth = 3 * CANDIDATES
    of_item = ranked_by_bm25(item_of, asked, depth) if negatives.same_item else {}
    of_all = ranked_by_bm25(item_of, openly, depth) if negatives.other_item else {}
    everything = list(source)
    counts: Counter[str] = Counter()
    triples = []
    for pair in pairs:
        barred = {pair.text, *answering.get(pair.question, ())}
        near = [
            passage
            for passage in of_item.get((pair.question, pair.item_id), [])
            if source[passage] not in barred
        ]
        hard = _some(near, negatives.same_item, draw)
        far = [
            passage
            for passage in of_all.get((pair.question, None), [])
            if source[passage] not in barred
            and passage not in hard
            and (pair.item_id is None or item_of[passage] != pair.item_id)
        ]
        others = _some(far, negatives.other_item, draw)
        missing = negatives.same_item + negatives.other_item - len(hard) - len(others)
        easy = [_any_of(everything, source, barred, draw) for _ in range(missing)]
        counts += Counter(same_item=len(hard), other_item=len(others), at_random=missing)
        triples.append(Triple(pair.question, pair.passage, (*hard, *others, *easy)))
    return triples, counts


def _some(ranked: Sequence[str], number: int, draw: random.Random) -> list[str]:
    best = ranked[:CANDIDATES]
    return draw.sample(best, min(number, len(best)))


def _any_of(
    passages: Sequence[str], source: Mapping[str, str], barred: Collection[str], draw: random.Random
) -> str:
    # Nearly every passage fits, so that the first draw is nearly always the last.
    for _ in range(10):
        if source[passage := draw.choice(passages)] not in barred:
            return passage
    fitting = [passage for passage in passages if source[passage] not in barred]
    if not fitting:
        raise DataError(
            "every text answers the question, so that none can be a negative",
            remedy="Name a source with more texts, or set both `negatives` to 0.",
        )
    return draw.choice(fitting)
