"""Stances from whether question and review speak well of the item, by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.consensus.stances import parted, signals_of, statement_of
from qa_system.consensus.weighing import Leaning, Signals, Weighing
from qa_system.judging import Judgements

OWN = {"yes": (0.9, 0.05, 0.05), "no": (0.05, 0.9, 0.05), "mixed": (0.1, 0.1, 0.8)}
LEANING = Leaning(alike=3.0, own=0.3, decided=0.7)


def judged(*texts):
    """Made of (how good, how bad, the judge's own stance or None)."""
    return Judgements(
        np.full(len(texts), 0.9, np.float32),
        np.float32([OWN.get(own, (0.35, 0.35, 0.3)) for _, _, own in texts]),
        np.float32([(good, bad, 1 - good - bad, 0) for good, bad, _ in texts]),
        np.full(len(texts), 0.5, np.float32),
    )


GOOD, BAD = judged((0.9, 0.1, None)), judged((0.1, 0.9, None))
NEITHER = judged((0.4, 0.4, None))


@pytest.mark.parametrize(
    ("statement", "text", "stance"),
    [
        (GOOD, (0.9, 0.0, "no"), "yes"),
        (GOOD, (0.0, 0.9, "yes"), "no"),
        (BAD, (0.9, 0.0, "yes"), "no"),
        (BAD, (0.0, 0.9, "no"), "yes"),
        # 3 * .8 * .3 is .72, a probability of .67.
        (GOOD, (0.4, 0.1, None), None),
        (GOOD, (0.4, 0.4, "mixed"), "mixed"),
        # A question that is neither good nor bad has the judge's own.
        (NEITHER, (0.9, 0.0, "no"), "no"),
        (NEITHER, (0.9, 0.0, None), None),
    ],
)
def test_a_stance_by_hand(statement, text, stance):
    assert LEANING.stance(signals_of(Signals(), judged(text), 0, statement)) == stance


def test_opposite_questions_have_opposite_answers():
    text = judged((0.9, 0.0, None))
    good, bad = (signals_of(Signals(), text, 0, each) for each in (GOOD, BAD))
    assert good.alike == pytest.approx(-bad.alike) == pytest.approx(0.72)
    assert (LEANING.stance(good), LEANING.stance(bad)) == ("yes", "no")


@given(st.floats(-1, 1), st.floats(-7, 7), st.floats(0, 9), st.floats(0, 9), st.floats(0.5, 1))
def test_what_is_the_other_way_round_answers_the_other_way(alike, own, one, other, decided):
    leaning = Leaning(one, other, decided)
    found = leaning.probability(Signals(alike=alike, own=own))
    assert found + leaning.probability(Signals(alike=-alike, own=-own)) == pytest.approx(1)


WEIGHTS = st.floats(0, 9)
SIGNALS = st.tuples(st.floats(-1, 1), st.floats(-30, 30), st.floats(-30, 30))


@given(WEIGHTS, WEIGHTS, st.floats(-9, 9), WEIGHTS, SIGNALS, SIGNALS)
def test_no_surer_signal_makes_a_mention_less_probable(judge, reader, marked, sentence, one, other):
    weighing = Weighing(judge, reader, marked, sentence, bias=-3.0, threshold=0.2)
    low, high = (Signals(*map(by, one, other)) for by in (min, max))
    assert 0 <= weighing.probability(low) <= weighing.probability(high) <= 1


@pytest.mark.parametrize(
    ("question", "statement"),
    [
        ("Does it run big?", "it run big."),
        ("  ARE they loud ? ", "they loud."),
        ("True to size?", "True to size."),
        ("Issue with it?", "Issue with it."),
        ("Is?", "Is."),
    ],
)
def test_what_a_question_says(question, statement):
    assert statement_of(question) == statement


def test_parts():
    both = judged((0.9, 0.0, "yes"), (0.0, 0.9, "no"))
    texts, last = parted(both)
    assert len(texts.answers) == len(last.answers) == 1
    assert last.polarity[0, 1] == np.float32(0.9)
    assert len(parted(last)[0].answers) == 0
