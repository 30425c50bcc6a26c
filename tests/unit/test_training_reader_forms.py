"""Other forms of questions: what the templates make, what they keep, and slips of the keyboard."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.training.reader.examples import Example
from qa_system.training.reader.forms import misspelt, other_forms, with_forms
from qa_system.training.recipes import QuestionForms


@pytest.mark.parametrize(
    ("question", "form"),
    [
        ("How is the sound quality?", "Is the sound quality good?"),
        ("how was the breakfast ?", "Breakfast good?"),
        ("How loud is the bass?", "Is the bass loud?"),
        ("Is the screen bright?", "How bright is the screen?"),
        ("Is it heavy?", "How heavy is it?"),
        ("What do you think of the room?", "Is the room good?"),
        ("Does this have a USB port?", "Any USB port?"),
        ("Are there any scratches?", "Does it have any scratches?"),
        ("Does it fit a child?", "Will it fit a child?"),
        ("Can I wash it?", "Is it possible to wash it?"),
        ("What kind of lid does it have?", "Which kind of lid?"),
        ("What is the size of the box?", "Box size?"),
    ],
)
def test_a_question_in_another_form(question, form):
    assert form in other_forms(question)


@pytest.mark.parametrize(
    "question",
    [
        "Why did they send it back?",
        "How was the design described?",  # no noun: "Is the design described good?"
        "What type of people were brought back to the way of truth?",
        "How many watts does it draw?",
        "",
        "?",
    ],
)
def test_a_question_that_no_template_keeps_true_has_no_other_form(question):
    assert other_forms(question) == []


@given(st.text(max_size=60))
def test_forms_are_questions_and_none_is_the_question_itself(question):
    bare = " ".join(question.split()).rstrip("?.! ")
    for form in other_forms(question):
        assert form.endswith("?")
        assert form[:-1].casefold() != bare.casefold()


def _bare(text):
    return text.lower().replace("'", "").replace("’", "").rstrip("?!. ")


@given(st.text(min_size=1, max_size=60), st.integers(0, 99))
def test_a_misspelt_question_differs_by_one_slip_or_in_marks_and_capitals(question, seed):
    typed = misspelt(question, random.Random(seed))
    bare = [
        text.lower().replace("'", "").replace("’", "").rstrip("?!. ") for text in (question, typed)
    ]
    if bare[0] != bare[1]:
        assert abs(len(question) - len(typed)) <= 1
        same = sum(a == b for a, b in zip(question, typed, strict=False))
        behind = sum(a == b for a, b in zip(question[::-1], typed[::-1], strict=False))
        assert same + behind >= len(question) - 2


EXAMPLES = [
    Example("How is the lid?", "The lid is fine.", ((0, 15),)),
    Example("How is the lid?", "I have two.", ()),
    Example("Why?", "Nobody knows.", None),
]


def test_new_examples_keep_text_and_answers():
    examples, counts = with_forms(EXAMPLES, QuestionForms(reworded=2 / 3, misspelt=0.2), seed=3)
    assert examples[:3] == EXAMPLES
    assert counts == {"reworded": 2, "misspelt": 1}
    kept = {(each.context, each.spans) for each in EXAMPLES}
    assert all((each.context, each.spans) in kept for each in examples)
    assert {each.context for each in examples[3:5]} == {"The lid is fine.", "I have two."}
    assert examples == with_forms(EXAMPLES, QuestionForms(reworded=2 / 3, misspelt=0.2), seed=3)[0]


def test_none_are_asked_for():
    assert with_forms(EXAMPLES, QuestionForms(), seed=1) == (EXAMPLES, {})
    assert with_forms(EXAMPLES[2:], QuestionForms(reworded=1), seed=1)[0] == EXAMPLES[2:]
