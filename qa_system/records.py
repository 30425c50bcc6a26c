"""The records that walk through the house: reviews in, answers out.

All are frozen; all fields are plain Python values, so that each of them is one `to_dict`
away from JSON.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import orjson

__all__ = [
    "ID_RECIPE",
    "Answer",
    "AnswerSpan",
    "Answers",
    "EncoderIdentity",
    "Finding",
    "Label",
    "Question",
    "Review",
    "Similarity",
    "stable_review_id",
]

Similarity = Literal["dot_product", "cosine", "l2"]


ID_RECIPE = 2
"""How an id is derived of what a review says. 1 (version 0.1): item and text. 2: title, author and
date, too, and the number of its occurrence."""


def stable_review_id(
    item_id: str,
    text: str,
    title: str | None = None,
    author: str | None = None,
    date: str | None = None,
    occurrence: int = 0,
) -> str:
    """Derive an id for a review that came without one: of the same content, the same id.

    Args:
        item_id: of the item that it is about.
        text: of the review.
        title: of the review, where there is one.
        author: who wrote it, where that is known.
        date: when, where that is known.
        occurrence: tells reviews apart that coincide in all this and differ in other metadata:
            0 the first, 1 the next.

    Returns:
        32 hex digits; from item and text alone, those that version 0.1 made.

    >>> stable_review_id("B00", "Good.") == stable_review_id("B00", "Good.")
    True
    >>> stable_review_id("B00", "Good.", author="Ann") == stable_review_id("B00", "Good.")
    False
    >>> len(stable_review_id("B00", "Good."))
    32
    """
    more = {"title": title, "author": author, "date": date, "occurrence": occurrence}
    said = [item_id, text, *(f"{name}={value}" for name, value in more.items() if value)]
    return hashlib.sha256("\0".join(said).encode()).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class Review:
    """One customer's review of one item.

    Args:
        id: unique over the whole catalogue.
        item_id: the product that it is about.
        text: the review as its readers see it; offsets in answers count its characters.
        meta: everything else that came with it (stars, date, ...), as JSON values or dates.
        title: what stands above the text; None: nothing does.
    """

    id: str
    item_id: str
    text: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    title: str | None = None

    @property
    def stored_meta(self) -> Mapping[str, Any]:
        """The metadata with the title among it, as stores keep it.

        >>> Review("r1", "B00", "Returned it.", {"stars": 1}, "Too dim").stored_meta
        {'stars': 1, 'title': 'Too dim'}
        """
        return self.meta if self.title is None else {**self.meta, "title": self.title}

    @property
    def content_hash(self) -> str:
        """32 hex digits that change when, and only when, item, title, text or metadata change.

        >>> Review("r1", "B00", "Good.").content_hash == Review("r1", "B00", "Bad.").content_hash
        False
        """
        payload = orjson.dumps(
            [self.item_id, self.text, self.stored_meta],
            default=str,
            option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS,
        )
        return hashlib.sha256(payload).hexdigest()[:32]


@dataclass(frozen=True, slots=True)
class AnswerSpan:
    """A stretch of a review that answers a question: `review[start:end] == text`."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Question:
    """What a shopper asks, and of which item (or of those that a Haystack filter selects)."""

    text: str
    item_id: str | None = None
    filters: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Label:
    """A question with every annotator's answer from one review.

    Args:
        question_id: unique within a split.
        question: its text.
        item_id: the item asked about; None for texts that belong to no item.
        review_id: the gold review, in which the answers were marked.
        context: the gold review's text, the one that the offsets count in.
        answers: the distinct answer spans that annotators marked, in order of first mark;
            empty if the question cannot be answered from this review.
        annotations: one tuple of spans an annotator, in the order of the file;
            an empty tuple is that annotator's "not answerable".
        split: the part of the data set that it stands in (train, dev, test), where there is one.
        meta: the data set's own fields (subjectivity, domain, ...).
        others: labels of the same question about the same item, most of them from other reviews,
            where labels were aggregated (`qa_system.labels.aggregate`).
    """

    question_id: str
    question: str
    item_id: str | None
    review_id: str
    context: str
    answers: tuple[AnswerSpan, ...]
    annotations: tuple[tuple[AnswerSpan, ...], ...] = ()
    split: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    others: tuple[Label, ...] = ()

    @property
    def is_answerable(self) -> bool:
        """Whether at least one annotator marked an answer in this review."""
        return bool(self.answers)


