import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.datasets import subjqa
from qa_system.errors import InvalidArgumentError
from qa_system.records import Review, title_end
from qa_system.texts.sentences import SPLITTER, sentences

MARKED = Path(__file__).parents[1] / "fixtures" / "sentences"
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
        ["Is it good? ", "No. ", "Will I return? ", "It is No. 5."],
        ["I waited...", "I left"],
        ["It was easy", "The sound of my iPhone and YouTube"],
        ["I like (new)", "I use it"],
        ["so loud!", "it broke.", "so I returned it"],
        ["See node.js, it was fun."],
        ["Look at http://shop.com/page?id=1&x=2 now"],
        ["A *really* good and *very* light one"],
        ["1. open it ", "2. fill it"],
        ["I have USB 2. ", "Good."],
        ["Nice! :)", "Thanks"],
        ["رائع.", "شكرا"],
        ["अच्छा है। ", "धन्यवाद।"],
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


TEXTS = st.text(
    st.sampled_from("ab I.!?…。، \n*1)\"':-👍🏽AB字ก，é\u0301\u200d\ufe0f\ud83d\ude00🇩🇪\x00"),
    max_size=200,
)


@given(TEXTS, st.integers(1, 9))
def test_a_sentence_is_bounded_in_words_and_characters(text, max_words):
    for sentence in split(text, max_words=max_words):
        assert len(sentence) <= 8 * max_words
        assert len(sentence.split()) <= max_words


@pytest.mark.parametrize("piece", ["字", "ก", "a", "é", "👍🏽", "🇩🇪", "\u0301", "\u200d"])
def test_a_text_without_spaces_is_bounded(piece):
    text = piece * (100_000 // len(piece))
    found = sentences(text)
    assert max(end - start for start, end in found) <= 480
    assert "".join(text[start:end] for start, end in found) == text


@pytest.mark.parametrize(
    "cluster", ["e\u0301", "ก\u0e31\u0e49", "👍🏽", "👩\u200d👧", "🇩🇪", "\ud83d\ude00", "❤\ufe0f"]
)
@pytest.mark.parametrize("before", ["", "a", "ab"])
def test_a_character_is_never_cut_apart(cluster, before):
    """Neither by the bound in characters nor behind marks."""
    clusters = 100
    text = before + cluster * clusters
    inside = {len(before) + at for at in range(len(cluster) * clusters) if at % len(cluster)}
    assert not inside & {at for span in sentences(text, max_words=2) for at in span}
    text = f"好。{cluster}A! {cluster}A"
    assert cluster in "".join(split(text)[1:2])


@pytest.mark.parametrize("mark", ["", ".", ":)", ",", "。", "👍"])
@given(title=st.text(min_size=1, max_size=20), text=st.text(max_size=40) | TEXTS)
def test_no_sentence_runs_from_the_title_into_the_text(mark, title, text):
    review = Review("r", "i", text, title=title + mark)
    border = title_end(review.content, review.stored_meta)
    assert border == len(title + mark) + 1
    assert not any(start < border < end for start, end in sentences(review.content))


def test_a_bound_that_is_not_positive_is_refused():
    with pytest.raises(InvalidArgumentError, match="max_words is 0"):
        sentences("It is light.", max_words=0)


def test_other_rules_have_another_name():
    """Who changes what these digests say names the rules anew in `SPLITTER`."""
    said = "".join(
        f"{review.id}{sentences(review.content)}"
        for review in sorted(subjqa.iter_reviews(SAMPLE), key=lambda review: review.id)
    )
    assert {SPLITTER: hashlib.sha256(said.encode()).hexdigest()[:16]} == {
        "sentences-1": "de3573592cd2307f"
    }


def test_neither_locale_nor_hash_seed_changes_the_sentences():
    text = "INCI. It is light. Iyi :) Or I. Very ılık!şey. 1. a 2. b * c * d"
    code = f"from qa_system.texts.sentences import sentences; print(sentences({text!r}))"
    said = {
        subprocess.run(
            [sys.executable, "-X", "utf8", "-c", code],
            env={**os.environ, "LC_ALL": locale, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for locale, seed in (("C", "0"), ("tr_TR.UTF-8", "1"), ("de_DE.UTF-8", "2"))
    }
    assert said == {f"{sentences(text)}\n"}


def marked_texts():
    texts = {review.id: review.text for review in subjqa.iter_reviews(SAMPLE)}
    data = Path(os.environ.get("QA_DATA", "../shared/data")) / "subjqa"
    for domain in sorted(data.glob("*")) if data.is_dir() else []:
        texts |= {review.id: review.text for review in subjqa.iter_reviews(domain)}
    return texts


@pytest.mark.parametrize("marked", ["boundaries", "held_out", "second_held_out"])
def test_boundaries_marked_by_hand(marked):
    """F1 of the offsets at which sentences begin; the marks hold no text."""
    texts = marked_texts()
    right = found = wanted = 0
    for line in (MARKED / f"{marked}.jsonl").read_text().splitlines():
        mark = json.loads(line)
        text = texts.get(mark["review_id"])
        if text is None:
            continue
        assert hashlib.sha256(text.encode()).hexdigest()[:16] == mark["sha256"]
        got = {start for start, _ in sentences(text, max_words=10**6)} - {0}
        gold = set(mark["starts"]) - {0}
        right, found, wanted = right + len(got & gold), found + len(got), wanted + len(gold)
    assert wanted >= 15
    assert 2 * right / (found + wanted) > 0.95


@pytest.mark.parametrize(
    "piece",
    [
        *(
            ".",
            "!",
            "* ",
            "*a",
            "(",
            ")",
            "A",
            "aA",
            "\n",
            " ",
            "a",
            "字",
            "。",
            "1",
            "1. ",
            "12) ",
        ),
        *(
            ".a",
            ".A",
            '."',
            ". ",
            "a,",
            ":)",
            ":",
            "Pros:",
            "Pro ",
            "👍",
            "👍 ",
            "\u200d",
            "\u0301",
        ),
        *("🇩", "\ud83d", "and ", "! \n", "*a b* "),
    ],
)
def test_a_megabyte_of_one_piece_takes_linear_time(piece):
    """Quadratic time would take hours."""
    sentences("It is!" + piece * (1_000_000 // len(piece)))
