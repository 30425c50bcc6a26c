import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.generators.grounding import nearest, support

REVIEW = (
    "Bought it for my mother. The screen is bright, but the battery doesn't last: ten hours at "
    "most. I don't think it is good for reading. Café light is no problem. It cost $1,200.50!"
)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ("the screen is bright", 1.0),
        ("Bright screens", 1.0),
        ("10 hours", 1.0),
        ("eleven hours", 0.5),
        ("1200.50", 1.0),
        ("1,200", 0.0),
        ("cafe light", 1.0),
        ("waterproof and solid", 0.0),
        ("the screen is waterproof", 0.5),
        ("battery lasts", 0.5),
        ("the battery does not last", 1.0),
        ("battery doesn ' t last", 1.0),
        ("the battery dont last", 1.0),
        ("not bright", 0.0),
        ("good", 0.0),
        ("not good", 1.0),
        ("never", 0.0),
        ("a problem", 0.0),
    ],
)
def test_the_share_of_content_words_knows_negations_numbers_and_endings(
    answer: str, words: float
) -> None:
    assert support(answer, [REVIEW]).words == words
    assert support(answer, [REVIEW]).score == words


def test_a_negation_ends_with_its_clause_and_at_a_contrast() -> None:
    text = "Not cheap, light. Not small but sturdy. Never again! Loud"
    for answer in ("light", "sturdy", "loud", "not cheap", "not small"):
        assert support(answer, [text]).words == 1.0, answer
    for answer in ("cheap", "small", "not light", "not sturdy", "not loud"):
        assert support(answer, [text]).words == 0.0, answer


def test_the_best_single_review_counts_not_all_together() -> None:
    texts = ["The strap is soft.", "The lid is loose.", "Soft lid, soft strap."]
    found = support("soft strap, loose lid", texts)
    assert (found.words, found.document) == (0.75, 2)
    assert support("soft strap", texts[:2]).document == 0


def test_among_equals_the_posterior_decides() -> None:
    texts = ["It is bright.", "It is bright."]
    assert support("bright", texts, posterior=[0.2, 0.8]).document == 1
    assert support("bright", texts, posterior=[0.8, 0.2]).document == 0
    assert support("bright", texts).document == 0
    assert support("it is bright", ["Bright, is it?", *texts]).document == 1  # it stands there


@pytest.mark.parametrize(
    ("answer", "stands"),
    [
        ("THE SCREEN  is bright", "The screen is bright"),
        ("doesn ' t last : ten hours", "doesn't last: ten hours"),
        ("cafe light", "Café light"),
        ("1,200.50", "1,200.50"),
        ("bright battery", None),
        ("reen is bright", None),
    ],
)
def test_the_span_is_where_the_words_stand(answer: str, stands: str | None) -> None:
    span = support(answer, [REVIEW]).span
    assert (None if span is None else REVIEW[slice(*span)]) == stands


def test_with_a_reader_neither_words_nor_agreement_make_up_for_the_other() -> None:
    found = support("ten hours", [REVIEW], spans=["the strap", "ten hours at most"])
    assert found.agreement == pytest.approx(2 / 3)
    assert found.score == pytest.approx(math.sqrt(2 / 3))
    assert support("ten hours", [REVIEW], spans=[]).score == 0.0
    assert support("twenty kilos", [REVIEW], spans=["twenty kilos"]).score == 0.0
    assert support("it doesn ' t", [REVIEW], spans=["It doesn’t"]).agreement == 1.0


def test_yes_rests_on_what_follows_or_on_the_reader() -> None:
    assert support("yes", [REVIEW]).score == 0.0
    assert support("Yes.", [REVIEW], spans=["yes"]).score == 1.0
    assert support("Yes, the screen is bright", [REVIEW]).score == 1.0
    assert support("No, the screen is bright", [REVIEW]).score == 1.0
    assert support("No it doesn't last", [REVIEW]).score == 1.0
    assert support("No", [REVIEW]).score == 0.0
    assert support("no screen", [REVIEW]).score == 0.0  # a negation, not an answer's "no"


@pytest.mark.parametrize("answer", ["", "  ", "?!", "the"])
def test_nothing_is_supported_by_nothing(answer: str) -> None:
    found = support(answer, [REVIEW], spans=["", "the"][: bool(answer.strip(" ?!")) + 1])
    assert found.words == 0.0
    assert support(answer, []).score == 0.0
    assert support(answer, []).document is None


def test_no_reviews_no_support() -> None:
    found = support("bright", [], spans=[])
    assert (found.words, found.agreement, found.score, found.document) == (0.0, 0.0, 0.0, None)


def test_the_nearest_place_is_where_most_words_are() -> None:
    text = "A battery came with it. " + "Nice box. " * 30 + "The battery lasts a long time."
    assert text[nearest("long lasting battery", text) :].startswith("battery lasts a long time")
    assert nearest("waterproof", text) == 0
    assert nearest("", "") == 0


@given(st.text(max_size=60), st.lists(st.text(max_size=80), max_size=3))
def test_any_text_gives_numbers_and_places(answer: str, texts: list[str]) -> None:
    found = support(answer, texts, spans=texts)
    assert 0 <= found.words <= 1
    assert 0 <= found.score <= 1
    assert found.agreement is not None
    assert not math.isnan(found.agreement)
    if found.span is not None:
        assert found.document is not None
        start, end = found.span
        assert 0 <= start < end <= len(texts[found.document])
    for text in texts:
        assert 0 <= nearest(answer, text) <= len(text)


@given(st.text(alphabet="abc not.,n't ", max_size=60))
def test_a_review_supports_itself(text: str) -> None:
    found = support(text, [text])
    assert found.words in (0.0, 1.0)
