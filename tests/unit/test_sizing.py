"""What reviews say of the sizing: the three answers exclude each other."""

from itertools import permutations

import pytest

from qa_system.consensus.stances import statement_of
from qa_system.texts.sizing import answer_on_sizing, sizings_of

QUESTIONS = {
    "true": ("True to size?", "Is it true to size?", "Are these true to size?"),
    "large": ("Does it run big?", "Do they run large?", "Does it come up big?", "Runs big?"),
    "small": ("Does it run small?", "Do they fit tight?", "Does it run a bit small?"),
}
TEXTS = {
    "true": ("Fits true to size.", "The size is accurate.", "They fit as expected!"),
    "large": (
        "Runs a little big, so order a size down.",
        "I'd go down half a size? No: size down.",
    ),
    "small": ("Runs very small!", "Had to order one size up.", "It fits too tight in the arms."),
}


@pytest.mark.parametrize(
    ("asked", "said"), [*permutations(QUESTIONS, 2), *zip(QUESTIONS, TEXTS, strict=True)]
)
def test_each_sizing_is_answered_by_all(asked: str, said: str) -> None:
    right = "yes" if asked == said else "no"
    told = {
        (question, text): answer_on_sizing(statement_of(question), text)
        for question in QUESTIONS[asked]
        for text in TEXTS[said]
    }
    assert set(told.values()) == {right}, told


@pytest.mark.parametrize(
    ("question", "text", "answer"),
    [
        ("True to size?", "They are not true to size.", "no"),
        ("Does it run small?", "It doesn't run small at all.", "no"),
        ("Does it run small?", "Runs small in the arms and runs big at the waist.", "mixed"),
        ("Does it run small?", "True to size, it doesn't run small.", "no"),
        ("Does it run small?", "It doesn't run big.", None),
        ("Is the pocket big?", "The pocket is big.", None),
        ("Does it run small?", "The small pocket is useful.", None),
        ("Is it warm?", "True to size.", None),
        ("Does it run quietly?", "Runs big.", None),
    ],
)
def test_what_is_not_of_the_sizing_is_left_to_the_judge(question, text, answer) -> None:
    assert answer_on_sizing(statement_of(question), text) == answer


def test_a_denial_is_of_its_own_clause() -> None:
    text = "I do not like the colour. Runs small."
    assert sizings_of(text) == (frozenset({"small"}), frozenset())
