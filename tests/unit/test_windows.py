import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.errors import QuestionTooLongError
from qa_system.models.inference import load_tokenizer
from qa_system.models.locate import locate
from qa_system.readers.windows import MINIMUM_CONTEXT, WindowCutter

TOKENIZER = load_tokenizer(locate("bundled:reader").path)
CLS, SEP = TOKENIZER.token_to_id("[CLS]"), TOKENIZER.token_to_id("[SEP]")
texts = st.text(st.characters(codec="utf-8"), max_size=400) | st.lists(
    st.sampled_from(
        [
            "the",
            "battery",
            "lasts",
            "ten",
            "hours,",
            "naïve",
            "café",
            "😀",
            "don't",
            "\n\n",
            "$5.99",
            "unbelievable",
        ]
    ),
    max_size=300,
).map(" ".join)


@given(text=texts, size=st.integers(64, 128), stride=st.integers(0, 80))
def test_windows_cover_every_token_once_or_in_the_overlap(
    text: str, size: int, stride: int
) -> None:
    question = "How long does it last?"
    asked = TOKENIZER.encode(question, add_special_tokens=False)
    read = TOKENIZER.encode(text, add_special_tokens=False)
    [[windows]] = WindowCutter(TOKENIZER, size, stride).cut([question], [[text]])

    room = size - 3 - len(asked.ids)
    step = room - min(stride, room // 2)
    covered: list[tuple[int, int]] = []
    for number, window in enumerate(windows):
        assert len(window) <= size
        assert window.input_ids.tolist() == [
            CLS,
            *asked.ids,
            SEP,
            *read.ids[number * step : number * step + room],
            SEP,
        ]
        split = len(asked.ids) + 2
        assert window.context_start == split
        assert window.type_ids.tolist() == [0] * split + [1] * (len(window) - split)
        offsets = [tuple(pair) for pair in window.offsets.tolist()]
        assert offsets == read.offsets[number * step : number * step + room]
        covered += offsets if number == 0 else offsets[room - step :]
    assert covered == read.offsets
    for start, end in covered:
        assert 0 <= start <= end <= len(text)


@given(text=texts, stride=st.integers(0, 60))
def test_windows_are_those_of_transformers(text: str, stride: int) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.PreTrainedTokenizerFast(
        tokenizer_object=load_tokenizer(locate("bundled:reader").path),
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        unk_token="[UNK]",
    )
    expected = theirs(
        "Is it loud?",
        text,
        truncation="only_second",
        max_length=160,
        stride=stride,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    [[windows]] = WindowCutter(TOKENIZER, 160, stride).cut(["Is it loud?"], [[text]])
    if not windows:
        assert TOKENIZER.encode(text, add_special_tokens=False).ids == []
        return
    assert [window.input_ids.tolist() for window in windows] == expected["input_ids"]


def test_a_question_is_never_cut() -> None:
    cutter = WindowCutter(TOKENIZER, 384, 128)
    fits = "why " * (384 - 3 - MINIMUM_CONTEXT)
    [[windows]] = cutter.cut([fits], [["word " * 40]])
    assert all(window.context_start == 384 - 1 - MINIMUM_CONTEXT for window in windows)
    with pytest.raises(QuestionTooLongError, match="leaves room for 31"):
        cutter.cut([fits + "why"], [["word"]])


def test_texts_without_tokens_have_no_window() -> None:
    cutter = WindowCutter(TOKENIZER)
    assert cutter.cut(["Good?"], [[None, "", "  \n"]]) == [[[], [], []]]
    assert cutter.cut(["Good?"], [[]]) == [[]]
    assert cutter.cut([], []) == []
