"""Readers of several architectures: the same logits as plain transformers, and exact offsets."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from haystack import Document

pytest.importorskip("transformers")

import torch
from transformers import (
    AutoModelForQuestionAnswering,
    AutoTokenizer,
    CanineConfig,
    CanineForQuestionAnswering,
    LlamaConfig,
    LlamaForQuestionAnswering,
)

from architectures import ARCHITECTURES, SIZES, fast, save_reader, tokenizer_of
from qa_system.errors import ModelError, QASystemError
from qa_system.models.locate import ModelLocation, locate
from qa_system.models.positions import positions_of
from qa_system.rankers.cross_encoder import open_cross_encoder
from qa_system.readers.backends import load_backend
from qa_system.readers.extractive import ExtractiveReader
from qa_system.readers.windows import WindowCutter
from qa_system.retrievers.sentence_models import load_sentence_model

QUESTION = "How long does the battery last?"
TEXTS = [
    "The battery lasts about two days, but the strap feels cheap.",
    "Bad.\r\nThe battery  lasts two days,\tbut\u202fit is crème brûlée; cafe\u0301 A\u0301b!\r\n",
    "😀👨\u200d👩\u200d👧 so much 👍🏽\x00 NUL\x00 and שָׁלוֹם مَرحبًا, 日本語 テスト ﬁnd it hard…",
    "The light doesn't dazzle. " * 12 + "\n\n \u200b It fits under the seat. " + "Spotless! " * 30,
]
TYPED = "Was 20, [SEP] now 15 [MASK] <s>old price</s> <pad> [CLS]</s></s>"

FEW = ["bert", "roberta", "xlmr", "deberta2"]
MANY = [
    name if name in FEW else pytest.param(name, marks=pytest.mark.long) for name in ARCHITECTURES
]
WITHOUT_NULL = {"gpt2", "xlnet", "t5"}


@pytest.fixture(scope="module", params=MANY)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reader(name, tmp_path_factory.mktemp(name))


@pytest.fixture(scope="module")
def reader(name: str, folder: Path) -> ExtractiveReader:
    reader = ExtractiveReader(
        str(folder),
        precision="fp32",
        device="cpu",
        max_seq_length=64,
        stride=16,
        no_answer_threshold=-1000.0,
    )
    if name in WITHOUT_NULL:
        with pytest.raises(ModelError, match="no token that could stand for 'no answer'"):
            reader.warm_up()
        pytest.skip("no reader for reviews that may not answer")
    return reader


def test_the_positions_are_counted(name: str, folder: Path) -> None:
    model = AutoModelForQuestionAnswering.from_pretrained(folder)
    assert positions_of(model) == ARCHITECTURES[name].positions


def test_as_many_tokens_as_positions_are_read_and_not_one_more(name: str, folder: Path) -> None:
    positions = ARCHITECTURES[name].positions
    if positions is None or name in WITHOUT_NULL:
        pytest.skip("nothing to run out of")
    options = {"precision": "fp32", "device": "cpu", "stride": 8}
    full = ExtractiveReader(str(folder), max_seq_length=positions, **options)
    [reading] = full.read([QUESTION], [[Document(content=TEXTS[3] * 4)]])
    assert len(reading.candidates) == 3
    with pytest.raises(QASystemError, match=f"has {positions} positions"):
        ExtractiveReader(str(folder), max_seq_length=positions + 1, **options).warm_up()


def test_logits_are_those_of_transformers(reader: ExtractiveReader, folder: Path) -> None:
    backend = load_backend(locate(str(folder)), precision="fp32", device="cpu")
    [windows] = WindowCutter(backend.tokenizer, 64, 16).cut([QUESTION], [TEXTS])
    model = AutoModelForQuestionAnswering.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for text, own in zip(TEXTS, windows, strict=True):
        encoded = tokenizer(
            QUESTION,
            text,
            truncation="only_second",
            max_length=64,
            stride=16,
            return_overflowing_tokens=True,
            return_token_type_ids=True,
        )
        assert [window.input_ids.tolist() for window in own] == encoded["input_ids"]
        for window, types in zip(own, encoded["token_type_ids"], strict=True):
            ids = torch.tensor([window.input_ids.tolist()])
            feeds = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
            if getattr(model.config, "type_vocab_size", 0) > 1:
                feeds["token_type_ids"] = torch.tensor([types])
            with torch.no_grad():
                expected = model(**feeds)
            start, end = backend.logits(
                ids.numpy(), np.ones(ids.shape, np.int64), window.type_ids[None]
            )
            assert start == pytest.approx(expected.start_logits.numpy(), abs=1e-4)
            assert end == pytest.approx(expected.end_logits.numpy(), abs=1e-4)


def test_answers_stand_where_they_say_and_none_is_blank(reader: ExtractiveReader) -> None:
    documents = [Document(content=text) for text in [*TEXTS, TYPED, "  \n", "\u202f\t\u200b", ""]]
    [reading] = reader.read([QUESTION], [documents], top_k=200)
    # How many depends on the tiny tokenizer, whose training breaks ties at random.
    assert len(reading.candidates) > 20
    for answer in reading.candidates:
        place = answer.document_offset
        assert answer.data == answer.document.content[place.start : place.end]
        assert answer.data == answer.data.strip()
        assert answer.data.strip("\u200b\x00")
    assert reading.log_odds[-3:] == (-np.inf,) * 3


def test_what_users_type_is_no_special_token(reader: ExtractiveReader, folder: Path) -> None:
    backend = load_backend(locate(str(folder)), precision="fp32", device="cpu")
    cutter = WindowCutter(backend.tokenizer, 96, 16)
    [[windows]] = cutter.cut([TYPED[:30]], [[TYPED]])
    around = set(AutoTokenizer.from_pretrained(folder)("", "").input_ids)
    [[plain]] = cutter.cut(["Was 20"], [["now 15"]])
    for window in windows:
        special = [token in around for token in window.input_ids.tolist()]
        assert sum(special) == sum(token in around for token in plain[0].input_ids.tolist())
    [reading] = reader.read([TYPED[:30]], [[Document(content=TYPED)]])
    assert reading.candidates


def test_brackets_are_the_letters_that_transformers_makes_of_them(
    name: str, reader: ExtractiveReader, folder: Path
) -> None:
    if ARCHITECTURES[name].tokenizer in ("xlmr", "deberta"):
        pytest.skip("SentencePiece's special tokens stay words there")
    tokenizer = load_backend(locate(str(folder)), device="cpu").tokenizer
    [[[window]]] = WindowCutter(tokenizer, 128, 16).cut([QUESTION], [[TYPED]])
    theirs = AutoTokenizer.from_pretrained(folder)
    assert window.input_ids.tolist() == theirs(QUESTION, TYPED, split_special_tokens=True).input_ids


def test_a_model_that_reads_characters_instead_of_tokens_is_named(tmp_path: Path) -> None:
    sizes = SIZES | {"num_hash_buckets": 64, "pad_token_id": 0}
    CanineForQuestionAnswering(CanineConfig(**sizes)).save_pretrained(tmp_path)
    fast(tokenizer_of("bert")).save_pretrained(tmp_path)
    for load in (load_backend, load_sentence_model):
        with pytest.raises(ModelError, match="has no table of embeddings for tokens"):
            load(locate(str(tmp_path)))


@pytest.mark.parametrize(
    "load",
    [load_sentence_model, lambda location: open_cross_encoder(location, "cpu", remedy="None.")],
    ids=["encoder", "ranker"],
)
def test_weights_that_were_not_loaded_are_an_error_whatever_their_names(
    load: Callable[[ModelLocation], object], tmp_path: Path
) -> None:
    """A reader of Llama calls `transformer.` what its other models call `model.`"""
    sizes = SIZES | {"num_key_value_heads": 2, "pad_token_id": 1, "vocab_size": 500}
    LlamaForQuestionAnswering(LlamaConfig(**sizes)).save_pretrained(tmp_path)
    fast(tokenizer_of("roberta")).save_pretrained(tmp_path)
    with pytest.raises(ModelError, match=r"has no weights for .*layers"):
        load(locate(str(tmp_path)))


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(tmp_path: Path) -> None:
    folder = save_reader("bert", tmp_path / "bert")
    file = folder / "tokenizer.json"
    tokenizer = json.loads(file.read_text(encoding="utf-8"))
    vocabulary = tokenizer["model"]["vocab"]
    vocabulary["extraordinary"] = max(vocabulary.values()) + 1
    file.write_text(json.dumps(tokenizer), encoding="utf-8")
    with pytest.raises(ModelError, match="tokens, and the model embeddings of"):
        ExtractiveReader(model=str(folder)).run(query="Loud?", documents=[])
    with pytest.raises(ModelError, match="tokens, and the model embeddings of"):
        load_sentence_model(locate(str(folder)))
