"""Spans that keep their meaning: what is widened, what is not, and what holds for any text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.texts.clauses import MOST_WORDS, widen


def widened(text: str, span: str) -> str:
    start = text.index(span)
    first, last = widen(text, start, start + len(span))
    return text[first:last]


@pytest.mark.parametrize(
    ("text", "span", "expected"),
    [
        # A negation before the span, however it is written.
        ("I love it. It does not buffer at all.", "buffer", "It does not buffer at all"),
        ("Love it, it doesn't buffer.", "buffer", "it doesn't buffer"),
        ("It doesn’t ever buffer.", "buffer", "It doesn’t ever buffer"),
        ("It does not work with Alexa.", "work", "It does not work with Alexa"),
        ("Works great without wifi.", "wifi", "Works great without wifi"),
        ("There is no noise.", "noise", "There is no noise"),
        ("Never had a problem with it.", "a problem with it", "Never had a problem with it"),
        # ... with six words between them at most.
        (
            "It does not come with a cable for fast charging.",
            "charging",
            "It does not come with a cable for fast charging",
        ),
        # ... and behind it.
        ("The battery does not last, sadly.", "The battery", "The battery does not last"),
        ("Bluetooth isn't included.", "Bluetooth", "Bluetooth isn't included"),
        # What it is free of.
        ("This paste is fluoride free.", "free", "fluoride free"),
        ("This paste is fluoride-free.", "fluoride", "fluoride-free"),
        ("It is free of gluten.", "gluten", "free of gluten"),
        ("It is free from nuts and soy.", "free", "free from nuts and soy"),
        # Too much of it, and for what.
        ("The print is too small to read.", "small", "too small to read"),
        ("The band is too tight.", "tight", "too tight"),
        # What it is compared with.
        ("The sound is better than my old one.", "better", "better than my old one"),
        ("It has more bass than the cheap ones.", "more bass", "more bass than the cheap ones"),
        ("It is less bright than the first.", "bright", "less bright than the first"),
        ("It is as good as the original.", "good", "as good as the original"),
        ("It is better than the Kindle.", "the Kindle", "It is better than the Kindle"),
        # A relative clause.
        ("It has a strap that breaks.", "a strap", "a strap that breaks"),
    ],
)
def test_a_span_is_widened_to_what_it_means(text: str, span: str, expected: str) -> None:
    assert widened(text, span) == expected


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("The sound is great.", "great"),
        ("It does not buffer. The sound is great.", "The sound is great"),
        ("It is not cheap, but it works.", "it works"),
        ("It does not buffer, and the sound is great.", "great"),
        ("It is not cheap and it works.", "it works"),
        ("Not only cheap: sturdy.", "sturdy"),
        ("It is not only cheap.", "cheap"),
        ("It comes with a free case.", "free case"),
        ("The case was free.", "free"),
        ("Available free of charge.", "free of charge"),
        ("The room and the free wifi.", "The room and the"),
        ("I won't buy it again.The taste is good.", "The taste is good"),
        ("The only thing I did not like was that the cord is short.", "the cord is short"),
        ("I think that the strap breaks.", "think"),
        ("I have small hands.", "small hands"),
        ("I know that it works.", "it works"),
        ("The strap, which is red, holds.", "The strap"),
        ("No fuss\nWorks well", "Works well"),
        ("I have not seen any of the many films of that year in colour.", "in colour"),
        ("It does not come with a cable for the fast charging.", "charging"),
        ("The strap hides nothing.", "The strap"),
        ("It is gluten/free.", "gluten"),
        ("The strap,which is red, holds.", "The strap"),
        ("It is rather a toy than a tool.", "a toy"),
        # A clause ends at a dash, a bracket, a quotation mark, an ellipsis, or a conjunction.
        ("It does not buffer - great sound.", "great sound"),
        ("It does not buffer--great sound.", "great sound"),
        ("It does not buffer (great sound).", "great sound"),
        ("It does not buffer “great sound”.", "great sound"),
        ("It does not buffer… great sound.", "great sound"),
        ("I do not mind because it is cheap.", "cheap"),
        ("It is not loud so the sound is fine.", "fine"),
        ("It is not loud or the sound is bad.", "bad"),
        ("It is not loud while the sound is fine.", "fine"),
    ],
)
def test_a_span_that_loses_nothing_stays(text: str, span: str) -> None:
    assert widened(text, span) == span


def test_a_clause_that_is_too_long_is_no_answer() -> None:
    long = "a strap that " + "really " * MOST_WORDS + "breaks"
    assert widened(long, "a strap") == "a strap"


WORDS = st.sampled_from(
    ["not", "it", "is", "free", "of", "too", "good", "than", "as", "that", ",", ".", "\n", "n't"]
)


@given(st.lists(WORDS, min_size=1, max_size=25) | st.text(), st.data())
def test_the_span_is_in_the_widened_one_and_nothing_is_left_to_widen(
    words: list[str] | str, data: st.DataObject
) -> None:
    text = words if isinstance(words, str) else " ".join(words)
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    first, last = widen(text, start, end)
    assert 0 <= first <= start <= end <= last <= len(text)
    assert widen(text, first, last) == (first, last)
    assert "\n" not in text[first:start] + text[end:last]