@dataclass(frozen=True, slots=True)
class Answer:
    """A short answer and the review that says so.

    A generated answer may stand in no review as it is: then `start` equals `end`, and both are
    where the review comes nearest to it. Where it does stand in one, `text` is the review's own
    spelling.

    Args:
        text: the answer, equal to the review's text from `start` to `end`.
        confidence: calibrated probability that it is right, 0 to 1; of a generated answer its
            `support`, which is no probability.
        review_id: the review that says so; of a generated answer the one that supports it best.
        item_id: the item that the review is about.
        start: first character of the answer in the whole review.
        end: the character after its last.
        snippet: the answer's surroundings, cut at word boundaries.
        meta: the review's metadata.
        support: how far the reviews say what was generated, 0 to 1
            (`qa_system.generators.grounding`); None for an answer that is a review's own words.
        sources: the fewest reviews that carried nearly all of a generated answer (of a chat
            model's: those that it cites), first the one that carried most.
        generated: whether it was written by a generator.
    """

    text: str
    confidence: float
    review_id: str
    item_id: str | None
    start: int
    end: int
    snippet: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    support: float | None = None
    sources: tuple[str, ...] = ()
    generated: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Give the answer as JSON values."""
        return {
            "text": self.text,
            "confidence": self.confidence,
            "review_id": self.review_id,
            "item_id": self.item_id,
            "start": self.start,
            "end": self.end,
            "snippet": self.snippet,
            "meta": dict(self.meta),
            "support": self.support,
            "sources": list(self.sources),
            "generated": self.generated,
        }


@dataclass(frozen=True, slots=True)
class Answers:
    """What the reviews say to one question; no answers means "the reviews don't say".

    Args:
        question: as asked.
        item_id: the item asked about.
        answers: best first.
        no_answer_probability: calibrated probability that none of the reviews read answers it;
            where answers were generated, one minus the best one's support, given or withheld.
        reviews_read: how many reviews the retriever handed to the reader.
        timings: seconds by stage.
    """

    question: str
    item_id: str | None
    answers: tuple[Answer, ...]
    no_answer_probability: float
    reviews_read: int
    timings: Mapping[str, float] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Give the answers as JSON values."""
        return {
            "question": self.question,
            "item_id": self.item_id,
            "answers": [answer.to_dict() for answer in self.answers],
            "no_answer_probability": self.no_answer_probability,
            "reviews_read": self.reviews_read,
            "timings": dict(self.timings),
        }


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What a store remembers of the encoder that filled it, so that it can refuse another.

    Args:
        name: the model's name as it was given (`bundled:encoder`, a folder, a Hub id); for
            people: the same model under another name, or in another folder, is the same.
        dimension: numbers in an embedding.
        similarity: the one that the encoder was trained with.
        weights_hash: sha256 over the passage encoder's weights and how a text reaches them
            (pooling, normalisation, prefixes, length): same hash, same embeddings up to rounding.
    """

    name: str = field(compare=False)
    dimension: int
    similarity: Similarity
    weights_hash: str

    @property
    def named(self) -> str:
        """The encoder in words, for messages.

        >>> EncoderIdentity("bundled:encoder", 384, "cosine", "0123456789abcdef").named
        "'bundled:encoder' (384 numbers, weights 0123456789ab)"
        """
        return f"{self.name!r} ({self.dimension} numbers, weights {self.weights_hash[:12]})"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at.

    Args:
        name: what.
        ok: whether it is there and usable.
        required: whether the settings need it.
        detail: the version, the place, or what is wrong.
        remedy: how to get it, where it is missing.
    """

    name: str
    ok: bool
    required: bool
    detail: str
    remedy: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Give the finding as JSON values."""
        return asdict(self)
