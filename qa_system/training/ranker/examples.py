"""Labels -> what a ranker learns from, and is measured on: questions with texts to put in order."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from qa_system.errors import DataError
from qa_system.labels import is_answered
from qa_system.records import Label, Review
from qa_system.training.negatives import Asked, answering_texts, ranked_by_bm25
from qa_system.training.recipes import RankerNegatives
from qa_system.training.sources import Material, Part, Sources, gather

__all__ = ["Example", "dev_examples", "gather_examples", "train_examples"]


@dataclass(frozen=True, slots=True)
class Example:
    """A question, and texts that answer it or do not.

    Args:
        question: what is asked.
        texts: to be put in order.
        relevant: for each text, whether an annotator found an answer in it.
    """

    question: str
    texts: tuple[str, ...]
    relevant: tuple[bool, ...]


def gather_examples(
    sources: Sources, negatives: RankerNegatives, candidates: int
) -> Material[Example, list[Example]]:
    """Turn sources into examples to learn from, and to measure on.

    Args:
        sources: of a recipe.
        negatives: how many of which kind.
        candidates: reviews of an example to measure on at most.

    Raises:
        DataError: there is nothing to learn from, or nothing to measure on.
    """

    def examples_of(part: Part) -> tuple[list[Example], Counter[str]]:
        examples, counts = train_examples(part.labels, negatives, part.seed)
        return part.source.weighted(examples, part.seed), counts

    material = gather(sources, examples_of, lambda part: _to_measure(part, candidates))
    if not material.examples:
        raise DataError(
            "there is nothing to learn from: no question has a text that answers it and one "
            "that does not",
            remedy="Name a source in `train` with several texts an item, or set "
            "negatives.other_item above 0.",
        )
    return material


def train_examples(
    labels: Sequence[Label], negatives: RankerNegatives, seed: int
) -> tuple[list[Example], Counter[str]]:
    """Return an example for each question about an item that a text answers.

    No text is taken for a negative that an annotator found an answer in, whichever item the same
    question was asked of, nor one in which an answer to the question occurs word for word.

    Args:
        labels: of one data set, whose texts compete.
        negatives: how many of which kind.
        seed: of the draw.

    Returns:
        The examples, texts that answer first, and counts: `questions`; `relevant`, texts that
        answer; `judged`, texts in which annotators looked for an answer in vain; `same_item` and
        `other_item`, texts that nobody judged; `no_negative`, questions left out for want of a
        text that does not answer.

    >>> from qa_system.records import AnswerSpan
    >>> yes = Label("q1", "Is it light?", "B", "r1", "Very light.", (AnswerSpan("light", 5, 10),))
    >>> no = Label("q2", "Is it light?", "B", "r2", "Blue.", ())
    >>> train_examples([yes, no], RankerNegatives(), seed=13)[0]
    [Example(question='Is it light?', texts=('Very light.', 'Blue.'), relevant=(True, False))]
    """
    draw = random.Random(seed)
    texts = {label.context: label.item_id for label in labels}
    answering = answering_texts(labels)
    known = _known_answers(labels)
    judged = _judged_in_vain(labels)
    # Texts that answer may stand in front of those that are looked for.
    depth = negatives.same_item + max(map(len, answering.values()), default=0)
    near = ranked_by_bm25(texts, answering, depth) if negatives.same_item else {}
    counts: Counter[str] = Counter()
    examples = []
    for asked, found in answering.items():
        answers = known[asked[0]]
        vain = [text for text in judged[asked] if text not in answers.texts]
        hard = [text for text in near.get(asked, ()) if text not in vain and answers.fits(text)]
        hard = hard[: max(negatives.same_item - len(vain), 0)]
        drawn = draw.sample(list(texts), min(4 * negatives.other_item, len(texts)))
        easy = [
            text
            for text in drawn
            if (asked[1] is None or texts[text] != asked[1])
            and text not in hard
            and answers.fits(text)
        ][: negatives.other_item]
        others = (*vain, *hard, *easy)
        if not others:
            counts["no_negative"] += 1
            continue
        right = tuple(sorted(found))
        relevant = (True,) * len(right) + (False,) * len(others)
        examples.append(Example(asked[0], right + others, relevant))
        counts += Counter(questions=1, relevant=len(right), judged=len(vain))
        counts += Counter(same_item=len(hard), other_item=len(easy))
    return examples, counts


def dev_examples(
    labels: Iterable[Label], reviews: Iterable[Review], candidates: int
) -> list[Example]:
    """Return what a ranker gets in a pipeline: an item's reviews, as BM25 finds them.

    Args:
        labels: of one split; questions that no text answers are passed over.
        reviews: all that there are; an item's compete.
        candidates: reviews of an example at most.

    Returns:
        An example for each question about an item, in BM25's order. None of its texts is relevant
        if BM25 did not find what answers.
    """
    labels = list(labels)
    texts: dict[str, str | None] = {review.text: review.item_id for review in reviews}
    # A label without an item has a text that belongs to none: it competes with all.
    answering = answering_texts(labels)
    nearest = ranked_by_bm25(texts, answering, candidates)
    return [
        Example(
            question,
            tuple(nearest[question, item_id]),
            tuple(text in found for text in nearest[question, item_id]),
        )
        for (question, item_id), found in answering.items()
    ]


class _Answers(NamedTuple):
    """Texts that answer a question, and the answers in lower case."""

    texts: set[str]
    answers: set[str]

    def fits(self, text: str) -> bool:
        """Tell whether a text may be a negative."""
        lowered = text.lower()
        return text not in self.texts and not any(answer in lowered for answer in self.answers)


def _known_answers(labels: Iterable[Label]) -> Mapping[str, _Answers]:
    known: dict[str, _Answers] = defaultdict(lambda: _Answers(set(), set()))
    for label in labels:
        texts, answers = known[label.question]
        if is_answered(label):
            texts.add(label.context)
        answers.update(span.text.lower() for span in label.answers)
    return known


def _judged_in_vain(labels: Iterable[Label]) -> Mapping[Asked, dict[str, None]]:
    judged: dict[Asked, dict[str, None]] = defaultdict(dict)
    for label in labels:
        if not is_answered(label):
            judged[label.question, label.item_id][label.context] = None
    return judged


def _to_measure(part: Part, candidates: int) -> list[Example]:
    examples = dev_examples(part.labels, part.dataset.reviews, candidates)
    if not any(len(set(each.relevant)) == 2 for each in examples):
        raise DataError(
            "no question has a text that answers it and one that does not, so that every order "
            "is as good",
            where=part.dataset.path,
            remedy="Name another source in `dev`.",
        )
    return examples
