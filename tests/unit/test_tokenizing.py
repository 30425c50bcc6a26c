"""Tokens of a text: none is special, and each says where it stands."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers
from tokenizers.processors import ByteLevel, RobertaProcessing

pytest.importorskip("transformers")

from architectures import KINDS, roberta_pair, tokenizer_of
from qa_system.errors import ModelError
from qa_system.models.tokenizing import encodable, places, take_literally, with_sound_offsets
from qa_system.readers.windows import WindowCutter

LITERAL = {kind: tokenizer_of(kind) for kind in KINDS}
for tokenizer in LITERAL.values():
    take_literally(tokenizer)
SPECIALS = ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "<s>", "</s>", "<pad>", "<mask>"]


def pieces(tokenizer: Tokenizer, text: str) -> list[str]:
    encoding = tokenizer.encode(text, add_special_tokens=False)
    return [text[start:end] for start, end in places(text, encoding).tolist()]


@pytest.mark.parametrize("kind", KINDS)
@given(
    parts=st.lists(st.sampled_from([*SPECIALS, "a", " ", "\n", "[", "s>", "＜/s＞"]), max_size=12)
)
def test_no_text_has_a_special_token(kind: str, parts: list[str]) -> None:
    text, tokenizer = "".join(parts), LITERAL[kind]
    special = {tokenizer.token_to_id(name) for name in SPECIALS} - {None}
    assert not special & set(tokenizer.encode(text, add_special_tokens=False).ids)
    around = tokenizer.encode("").ids
    assert special >= set(around)
    inside = tokenizer.encode(text).ids
    assert [token for token in inside if token in special] == around


@pytest.mark.parametrize("kind", KINDS)
def test_taking_text_literally_changes_no_other_text_and_is_saved(kind: str) -> None:
    text = "The battery [lasts] two <days>; café 😀 日本語"
    before = tokenizer_of(kind)
    again = Tokenizer.from_str(LITERAL[kind].to_str())
    take_literally(again)
    assert again.to_str() == LITERAL[kind].to_str()
    for tokenizer in (LITERAL[kind], again):
        assert tokenizer.encode(text).ids == before.encode(text).ids
        assert tokenizer.encode("[SEP]</s>").ids == LITERAL[kind].encode("[SEP]</s>").ids


def test_a_special_token_of_one_letter_that_is_a_word_is_refused() -> None:
    tokenizer = Tokenizer(models.WordLevel({"|": 0, "?": 1}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Punctuation()
    tokenizer.add_special_tokens(["|"])
    with pytest.raises(ModelError, match=r"reads '\|' in a text as its special token"):
        take_literally(tokenizer)


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text("ab zé日🙂.,'\n\r\t\x00\u0301\u202f\u200b\u05e9\u05c1[]<>/s", max_size=60))
def test_places_are_in_the_text_in_order_and_not_blank(kind: str, text: str) -> None:
    encoding = LITERAL[kind].encode(text, add_special_tokens=False)
    found = places(text, encoding)
    assert found.shape == (len(encoding.ids), 2)
    assert (np.diff(found[:, 0]) >= 0).all()
    assert (np.diff(found[:, 1]) >= 0).all()
    for start, end in found.tolist():
        assert 0 <= start <= end <= len(text)
        assert text[start:end] == text[start:end].strip()
    covered = {at for start, end in found.tolist() for at in range(start, end)}
    missing = {text[at] for at in set(range(len(text))) - covered}
    assert not missing & set("abzé日🙂.,'\u05e9[]<>/s")


def test_marks_and_markers_by_hand() -> None:
    """BERT drops accents written apart; XLM-R writes a marker of its own before a rare word."""
    assert pieces(LITERAL["bert"], "cafe\u0301 b") == ["cafe\u0301", "b"]
    text = "two 日 days"
    tokens = LITERAL["xlmr"].encode(text, add_special_tokens=False).tokens
    assert "▁" in tokens
    assert "".join(pieces(LITERAL["xlmr"], text)) == "two日days"
    assert pieces(LITERAL["roberta"], "\n\n \u202f") == [""] * 5


TEXT = "The battery lasts two days"
SPLITS = [
    [pre_tokenizers.WhitespaceSplit()],
    [pre_tokenizers.Whitespace()],
    [pre_tokenizers.Digits(individual_digits=True)],
    [pre_tokenizers.Punctuation()],
    [pre_tokenizers.UnicodeScripts()],
    [pre_tokenizers.Split(Regex(" "), "merged_with_previous")],
]


@pytest.mark.parametrize("splits", SPLITS, ids=repr)
@pytest.mark.parametrize("trims", [roberta_pair, ByteLevel])
def test_offsets_that_start_late_are_repaired(splits: list, trims: type) -> None:
    """A space that the tokenizer put before each word itself is trimmed: 'attery', 'asts'."""
    tokenizer = tokenizer_of("roberta")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([*splits, byte_level])
    tokenizer.post_processor = (
        roberta_pair(trim_offsets=True, add_prefix_space=True)
        if trims is roberta_pair
        else ByteLevel(trim_offsets=True)
    )
    text = f"{TEXT}, 10am x2: don't."
    sound = with_sound_offsets(tokenizer)
    assert "".join(pieces(sound, text)) == text.replace(" ", "")
    assert sound.encode(text, add_special_tokens=False).ids == (
        tokenizer.encode(text, add_special_tokens=False).ids
    )


def test_the_late_start_is_there_to_repair() -> None:
    tokenizer = tokenizer_of("roberta")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=True)]
    )
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    assert "attery" in pieces(tokenizer, TEXT)
    [[[window]]] = WindowCutter(tokenizer, 64, 8).cut(["How long?"], [[TEXT]])
    words = [TEXT[start:end] for start, end in window.offsets.tolist()]
    assert "".join(words) == TEXT.replace(" ", "")
    assert window.input_ids[0] == 0, "windows are laid out as before"


@pytest.mark.parametrize(
    "normalizer",
    [normalizers.Replace(Regex("[aeiou]"), ""), normalizers.Replace("battery", "")],
    ids=["vowels", "word"],
)
def test_a_tokenizer_that_leaves_letters_out_is_refused(normalizer: object) -> None:
    tokenizer = tokenizer_of("roberta")
    tokenizer.normalizer = normalizer
    with pytest.raises(ModelError, match=r"\(BPE\) does not say where .* is in none .*here"):
        WindowCutter(tokenizer, 64, 8, where="here")


@pytest.mark.parametrize("kind", KINDS)
def test_ordinary_tokenizers_are_taken_as_they_are(kind: str) -> None:
    assert with_sound_offsets(LITERAL[kind]) is LITERAL[kind]


def test_half_a_surrogate_pair_can_be_encoded() -> None:
    assert encodable("so 🙂 \ud83d!") == "so 🙂 \ufffd!"
    [[[window]]] = WindowCutter(LITERAL["bert"], 64, 8).cut(["ok \ud83d?"], [["two \udc00 days"]])
    assert window.offsets[-1].tolist() == [6, 10]
