"""Questions paired with texts that nobody has labelled, for a teacher to judge.

Labels come from texts that were chosen for their question. So a student has rarely met a text that
is about the same item and does not answer: another review of the item, or the text that answers
"How is the strap?" when the question is "How is the screen?".
"""

from __future__ import annotations

import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from qa_system.records import Label
from qa_system.stores.function_words import FUNCTION_WORDS
from qa_system.training.reader.examples import Example, drawn, found_by_bm25
from qa_system.training.recipes import UnlabelledPairs

__all__ = ["unlabelled_pairs", "with_another_word", "words_by_slot"]

_WORD = re.compile(r"[^\W\d_]+")

Slot = tuple[str, str]
"""The function words before and after a word; "": another word, or none."""


def unlabelled_pairs(
    labels: Sequence[Label], pairs: UnlabelledPairs, seed: int
) -> tuple[list[Example], Counter[str]]:
    """Pair the questions of a data set with texts that nobody has judged for them.

    Args:
        labels: of one data set, whose texts compete.
        pairs: how many.
        seed: of the draw.

    Returns:
        Examples without labels, no pair twice, and counts: `same_item_unlabelled`, `exchanged`.
    """
    draw = random.Random(seed)
    known = {(label.question, label.context) for label in labels}
    examples: list[Example] = []
    counts: Counter[str] = Counter()

    def add(kind: str, question: str, texts: Sequence[str]) -> None:
        new = [text for text in texts if (question, text) not in known]
        if new:
            text = draw.choice(new)
            known.add((question, text))
            examples.append(Example(question, text, None))
            counts[kind] += 1

    if pairs.same_item:
        texts_for = found_by_bm25(labels, labels)
        for label in drawn(labels, pairs.same_item, draw):
            add("same_item_unlabelled", label.question, texts_for(label))
    if pairs.exchanged:
        words = words_by_slot(dict.fromkeys(label.question for label in labels))
        asked = [label for label in labels if label.answers]
        for label in drawn(asked, pairs.exchanged, draw):
            question = with_another_word(label.question, words, draw)
            if question is not None:
                add("exchanged", question, [label.context])
    return examples, counts


def with_another_word(
    question: str, words: Mapping[Slot, Sequence[str]], draw: random.Random
) -> str | None:
    """Return a question with one of its content words exchanged; None: nothing fits.

    Args:
        question: to be changed.
        words: that can take the place of a word, by the function words around them.
        draw: chooses the place and the word.

    >>> words = {("the", ""): ["strap", "screen"]}
    >>> with_another_word("Is the strap comfortable?", words, random.Random(1))
    'Is the screen comfortable?'
    """
    own = {found.group().lower() for found in _WORD.finditer(question)}
    fitting = [
        (found, others)
        for found, slot in _content_words(question)
        if (others := [word for word in words.get(slot, ()) if word not in own])
    ]
    if not fitting:
        return None
    found, others = draw.choice(fitting)
    return question[: found.start()] + draw.choice(others) + question[found.end() :]


def words_by_slot(questions: Iterable[str]) -> dict[Slot, list[str]]:
    """Return the content words of questions by their slot, a frequent word more than once."""
    words: dict[Slot, list[str]] = defaultdict(list)
    for question in questions:
        for found, slot in _content_words(question):
            words[slot].append(found.group().lower())
    return words


def _content_words(question: str) -> Iterator[tuple[re.Match[str], Slot]]:
    found = list(_WORD.finditer(question))
    written = ["", *(each.group().lower() for each in found), ""]
    for place, each in enumerate(found, start=1):
        if written[place] not in FUNCTION_WORDS:
            before, after = written[place - 1], written[place + 1]
            yield (
                each,
                (
                    before if before in FUNCTION_WORDS else "",
                    after if after in FUNCTION_WORDS else "",
                ),
            )
