"""Questions labelled over all reviews of their item: who says something in answer, and what.

Two formats of JSON Lines, one question a line. Marks, which hold no review text and are joined with
your copy of the reviews by id and hash:

    {"question_id": "lamp:1", "item_id": "lamp", "question": "Is it loud?", "polar": true,
     "reviews": 13, "points": ["no hum"], "mentions": [{"review_id": "r1", "sha256": "5f0c…",
     "spans": [[0, 8]], "stance": "no", "polarity": "for", "point": "no hum"}]}

`reviews` counts the item's reviews; `spans` are the quotes of the annotators, as characters of the
review with its title, the chosen one first; `points` and `point` may be left out. And AmazonKP's
key points (Tang et al., QQSUM, ACL 2025), where every comment counts as a review of its own:

    {"question_id": "83", "item_id": "B00", "question": "Does it scratch?",
     "comments": [{"comment_id": "c1", "text": "No scratches so far."}],
     "key_points": [{"key_point": "does not scratch", "comment_ids": ["c1"]}]}
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import orjson

from qa_system.errors import DataError
from qa_system.opinions import Polarity, Stance
from qa_system.records import AnswerSpan, Review

__all__ = [
    "MarkedMention",
    "MarkedPoint",
    "MarkedQuestion",
    "QuestionPair",
    "has_own_reviews",
    "hash_of",
    "read_marked",
    "read_pairs",
]

STANCES = (*get_args(Stance), None)
POLARITIES = (*get_args(Polarity), None)


@dataclass(frozen=True, slots=True)
class MarkedMention:
    """What a review says in answer to a question.

    Args:
        review_id: the review.
        spans: the annotators' quotes, distinct, the chosen one first.
        stance: what it answers to a polar question: yes, no, mixed; None: neither, or not labelled.
        polarity: for, against, neither, mixed; None: not labelled.
    """

    review_id: str
    spans: tuple[AnswerSpan, ...]
    stance: Stance | None = None
    polarity: Polarity | None = None


@dataclass(frozen=True, slots=True)
class MarkedPoint:
    """Reviews that say the same in answer to a question."""

    label: str
    reviews: frozenset[str]


@dataclass(frozen=True, slots=True)
class MarkedQuestion:
    """A question labelled over all reviews of its item.

    Args:
        question_id: unique in its file.
        question: its text.
        item_id: the item.
        reviews: all of the item's.
        mentions: of the reviews that say something in answer; none: the reviews don't say.
        points: what the mentions say, put together; None: not labelled.
        polar: whether yes or no answers it; None: not labelled, and no stance is either.
    """

    question_id: str
    question: str
    item_id: str
    reviews: tuple[Review, ...]
    mentions: tuple[MarkedMention, ...]
    points: tuple[MarkedPoint, ...] | None = None
    polar: bool | None = None


@dataclass(frozen=True, slots=True)
class QuestionPair:
    """Two polar questions about an item, of which a yes to one is a no to the other."""

    pair_id: str
    item_id: str
    questions: tuple[str, str]


def hash_of(text: str) -> str:
    """Return the 16 hex digits by which marks recognise the text that they were made in.

    >>> hash_of("Good.")
    '2c33dcef91e06624'
    """
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def read_marked(path: str | Path, reviews: Iterable[Review] = ()) -> tuple[MarkedQuestion, ...]:
    """Read questions with their mentions and points.

    Args:
        path: a file in one of the two formats.
        reviews: your copy of the reviews that marks refer to; key points bring their own.

    Raises:
        DataError: the file cannot be read, a line is wrong, a question id occurs twice, or a review
            that was marked is missing or another than the one that was marked.
    """
    of_item: dict[str, dict[str, Review]] = {}
    for review in reviews:
        of_item.setdefault(review.item_id, {})[review.id] = review
    found: dict[str, MarkedQuestion] = {}
    for where, row in _rows(path):
        try:
            read = _of_key_points(row) if "key_points" in row else _of_marks(row, of_item, where)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(
                f"the line is no labelled question: {type(error).__name__}: {error}",
                where=where,
                remedy="Docs, Evaluating, 'What the reviews say together', has both formats.",
            ) from error
        if read.question_id in found:
            raise DataError(f"question id {read.question_id!r} occurs twice", where=where)
        found[read.question_id] = read
    if not found:
        raise DataError("there are no questions", where=str(path))
    return tuple(found.values())


def has_own_reviews(path: str | Path) -> bool:
    """Tell whether the questions of a file bring their reviews: whether it has key points.

    Raises:
        DataError: the file cannot be read, or a line is no JSON object.
    """
    return all("comments" in row for _, row in _rows(path))


def read_pairs(path: str | Path) -> tuple[QuestionPair, ...]:
    """Read pairs of opposite questions: `{"pair_id", "item_id", "questions": [ONE, OTHER]}`.

    Raises:
        DataError: the file cannot be read, or a line is wrong.
    """
    found = []
    for where, row in _rows(path):
        match row:
            case {"pair_id": str(name), "item_id": str(item), "questions": [str(one), str(other)]}:
                found.append(QuestionPair(name, item, (one, other)))
            case _:
                raise DataError(
                    "the line is no pair of questions",
                    where=where,
                    remedy='Write {"pair_id": "1", "item_id": "B00", "questions": ["…?", "…?"]}.',
                )
    return tuple(found)


def _rows(path: str | Path) -> Iterator[tuple[str, dict[str, Any]]]:
    try:
        lines = Path(path).read_bytes().removeprefix(b"\xef\xbb\xbf").splitlines()
    except OSError as error:
        raise DataError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise DataError(f"the line is no JSON: {error}", where=where) from error
        if not isinstance(row, dict):
            raise DataError("the line is no JSON object", where=where)
        yield where, row


def _of_key_points(row: Mapping[str, Any]) -> MarkedQuestion:
    item = _text(row["item_id"])
    texts = {_text(each["comment_id"]): _text(each["text"]) for each in row["comments"]}
    points = tuple(
        MarkedPoint(_text(each["key_point"]), frozenset(each["comment_ids"]))
        for each in row["key_points"]
    )
    said = sorted(frozenset().union(*(point.reviews for point in points)))
    if unknown := [each for each in said if each not in texts]:
        raise ValueError(f"key points name {unknown[0]!r}, which is no comment")
    return MarkedQuestion(
        question_id=_text(row["question_id"]),
        question=_text(row["question"]),
        item_id=item,
        reviews=tuple(Review(name, item, text) for name, text in texts.items()),
        mentions=tuple(
            MarkedMention(name, (AnswerSpan(texts[name], 0, len(texts[name])),)) for name in said
        ),
        points=points,
    )


def _of_marks(
    row: Mapping[str, Any], of_item: Mapping[str, Mapping[str, Review]], where: str
) -> MarkedQuestion:
    item = _text(row["item_id"])
    reviews = of_item.get(item, {})
    if len(reviews) != row["reviews"]:
        raise DataError(
            f"item {item!r} has {len(reviews)} reviews, and {row['reviews']} were labelled",
            where=where,
            remedy="Name the data set that was labelled: qa-eval consensus --reviews DATA.",
        )
    points: dict[str, set[str]] = {label: set() for label in row.get("points") or ()}
    mentions = []
    for each in row["mentions"]:
        mentions.append(_mention(each, reviews, where))
        if points:
            points[each["point"]].add(each["review_id"])
    return MarkedQuestion(
        question_id=_text(row["question_id"]),
        question=_text(row["question"]),
        item_id=item,
        reviews=tuple(reviews.values()),
        mentions=tuple(mentions),
        points=None
        if row.get("points") is None
        else tuple(MarkedPoint(label, frozenset(own)) for label, own in points.items()),
        polar=row["polar"],
    )


def _mention(each: Mapping[str, Any], reviews: Mapping[str, Review], where: str) -> MarkedMention:
    review = reviews.get(each["review_id"])
    if review is None or hash_of(review.content) != each["sha256"]:
        raise DataError(
            f"review {each['review_id']!r} is {'missing' if review is None else 'another text'}",
            where=where,
            remedy="Name the data set that was labelled: qa-eval consensus --reviews DATA.",
        )
    if each["stance"] not in STANCES or each["polarity"] not in POLARITIES:
        raise ValueError(f"{each['stance']!r} and {each['polarity']!r} are no stance and polarity")
    text = review.content
    spans = tuple(AnswerSpan(text[start:end], start, end) for start, end in each["spans"])
    if not spans or not all(span.text.strip() for span in spans):
        raise ValueError(f"the mention of review {review.id!r} quotes nothing")
    return MarkedMention(review.id, spans, each["stance"], each["polarity"])


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.40} is no text")
    return value
