import hashlib
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.datasets import subjqa
from qa_system.texts.sentences import sentences

MARKED = Path(__file__).parents[1] / "fixtures" / "sentences" / "boundaries.jsonl"
SAMPLE = Path(__file__).parents[2] / "data" / "sample"


def split(text: str, **more: int) -> list[str]:
    return [text[start:end] for start, end in sentences(text, **more)]


@pytest.mark.parametrize(
    "expected",
    [
        ["Works well.", "The cord is short."],
        ["it is light. ", "the screen broke"],
        ["Dr. Scholl and St. Francis vs. Mr. Bean in approx. 5 min."],
        ["It measures 5.5 cm, runs v2.0.1 and costs $9.99."],
        ["We like teas, e.g. Earl Grey, etc. at home."],
        ["I like green tea, etc. ", "This one is strong."],
        ["It was so good...so simple, yum...yum."],
        ["I waited... ", "Nothing came."],
        ['"Wow!" she said.'],
        ["It was fun (really?) and cheap."],
        ["LOUD!!! ", "NEVER AGAIN!!"],
        ["Great :) ", "Thanks"],
        ["Love it! :-) ", "would buy again 👍👍 ", "Really"],
        ["Pros: light, cheap ", "Cons: loud"],
        ["It has: ", "* small size ", "* long cord ", "* two lids"],
        ["1) open it ", "2) fill it ", "3) close it"],
        ["A title\n", "the text"],
        ["とても良い。", "音が悪い！"],
        ["رائع جدا؟ ", "نعم۔ ", "شكرا"],
        ["See www.example.Com or node.js for more"],
        ["Vitamin C. Elegans"],
    ],
)
def test_the_ways_that_customers_write(expected):
    text = "".join(expected)
    assert split(text) == [each.strip() for each in expected]


@pytest.mark.parametrize(
    ("first", "second"), [("works well.", "The"), ("so loud!", "I"), ("is it (new)", "Simple")]
)
def test_a_missing_space(first, second):
    assert split(f"It {first}{second} rest of it.") == [f"It {first}", f"{second} rest of it."]


@given(st.text(st.sampled_from("ab I.!?…。 \n*1)\"':-👍AB，,é\u0301\u200d\x00"), max_size=200))
def test_sentences_and_white_space_are_the_text(text):
    last = 0
    for start, end in sentences(text, max_words=5):
        assert not text[last:start].strip()
        assert start < end
        assert text[start:end] == text[start:end].strip()
        last = end
    assert not text[last:].strip()


@given(st.lists(st.text("abc,", min_size=1, max_size=5), max_size=80), st.integers(1, 20))
def test_a_sentence_is_bounded_in_words(words, max_words):
    for sentence in split(" ".join(words), max_words=max_words):
        assert len(sentence.split()) <= max_words


def test_a_long_sentence_is_cut_at_a_comma_or_before_a_joining_word():
    text = "one two three four, five six seven eight but nine ten"
    assert split(text, max_words=5) == [
        "one two three four,",
        "five six seven eight",
        "but nine ten",
    ]


def marked_texts():
    texts = {review.id: review.text for review in subjqa.iter_reviews(SAMPLE)}
    data = Path(os.environ.get("QA_DATA", "../shared/data")) / "subjqa"
    for domain in sorted(data.glob("*")) if data.is_dir() else []:
        texts |= {review.id: review.text for review in subjqa.iter_reviews(domain)}
    return texts


def test_boundaries_marked_by_hand():
    """F1 of the offsets at which sentences begin; the marks hold no text."""
    texts = marked_texts()
    right = found = wanted = 0
    for line in MARKED.read_text().splitlines():
        mark = json.loads(line)
        text = texts.get(mark["review_id"])
        if text is None:
            continue
        assert hashlib.sha256(text.encode()).hexdigest()[:16] == mark["sha256"]
        got = {start for start, _ in sentences(text, max_words=10**6)} - {0}
        gold = set(mark["starts"]) - {0}
        right, found, wanted = right + len(got & gold), found + len(got), wanted + len(gold)
    assert wanted >= 40
    assert 2 * right / (found + wanted) > 0.95


@pytest.mark.parametrize(
    "piece", [" ", "\n", ". ", "* ", "1. ", "a", "Pros:", ":)", "👍", "!", '."']
)
def test_no_text_takes_quadratic_time(piece):
    """A hundred thousand of one piece would take minutes, if it did."""
    sentences(piece * 100_000)
