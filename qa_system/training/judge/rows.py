"""Labelled questions -> pairs of a question and a sentence that a judge learns from.

A sentence that holds a part of an answer answers. The other sentences of the text do not, nor do
any of a text in which annotators found no answer, nor does the answering sentence once a word of
the question was exchanged for another.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean

from qa_system.datasets.pairs import Pair
from qa_system.labels import is_answered
from qa_system.records import Label
from qa_system.stores.sentences.columns import terms_of
from qa_system.texts.sentences import sentences
from qa_system.training.judge.recipe import JudgeNegatives
from qa_system.training.reader.pairs import with_another_word, words_by_slot

__all__ = ["all_pairs_of", "pairs_of"]

YES, NO = (1.0,), (0.0,)


def pairs_of(
    labels: Sequence[Label], negatives: JudgeNegatives, seed: int
) -> tuple[list[Pair], Counter[str]]:
    """Return pairs to learn from.

    Args:
        labels: of one data set. One whose answers were not found in its text is passed over.
        negatives: how many of which kind.
        seed: of the draw.

    Returns:
        The pairs, and counts: `answering`, `same_text`, `exchanged`, `other_text`.

    >>> from qa_system.records import AnswerSpan
    >>> loud = AnswerSpan("loud", 5, 9)
    >>> label = Label("q", "Is the bass loud?", None, "r", "Very loud. It is red.", (loud,))
    >>> [(pair.text, pair.labels) for pair in pairs_of([label], JudgeNegatives(), seed=13)[0]]
    [('Very loud.', {'answers': (1.0,)}), ('It is red.', {'answers': (0.0,)})]
    """
    draw = random.Random(seed)
    words = words_by_slot(dict.fromkeys(label.question for label in labels))
    counts: Counter[str] = Counter()
    found: list[Pair] = []

    def add(kind: str, pairs: Sequence[Pair]) -> None:
        counts[kind] += len(pairs)
        found.extend(pairs)

    for label in labels:
        if is_answered(label) and not label.answers:
            continue
        pairs = all_pairs_of(label)
        right = [pair for pair in pairs if pair.labels["answers"] == YES]
        wrong = [pair for pair in pairs if pair.labels["answers"] == NO]
        add("answering", right)
        add("same_text", _chosen(label.question, wrong, negatives.same_text, draw))
        other = draw.choice(labels)
        if other.question != label.question and other.context != label.context:
            strange = [
                Pair(label.question, pair.text, {"answers": NO}, other.item_id)
                for pair in all_pairs_of(other)
            ]
            add("other_text", draw.sample(strange, min(negatives.other_text, len(strange))))
        if right and draw.random() < negatives.exchanged:
            asked = with_another_word(label.question, words, draw)
            if asked is not None:
                text = draw.choice(right).text
                add("exchanged", [Pair(asked, text, {"answers": NO}, label.item_id)])
    return found, counts


def all_pairs_of(label: Label) -> list[Pair]:
    """Return a label's question with each sentence of its text, in order."""
    found = []
    subjective = _subjectivity(label.meta)
    for start, end in sentences(label.context):
        is_right = any(span.start < end and span.end > start for span in label.answers)
        labels = {"answers": YES if is_right else NO}
        if is_right and subjective is not None:
            labels["subjective"] = (subjective,)
        found.append(Pair(label.question, label.context[start:end], labels, label.item_id))
    return found


def _chosen(question: str, pairs: Sequence[Pair], count: int, draw: random.Random) -> list[Pair]:
    """Choose pairs: half of them those that share most words with the question, half drawn."""
    asked = set(terms_of(question))
    shuffled = draw.sample(pairs, len(pairs))
    nearest = sorted(shuffled, key=lambda pair: -len(asked & set(terms_of(pair.text))))
    near = nearest[: (count + 1) // 2]
    rest = [pair for pair in shuffled if pair not in near]
    return near + rest[: count // 2]


def _subjectivity(meta: Mapping[str, object]) -> float | None:
    """Return how far annotators of SubjQA call an answer an opinion, from 0 to 1."""
    levels = meta.get("answer_subj_level")
    if not isinstance(levels, list) or not levels:
        return None
    return fmean((5 - level) / 4 for level in levels)  # 1 is the most subjective, 5 the least
