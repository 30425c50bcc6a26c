"""Windows of a tokenizer that lays out a pair as RoBERTa does: two separators, ids of its own."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from qa_system.errors import ModelError
from qa_system.readers.windows import WindowCutter


def roberta_like() -> Tokenizer:
    vocabulary = {"<s>": 7, "</s>": 9, "<pad>": 1, "<unk>": 3}
    for character in sorted(pre_tokenizers.ByteLevel.alphabet()):
        vocabulary[character] = len(vocabulary) + 20
    tokenizer = Tokenizer(models.BPE(vocabulary, [], unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", 9), ("<s>", 7), add_prefix_space=False
    )
    return tokenizer


@settings(deadline=None)
@given(
    review=st.text("ab zé日🙂.,'\n", min_size=1, max_size=300),
    length=st.integers(80, 160),
    stride=st.integers(0, 24),
)
def test_windows_are_those_of_transformers(review: str, length: int, stride: int) -> None:
    transformers = pytest.importorskip("transformers")
    question = "How long does it last?"
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=roberta_like(), pad_token="<pad>"
    )(
        question,
        review,
        truncation="only_second",
        max_length=length,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
        return_token_type_ids=True,
    )
    [[windows]] = WindowCutter(roberta_like(), length, stride).cut([question], [[review]])
    assert [window.input_ids.tolist() for window in windows] == theirs["input_ids"]
    assert [window.type_ids.tolist() for window in windows] == theirs["token_type_ids"]
    for row, window in enumerate(windows):
        inside = [at for at, of in enumerate(theirs.sequence_ids(row)) if of == 1]
        assert window.context_start == inside[0]
        for (start, end), at in zip(window.offsets.tolist(), inside, strict=True):
            first, last = theirs["offset_mapping"][row][at]
            assert review[start:end] == review[first:last].strip()
            assert start == end or first <= start < end <= last


def test_a_tokenizer_without_a_null_token_is_refused() -> None:
    with pytest.raises(ModelError, match="no answer"):
        WindowCutter(Tokenizer(models.WordLevel({"a": 0}, unk_token="a")))
