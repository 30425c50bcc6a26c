"""Mentions: what reviews say in answer to a question, one a review."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from qa_system.consensus.duplicates import duplicates_of
from qa_system.consensus.stances import signals_of
from qa_system.consensus.weighing import Leaning, Signals, Weighing
from qa_system.opinions import Polarity, Stance
from qa_system.records import AnswerSpan
from qa_system.texts.sizing import answer_on_sizing
from qa_system.ties import tie_breaker

if TYPE_CHECKING:
    from qa_system.judging import Judgements

__all__ = ["Mention", "best_of_reviews", "judged_mentions", "merged"]


FEWEST_WORDS: Final = 3
"""Words that can be understood by themselves; "Noise", marked by a reader, cannot."""


@dataclass(frozen=True, slots=True)
class Mention:
    """A clause of a review that answers a question.

    Args:
        review_id: the review.
        document: its place among the documents of the question.
        start: the first character in the document's content.
        end: the character after the last.
        text: the document's content from `start` to `end`: the sentence, or the words in it that
            the reader marked.
        sentence: the whole sentence; empty: it is the text.
        confidence: the probability that it answers the question.
        stance: what it answers to a polar question; None: it was not decided.
        polarity: of what it says; None: it was not judged.
        subjective: whether it is an opinion; None: it was not judged.
        exact: what the reader marked, where the mention is wider; None where it is not, or where
            the reader marked nothing.
        signals: what its confidence and stance were told from.
    """

    review_id: str
    document: int
    start: int
    end: int
    text: str
    confidence: float
    sentence: str = ""
    stance: Stance | None = None
    polarity: Polarity | None = None
    subjective: bool | None = None
    exact: AnswerSpan | None = None
    signals: Signals = field(default_factory=Signals)

    @property
    def told(self) -> str:
        """What can be understood without the question: the text, or the sentence if it is short.

        >>> Mention("r1", 0, 0, 5, "Noise", 0.9, "Noise is no problem at all.").told
        'Noise is no problem at all.'
        """
        is_short = len(self.text.split()) < FEWEST_WORDS
        return " ".join(((is_short and self.sentence) or self.text).split())


def judged_mentions(
    clauses: Sequence[Mention],
    judged: Judgements,
    *,
    statement: Judgements | None,
    said: str = "",
    leaning: Leaning,
    weighing: Weighing | None = None,
) -> list[Mention]:
    """Return clauses with what a judge says of them.

    Args:
        clauses: as they were found, not judged.
        judged: of each of them.
        statement: of the question as a statement (`statement_of`); None: yes or no does not answer
            it, and no stance is decided.
        said: what this statement says.
        leaning: tells their stances, where no rule does (`answer_on_sizing`).
        weighing: tells how probably they are mentions; None: the judge does.
    """
    from qa_system.judging import POLARITIES

    polarities = judged.polarity.argmax(axis=1)
    found = []
    for at, clause in enumerate(clauses):
        signals = signals_of(clause.signals, judged, at, statement)
        answers = float(judged.answers[at])
        found.append(
            replace(
                clause,
                confidence=answers if weighing is None else weighing.probability(signals),
                stance=None
                if statement is None
                else answer_on_sizing(said, clause.text) or leaning.stance(signals),
                polarity=POLARITIES[polarities[at]],
                subjective=bool(judged.subjective[at] >= 0.5),
                signals=signals,
            )
        )
    return found


def best_of_reviews(mentions: Iterable[Mention]) -> list[Mention]:
    """Return the best mention of each review, in an order that depends on the reviews alone.

    Args:
        mentions: in any order; of equals, the one that stands first in its review is the best.

    >>> said = [Mention("r1", 0, 9, 13, "Loud", 0.9), Mention("r1", 0, 0, 3, "Red", 0.2)]
    >>> [mention.text for mention in best_of_reviews(said)]
    ['Loud']
    """
    best: dict[str, Mention] = {}
    for each in sorted(mentions, key=lambda one: (-one.confidence, one.start, one.end)):
        best.setdefault(each.review_id, each)
    return sorted(best.values(), key=lambda each: tie_breaker(each.review_id))


def merged(mentions: Sequence[Mention], reviews: Sequence[str]) -> list[Mention]:
    """Return mentions without those of copied reviews and of copied clauses.

    Of copies the most confident stays; of equals, the first.

    Args:
        mentions: one a review.
        reviews: the whole text of each mention's review.

    >>> said = [Mention(f"r{at}", at, 0, 4, "Loud", 0.9) for at in range(3)]
    >>> text = "Loud, and the handle came off on the second day."
    >>> [mention.review_id for mention in merged(said, [text, "Loud. Bought two.", text])]
    ['r0', 'r1']
    """
    left = list(range(len(mentions)))
    for texts in (reviews, [mention.text for mention in mentions]):
        originals = duplicates_of([texts[at] for at in left])
        best: dict[int, int] = {}
        for at, original in zip(left, originals, strict=True):
            known = best.setdefault(original, at)
            if mentions[at].confidence > mentions[known].confidence:
                best[original] = at
        left = sorted(best.values())
    return [mentions[at] for at in left]
