import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.readers.spans import Span, WindowLogits, best_spans

logits = st.floats(-20, 20, width=32)


def words(count: int, first: int = 0) -> np.ndarray:
    """Offsets of words of four letters with a space between them."""
    starts = 5 * np.arange(first, first + count, dtype=np.int32)
    return np.stack((starts, starts + 4), axis=1)


@st.composite
def reviews(draw: st.DrawFn) -> list[WindowLogits]:
    """Windows that overlap, as those of one review do."""
    windows = []
    first = 0
    for _ in range(draw(st.integers(1, 3))):
        count = draw(st.integers(1, 9))
        start = draw(st.lists(logits, min_size=count, max_size=count))
        end = draw(st.lists(logits, min_size=count, max_size=count))
        windows.append(
            WindowLogits(
                np.array(start, dtype=np.float32),
                np.array(end, dtype=np.float32),
                draw(logits),
                words(count, first),
            )
        )
        first += draw(st.integers(0, count))
    return windows


def by_nested_loops(windows: list[WindowLogits], top_k: int, longest: int) -> list[Span]:
    """Every span there is, best first; each that touches a better one is passed over."""
    every = []
    for window in windows:
        for i in range(len(window.start)):
            for j in range(i, min(i + longest, len(window.start))):
                score = (window.start[i] + window.end[j]) - np.float32(window.null)
                span = Span(int(window.offsets[i, 0]), int(window.offsets[j, 1]), float(score))
                every.append(span)
    chosen: list[Span] = []
    for span in sorted(every, key=lambda span: -span.log_odds):
        if all(span.end <= other.start or other.end <= span.start for other in chosen):
            chosen.append(span)
    return chosen[:top_k]


@given(windows=reviews(), top_k=st.integers(1, 6), longest=st.integers(1, 10))
def test_decoding_equals_a_plain_duplicate_loop(
    windows: list[WindowLogits], top_k: int, longest: int
) -> None:
    found = best_spans(windows, top_k, longest)
    assert found == by_nested_loops(windows, top_k, longest)


@given(windows=reviews(), top_k=st.integers(1, 6), longest=st.integers(1, 10))
def test_spans_are_short_enough_apart_and_ordered(
    windows: list[WindowLogits], top_k: int, longest: int
) -> None:
    found = best_spans(windows, top_k, longest)
    assert 1 <= len(found) <= top_k
    for number, span in enumerate(found):
        assert 0 < span.end - span.start <= 5 * longest - 1
        for other in found[:number]:
            assert other.log_odds >= span.log_odds
            assert span.end <= other.start or other.end <= span.start


def test_the_score_is_the_span_against_its_own_windows_null() -> None:
    """By hand: (2 + 3) - 4 = 1 in the first window, (1 + 1) - 0 = 2 in the second."""
    first = WindowLogits(np.float32([2, -9]), np.float32([3, -9]), 4.0, words(2))
    second = WindowLogits(np.float32([1]), np.float32([1]), 0.0, words(1, 5))
    assert best_spans([first, second], top_k=2) == [Span(25, 29, 2.0), Span(0, 4, 1.0)]


def test_the_same_span_in_two_windows_counts_once_with_its_better_score() -> None:
    once = WindowLogits(np.float32([1]), np.float32([1]), 0.0, words(1))
    better = WindowLogits(np.float32([1]), np.float32([1]), -1.0, words(1))
    assert best_spans([once, better], top_k=5) == [Span(0, 4, 3.0)]


def test_no_windows_have_no_spans() -> None:
    assert best_spans([], top_k=3) == []
    empty = np.empty(0, dtype=np.float32)
    assert best_spans([WindowLogits(empty, empty, 0.0, words(0))]) == []


def test_a_token_without_characters_neither_begins_nor_ends_a_span() -> None:
    offsets = np.array([[0, 4], [4, 4], [5, 9]], dtype=np.int32)
    window = WindowLogits(np.float32([0, 9, 0]), np.float32([0, 9, 0]), 0.0, offsets)
    for span in best_spans([window], top_k=5):
        assert (span.start, span.end) in {(0, 4), (5, 9), (0, 9)}
    assert best_spans([window])[0].log_odds == pytest.approx(0.0)


def test_no_span_crosses_the_border_behind_a_title() -> None:
    start = np.array([5, 0, 0, 0], dtype=np.float32)
    end = np.array([0, 1, 5, 0], dtype=np.float32)
    window = WindowLogits(start, end, 0.0, words(4))
    assert best_spans([window])[0] == Span(0, 14, 10.0)
    spans = best_spans([window], top_k=4, border=10)
    assert spans[0] == Span(0, 9, 6.0)
    assert all(span.end <= 10 or span.start >= 10 for span in spans)
    assert spans[1] == Span(10, 14, 5.0)
