"""Spans of a reader -> answers: what is shown, where it stands in its review, what was marked."""

from haystack import Document

from qa_system.answering.answers import quoted_answer
from qa_system.consensus.candidates import Marked, mentions_in
from qa_system.consensus.mentions import Mention
from qa_system.records import Answer, AnswerSpan

REVIEW = "I love it. It does not buffer at all, and the sound is great. " * 3


def answer(span: str, document: Document, snippet_chars: int = 40) -> Answer:
    content = document.content or ""
    start = content.index(span)
    [mention] = mentions_in(
        [Mention("r1", 0, 0, len(content), content, 0.0)],
        [document],
        [Marked(0, start, start + len(span), 0.5, answers=True)],
        1.0,
    )
    return quoted_answer(mention, document, snippet_chars)


def test_a_span_that_loses_nothing_is_the_answer() -> None:
    found = answer("great", Document(id="r1", content=REVIEW))
    assert (found.text, found.exact) == ("great", None)
    assert REVIEW[found.start : found.end] == "great"
    assert found.to_dict()["exact"] is None


def test_a_span_that_loses_its_negation_is_widened_and_what_was_marked_is_kept() -> None:
    found = answer("buffer", Document(id="r1", content=REVIEW))
    assert found.text == "It does not buffer at all"
    assert REVIEW[found.start : found.end] == found.text
    assert found.exact == AnswerSpan("buffer", 23, 29)
    assert REVIEW[23:29] == "buffer"
    assert found.text in found.snippet
    assert len(found.snippet) < len(REVIEW)
    assert found.to_dict()["exact"] == {"text": "buffer", "start": 23, "end": 29}


def test_a_snippet_shows_all_of_the_widened_answer_however_short_it_is_to_be() -> None:
    found = answer("buffer", Document(id="r1", content=REVIEW), snippet_chars=8)
    assert found.text in found.snippet


def test_no_answer_crosses_the_end_of_the_title() -> None:
    found = answer("buffers", Document(id="r1", content="Not for me\nbuffers a lot"))
    assert found.text == "buffers"
    assert found.exact is None
