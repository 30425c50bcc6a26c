from collections import Counter

import pytest

from eval.datasets import load_dataset
from eval.runs.slices import in_slice, slices_of
from qa_system.datasets.dataset import Dataset
from qa_system.errors import InvalidArgumentError
from qa_system.labels import UNLOCATED
from qa_system.records import AnswerSpan, Label, Review


def label(question="How is it?", item="B1", split="test", context="Good.", **fields):
    return Label(
        "q", question, item, "r", context, fields.pop("answers", ()), split=split, **fields
    )


def dataset(*labels, reviews=()):
    return Dataset("here", labels, reviews)


def sliced(one, *others, reviews=()):
    return slices_of([one], dataset(one, *others, reviews=reviews))[0]


def test_everything_that_a_label_says():
    asked = label(
        meta={"domain": "lamps", "is_ques_subjective": True},
        answers=(AnswerSpan("Good", 0, 4),),
    )
    reviews = [Review(f"r{number}", "B1", "Good.") for number in range(4)]
    assert sliced(asked, label(split="train"), reviews=reviews) == {
        "domain": "lamps",
        "question_word": "how",
        "form": "open",
        "subjectivity": "subjective",
        "answerable": "yes",
        "review_words": "1-50",
        "reviews_of_item": "4-10",
        "item_in_training": "seen",
    }


def test_what_a_label_does_not_say_is_absent():
    assert sliced(label(item=None, split=None)) == {
        "question_word": "how",
        "form": "open",
        "answerable": "no",
        "review_words": "1-50",
    }


@pytest.mark.parametrize(
    ("question", "word"),
    [
        ("How bright is it?", "how"),
        ("WHAT is it?", "what"),
        ("How's the lamp?", "how"),
        ("What’s it made of?", "what"),
        ("Isn't it heavy?", "is"),
        ("Don’t they break?", "do"),
        ("Can't it be dimmed?", "can"),
        ('"Is it" good?', "is"),
        ("Does, then, it work?", "does"),
        ("In what room?", "other"),
        ("Whatever is it?", "other"),
        ("Don Quixote?", "other"),
        ("Bright?", "other"),
        ("?", "other"),
    ],
)
def test_question_words(question, word):
    assert sliced(label(question))["question_word"] == word


@pytest.mark.parametrize(
    ("words", "named"),
    [(1, "1-50"), (50, "1-50"), (51, "51-100"), (200, "101-200"), (400, "201-400"), (401, "401+")],
)
def test_lengths_of_reviews(words, named):
    assert sliced(label(context="word " * words))["review_words"] == named


@pytest.mark.parametrize(
    ("count", "named"), [(1, "1"), (2, "2-3"), (3, "2-3"), (10, "4-10"), (30, "11-30"), (31, "31+")]
)
def test_numbers_of_reviews(count, named):
    reviews = [Review(f"r{number}", "B1", "Good.") for number in range(count)]
    assert (
        sliced(label(), reviews=[*reviews, Review("x", "B2", "Bad.")])["reviews_of_item"] == named
    )


def test_an_answer_that_was_not_located_is_an_answer():
    assert sliced(label(meta={UNLOCATED: ["good"]}))["answerable"] == "yes"


def test_what_training_saw():
    test, train = label(), label(split="train")
    assert sliced(test, label(item="B2", split="train"))["item_in_training"] == "unseen"
    assert "item_in_training" not in sliced(train, test)
    assert "item_in_training" not in sliced(test, label(split="dev"))


@pytest.mark.data
def test_slices_of_subjqa(qa_data):
    electronics = load_dataset(qa_data / "subjqa" / "electronics")
    labels = electronics.labels_of("test")
    slices = slices_of(labels, electronics)
    assert {len(each) for each in slices} == {8}
    assert {each["domain"] for each in slices} == {"electronics"}
    # 123 of 202 items stand in train too (the data's README).
    seen = {
        each.item_id: kinds["item_in_training"] for each, kinds in zip(labels, slices, strict=True)
    }
    assert Counter(seen.values()) == {"seen": 123, "unseen": 202 - 123}
    assert Counter(each["answerable"] for each in slices) == {"yes": 238, "no": 120}


@pytest.mark.data
def test_slices_of_squad(qa_data):
    wiki = load_dataset(qa_data / "squadshifts" / "new_wiki.json")
    slices = slices_of(wiki.labels, wiki)
    assert len(slices) == 7_938
    assert {tuple(each) for each in slices} == {
        ("question_word", "form", "answerable", "review_words")
    }
    assert Counter(each["question_word"] for each in slices).most_common(1)[0][0] == "what"


def test_a_slice_has_its_questions_and_leaves_other_splits_alone():
    asked = [label("Is it good?"), label("How is it?"), label("Battery life?")]
    other = label("How heavy is it?", split="train")
    whole = dataset(*asked, other)
    polar = in_slice(whole, "test", "polar")
    assert [each.question for each in polar.labels_of("test")] == ["Is it good?"]
    assert polar.labels_of("train") == (other,)
    fragments = in_slice(whole, None, "form=fragment")
    assert [each.question for each in fragments.labels] == ["Battery life?"]


@pytest.mark.parametrize("name", ["loud", "form=how", "", "="])
def test_a_slice_that_no_question_is_in_is_refused(name):
    with pytest.raises(InvalidArgumentError, match="form=open"):
        in_slice(dataset(label()), "test", name)


def test_a_value_of_two_features_needs_the_feature():
    odd = label(meta={"domain": "open"})
    with pytest.raises(InvalidArgumentError, match="2 slices"):
        in_slice(dataset(odd), "test", "open")
    assert in_slice(dataset(odd), "test", "domain=open").labels == (odd,)
