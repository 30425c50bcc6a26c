import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import locate
from qa_system.readers.windows import WindowCutter
from qa_system.training.reader.examples import Example
from qa_system.training.reader.targets import collate, span_loss, targets_of

TOKENIZER = load_tokenizer(locate("bundled:reader").path)


def words(target, span):
    first, last = (place - target.window.context_start for place in span)
    return int(target.window.offsets[first, 0]), int(target.window.offsets[last, 1])


def test_every_annotators_span_is_a_target():
    text = "The battery lasts two days, they say."
    example = Example("How long does it last?", text, ((18, 26), (12, 26)))
    [target] = targets_of([example], WindowCutter(TOKENIZER))
    assert [text[slice(*words(target, span))] for span in target.spans] == [
        "two days",
        "lasts two days",
    ]


def test_no_answer_is_the_null_token():
    [target] = targets_of([Example("Is it red?", "It is small.", ())], WindowCutter(TOKENIZER))
    assert target.spans == ((0, 0),)


def test_white_space_around_an_answer_is_no_part_that_is_missing():
    [target] = targets_of([Example("How?", "It is good. ", ((5, 12),))], WindowCutter(TOKENIZER))
    assert words(target, target.spans[0]) == (6, 11)


def test_a_window_with_half_an_answer_is_left_out():
    text = " ".join(f"word{number}" for number in range(200))
    cutter = WindowCutter(TOKENIZER, max_seq_length=64, stride=16)
    [[windows]] = cutter.cut(["Where?"], [[text]])
    begins, ends = windows[0].offsets[0, 0], windows[0].offsets[-1, 1]
    across = Example("Where?", text, ((int(ends) - 4, int(ends) + 8),))
    targets = targets_of([across], cutter)
    assert begins == 0
    assert len(targets) < len(windows)
    starts = [int(target.window.offsets[0, 0]) for target in targets]
    assert 0 not in starts


@given(
    st.lists(st.sampled_from(["it", "is", "good", "bad,", "don't", "x", "naïve"]), min_size=1),
    st.data(),
)
def test_targets_cover_what_was_marked(tokens, data):
    text = " ".join(tokens)
    places = [0]
    for token in tokens:
        places.append(places[-1] + len(token) + 1)
    first = data.draw(st.integers(0, len(tokens) - 1))
    last = data.draw(st.integers(first, len(tokens) - 1))
    marked = places[first], places[last] + len(tokens[last])
    targets = targets_of([Example("Is it?", text, (marked,))], WindowCutter(TOKENIZER, 32, 8))
    found = {words(target, span) for target in targets for span in target.spans if span != (0, 0)}
    # An answer longer than what two windows share may be whole in none of them.
    assert found <= {marked}
    if last - first < 2:
        assert found == {marked}


def test_loss_is_the_probability_of_all_spans_together():
    generator = torch.Generator().manual_seed(0)
    start, end = torch.randn(2, 2, 6, generator=generator)
    allowed = torch.tensor([[1, 0, 0, 1, 1, 0], [1, 0, 1, 1, 1, 1]]).bool()
    spans = torch.tensor([[[3, 4], [4, 4]], [[0, 0], [-1, -1]]])

    def softmax(row, mask):
        weights = [math.exp(x) if ok else 0.0 for x, ok in zip(row.tolist(), mask, strict=True)]
        return [weight / sum(weights) for weight in weights]

    by_hand = []
    for row, marked in enumerate([[(3, 4), (4, 4)], [(0, 0)]]):
        p, q = softmax(start[row], allowed[row]), softmax(end[row], allowed[row])
        by_hand.append(-math.log(sum(p[i] * q[j] for i, j in marked)))
    assert float(span_loss(start, end, allowed, spans)) == pytest.approx(np.mean(by_hand), rel=1e-5)


def test_a_batch_allows_the_review_and_the_null_token():
    targets = targets_of(
        [Example("Is it good?", "Good.", ((0, 4),)), Example("Is it?", "It is a good one.", ())],
        WindowCutter(TOKENIZER),
    )
    batch = collate(targets, pad_id=0)
    for row, target in enumerate(targets):
        allowed = batch["allowed"][row].nonzero().flatten().tolist()
        start = target.window.context_start
        assert allowed == [0, *range(start, start + len(target.window.offsets))]
    assert batch["attention_mask"].sum(1).tolist() == [len(target.window) for target in targets]
    assert batch["spans"].shape == (2, 1, 2)
