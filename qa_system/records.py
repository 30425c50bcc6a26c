"""The records that the packages share: reviews, questions, labels, answers.

All are frozen, and their fields are plain Python values, so that they are easily written as JSON.
"""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import orjson

from qa_system.config.choices import Similarity
from qa_system.errors import QASystemError
from qa_system.opinions import Decision, Point, Verdict
from qa_system.opinions.notebook import page

__all__ = [
    "Answer",
    "AnswerSpan",
    "Answers",
    "Decision",
    "EncoderIdentity",
    "Finding",
    "Label",
    "Question",
    "Review",
    "Similarity",
    "title_end",
]


@dataclass(frozen=True, slots=True)
class Review:
    """One customer's review of one item.

    Args:
        id: unique over the whole catalogue.
        item_id: the product that it is about.
        text: the review without its title.
        meta: its other fields (stars, date, ...), as JSON values or dates.
        title: the title of the review; None: it has none.
    """

    id: str
    item_id: str
    text: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    title: str | None = None

    @property
    def content(self) -> str:
        """The review as it is read and searched: the title on a line of its own, then the text.

        Offsets in answers count its characters.

        >>> Review("r1", "B00", "Returned it.", title="Too dim").content
        'Too dim\\nReturned it.'
        """
        return self.text if self.title is None else f"{self.title}\n{self.text}"

    @property
    def stored_meta(self) -> Mapping[str, Any]:
        """The metadata with the title among it, as stores keep it.

        >>> Review("r1", "B00", "Returned it.", {"stars": 1}, "Too dim").stored_meta
        {'stars': 1, 'title': 'Too dim'}
        """
        return self.meta if self.title is None else {**self.meta, "title": self.title}

    @property
    def digest(self) -> bytes:
        """16 bytes that change when, and only when, item or text change."""
        return hashlib.blake2b(f"{self.item_id}\0{self.text}".encode(), digest_size=16).digest()

    @property
    def content_hash(self) -> str:
        """32 hex digits that change when, and only when, item, title, text or metadata change.

        >>> Review("r1", "B00", "Good.").content_hash == Review("r1", "B00", "Bad.").content_hash
        False
        """
        payload = orjson.dumps(
            [self.item_id, self.content, self.stored_meta],
            default=str,
            option=orjson.OPT_SORT_KEYS | orjson.OPT_NON_STR_KEYS,
        )
        return hashlib.sha256(payload).hexdigest()[:32]


