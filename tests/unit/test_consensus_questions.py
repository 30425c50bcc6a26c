"""What kind of question it is: shoppers' own questions, and those of the data sets."""

from pathlib import Path

import pytest

from qa_system.consensus.questions import is_polar, parts_of
from qa_system.datasets.subjqa import read_subjqa

POLAR = [
    "Does it run big?",
    "True to size?",
    "Waterproof?",
    "Runs small?",
    "Fit a 15 inch laptop?",
    "Any leaks?",
    "Isn't it loud",
    "dont they fall out?",
    "Dose this aroma delicious?",
    "Hi, does it leak?",
    "For flat feet, are they comfortable?",
    "If I wash it, will it shrink?",
    "Does anyone know if it fits?",
    "They run big?",
    "It is loud, isn't it?",
    "Is it waterproof and dishwasher safe?",
    "Is it worth it or not?",
    "I like big worlds. Is this one big?",
]
NOT_POLAR = [
    "How big is it?",
    "What's the menu?",
    "In what colour does it come?",
    "Battery?",
    "battery life",
    "Fit?",
    "Is the hole big or small?",
    "Do you like this or that one more?",
    "Can you tell me how long it lasts?",
    "Do you know what it is made of?",
    "Any suggestions for use?",
    "How loud is this fan? Thanks",
    "¿Es grande?",
    "Passt es gut?",
    "これは大きいですか？",
    "??",
    "",
]
COMPOUND = {
    "heart rate and battery?": ("heart rate?", "battery?"),
    "size & fit?": ("size?", "fit?"),
    "sound, comfort and battery life?": ("sound?", "comfort?", "battery life?"),
    "Is it loud? Does it leak?": ("Is it loud?", "Does it leak?"),
    "Is it loud and does it leak?": ("Is it loud?", "does it leak?"),
    "How is the taste and texture?": ("How is the taste?", "How is the texture?"),
    "how's the fit and comfort": ("how's the fit?", "how's the comfort?"),
}
WHOLE = [
    "Is it easy to clean and assemble?",
    "Can I use them with phone and computer at the same time?",
    "Is the bathroom large and clean?",
    "Pros and cons?",
    "fish and chips?",
    "What do you think about macaroni and cheese?",
    "How is the reaction to food and preservatives?",
    "How is the build of the canon t1i and kit lenses?",
    "How was it served and removal of the plate from your table?",
    "How and how many calories do almonds have?",
    "What is a quick and accurate review?",
    "Is this the same spray? If not, which would be better for thin hair?",
    "one, two, three, four and five?",
    "",
    "and?",
]
DIVIDED = {
    "Do you like this view or do you want another place?",
    "How are the big sheets and beautiful views?",
    "How is the length and packaging ?",
    "How is the sensitivity and selectivity?",
    "How is the set and atmosphere of the restaurant?",
    "How is the set and the environment in this place?",
    "How is the taste and texture?",
    "How is the views and overall experience?",
    "How was the taste and the flavour?",
    "Is coffee poor or is it the way to prepare it?",
    "What flavoured lollipops are available in this pack and are these ones good in every flavour?",
}
"""All of SubjQA's 3,366 questions that ask for more than one thing by the rules, looked at."""
AUXILIARIES = {"is", "are", "was", "were", "do", "does", "can", "would"}


@pytest.mark.parametrize("question", POLAR)
def test_yes_or_no_answers_these(question: str) -> None:
    assert is_polar(question)


@pytest.mark.parametrize("question", NOT_POLAR)
def test_yes_or_no_does_not_answer_these(question: str) -> None:
    assert not is_polar(question)


@pytest.mark.parametrize(("question", "parts"), COMPOUND.items())
def test_compound_questions_have_parts(question: str, parts: tuple[str, ...]) -> None:
    assert parts_of(question) == parts


@pytest.mark.parametrize("question", WHOLE)
def test_what_may_share_its_head_is_not_torn(question: str) -> None:
    assert parts_of(question) == (question,)


def test_what_is_asked_twice_is_one_part() -> None:
    twice = "Is it comfortable and is it comfortable?"
    assert parts_of(twice) == (twice,)
    assert parts_of("Is it loud? Does it leak? is it loud?") == ("is it loud?", "Does it leak?")


def test_no_question_of_the_sample_is_torn(sample: Path) -> None:
    questions = {label.question for label in read_subjqa(sample).labels}
    assert len(questions) > 200
    assert not [each for each in questions if len(parts_of(each)) > 1]


@pytest.mark.data
def test_of_subjqa_only_compound_questions_are_divided(qa_data: Path) -> None:
    domains = ("electronics", "grocery", "restaurants", "tripadvisor")
    questions = {
        label.question
        for domain in domains
        for label in read_subjqa(qa_data / "subjqa" / domain).labels
    }
    assert {each for each in questions if len(parts_of(each)) > 1} == DIVIDED
    of_two = {each for each in questions if " or " in each}
    begin_polar = {each for each in questions if each.split()[0].lower() in AUXILIARIES}
    assert {each for each in begin_polar if not is_polar(each)} <= of_two
    assert not [each for each in questions if each.startswith(("How", "What")) and is_polar(each)]
