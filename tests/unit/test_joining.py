"""Passages of version 0.1 made whole again: what they hold stays, white space is guessed."""

from haystack.dataclasses import Document
from hypothesis import given
from hypothesis import strategies as st

from qa_system.records import Review
from qa_system.stores.joining import is_passage, join
from qa_system.texts.passages import hash_of, split


def passages_of(review, max_words, overlap):
    """What version 0.1 wrote of a review."""
    spans = split(review.text, max_words, overlap)
    return [
        Document(
            id=f"{review.id}#{number}",
            content=review.text[start:end],
            meta={
                **review.meta,
                "review_id": review.id,
                "item_id": review.item_id,
                "content_hash": f"{review.content_hash}:{start}-{end}",
                "passage_start": start,
            },
        )
        for number, (start, end) in enumerate(spans)
    ], spans


WORDS = st.lists(st.text("abc.é\U0001f319", min_size=1, max_size=5), min_size=6, max_size=25)


@given(WORDS, st.sampled_from([" ", "\n", "\t", "\u00a0"]), st.integers(1, 5), st.data())
def test_with_one_kind_of_white_space_the_review_is_exact(words, space, max_words, data):
    overlap = data.draw(st.integers(0, max_words - 1))
    end = data.draw(st.sampled_from(["", " ", "\n", "\r\n"]))
    review = Review("r", "i", space.join(words) + end, {"stars": 4, "tags": ["a", None]})
    passages, spans = passages_of(review, max_words, overlap)
    joined = join(passages)
    assert joined.is_exact
    assert joined.document.content == review.text
    assert joined.document.meta == {
        "stars": 4,
        "tags": ["a", None],
        "review_id": "r",
        "item_id": "i",
        "content_hash": hash_of(review.content_hash, spans),
    }
    assert list(joined.spans) == spans


@given(WORDS, st.data())
def test_a_lost_passage_is_blank_and_the_rest_stands_where_it_stood(words, data):
    review = Review("r", "i", "  ".join(words))
    passages, spans = passages_of(review, 3, 0)
    lost = data.draw(st.integers(0, len(passages) - 2))
    del passages[lost], spans[lost]
    joined = join(passages)
    assert not joined.is_exact
    assert not joined.document.meta["content_hash"].startswith(review.content_hash + "-")
    assert joined.document.meta["content_hash"] != review.content_hash
    text = joined.document.content
    assert [text[start:end] for start, end in spans] == [
        review.text[start:end] for start, end in spans
    ]
    held = {place for start, end in spans for place in range(start, end)}
    assert not "".join(char for place, char in enumerate(text) if place not in held).strip()


def test_what_is_a_passage():
    review = Review("r#1", "i", "one two three four", {})
    first, second = passages_of(review, 2, 0)[0]
    assert is_passage(first)
    assert is_passage(second)
    for change in (
        {"id": "r#1"},
        {"id": "r#1#x"},
        {"content": "one two three"},
        {"content": None},
        {"meta": first.meta | {"review_id": "another"}},
        {"meta": first.meta | {"passage_start": "0"}},
        {"meta": {key: value for key, value in first.meta.items() if key != "content_hash"}},
    ):
        given_ = {"id": first.id, "content": first.content, "meta": first.meta} | change
        assert not is_passage(Document(**given_))