def title_end(content: str, meta: Mapping[str, Any]) -> int:
    """Return where the text of a review begins in its content, behind its title; 0: it has none.

    >>> title_end("Too dim\\nReturned it.", {"title": "Too dim"}), title_end("Returned it.", {})
    (8, 0)
    """
    title = meta.get("title")
    has_title = isinstance(title, str) and content.startswith(f"{title}\n")
    return len(str(title)) + 1 if has_title else 0


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
        context: the gold review's text, to which offsets refer.
        answers: the distinct answer spans that annotators marked, in order of first mark;
            empty if the question cannot be answered from this review.
        annotations: one tuple of spans for each annotator, in the order of the file;
            an empty tuple means "not answerable".
        split: its part of the data set (train, dev, test), if it has one.
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

    A generated answer may be in no review word for word: then `start` equals `end`, and both are
    the place in the review that is nearest to it. Otherwise `text` is the review's own spelling.

    Args:
        text: the answer, equal to the review's text from `start` to `end`.
        confidence: calibrated probability that it is right, 0 to 1; for a generated answer its
            `support`, which is not a probability.
        review_id: the review that says so; for a generated answer the one that supports it best.
        item_id: the item that the review is about.
        start: first character of the answer in the whole review.
        end: the character after its last.
        snippet: the answer's surroundings, cut at word boundaries.
        meta: the review's metadata.
        support: how far the reviews say what was generated, 0 to 1
            (`qa_system.generators.grounding`); None for an answer that is a review's own words.
        sources: the fewest reviews that have nearly all of the share in a generated answer (for a
            chat model: those that it cites), largest share first.
        generated: whether it was written by a generator.
        exact: what the reader marked, where the answer is wider than that so as to keep its
            meaning (`qa_system.texts.clauses`); None where `text` is what it marked.
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
    exact: AnswerSpan | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as JSON values."""
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
            "exact": None if self.exact is None else asdict(self.exact),
        }


@dataclass(frozen=True, slots=True)
class Answers:
    """What the reviews say to one question; no answers means "the reviews don't say".

    Args:
        question: as asked.
        item_id: the item asked about.
        answers: best first.
        decision: why there are answers or none; None if the question failed.
        read: how many reviews the reader read, whole or in part; `judged` are others, too.
        considered: how many bear on the question (`retriever.relevant`); of reviews read whole,
            how many were retrieved; None if no item was asked about.
        reviews: how many the item and the filters select, copies among them.
        timings: seconds by stage.
        error: why the question could not be answered; None if it could.
        mentions: how many reviews say something in answer; copies count once.
        parts: of a compound question, each of which has points of its own; none: it is one.
        points: what they say, those of most reviews first; of a compound question, part by part.
        verdict: what they answer to a question that yes or no answers; None: there is no verdict.
        generation: of the embedded store, the one that was searched; None: not known.
        judged: of how many reviews the judge read sentences.
        copies: how many reviews found are copies of others: `mentions` is of `reviews - copies`.
    """

    question: str
    item_id: str | None
    answers: tuple[Answer, ...]
    decision: Decision | None
    read: int
    considered: int | None = 0
    reviews: int = 0
    timings: Mapping[str, float] = field(default_factory=dict)
    error: QASystemError | None = None
    mentions: int = 0
    parts: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()
    verdict: Verdict | None = None
    generation: int | None = None
    judged: int = 0
    copies: int = 0

    @property
    def abstained(self) -> bool:
        """Whether there is no answer; also if the question failed."""
        return self.decision is None or self.decision.abstains

    @property
    def score(self) -> float | None:
        """See `Decision.score`."""
        return None if self.decision is None else self.decision.score

    @property
    def threshold(self) -> float | None:
        """See `Decision.threshold`; None if the question failed."""
        return None if self.decision is None else self.decision.threshold

    @property
    def reviews_read(self) -> int:
        """The same as `read`, by its name in earlier versions."""
        return self.read

    @property
    def spoken(self) -> str:
        """How many reviews say something in answer, in words.

        >>> Answers("?", "lamp", (), None, 0, reviews=41, mentions=9).spoken
        '9 of 41 reviews speak of it.'
        """
        return self.spoken_of(None)

    def mentions_of(self, part: str | None) -> int:
        """Return how many reviews speak of a part of the question; None: of all of it."""
        of_part = (point.support for point in self.points if point.part == part)
        return self.mentions if part is None else sum(of_part)

    def spoken_of(self, part: str | None) -> str:
        """Return how many reviews speak of a part of the question, in words; None: of all of it."""
        mentions, distinct = self.mentions_of(part), self.reviews - self.copies
        if not mentions:
            return "No review speaks of it."
        among = "" if self.considered is None or not distinct else f" of {distinct:,}"
        if mentions == 1:
            return f"1{among} review{'s' if among else ''} speaks of it."
        return f"{mentions:,}{among} reviews speak of it."

    def to_dict(self) -> dict[str, Any]:
        """Return the answers as JSON values; an error as its code and public message.

        `answers.schema.json` in this package is their JSON schema.
        """
        return {
            "question": self.question,
            "item_id": self.item_id,
            "reviews": self.reviews,
            "copies": self.copies,
            "considered": self.considered,
            "read": self.read,
            "judged": self.judged,
            "mentions": self.mentions,
            "verdict": None if self.verdict is None else self.verdict.to_dict(),
            "parts": list(self.parts),
            "part_mentions": [self.mentions_of(part) for part in self.parts],
            "points": [point.to_dict() for point in self.points],
            "answers": [answer.to_dict() for answer in self.answers],
            "abstained": self.abstained,
            "score": self.score,
            "threshold": self.threshold,
            "generation": self.generation,
            "timings": dict(self.timings),
            "error": None if self.error is None else self.error.to_dict(),
            "decision": None if self.decision is None else self.decision.to_dict(),
            "reviews_read": self.read,
            "no_answer_probability": 1.0 - (self.score or 0.0),
        }

    def _repr_html_(self) -> str:
        """Return the answers as a notebook shows them."""
        return page(self)


@dataclass(frozen=True, slots=True, eq=False)
class EncoderIdentity:
    """The encoder that filled a store; the store refuses embeddings of another.

    Args:
        name: the model's name (`bundled:encoder`, a folder, a Hub id), for messages; it is not
            compared.
        dimension: numbers in an embedding.
        similarity: as the encoder was trained.
        weights_hash: sha256 over the passage encoder's weights and its settings (pooling,
            normalisation, prefixes, length): the same hash means the same embeddings up to
            rounding.
        question_name: the question encoder's name, if it is a model of its own.
        question_hash: the same hash of the question encoder; None where it is not known, as in
            stores of version 0.1.0 and for a passage encoder without its partner. It is compared
            where both sides have one.
        max_seq_length: the setting; None: the model's own, or not known. For messages: the hashes
            cover it.
        embed_title: the setting, likewise.

    >>> from dataclasses import replace
    >>> pair = EncoderIdentity("ctx", 768, "dot_product", "00" * 32, "q", "11" * 32)
    >>> pair == replace(pair, question_hash="22" * 32), pair == replace(pair, question_hash=None)
    (False, True)
    """

    name: str
    dimension: int
    similarity: Similarity
    weights_hash: str
    question_name: str | None = None
    question_hash: str | None = None
    max_seq_length: int | None = None
    embed_title: bool = False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, EncoderIdentity):
            return NotImplemented
        said = (self.question_hash, other.question_hash)
        return self._of_passages == other._of_passages and (None in said or said[0] == said[1])

    def __hash__(self) -> int:
        return hash(self._of_passages)

    def differs_in_questions(self, other: EncoderIdentity) -> bool:
        """Tell whether two encoders give passages the same embeddings, and have another partner.

        >>> pair = EncoderIdentity("ctx", 768, "dot_product", "00" * 32, "q", "11" * 32)
        >>> pair.differs_in_questions(pair)
        False
        >>> pair.differs_in_questions(EncoderIdentity("ctx", 768, "dot_product", "00" * 32))
        True
        """
        return self._of_passages == other._of_passages and self.question_hash != other.question_hash

    @property
    def _of_passages(self) -> tuple[int, str, str]:
        return self.dimension, self.similarity, self.weights_hash

    @property
    def named(self) -> str:
        """The encoder in words, for messages.

        >>> EncoderIdentity("bundled:encoder", 384, "cosine", "0123456789abcdef").named
        "'bundled:encoder' (384 numbers, weights 0123456789ab)"
        >>> EncoderIdentity("ctx", 768, "cosine", "0123456789abcdef", "q", "ff" * 32).named
        "'ctx' (768 numbers, weights 0123456789ab) with questions by 'q' (weights ffffffffffff)"
        """
        named = f"{self.name!r} ({self.dimension} numbers, weights {self.weights_hash[:12]})"
        if self.question_hash is None or self.question_hash == self.weights_hash:
            return named
        questions = self.question_name or self.name
        return f"{named} with questions by {questions!r} (weights {self.question_hash[:12]})"

    @property
    def options(self) -> str:
        """The options of a command line that name the encoder.

        >>> EncoderIdentity("ctx", 768, "cosine", "00" * 32, "q", "11" * 32).options
        '--encoder-model ctx --encoder-question-model q'
        >>> EncoderIdentity("m", 768, "cosine", "00" * 32, max_seq_length=64).options
        '--encoder-model m --encoder-max-seq-length 64'
        """
        parts = ["--encoder-model", self.name]
        if self.question_name is not None:
            parts += ["--encoder-question-model", self.question_name]
        if self.embed_title:
            parts.append("--encoder-embed-title")
        if self.max_seq_length is not None:
            parts += ["--encoder-max-seq-length", str(self.max_seq_length)]
        return shlex.join(parts)


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check.

    Args:
        name: what was checked.
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
        """Return the finding as JSON values."""
        return asdict(self)
