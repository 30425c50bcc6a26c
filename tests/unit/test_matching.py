"""Which passage shares most with a question, by hand."""

from hypothesis import given
from hypothesis import strategies as st

from qa_system.stores.matching import best_passage


def spans_of(*passages):
    text, spans = "", []
    for passage in passages:
        spans.append((len(text), len(text) + len(passage)))
        text += passage + " "
    return text, spans


def test_a_rare_word_counts_more_than_several_common_ones():
    """Three passages: `lamp` in all has log(1 + 3/3) = 0.69, `hinge` in one log(1 + 3/1) = 1.39."""
    text, spans = spans_of("A lamp.", "The hinge broke.", "Another lamp of mine, a lamp.")
    assert best_passage("Does the lamp's hinge hold?", text, spans) == 1


def test_words_are_stemmed_and_function_words_count_a_tenth():
    text, spans = spans_of("What does it do with that?", "Batteries last.")
    assert best_passage("What does the battery do?", text, spans) == 1


def test_without_a_word_in_common_it_is_the_first():
    text, spans = spans_of("One.", "Two.")
    assert best_passage("three?", text, spans) == 0
    assert best_passage("?!", text, spans) == 0


@given(st.lists(st.text("ab c.", max_size=12), min_size=1, max_size=6), st.text("ab c", max_size=9))
def test_it_is_always_one_of_them_and_the_same(passages, question):
    text, spans = spans_of(*passages)
    found = best_passage(question, text, spans)
    assert found in range(len(spans))
    assert best_passage(question, text, spans) == found
