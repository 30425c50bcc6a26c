"""Answers to questions about the sample, with their quotes marked by hand in its reviews.

They show the widget's states, which no model can be asked for one by one.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache
from typing import Any

from qa_system.config.shipped import resource
from qa_system.consensus.intervals import wilson
from qa_system.consensus.verdict import verdict_of
from qa_system.opinions import Point, Polarity, Quote, Stance
from qa_system.readers.extractive import snippet
from qa_system.records import Answers, Decision, Review

BOOTS = "boots-kestrock-mid"
JACKET = "jacket-drizzlecrest-shell"
EARBUDS = "earbuds-pipstone-air"

Said = tuple[str, Stance | None, Polarity, Sequence[str]]
"""A point: its label, what it answers, whether it is good, and its quotes."""

RAIN: Sequence[Said] = (
    (
        "It has kept me dry on about nine days out of ten",
        "yes",
        "for",
        (
            "It has kept me dry on about nine days out of ten",
            "drops still roll off as on the first day",
            "Inside: dry.",
            "On top, in the gale, it was perfect.",
        ),
    ),
    (
        "This year it soaks through at the shoulders",
        "no",
        "against",
        (
            "This year it soaks through at the shoulders",
            "Cuffs let a little water up my arms when I clapped",
        ),
    ),
)
SOUND: Sequence[Said] = (
    ("Sound is thin", None, "against", ("Sound is thin, no low end at all",)),
    (
        "excellent, clear voices, cello sounds like a cello",
        None,
        "for",
        ("excellent, clear voices, cello sounds like a cello",),
    ),
)
SIZE: Sequence[Said] = (
    (
        "Order half a size up if you wear thick socks",
        None,
        "neither",
        ("Order half a size up if you wear thick socks",),
    ),
    (
        "cut for a very narrow, very long foot",
        None,
        "against",
        ("It seems to be cut for a very narrow, very long foot",),
    ),
)
BREAKING_IN: Sequence[Said] = (
    (
        "Wore them round the house for two weeks as told",
        "yes",
        "against",
        (
            "Wore them round the house for two weeks as told",
            "Before that I did about ten day hikes in them at home",
        ),
    ),
    ("Straight out of the box", "no", "for", ("Straight out of the box",)),
)


@cache
def reviews() -> Mapping[str, Review]:
    """The reviews of the sample by their ids."""
    found = {}
    for split in ("train", "dev", "test"):
        with (resource("sample") / f"{split}.csv").open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                meta = {"stars": int(row["stars"]), "date": row["date"]}
                review = Review(row["review_id"], row["item_id"], row["review"], meta)
                found[review.id] = review
    return found


def quote(text: str, review: Review) -> Quote:
    """Quote a review."""
    start = review.content.index(text)
    end = start + len(text)
    around, _ = snippet(review.content, start, end, 200)
    return Quote(review.id, "text", text, start, end, around, review.meta)


def answers(
    question: str, item_id: str, said: Sequence[Said], among: Mapping[str, Review] | None = None
) -> Answers:
    """Answer a question with points that are quotes of the item's reviews."""
    own = [each for each in (among or reviews()).values() if each.item_id == item_id]
    total = sum(len(quotes) for *_, quotes in said)
    points = [
        Point(
            label=label,
            support=len(quotes),
            share=len(quotes) / total,
            interval=wilson(len(quotes), total),
            polarity=polarity,
            subjective=1.0,
            stance=stance,
            quotes=tuple(
                quote(text, next(each for each in own if text in each.content)) for text in quotes
            ),
        )
        for label, stance, polarity, quotes in said
    ]
    stances = [point.stance for point in points for _ in point.quotes]
    return Answers(
        question=question,
        item_id=item_id,
        answers=(),
        decision=Decision(0.8 if points else 0.02, 0.4),
        read=len(own),
        considered=max(total, 1),
        reviews=len(own),
        mentions=total,
        points=tuple(points),
        verdict=verdict_of(stances, least=2) if any(stances) else None,
        generation=7,
    )


def scripted() -> dict[tuple[str, str], dict[str, Any]]:
    """Answers as JSON values, by item and question."""
    listed = [
        answers("Does it really keep the rain out?", JACKET, RAIN),
        answers("How is the sound?", EARBUDS, SOUND),
        answers("What size should I order?", BOOTS, SIZE),
        answers("Do they need breaking in?", BOOTS, BREAKING_IN),
        answers("Are they vegan?", BOOTS, ()),
    ]
    two = listed[2].points + listed[3].points[:1]
    both = replace(
        listed[2],
        question="What size, and do they need breaking in?",
        mentions=4,
        parts=("What size?", "Do they need breaking in?", "Are they vegan?"),
        points=tuple(
            replace(point, part=part)
            for point, part in zip(
                two, ["What size?", "What size?", "Do they need breaking in?"], strict=True
            )
        ),
    )
    return {(str(each.item_id), each.question): each.to_dict() for each in [*listed, both]}


ARABIC = {
    "title": "اسأل المراجعات",
    "label": "سؤالك عن هذا المنتج",
    "ask": "اسأل",
    "result": "الجواب",
    "yes": "نعم",
    "mostly_yes": "غالبًا نعم",
    "no": "لا",
    "answer_yes": "نعم",
    "answer_no": "لا",
    "count": {
        "few": "{n} من أصل {total} مراجعات تقول {answer}",
        "many": "{n} من أصل {total} مراجعة تقول {answer}",
        "other": "{n} من أصل {total} مراجعة تقول {answer}",
    },
    "spoken": "{n} من أصل {total} مراجعة تتحدث عن ذلك",
    "support": "{n} من أصل {total} مراجعات",
    "points": "ما تقوله المراجعات",
    "stance_yes": "تقول نعم",
    "stance_no": "تقول لا",
    "more_quotes": {"one": "أظهر اقتباسًا آخر", "other": "أظهر {n} اقتباسات أخرى"},
    "open": "اقرأ المراجعة كاملة",
    "stars": "{n} من أصل ٥ نجوم",
    "helpful": "هل أفادك هذا؟",
    "up": "نعم",
    "down": "لا",
}
"""Texts of a language that is written from right to left, and has six plurals."""
