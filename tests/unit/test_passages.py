import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from qa_system.texts.passages import split

WORD = st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1, max_size=9)
SENTENCES = st.lists(
    st.tuples(
        st.lists(WORD, min_size=1, max_size=12),
        st.sampled_from([". ", "! ", '?" ', " ", "\n", "  \n "]),
    ),
    max_size=20,
).map(lambda parts: "".join(" ".join(words) + end for words, end in parts))


def words_of(text: str) -> list[tuple[int, int]]:
    spans, at = [], 0
    for word in text.split():
        start = text.index(word, at)
        at = start + len(word)
        spans.append((start, at))
    return spans


@given(SENTENCES, st.integers(1, 15), st.data())
@example("", 1, None)
def test_passages_hold_every_word_and_overlap_no_more_than_told(text, max_words, data):
    overlap = data.draw(st.integers(0, max_words - 1)) if data is not None else 0
    passages = split(text, max_words, overlap)
    words = words_of(text)
    if len(words) <= max_words:
        assert passages == [(0, len(text))]
        return
    starts = [start for start, _ in words]
    ends = [end for _, end in words]
    covered = set()
    for number, (start, end) in enumerate(passages):
        first, last = starts.index(start), ends.index(end)
        assert 1 <= last - first + 1 <= max_words
        covered.update(range(first, last + 1))
        if number:
            before_start, before_end = passages[number - 1]
            assert before_start < start
            assert before_end < end
            assert ends.index(before_end) - first + 1 <= overlap
    assert covered == set(range(len(words)))


def test_golden_split():
    text = "One two three. Four five six seven. Eight nine. Ten eleven twelve thirteen fourteen."
    cut = [text[start:end] for start, end in split(text, 8, 3)]
    assert cut == [
        "One two three. Four five six seven.",
        # No sentence starts within the last three words: so exactly three are shared.
        "five six seven. Eight nine.",
        # One does, with "Eight".
        "Eight nine. Ten eleven twelve thirteen fourteen.",
    ]


def test_a_text_without_spaces_is_cut_too():
    passages = split("x" * 1000, 4, 0)
    assert [end - start for start, end in passages] == [256, 256, 256, 232]


def test_a_text_that_fits_is_left_whole():
    assert split("  Good. ", 5, 1) == [(0, 8)]
    assert split("word " * 1000, None) == [(0, 5000)]


def test_overlap_must_be_shorter():
    with pytest.raises(ValueError, match="overlap_words"):
        split("a b c", 2, 2)


def test_long_text_is_linear():
    passages = split("word " * 200_000, 100, 20)
    assert len(passages) == 1 + -(-(200_000 - 100) // 80)
