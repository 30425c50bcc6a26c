"""Questions labelled over all reviews: both formats, and what is refused."""

from dataclasses import replace

import orjson
import pytest

from benchmarks.labelling import Asked, built, disagreements, kappa, pairwise_f1
from qa_system.datasets.dataset import read_dataset
from qa_system.datasets.mentions import (
    MarkedPoint,
    has_own_reviews,
    hash_of,
    read_marked,
    read_pairs,
)
from qa_system.errors import DataError
from qa_system.records import AnswerSpan, Review

REVIEWS = (
    Review("r1", "lamp", "No hum at all.", title="Quiet"),
    Review("r2", "lamp", "Blue."),
    Review("x1", "chair", "Squeaks."),
)
MENTION = {
    "review_id": "r1",
    "sha256": hash_of("Quiet\nNo hum at all."),
    "spans": [[6, 12], [0, 5]],
    "stance": "no",
    "polarity": "for",
    "point": "no hum",
}
MARKS = {
    "question_id": "lamp:1",
    "item_id": "lamp",
    "question": "Is it loud?",
    "polar": True,
    "reviews": 2,
    "points": ["no hum"],
    "mentions": [MENTION],
}
KEY_POINTS = {
    "question_id": "83",
    "item_id": "B00",
    "question": "Does it scratch?",
    "comments": [
        {"comment_id": "c1", "text": "No scratches."},
        {"comment_id": "c2", "text": "Blue."},
        {"comment_id": "c3", "text": "Scratched at once."},
    ],
    "key_points": [
        {"key_point": "does not scratch", "comment_ids": ["c1"]},
        {"key_point": "scratches", "comment_ids": ["c3", "c3"]},
    ],
}


@pytest.fixture
def written(tmp_path):
    def write(*rows):
        path = tmp_path / "labels.jsonl"
        path.write_bytes(b"\n".join(map(orjson.dumps, rows)) + b"\n")
        return path

    return write


def test_marks_are_joined_with_the_reviews(written):
    [question] = read_marked(written(MARKS), REVIEWS)
    assert question.reviews == REVIEWS[:2]
    [mention] = question.mentions
    assert mention.spans == (AnswerSpan("No hum", 6, 12), AnswerSpan("Quiet", 0, 5))
    assert (mention.stance, mention.polarity) == ("no", "for")
    assert question.points == (MarkedPoint("no hum", frozenset({"r1"})),)
    assert question.polar is True


def test_marks_without_points(written):
    mention = {key: value for key, value in MENTION.items() if key != "point"}
    marks = {key: value for key, value in MARKS.items() if key != "points"}
    [question] = read_marked(written({**marks, "mentions": [mention]}), REVIEWS)
    assert question.points is None


def test_no_review_says_it(written):
    [question] = read_marked(written({**MARKS, "points": [], "mentions": []}), REVIEWS)
    assert (question.mentions, question.points) == ((), ())


def test_key_points_bring_their_comments(written):
    path = written(KEY_POINTS)
    assert has_own_reviews(path)
    assert not has_own_reviews(written(MARKS))
    [question] = read_marked(written(KEY_POINTS))
    assert [review.id for review in question.reviews] == ["c1", "c2", "c3"]
    assert [each.review_id for each in question.mentions] == ["c1", "c3"]
    assert [sorted(point.reviews) for point in question.points] == [["c1"], ["c3"]]
    assert question.polar is None


@pytest.mark.parametrize(
    ("row", "reviews", "message"),
    [
        (MARKS, REVIEWS[1:], "has 1 reviews, and 2 were labelled"),
        (MARKS, (replace(REVIEWS[0], text="Hums."), *REVIEWS[1:]), "'r1' is another text"),
        (
            {**MARKS, "mentions": [{**MENTION, "review_id": "r9"}]},
            REVIEWS,
            "'r9' is missing",
        ),
        ({**MARKS, "mentions": [{**MENTION, "stance": "maybe"}]}, REVIEWS, "no stance"),
        ({**MARKS, "mentions": [{**MENTION, "spans": [[50, 60]]}]}, REVIEWS, "quotes nothing"),
        ({**MARKS, "mentions": [{**MENTION, "point": "loud"}]}, REVIEWS, "KeyError"),
        ({"question": "?"}, REVIEWS, "no labelled question: KeyError: 'item_id'"),
        ({**KEY_POINTS, "comments": []}, (), "'c1', which is no comment"),
        ([1], REVIEWS, "no JSON object"),
    ],
)
def test_what_is_refused(written, row, reviews, message):
    with pytest.raises(DataError) as refused:
        read_marked(written(row), reviews)
    assert message in str(refused.value)
    assert "labels.jsonl:1" in str(refused.value)


