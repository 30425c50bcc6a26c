"""Which sentences of reviews may be mentions: those that are judged for a question."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

from haystack import Document

from qa_system.consensus.confidence import Confidence
from qa_system.consensus.mentions import Mention, best_of_reviews, merged
from qa_system.consensus.questions import is_echo
from qa_system.consensus.quotes import review_of
from qa_system.consensus.weighing import Signals
from qa_system.readers.calibration import log_odds_of
from qa_system.readers.evidence import candidates_of, has_sentences
from qa_system.records import AnswerSpan
from qa_system.stores.sentences import SentenceQuery, score, unembedded_columns
from qa_system.texts.clauses import widen
from qa_system.texts.sentences import sentences
from qa_system.ties import tie_breaker

if TYPE_CHECKING:
    from haystack.dataclasses import ExtractedAnswer

__all__ = [
    "Marked",
    "clauses_of",
    "marked_in",
    "mentions_in",
    "of_surest_part",
    "quoted",
    "weighed_mentions",
]

MOST_OF_REVIEW: Final = 8
"""Sentences of one review that are judged: a long review leaves room for the others."""


@dataclass(frozen=True, slots=True)
class Marked:
    """A span that the reader marked.

    Args:
        document: its place among the documents.
        start: its first character.
        end: the character after its last.
        confidence: the reader's.
        answers: whether the reader takes it for an answer.
        log_odds: the reader's own, whatever was fitted.
    """

    document: int
    start: int
    end: int
    confidence: float
    answers: bool
    log_odds: float = 0.0


def marked_in(
    documents: Sequence[Document],
    spans: Sequence[ExtractedAnswer],
    threshold: float = 0.0,
    fitted: Confidence | None = None,
) -> list[Marked]:
    """Return the reader's spans by the places of their documents.

    Args:
        documents: of the question; a span of another document is left out.
        spans: what the reader returned.
        threshold: the confidence from which on a span is an answer.
        fitted: what confidences mean: they become probabilities, and its threshold counts. None:
            they stay as they are.
    """
    places = {document.id: place for place, document in enumerate(documents)}
    return [
        Marked(
            places[span.document.id],
            span.document_offset.start,
            span.document_offset.end,
            span.score if fitted is None else fitted.probability(span.score),
            span.score >= (threshold if fitted is None else fitted.threshold),
            log_odds_of(span.score),
        )
        for span in spans
        if span.document is not None
        and span.document_offset is not None
        and span.document.id in places
    ]


def clauses_of(
    question: str, documents: Sequence[Document], marked: Sequence[Marked], most: int
) -> list[Mention]:
    """Return the sentences to be judged: the best, and those in which the reader sees an answer.

    Args:
        question: ranks the sentences of documents that come without ranked ones, by its words.
        documents: with `meta["sentences"]`, as a `SentenceRetriever` returns them, or without.
        marked: what the reader marked.
        most: how many of the best; no more than eight are of one review, and none only repeats
            words of the question.

    Returns:
        Sentences that are not judged yet: their confidence is 0.
    """
    chosen: dict[tuple[int, int], tuple[int, float]] = {}
    of_review = Counter[str]()
    for place, start, end, fit in _ranked(question, documents) if most else ():
        if len(chosen) == most:
            break
        review, text = review_of(documents[place]), documents[place].content or ""
        if of_review[review] < MOST_OF_REVIEW and not is_echo(question, text[start:end]):
            chosen[place, start] = end, fit
            of_review[review] += 1
    for each in marked:
        if each.answers:
            start, end, fit = _sentence_around(documents[each.document], each)
            chosen.setdefault((each.document, start), (end, fit))
    best = max((fit for _, fit in chosen.values()), default=0.0)
    marked_of: defaultdict[int, list[Marked]] = defaultdict(list)
    for each in marked:
        marked_of[each.document].append(each)
    return [
        Mention(
            review_id=review_of(documents[place]),
            document=place,
            start=start,
            end=end,
            text=(documents[place].content or "")[start:end],
            confidence=0.0,
            signals=Signals(
                sentence=fit / best if best > 0 else 0.0,
                reader=_best_in(marked_of[place], start, end),
            ),
        )
        for (place, start), (end, fit) in chosen.items()
    ]


def of_surest_part(
    clauses: Sequence[Sequence[Mention]], parts: Sequence[int]
) -> list[list[Mention]]:
    """Leave each sentence to the part of a compound question that it answers most surely.

    So no quote is shown under two parts. Of equals, it stays with the first.

    Args:
        clauses: of each part of each question, judged.
        parts: how many parts each question has.
    """
    found: list[list[Mention]] = []
    of_all = iter(clauses)
    for count in parts:
        own = [next(of_all) for _ in range(count)]
        surest: dict[tuple[str, int, int], tuple[float, int]] = {}
        for part, mentions in enumerate(own):
            for each in mentions:
                key = each.review_id, each.start, each.end
                surest[key] = max(surest.get(key, (-1.0, 0)), (each.confidence, -part))
        found += [
            [one for one in mentions if -surest[one.review_id, one.start, one.end][1] == part]
            for part, mentions in enumerate(own)
        ]
    return found


def mentions_in(
    clauses: Sequence[Mention],
    documents: Sequence[Document],
    marked: Sequence[Marked],
    threshold: float,
    *,
    reader_threshold: float | None = None,
    is_weighed: bool = False,
) -> list[Mention]:
    """Return the mentions among clauses, one a review, without duplicates.

    A clause is a mention if the reader marked an answer in it, with the reader's confidence, or if
    the judge takes it for one. What the reader marked in a clause is the quote.

    Args:
        clauses: judged, or with the confidence 0.
        documents: of the question.
        marked: what the reader marked in them.
        threshold: the judge's confidence from which on a clause is a mention.
        reader_threshold: the reader's; the reader, which was trained to abstain, decides if there
            is an answer at all. Then the judge finds further reviews that say so, surer than the
            threshold and less sure than the reader's best answer. None: the judge decides, too.
        is_weighed: whether the clauses' confidences weigh what the reader marked: then only its
            best answer keeps the reader's.
    """
    surest = max((each.confidence for each in marked if each.answers), default=None)
    if reader_threshold is None:
        lowest, highest = 0.0, 1.0
    elif surest is None:
        return []
    else:
        lowest, highest = reader_threshold, surest
    found = []
    for clause in clauses:
        inside = [each.confidence for each in marked if each.answers and _is_in(each, clause)]
        if not inside and clause.confidence < threshold:
            continue
        confidence = lowest + clause.confidence * (highest - lowest)
        if inside and (not is_weighed or max(inside) == surest):
            confidence = max(inside)
        found.append(replace(clause, confidence=confidence))
    return _quotes(found, documents, marked)


def weighed_mentions(
    clauses: Sequence[Mention],
    documents: Sequence[Document],
    marked: Sequence[Marked],
    threshold: float,
    fitted: Confidence,
) -> list[Mention]:
    """Return the mentions among the clauses of a question that has an answer, by all signals.

    Args:
        clauses: judged and weighed.
        documents: of the question.
        marked: what the reader marked in them; it is what is quoted of a clause.
        threshold: the confidence from which on a clause is a mention.
        fitted: how probably a mention of a confidence is right.
    """
    found = [
        replace(each, confidence=fitted.probability(each.confidence))
        for each in clauses
        if each.confidence >= threshold
    ]
    return _quotes(found, documents, marked)


def _quotes(
    mentions: Sequence[Mention], documents: Sequence[Document], marked: Sequence[Marked]
) -> list[Mention]:
    """Return the best mention of each review as it is quoted, without duplicates."""
    contents = [document.content or "" for document in documents]
    best = [quoted(each, contents[each.document], marked) for each in best_of_reviews(mentions)]
    return merged(best, [contents[each.document] for each in best])


def _is_in(marked: Marked, clause: Mention) -> bool:
    return marked.document == clause.document and clause.start <= marked.start < clause.end


def quoted(mention: Mention, content: str, marked: Sequence[Marked]) -> Mention:
    """Return a mention with the words that the reader marked in it, if it marked some."""
    inside = [each for each in marked if _is_in(each, mention)]
    if not inside:
        return mention
    best = max(inside, key=lambda each: (each.confidence, -each.start, -each.end))
    start, end = widen(content, best.start, best.end)
    if not mention.start <= start < end <= mention.end:
        return mention
    exact = AnswerSpan(content[best.start : best.end], best.start, best.end)
    return replace(
        mention,
        start=start,
        end=end,
        text=content[start:end],
        sentence=mention.text,
        exact=None if (start, end) == (best.start, best.end) else exact,
    )


def _best_in(marked: Sequence[Marked], start: int, end: int) -> float | None:
    """Return the highest log-odds of what was marked in a sentence of the same document."""
    return max((each.log_odds for each in marked if start <= each.start < end), default=None)


def _ranked(question: str, documents: Sequence[Document]) -> Iterator[tuple[int, int, int, float]]:
    """Return documents' places with starts, ends and scores of their sentences, the best first."""
    for each in candidates_of(documents):
        yield each.document, each.sentence.start, each.sentence.end, each.score
    whole = [
        (place, document.content)
        for place, document in enumerate(documents)
        if document.content and not has_sentences(document)
    ]
    columns = unembedded_columns(whole)
    scores = score(columns, SentenceQuery.of(question, None, 1.0)).tolist()
    found = zip(columns.reviews.tolist(), columns.spans.tolist(), scores, strict=True)
    keys = {place: tie_breaker(documents[place].id) for place, _ in whole}
    for place, (start, end), fit in sorted(
        found, key=lambda each: (-each[2], keys[each[0]], each[1])
    ):
        yield place, start, end, fit


def _sentence_around(document: Document, marked: Marked) -> tuple[int, int, float]:
    """Return the sentence in which a span begins, with its score if it was ranked.

    It is the span itself, if that begins in none.
    """
    ranked = [
        (each.sentence.start, each.sentence.end, each.score) for each in candidates_of([document])
    ]
    others = [(start, end, 0.0) for start, end in sentences(document.content or "")]
    for start, end, fit in (*ranked, *others):
        if start <= marked.start < end:
            return start, end, fit
    return marked.start, marked.end, 0.0
