"""Labels -> what a ranker learns from, and is measured on: questions with texts to put in order."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from qa_system.labels import is_answered
from qa_system.records import Label, Review
from qa_system.training.negatives import Asked, answering_texts, ranked_by_bm25
from qa_system.training.recipes import RankerNegatives

__all__ = ["TextList", "dev_lists", "rank_metrics", "train_lists"]


@dataclass(frozen=True, slots=True)
class TextList:
    """A question, and texts that answer it or do not.

    Args:
        question: what is asked.
        texts: to be put in order.
        relevant: for each text, whether an annotator found an answer in it.
    """

    question: str
    texts: tuple[str, ...]
    relevant: tuple[bool, ...]


def train_lists(
    labels: Sequence[Label], negatives: RankerNegatives, seed: int
) -> tuple[list[TextList], Counter[str]]:
    """Give a list for each question about an item that a text answers.

    No text is taken for a negative that an annotator found an answer in, whichever item the same
    question was asked of, nor one in which an answer to the question occurs word for word.

    Args:
        labels: of one data set, whose texts compete.
        negatives: how many of which kind.
        seed: of the draw.

    Returns:
        The lists, texts that answer first, and counts: `questions`; `relevant`, texts that
        answer; `judged`, texts in which annotators looked for an answer in vain; `same_item` and
        `other_item`, texts that nobody judged; `no_negative`, questions left out for want of a
        text that does not answer.

    >>> from qa_system.records import AnswerSpan
    >>> yes = Label("q1", "Is it light?", "B", "r1", "Very light.", (AnswerSpan("light", 5, 10),))
    >>> no = Label("q2", "Is it light?", "B", "r2", "Blue.", ())
    >>> train_lists([yes, no], RankerNegatives(), seed=13)[0]
    [TextList(question='Is it light?', texts=('Very light.', 'Blue.'), relevant=(True, False))]
    """
    draw = random.Random(seed)
    texts = {label.context: label.item_id for label in labels}
    answering = answering_texts(labels)
    known = _known_answers(labels)
    judged: dict[Asked, dict[str, None]] = defaultdict(dict)
    for label in labels:
        if not is_answered(label):
            judged[label.question, label.item_id][label.context] = None
    # Texts that answer may stand in front of those that are looked for.
    depth = negatives.same_item + max(map(len, answering.values()), default=0)
    near = ranked_by_bm25(texts, answering, depth) if negatives.same_item else {}
    counts: Counter[str] = Counter()
    lists = []
    for (question, item_id), found in answering.items():
        barred, answers = known[question]

        def fits(text: str, barred: set[str] = barred, answers: set[str] = answers) -> bool:
            lowered = text.lower()
            return text not in barred and not any(answer in lowered for answer in answers)

        vain = [text for text in judged[question, item_id] if text not in barred]
        hard = [
            text for text in near.get((question, item_id), ()) if text not in vain and fits(text)
        ][: max(negatives.same_item - len(vain), 0)]
        easy = [
            text
            for text in _some(list(texts), 4 * negatives.other_item, draw)
            if (item_id is None or texts[text] != item_id) and text not in hard and fits(text)
        ][: negatives.other_item]
        others = (*vain, *hard, *easy)
        if not others:
            counts["no_negative"] += 1
            continue
        right = tuple(sorted(found))
        lists.append(
            TextList(question, right + others, (True,) * len(right) + (False,) * len(others))
        )
        counts += Counter(questions=1, relevant=len(right), judged=len(vain))
        counts += Counter(same_item=len(hard), other_item=len(easy))
    return lists, counts


def dev_lists(
    labels: Iterable[Label], reviews: Iterable[Review], candidates: int
) -> list[TextList]:
    """Give what a ranker gets in a pipeline: an item's reviews, as BM25 finds them.

    Args:
        labels: of one split; questions that no text answers are passed over.
        reviews: all that there are; an item's compete.
        candidates: reviews of a list at most.

    Returns:
        A list for each question about an item, in BM25's order. None of its texts is relevant
        if BM25 did not find what answers.
    """
    labels = list(labels)
    texts: dict[str, str | None] = {review.text: review.item_id for review in reviews}
    # A label without an item has a text that belongs to none: it competes with all.
    answering = answering_texts(labels)
    nearest = ranked_by_bm25(texts, answering, candidates)
    return [
        TextList(
            question,
            tuple(nearest[question, item_id]),
            tuple(text in found for text in nearest[question, item_id]),
        )
        for (question, item_id), found in answering.items()
    ]


def rank_metrics(lists: Sequence[TextList], scores: Sequence[Sequence[float]]) -> dict[str, float]:
    """Measure orders by where the first relevant text stands.

    Args:
        lists: the questions.
        scores: of each list's texts, larger is better; equals stay in the list's order.

    Returns:
        `mrr`, the mean of 1 / rank of the first relevant text (0 where none is), and `recall@1`,
        how often it is the first.

    >>> two = TextList("q", ("a", "b"), (False, True))
    >>> rank_metrics([two, two], [[0.1, 0.2], [0.2, 0.1]])
    {'mrr': 0.75, 'recall@1': 0.5}
    """
    ranks = []
    for each, given in zip(lists, scores, strict=True):
        order = sorted(range(len(given)), key=lambda place: -given[place])
        hits = (rank for rank, place in enumerate(order, start=1) if each.relevant[place])
        ranks.append(next(hits, None))
    return {
        "mrr": fmean(0.0 if rank is None else 1 / rank for rank in ranks),
        "recall@1": fmean(rank == 1 for rank in ranks),
    }


def _known_answers(labels: Iterable[Label]) -> Mapping[str, tuple[set[str], set[str]]]:
    """Give for each question the texts that answer it and the answers, in lower case."""
    known: dict[str, tuple[set[str], set[str]]] = defaultdict(lambda: (set(), set()))
    for label in labels:
        texts, answers = known[label.question]
        if is_answered(label):
            texts.add(label.context)
        answers.update(span.text.lower() for span in label.answers)
    return known


def _some(texts: Sequence[str], number: int, draw: random.Random) -> list[str]:
    return draw.sample(texts, min(number, len(texts)))
