import re
from collections import Counter
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eval.datasets import load_dataset
from eval.metrics.baselines import first_sentence, human_agreement, random_span
from qa_system.records import AnswerSpan, Label


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("Good screen. Bad sound.", "Good screen."),
        ("  Wow!!! It works.", "Wow!!!"),
        ("It costs 2.50 at x.com/y? Yes.", "It costs 2.50 at x.com/y?"),
        ('He said "Good." Then he left.', 'He said "Good."'),
        ("Title line\nThe text. More.", "Title line"),
        ("很好。 不错。", "很好。"),
        ("no end", "no end"),
        (" \n ", ""),
        ("", ""),
    ],
)
def test_first_sentences(text, sentence):
    assert first_sentence(text) == sentence


@given(st.text(alphabet='ab .!\n"', max_size=30))
def test_a_first_sentence_begins_the_text(text):
    sentence = first_sentence(text)
    assert text.lstrip().startswith(sentence)
    assert bool(sentence) == bool(text.strip())


@given(st.text(alphabet="ab \n\u00a0.", max_size=60), st.integers(0, 5))
def test_a_random_span_is_whole_words_of_the_text(text, seed):
    span = random_span(text, Random(seed))
    assert bool(span) == bool(text.split())
    assert 0 <= len(span.split()) <= 10
    assert re.search(rf"(?<!\S){re.escape(span)}(?!\S)", text)


def test_random_spans_are_seeded_and_even():
    text = " ".join(map(str, range(12)))
    draws = [random_span(text, rng) for rng in [Random(1)] for _ in range(20_000)]
    assert draws[:5] == [random_span(text, rng) for rng in [Random(1)] for _ in range(5)]
    lengths = Counter(len(span.split()) for span in draws)
    assert sorted(lengths) == list(range(1, 11))
    assert all(count == pytest.approx(2_000, rel=0.15) for count in lengths.values())
    starts = Counter(span.split()[0] for span in draws if len(span.split()) == 10)
    assert sorted(starts) == ["0", "1", "2"]


def label(*annotations):
    spans = [tuple(AnswerSpan(text, 0, len(text)) for text in texts) for texts in annotations]
    distinct = tuple(dict.fromkeys(span for each in spans for span in each))
    return Label("q", "?", None, "r", "x", distinct, tuple(spans))


@pytest.mark.parametrize(
    ("annotations", "em", "f1"),
    [
        ([["good screen"], ["Good screen!"]], 1, 1),
        ([["good"], ["very good screen"]], 0, 2 * (1 / 3) / (1 + 1 / 3)),
        ([[], []], 1, 1),
        ([["good"], []], 0, 0),
        # As for a system: where anybody found an answer, an abstention is wrong.
        ([["good"], ["good"], []], 2 / 3, 2 / 3),
        # The first span is the prediction; all are references.
        ([["good", "cheap"], ["cheap"]], 1 / 2, 1 / 2),
    ],
)
def test_agreement_by_hand(annotations, em, f1):
    assert human_agreement([label(*annotations)]) == [pytest.approx((em, f1))]


def test_one_annotator_has_nobody_to_agree_with():
    agreed = human_agreement([label(["good"]), label([]), label(), label([], [])])
    assert agreed == [None, None, None, (1, 1)]


@pytest.mark.data
def test_people_on_electronics(qa_data):
    labels = load_dataset(qa_data / "subjqa" / "electronics").labels_of("test")
    scores = [each for each in human_agreement(labels) if each is not None]
    assert len(scores) == 347
    assert fmean(em for em, _ in scores) == pytest.approx(0.423, abs=0.0005)
    assert fmean(f1 for _, f1 in scores) == pytest.approx(0.474, abs=0.0005)
