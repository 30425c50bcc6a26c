"""Unlabelled pairs: which texts and which words they are made of."""

import random

from hypothesis import given
from hypothesis import strategies as st

from qa_system.records import AnswerSpan, Label
from qa_system.training.reader.pairs import unlabelled_pairs, with_another_word
from qa_system.training.recipes import UnlabelledPairs


def label(number: int, item: str, question: str, text: str, answer: str | None = None) -> Label:
    start = text.index(answer) if answer else 0
    spans = (AnswerSpan(answer, start, start + len(answer)),) if answer else ()
    return Label(f"q{number}", question, item, f"r{number}", text, spans)


LABELS = [
    label(1, "A", "How is the battery?", "The battery lasts two days.", "two days"),
    label(2, "A", "How is the battery?", "Battery? I never checked."),
    label(3, "A", "How is the screen?", "The screen and the battery are fine.", "fine"),
    label(4, "B", "How is the strap?", "The strap is cheap, the battery good.", "cheap"),
]


def test_other_reviews_of_the_item() -> None:
    examples, counts = unlabelled_pairs(LABELS, UnlabelledPairs(same_item=3), seed=1)
    # All of item A that nobody judged, each once; nothing of item B, which has one review.
    assert {(each.question, each.context) for each in examples} == {
        ("How is the battery?", "The screen and the battery are fine."),
        ("How is the screen?", "The battery lasts two days."),
        ("How is the screen?", "Battery? I never checked."),
    }
    assert all(each.spans is None for each in examples)
    assert counts == {"same_item_unlabelled": len(examples)}


def test_a_word_is_exchanged_for_one_of_the_same_place() -> None:
    examples, counts = unlabelled_pairs(LABELS, UnlabelledPairs(exchanged=1), seed=1)
    assert counts == {"exchanged": 3}
    answered = [each for each in LABELS if each.answers]
    assert [each.context for each in examples] == [each.context for each in answered]
    for example, asked in zip(examples, answered, strict=True):
        assert example.spans is None
        assert example.question != asked.question
        assert example.question in {f"How is the {x}?" for x in ("battery", "screen", "strap")}


def test_function_words_stay_and_nothing_fits_a_place_of_its_own() -> None:
    draw = random.Random(1)
    words = {("the", ""): ["strap"], ("", ""): ["good"]}
    assert with_another_word("Is it?", words, draw) is None
    assert with_another_word("Is the strap?", words, draw) is None
    assert with_another_word("Is the STRAP good?", words, draw) is None
    assert with_another_word("Is the battery, good?", words, draw) == "Is the strap, good?"


def test_the_seed_decides_and_nothing_is_made_unless_told() -> None:
    some = UnlabelledPairs(same_item=1, exchanged=1)
    assert unlabelled_pairs(LABELS, some, 3) == unlabelled_pairs(LABELS, some, 3)
    assert unlabelled_pairs(LABELS, UnlabelledPairs(), 3) == ([], {})


@given(st.text(), st.integers(0, 9))
def test_all_but_one_word_of_any_question_stays(question: str, seed: int) -> None:
    slots = [(a, b) for a in ("", "the", "is") for b in ("", "is", "of")]
    words = {slot: ["zebra"] for slot in slots}
    changed = with_another_word(question, words, random.Random(seed))
    if changed is not None:
        before, zebra, after = changed.partition("zebra")
        assert zebra
        assert question.startswith(before)
        assert question.endswith(after)
        assert len(before) + len(after) < len(question)
