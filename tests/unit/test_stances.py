"""Stances from whether question and review speak well of the item, by hand."""

import numpy as np
import pytest

from qa_system.consensus.stances import parted, stances_of, statement_of
from qa_system.judging import Judgements

OWN = {"yes": (0.9, 0.05, 0.05), "no": (0.05, 0.9, 0.05), "mixed": (0.1, 0.1, 0.8)}


def judged(*texts):
    """Made of (how good, how bad, the judge's own stance or None)."""
    return Judgements(
        np.full(len(texts), 0.9, np.float32),
        np.float32([OWN.get(own, (0.4, 0.3, 0.3)) for _, _, own in texts]),
        np.float32([(good, bad, 1 - good - bad, 0) for good, bad, _ in texts]),
        np.full(len(texts), 0.5, np.float32),
    )


GOOD, BAD = judged((0.9, 0.1, None)), judged((0.1, 0.9, None))
NEITHER = judged((0.4, 0.3, None))


@pytest.mark.parametrize(
    ("statement", "text", "stance"),
    [
        (GOOD, (0.9, 0.0, "no"), "yes"),
        (GOOD, (0.0, 0.9, "yes"), "no"),
        (BAD, (0.9, 0.0, "yes"), "no"),
        (BAD, (0.0, 0.9, "no"), "yes"),
        # .8 * .3 is below .3: neither this nor the judge's own stance decides.
        (GOOD, (0.4, 0.1, "yes"), None),
        (GOOD, (0.4, 0.4, "mixed"), "mixed"),
        # A question that is neither good nor bad has the judge's own.
        (NEITHER, (0.9, 0.0, "no"), "no"),
        (NEITHER, (0.9, 0.0, None), None),
    ],
)
def test_a_stance_by_hand(statement, text, stance):
    assert stances_of(judged(text), statement, 0.7) == [stance]


def test_opposite_questions_have_opposite_answers():
    texts = judged((0.9, 0.0, "yes"), (0.0, 0.9, "yes"), (0.8, 0.1, "no"))
    turned = {"yes": "no", "no": "yes", None: None}
    assert stances_of(texts, BAD, 0.7) == [turned[each] for each in stances_of(texts, GOOD, 0.7)]


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