def test_ids_and_files(written, tmp_path):
    with pytest.raises(DataError, match="occurs twice"):
        read_marked(written(MARKS, MARKS), REVIEWS)
    with pytest.raises(DataError, match="cannot be read"):
        read_marked(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").write_text("\n\n")
    with pytest.raises(DataError, match="there are no questions"):
        read_marked(tmp_path / "empty.jsonl")


def test_pairs(written):
    pair = {"pair_id": "1", "item_id": "lamp", "questions": ["Is it loud?", "Is it quiet?"]}
    assert read_pairs(written(pair))[0].questions == ("Is it loud?", "Is it quiet?")
    with pytest.raises(DataError, match="no pair"):
        read_pairs(written({**pair, "questions": ["Is it loud?"]}))


def test_the_bundled_labels_fit_the_sample(root):
    questions = read_marked(
        root / "data" / "gold" / "sample.jsonl", read_dataset("bundled:sample").reviews
    )
    assert len(questions) >= 150
    for each in questions:
        mentioned = {mention.review_id for mention in each.mentions}
        of_points = [review for point in each.points for review in point.reviews]
        # Every mention makes one point, and a question that is not polar has no stance.
        assert sorted(of_points) == sorted(mentioned)
        assert each.polar or not any(mention.stance for mention in each.mentions)
    assert len(read_pairs(root / "data" / "gold" / "leading_pairs.jsonl")) == 40


# How they were made


def labels(**mentions):
    return {
        "polar": True,
        "points": {"P1": "no hum", "P2": "hums"},
        "mentions": [{"review": name, **each} for name, each in mentions.items()],
    }


def said(quote, stance="no", polarity="for", point="P1"):
    return {"quote": quote, "stance": stance, "polarity": polarity, "point": point}


KEY = {"item_id": "lamp", "reviews": {"R1": "r1", "R2": "r2"}}


def asked(a, b):
    return Asked("sample", "lamp", "Q1", "Is it loud?", KEY, a, b)


def test_kappa_by_hand():
    # Agreed on 7 of 10; by chance on .6 * .5 + .4 * .5 = .5 of them.
    pairs = [(1, 1)] * 4 + [(0, 0)] * 3 + [(1, 0)] * 2 + [(0, 1)]
    assert kappa(pairs) == pytest.approx((0.7 - 0.5) / 0.5)
    assert kappa([(1, 1), (1, 1)]) == 1


def test_pairs_put_together_by_hand():
    one = [{"r1", "r2", "r3"}, {"r4"}]
    other = [{"r1", "r2"}, {"r3", "r4"}]
    assert pairwise_f1(one, other) == (1, 3, 2)


def test_what_both_say_is_taken():
    each = asked(labels(R1=said("No hum at all.")), labels(R1=said("No hum")))
    assert disagreements(each) == {}
    line = built(each, {}, {review.id: review for review in REVIEWS})
    assert line["points"] == ["no hum"]
    assert line["mentions"][0]["spans"] == [[6, 12], [6, 20]]


def test_what_is_decided_is_taken():
    each = asked(
        labels(R1=said("No hum", stance="no"), R2=said("Blue.", point="P2")),
        labels(R1=said("Quiet", stance="mixed")),
    )
    wanted = {"R1 stance": ["no", "mixed"], "R1 quote": ["a", "b"], "R2 keep": [True, False]}
    assert disagreements(each) == wanted
    reviews = {review.id: review for review in REVIEWS}
    with pytest.raises(ValueError, match="not decided"):
        built(each, {"R1 stance": "no"}, reviews)
    decided = {"R1 stance": "mixed", "R1 quote": "b", "R2 keep": False}
    line = built(each, decided, reviews)
    [mention] = line["mentions"]
    assert mention["stance"] == "mixed"
    assert mention["spans"][0] == [0, 5]
    assert line["points"] == ["no hum"]
