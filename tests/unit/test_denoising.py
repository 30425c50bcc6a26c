"""Stretches of texts with gaps: what is asked, and that the answer can be copied."""

import re

from hypothesis import given
from hypothesis import strategies as st

from qa_system.training.generator.denoising import GAP, denoising_examples
from qa_system.training.recipes import Noise

WORDS = st.lists(st.sampled_from(["light", "cheap.", "it's", "and", "two", "days!"]), max_size=60)


@given(WORDS, st.floats(0.1, 0.9), st.integers(0, 1000))
def test_the_target_stands_in_the_text_and_fills_the_question(
    words: list[str], share: float, seed: int
) -> None:
    noise = Noise(share=share, target_words=12, text_words=30)
    for example in denoising_examples([" ".join(words)], noise, seed):
        [text], [(target, weight)] = example.texts, example.answers
        assert weight == 1
        assert text in " ".join(words)
        assert f" {target} " in f" {text} "
        assert 4 <= len(target.split()) <= 12
        pattern = r"\S+( \S+)*".join(map(re.escape, example.question.split(GAP)))
        assert re.fullmatch(pattern, target)
        assert GAP in example.question
        assert not example.question.startswith(GAP)
        assert not example.question.endswith(GAP)


def test_about_the_share_asked_for_is_left_out() -> None:
    text = " ".join(f"w{number}" for number in range(90))
    examples = denoising_examples([text] * 200, Noise(share=0.4, target_words=20), 1)
    assert len(examples) == 200
    kept = sum(len(example.question.replace(GAP, "").split()) for example in examples)
    whole = sum(len(example.answers[0][0].split()) for example in examples)
    assert 0.3 < 1 - kept / whole < 0.42
    assert len({example.question for example in examples}) > 190
    assert examples == denoising_examples([text] * 200, Noise(share=0.4, target_words=20), 1)


def test_a_text_of_few_words_teaches_nothing() -> None:
    assert denoising_examples(["Good. Very good.", ""], Noise(), 1) == []
