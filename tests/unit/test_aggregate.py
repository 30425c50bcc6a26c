"""Labels aggregated: by hand, by property, and as the book counts them."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.datasets import load_labels
from qa_system.errors import DataError
from qa_system.labels import UNLOCATED, aggregate, gold_documents, gold_texts, join_annotators
from qa_system.records import AnswerSpan, Label

TEXTS = {"r1": "Good.", "r2": "Fine!", "r3": "Blue."}
GOOD, FINE = AnswerSpan("Good", 0, 4), AnswerSpan("Fine", 0, 4)


def label(question_id, review_id, *answers, **fields):
    given = {"question": "How is it?", "item_id": "B00", "split": "test"} | fields
    return Label(
        question_id, review_id=review_id, context=TEXTS[review_id], answers=answers, **given
    )


def pair(label):
    return label.split, label.question_id, label.review_id


def test_the_first_that_can_be_answered_stands_for_all():
    empty, good, fine = label("a", "r1"), label("b", "r1", GOOD), label("c", "r2", FINE)
    [found] = aggregate([empty, good, fine])
    assert pair(found) == pair(good)
    assert found.others == (empty, fine)
    assert gold_texts(found) == ("Good", "Fine")
    assert gold_documents(found) == {"r1", "r2"}
    [nobody] = aggregate([empty, label("d", "r3")])
    assert (pair(nobody), nobody.others) == (pair(empty), (label("d", "r3"),))
    assert (gold_texts(nobody), gold_documents(nobody)) == ((), frozenset())


def test_an_unlocated_answer_is_an_answer():
    lost = label("b", "r2", meta={UNLOCATED: ["fine !"]})
    [found] = aggregate([label("a", "r1"), lost, label("c", "r3")])
    assert found.question_id == "b"
    assert (gold_texts(found), gold_documents(found)) == (("fine !",), {"r2"})
    [found] = aggregate([lost, label("c", "r1", GOOD)])
    assert (gold_texts(found), gold_documents(found)) == (("Good",), {"r1", "r2"})


@pytest.mark.parametrize(
    "other", [{"split": "train"}, {"item_id": "B01"}, {"question": "how is it?"}, {"item_id": None}]
)
def test_other_questions_stay_apart(other):
    labels = label("a", "r1", GOOD), label("b", "r2", FINE, **other)
    assert aggregate(labels) == labels


def test_without_an_item_a_label_stands_for_its_review():
    labels = (label("a", "r1", GOOD, item_id=None), label("b", "r1", item_id=None))
    assert aggregate(labels, among=labels) == labels
    same = label("a", "r1", item_id=None)
    [found] = aggregate([labels[0], same])
    assert (found.annotations, found.others) == (((GOOD,), ()), ())


def test_labels_from_elsewhere_add_answers_but_no_questions():
    asked = label("a", "r1")
    train = label("t", "r2", FINE, split="train")
    unasked = label("u", "r3", question="Is it?")
    [found] = aggregate([asked], among=[train, asked, unasked])
    assert (pair(found), found.others) == (pair(asked), (train,))
    assert (gold_texts(found), gold_documents(found)) == (("Fine",), {"r2"})
    assert aggregate([asked]) == (asked,)


def test_annotators_who_wrote_apart_are_joined():
    first = label("a", "r1", GOOD, meta={"level": [5], "domain": "x"})
    second = label("a", "r1", meta={"level": [1], "note": ["late"], "domain": "y"})
    third = label("a", "r1", AnswerSpan("o", 1, 2), annotations=((AnswerSpan("o", 1, 2),), ()))
    lost = label("a", "r1", meta={UNLOCATED: ["god"]})
    [found] = join_annotators([first, second, third, lost, lost])
    o = AnswerSpan("o", 1, 2)
    assert found.answers == (GOOD, o)
    assert found.annotations == ((GOOD,), (), (o,), ())
    assert found.meta == {"level": [5, 1], "note": ["late"], "domain": "x", UNLOCATED: ["god"]}
    assert first.meta == {"level": [5], "domain": "x"}


@pytest.mark.parametrize("other", [{"question": "Is it?"}, {"item_id": "B01"}])
def test_an_id_for_two_questions_is_refused(other):
    with pytest.raises(DataError, match=r"'a' stands for two questions .*review r1"):
        join_annotators([label("a", "r1"), label("a", "r1", **other)])


@st.composite
def labels(draw):
    found = []
    for number in range(draw(st.integers(0, 8))):
        review = draw(st.sampled_from(sorted(TEXTS)))
        span = AnswerSpan(TEXTS[review][:4], 0, 4)
        found.append(
            label(
                f"q{number}",
                review,
                *draw(st.sampled_from([(), (span,)])),
                item_id=draw(st.sampled_from(["A", "B", None])),
                question=draw(st.sampled_from(["How?", "Why?"])),
                split=draw(st.sampled_from(["train", "test"])),
                meta=draw(st.sampled_from([{}, {UNLOCATED: ["x"]}])),
            )
        )
    return found


@given(labels(), labels())
def test_nothing_is_lost_and_nothing_doubled(given, more):
    found = aggregate(given)
    assert Counter(pair(one) for head in found for one in (head, *head.others)) == Counter(
        map(pair, given)
    )
    asked = Counter(
        (one.split, one.item_id, one.question, one.question_id if one.item_id is None else "")
        for one in given
    )
    assert len(found) == len(asked)
    assert aggregate(found) == found
    assert sum(map(bool, map(gold_texts, found))) == len(
        {
            (one.split, one.item_id or one.question_id, one.question)
            for one in given
            if gold_texts(one)
        }
    )
    wider = [
        Label(f"w{one.question_id}", *(getattr(one, name) for name in Label.__slots__[1:]))
        for one in more
    ]
    with_more = aggregate(given, among=wider)
    assert [pair(one) for one in with_more] == [pair(one) for one in found]
    for before, after in zip(found, with_more, strict=True):
        assert set(map(pair, before.others)) <= set(map(pair, after.others))
        assert gold_documents(before) <= gold_documents(after)
        added = set(map(pair, after.others)) - set(map(pair, before.others))
        assert added == {
            pair(one)
            for one in wider
            if (one.item_id, one.question) == (before.item_id, before.question)
            and one.item_id is not None
        }


@pytest.mark.data
def test_as_many_as_the_book_counts(qa_data):
    labels = load_labels(qa_data / "subjqa" / "electronics")
    test = [label for label in labels if label.split == "test"]
    found = aggregate(test)
    assert (len(test), len(found)) == (358, 330)
    wider = aggregate(test, among=labels)
    assert [pair(label) for label in wider] == [pair(label) for label in found]
