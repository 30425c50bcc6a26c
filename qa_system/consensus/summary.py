"""Points, quotes and verdict as they are shown, from mentions that are grouped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

from haystack import Document

from qa_system.consensus.candidates import Marked
from qa_system.consensus.duplicates import duplicates_of, without_repeats
from qa_system.consensus.intervals import wilson
from qa_system.consensus.mentions import Mention
from qa_system.consensus.points import Group
from qa_system.consensus.questions import is_polar
from qa_system.consensus.quotes import quote_of, review_of
from qa_system.consensus.verdict import verdict_of
from qa_system.opinions import Point, Verdict

__all__ = ["Consensus", "Grouped", "Material", "consensus_of", "points_of", "shown", "verdict_on"]


@dataclass(frozen=True, slots=True)
class Material:
    """What the consensus on a question is built from.

    Args:
        question: or a part of a compound one.
        documents: reviews with the sentences that were found in them, or whole.
        marked: what the reader marked in them.
        reader_threshold: that of the reader, which decides if there is an answer at all; None: it
            does not.
    """

    question: str
    documents: Sequence[Document]
    marked: Sequence[Marked] = ()
    reader_threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Grouped:
    """The mentions of a question, or of a part of a compound one.

    Args:
        material: what they were found in.
        groups: those that say the same, those of most reviews first.
        surest: the highest confidence of what decides whether there is an answer: a sentence's by
            all signals, the reader's or the judge's; None: there is none.
        judged: the reviews of which sentences were judged.
    """

    material: Material
    groups: Sequence[Group]
    surest: float | None = None
    judged: frozenset[str] = frozenset()

    @property
    def mentions(self) -> Iterator[Mention]:
        """All mentions."""
        return (mention for group in self.groups for mention in group.mentions)


@dataclass(frozen=True, slots=True)
class Consensus:
    """What the reviews say together to one question.

    Args:
        mentions: how many reviews speak of it; duplicates count once.
        parts: of a compound question; none: it is one.
        points: what they say, part by part.
        verdict: what they answer to a question that yes or no answers.
        shown: mentions as they are shown one by one, with their documents.
        is_of_one_item: whether the question is about one item; otherwise there is no verdict.
        surest: the highest confidence of what decides whether there is an answer, the reader's or,
            part by part, the judge's; None: there is none.
        judged: of how many reviews sentences were judged.
        copies: how many of the reviews that were found are copies of another one.
    """

    mentions: int
    parts: tuple[str, ...]
    points: tuple[Point, ...]
    verdict: Verdict | None
    shown: tuple[tuple[Mention, Document], ...]
    is_of_one_item: bool = True
    surest: float | None = None
    judged: int = 0
    copies: int = 0

    @property
    def confidence(self) -> float | None:
        """That of the most confident mention; None: there is none."""
        return max((mention.confidence for mention, _ in self.shown), default=None)


def consensus_of(
    parts: Sequence[Grouped],
    least: int | None,
    snippet_chars: int,
    *,
    is_of_one_item: bool = True,
    not_said: float = 1.0,
) -> Consensus:
    """Return what the reviews say together.

    Args:
        parts: of the question; one that is not compound is its only part.
        least: reviews whose stance is decided that a verdict needs; None: there is no verdict.
        snippet_chars: characters of a review to show around a quote.
        is_of_one_item: whether the question is about one item; otherwise there is no verdict.
        not_said: without a mention, reviews are told not to speak of it if the surest confidence is
            below this.
    """
    is_compound = len(parts) > 1
    originals = _originals(parts)
    speaking = {mention.review_id for part in parts for mention in part.mentions}
    # Within a part copies are merged; two parts may quote two copies.
    mentions = len({originals[each] for each in speaking}) if is_compound else len(speaking)
    # What is like two reviews that are not alike is a copy of either, which no mention is.
    distinct = max(len({*originals.values()}), mentions)
    return Consensus(
        mentions=mentions,
        parts=tuple(part.material.question for part in parts) if is_compound else (),
        points=tuple(
            point
            for part in parts
            for point in points_of(
                part, snippet_chars, part.material.question if is_compound else None
            )
        ),
        verdict=verdict_on(parts, least, not_said)
        if least is not None and is_of_one_item
        else None,
        shown=shown(parts),
        is_of_one_item=is_of_one_item,
        surest=max((each.surest for each in parts if each.surest is not None), default=None),
        judged=len(frozenset[str]().union(*(part.judged for part in parts))),
        copies=len(originals) - distinct,
    )


def _originals(parts: Sequence[Grouped]) -> dict[str, str]:
    """Return of each review that was found the review that it is a copy of, or itself."""
    texts = {
        review_of(document): document.content or ""
        for part in parts
        for document in part.material.documents
    }
    names = [*texts]
    places = duplicates_of([*texts.values()])
    return {name: names[place] for name, place in zip(names, places, strict=True)}


def points_of(grouped: Grouped, snippet_chars: int, part: str | None = None) -> Iterator[Point]:
    """Return the points of a question, or of one of its parts.

    Args:
        grouped: its mentions.
        snippet_chars: characters of a review to show around a quote.
        part: the part of a compound question.
    """
    documents = grouped.material.documents
    speaking = sum(len(group.mentions) for group in grouped.groups)
    for group in grouped.groups:
        support = len(group.mentions)
        yield Point(
            label=group.central.told,
            support=support,
            share=support / speaking,
            interval=wilson(support, speaking),
            polarity=group.polarity,
            subjective=group.subjective,
            stance=group.stance,
            quotes=tuple(
                quote_of(mention, documents[mention.document], snippet_chars)
                for mention in group.mentions
            ),
            part=part,
            stances=group.stances,
        )


def verdict_on(parts: Sequence[Grouped], least: int, not_said: float = 1.0) -> Verdict | None:
    """Return the verdict on a question, if yes or no answers it; a compound one has none.

    Args:
        parts: of the question.
        least: reviews whose stance is decided that a verdict needs.
        not_said: as for `consensus_of`.
    """
    [first, *others] = parts
    if others or not first.material.documents or not is_polar(first.material.question):
        return None
    if not first.groups and (first.surest or 0.0) >= not_said:
        return None
    return verdict_of((mention.stance for mention in first.mentions), least)


def shown(parts: Iterable[Grouped]) -> tuple[tuple[Mention, Document], ...]:
    """Return the mentions in the order in which they are shown one by one.

    First the best of each point, the most confident first, the parts of a compound question taking
    turns, that with the most confident mention first; then the others. Nothing is shown twice,
    however many reviews say it.
    """
    firsts = [
        sorted(
            ((group.mentions[0], part.material.documents) for group in part.groups),
            key=lambda each: -each[0].confidence,
        )
        for part in parts
    ]
    firsts.sort(key=lambda each: -each[0][0].confidence if each else 0.0)
    others = [
        (mention, part.material.documents)
        for part in parts
        for group in part.groups
        for mention in group.mentions[1:]
    ]
    others.sort(key=lambda each: -each[0].confidence)
    taking_turns = [each for turn in zip_longest(*firsts) for each in turn if each is not None]
    ordered = [(each, documents[each.document]) for each, documents in (*taking_turns, *others)]
    return tuple(ordered[at] for at in without_repeats([mention.text for mention, _ in ordered]))
