"""Labels -> what a reader learns from: questions, texts, and where the answers are."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from qa_system.labels import is_answered
from qa_system.records import Label
from qa_system.training.negatives import answering_texts, ranked_by_bm25
from qa_system.training.recipes import HardNegatives

__all__ = ["Example", "drawn", "examples_of", "found_by_bm25", "with_negatives"]

Row = TypeVar("Row")

CANDIDATES = 10
"""Of BM25's ranking, from which a hard negative is drawn."""


@dataclass(frozen=True, slots=True)
class Example:
    """A question, a text, and every annotator's answer in it, in characters.

    No spans: it has no answer. None: nobody has labelled it.
    """

    question: str
    context: str
    spans: tuple[tuple[int, int], ...] | None


def examples_of(labels: Iterable[Label]) -> tuple[list[Example], int]:
    """Return an example for each label.

    Returns:
        The examples, and how many labels were left out: they have an answer, and nobody knows
        where, so neither a span nor the null token would be true.

    >>> examples_of([Label("q", "How is it?", None, "r", "Good.", ())])
    ([Example(question='How is it?', context='Good.', spans=())], 0)
    """
    examples = []
    left_out = 0
    for label in labels:
        if is_answered(label) and not label.answers:
            left_out += 1
            continue
        spans = tuple((span.start, span.end) for span in label.answers)
        examples.append(Example(label.question, label.context, spans))
    return examples, left_out


def with_negatives(
    labels: Sequence[Label], negatives: HardNegatives, seed: int
) -> tuple[list[Example], Counter[str]]:
    """Return the labels' examples, and as many more without an answer as `negatives` says.

    A negative is a question that has an answer in one text, paired with another text that is
    not known to answer it: none in which an annotator found an answer to the same question,
    and none in which one of its answers occurs word for word.

    Args:
        labels: of one data set, whose texts compete.
        negatives: how many.
        seed: of the draw.

    Returns:
        The examples, and counts: `examples`, `unlocated`, `same_item`, `other_item`.
    """
    examples, unlocated = examples_of(labels)
    counts = Counter(examples=len(examples), unlocated=unlocated)
    asked = [label for label in labels if label.answers]
    draw = random.Random(seed)
    answering = answering_texts(labels)

    def is_negative(label: Label, text: str) -> bool:
        lowered = text.lower()
        return text not in answering[label.question, label.item_id] and not any(
            span.text.lower() in lowered for span in label.answers
        )

    for kind, texts_for in (
        ("same_item", found_by_bm25(labels, asked) if negatives.same_item else None),
        ("other_item", _of_other_items(labels, draw)),
    ):
        for label in drawn(asked, getattr(negatives, kind), draw):
            texts = [] if texts_for is None else texts_for(label)
            if fitting := [text for text in texts if is_negative(label, text)]:
                examples.append(Example(label.question, draw.choice(fitting), ()))
                counts[kind] += 1
    return examples, counts


def drawn(rows: Sequence[Row], share: float, draw: random.Random) -> list[Row]:
    """Return each row as often as the share says; its fraction is a sample of the rows."""
    whole, rest = divmod(share, 1)
    return list(rows) * int(whole) + draw.sample(rows, round(rest * len(rows)))


Texts = Callable[[Label], Sequence[str]]


def found_by_bm25(labels: Sequence[Label], asked: Sequence[Label]) -> Texts:
    """Return a function that ranks the texts of a label's item, or all where it has none.

    Args:
        labels: whose texts compete.
        asked: the labels that the function takes.
    """
    texts = {label.context: label.item_id for label in labels}
    questions = [(label.question, label.item_id) for label in asked]
    found = ranked_by_bm25(texts, questions, CANDIDATES)
    return lambda label: found[label.question, label.item_id]


def _of_other_items(labels: Sequence[Label], draw: random.Random) -> Texts:
    texts = list({label.context: label.item_id for label in labels}.items())

    def some(label: Label) -> list[str]:
        several = draw.sample(texts, min(CANDIDATES, len(texts)))
        return [
            text
            for text, item_id in several
            if text != label.context and (item_id is None or item_id != label.item_id)
        ]

    return some
