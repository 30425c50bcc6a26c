"""Words that are hidden, windows that they stand in, the loss of predicting them, and sources."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import pre_tokenizers

import architectures
from qa_system.errors import ConfigError, DataError, ModelError
from qa_system.models.locate import locate
from qa_system.models.tokenizing import take_literally
from qa_system.training.language_model.masking import IGNORED, NO_WORD, Mask, hide
from qa_system.training.language_model.model import LanguageModel, start
from qa_system.training.language_model.recipe import Masking, ReviewSource
from qa_system.training.language_model.reviews import read_reviews
from qa_system.training.language_model.windows import Vocabulary, vocabulary_of, windows_of

MASK_ID = 4
ORDINARY = np.arange(5, 100, dtype=np.int32)
BERT = Mask(0.15, MASK_ID, ORDINARY, masked=0.8, random=0.1)

WORDS = st.lists(st.tuples(st.integers(1, 12), st.booleans()), max_size=40)
"""Tokens of each word, and whether it is one that may be hidden."""


def text_of(words: list[tuple[int, bool]]) -> tuple[Any, Any]:
    numbers = [
        place if own else NO_WORD for place, (size, own) in enumerate(words) for _ in range(size)
    ]
    return np.arange(5, 5 + len(numbers), dtype=np.int32), np.array(numbers, np.int32)


@given(WORDS, st.floats(0.05, 0.9), st.integers(0, 1000))
def test_whole_words_are_hidden_and_nothing_else(
    words: list[tuple[int, bool]], share: float, seed: int
) -> None:
    ids, numbers = text_of(words)
    mask = Mask(share, MASK_ID, ORDINARY, masked=0.8, random=0.1)
    hidden = hide(ids, numbers, mask, np.random.default_rng(seed))
    chosen = hidden.targets != IGNORED
    assert (hidden.targets[chosen] == ids[chosen]).all()
    assert (hidden.ids[~chosen] == ids[~chosen]).all()
    assert set(hidden.ids[chosen]) <= {MASK_ID, *ORDINARY, *ids}
    assert NO_WORD not in numbers[chosen]
    assert chosen.any() == (numbers != NO_WORD).any()
    for word in {*numbers[chosen].tolist()}:
        assert chosen[numbers == word].all()
    longest = max((size for size, own in words if own), default=0)
    assert chosen.sum() <= share * (numbers != NO_WORD).sum() + longest
    again = hide(ids, numbers, mask, np.random.default_rng(seed))
    assert (again.ids == hidden.ids).all()
    assert (again.targets == hidden.targets).all()


def test_the_shares_are_those_of_bert() -> None:
    draw = np.random.default_rng(7)
    sizes = draw.integers(1, 7, 40)
    ids, numbers = text_of([(int(size), True) for size in sizes])
    whole, hidden, by_size = 0, [], np.zeros(7)
    for _ in range(3000):
        one = hide(ids, numbers, BERT, draw)
        chosen = one.targets != IGNORED
        whole += len(ids)
        hidden += list(zip(one.ids[chosen], ids[chosen], strict=True))
        by_size += np.bincount(sizes[np.unique(numbers[chosen])], minlength=7)
    assert len(hidden) / whole == pytest.approx(0.15, abs=0.002)
    masked = sum(seen == MASK_ID for seen, _ in hidden) / len(hidden)
    stays = sum(seen == own for seen, own in hidden) / len(hidden)
    assert masked == pytest.approx(0.8, abs=0.01)
    # One random token of 95 is the one that it takes the place of.
    assert stays == pytest.approx(0.1 + 0.1 / 95, abs=0.01)
    # Long words are hidden as often as short ones.
    rates = by_size[1:] / np.bincount(sizes, minlength=7)[1:] / 3000
    assert rates == pytest.approx(rates.mean(), abs=0.02)


def test_a_choice_of_words_is_what_it_was() -> None:
    ids, numbers = text_of([(1, False), (2, True), (1, True), (3, True), (1, True), (1, False)])
    mask = Mask(0.5, MASK_ID, ORDINARY, masked=0.5, random=0.25)
    one = hide(ids, numbers, mask, np.random.default_rng(3))
    # 3.5 of 7 tokens: the words of three and of one, of which a token is exchanged for another.
    assert one.ids.tolist() == [5, 6, 7, 8, 4, 44, 4, 4, 13]
    assert one.targets.tolist() == [-100] * 4 + [9, 10, 11, 12] + [-100]


def words_in(kind: str, text: str, *, undivided: bool = False) -> list[str]:
    """The words of a text as a tokenizer of one kind has them, those that may be hidden."""
    tokenizer = architectures.tokenizer_of(kind)
    take_literally(tokenizer)
    if undivided:
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(split=False)
    vocabulary = vocabulary_of(tokenizer, Path("nowhere"))
    [window] = windows_of([text], vocabulary, layout="windows", length=512)
    found = []
    for number in dict.fromkeys(window.words[window.words != NO_WORD].tolist()):
        found.append(tokenizer.decode(window.ids[window.words == number].tolist()).strip())
    return found


TEXT = "The strap's zipper breaks,  naïve buyers!\n\nit"


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("bert", "the|strap|'|s|zipper|breaks|,|naive|buyers|!|it"),
        ("roberta", "The|strap|'s|zipper|breaks|,|naïve|buyers|!|it"),
        ("xlmr", "The|strap's|zipper|breaks,|naïve|buyers!|it"),
    ],
)
def test_words_are_those_of_the_tokenizer(kind: str, words: str) -> None:
    assert words_in(kind, TEXT) == words.split("|")


def test_a_tokenizer_that_does_not_divide_texts_has_words_between_spaces() -> None:
    text = "The strap is cheap, but it lasts"
    for undivided in (False, True):
        assert words_in("deberta", text, undivided=undivided) == text.split()


def test_special_unknown_and_unbroken_text_is_no_word() -> None:
    assert words_in("bert", "so [SEP] it ☃ is")[0:3] == ["so", "sep", "it"]
    unbroken = words_in("xlmr", "It: 日本語テストです日本語テストです")
    assert unbroken[0] == "It:"
    assert unbroken[-1] == "す"
    assert len(unbroken) > 10


def layout_of(texts: list[str], layout: Any, length: int, kind: str = "bert") -> tuple[Any, Any]:
    tokenizer = architectures.tokenizer_of(kind)
    take_literally(tokenizer)
    vocabulary = vocabulary_of(tokenizer, Path("nowhere"))
    return vocabulary, windows_of(texts, vocabulary, layout=layout, length=length)


def test_reviews_are_packed_or_have_windows_of_their_own() -> None:
    texts = ["The light", "It fits", "", "The battery lasts two days"]
    one, two, four = (
        architectures.tokenizer_of("bert").encode(texts[place], add_special_tokens=False).ids
        for place in (0, 1, 3)
    )
    _, packed = layout_of(texts, "packed", 64)
    assert [each.ids.tolist() for each in packed] == [[2, *one, 3, *two, 3, *four, 3]]
    assert len({*packed[0].words.tolist()} - {NO_WORD}) == 9
    _, windows = layout_of(texts, "windows", 64)
    assert [each.ids.tolist() for each in windows] == [[2, *each, 3] for each in (one, two, four)]


@given(
    st.lists(st.lists(st.sampled_from(TEXT.split()), max_size=30).map(" ".join), max_size=6),
    st.sampled_from(["bert", "roberta", "xlmr"]),
    st.integers(16, 40),
)
def test_no_token_is_lost_and_no_word_cut(texts: list[str], kind: str, length: int) -> None:
    tokenizer = architectures.tokenizer_of(kind)
    expected = [tokenizer.encode(text, add_special_tokens=False).ids for text in texts]
    for layout in ("windows", "packed"):
        vocabulary, windows = layout_of(texts, layout, length, kind)
        inside = [number for each in windows for number in each.ids.tolist()[1:-1]]
        if layout == "packed":
            inside = [number for number in inside if number not in vocabulary.after]
        assert inside == [number for ids in expected for number in ids]
        assert all(len(each) <= length for each in windows)
        for before, after in pairwise(windows):
            assert layout == "windows" or not {*before.words} & {*after.words} - {NO_WORD}


def saved(name: str, folder: Path, suffix: str) -> Path:
    """Save a tiny model of an architecture: `Model`, or with a head."""
    made = architectures.ARCHITECTURES[name]
    tokenizer = architectures.tokenizer_of(made.tokenizer)
    config = getattr(transformers, f"{made.name}Config")(
        vocab_size=tokenizer.get_vocab_size(), **made.options
    )
    torch.manual_seed(1)
    model = getattr(transformers, made.name + suffix)(config)
    model.save_pretrained(folder)
    architectures.fast(tokenizer).save_pretrained(folder)
    return folder


def started(folder: Path, length: int = 32) -> LanguageModel:
    return start(locate(str(folder)), length, 0.1, torch.device("cpu"))


@pytest.mark.parametrize("name", ["bert", "distilbert", "mpnet", "roberta", "deberta2", "albert"])
def test_the_loss_is_that_of_transformers(name: str, tmp_path: Path) -> None:
    learner = started(saved(name, tmp_path / "bare", "Model"))
    assert learner.head_made
    assert learner.is_tied
    tables = [
        learner.model.get_output_embeddings().weight,
        learner.model.get_input_embeddings().weight,
    ]
    assert tables[0].data_ptr() == tables[1].data_ptr()
    windows = windows_of(
        architectures.SENTENCES[:7], learner.vocabulary, layout="windows", length=32
    )
    learner.start_from_frequencies(windows)
    mask = learner.vocabulary.mask_of(0.3, masked=0.8, random=0.1)
    batch = learner.collate(
        [
            hide(each.ids, each.words, mask, np.random.default_rng(place))
            for place, each in enumerate(windows)
        ]
    )
    assert len({len(each) for each in windows}) > 1
    with torch.no_grad():
        theirs = learner.model.eval()(**batch).loss
        ours = learner.loss(learner.model, batch)
    assert torch.isfinite(ours)
    assert float(ours) == pytest.approx(float(theirs), abs=1e-5)
    learner.save(tmp_path / "saved")
    again = started(tmp_path / "saved")
    assert not again.head_made
    with torch.no_grad():
        assert float(again.loss(again.model, batch)) == pytest.approx(float(ours), abs=1e-6)


def test_a_head_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    folder = saved("bert", tmp_path, "ForMaskedLM")
    learner = started(folder)
    assert not learner.head_made
    there = transformers.BertForMaskedLM.from_pretrained(folder).cls.state_dict()
    for name, weights in learner.model.cls.state_dict().items():
        assert torch.equal(weights, there[name])


def test_a_new_head_is_tied_whatever_the_config_says(tmp_path: Path) -> None:
    folder = saved("bert", tmp_path, "Model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"tie_word_embeddings": False}))
    assert started(folder).is_tied


def test_the_pooler_goes_along(tmp_path: Path) -> None:
    for name, suffix in (("bare", "Model"), ("reader", "ForSequenceClassification")):
        folder = saved("bert", tmp_path / name, suffix)
        started(folder).save(tmp_path / f"{name}-saved")
        before, after = (
            transformers.BertModel.from_pretrained(each).pooler.state_dict()
            for each in (folder, tmp_path / f"{name}-saved")
        )
        assert torch.equal(before["dense.weight"], after["dense.weight"])


def test_what_no_language_model_starts_from_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="which has a decoder"):
        started(saved("bart", tmp_path / "bart", "Model"))
    with pytest.raises(ModelError, match="predicting hidden tokens"):
        started(saved("gpt2", tmp_path / "gpt2", "Model"))
    folder = saved("bert", tmp_path / "bert", "Model")
    with pytest.raises(ModelError, match="128 positions"):
        started(folder, 129)
    without_mask = (folder / "tokenizer.json").read_text().replace("[MASK]", "[HOLE]")
    (folder / "tokenizer.json").write_text(without_mask)
    for name in ("tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(ModelError, match="no mask token"):
        started(folder)
    with pytest.raises(ValueError, match="more than 1"):
        Masking(masked=0.9, random=0.2)


def source(path: object, **changed: Any) -> ReviewSource:
    return ReviewSource.model_validate({"path": str(path), **changed})


@pytest.fixture
def reviews(tmp_path: Path) -> Path:
    path = tmp_path / "reviews.csv"
    rows = [f"B{number % 5},Review {number} of item {number % 5}." for number in range(20)]
    path.write_text("\n".join(["asin,reviewText", *rows, "B9,"]))
    return path


def test_no_item_is_learnt_from_and_measured_on(
    reviews: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    read = read_reviews([source(reviews, held_out=0.4)], [], seed=13)
    [learnt], [measured] = read.train, read.measured
    items = [{text[-2] for text in part} for part in (learnt, measured)]
    assert len(items[1]) == 2
    assert not items[0] & items[1]
    assert len(learnt) + len(measured) == 20
    assert "1 rows are no reviews" in caplog.text
    assert read == read_reviews([source(reviews, held_out=0.4)], [], seed=13)
    assert read.measured != read_reviews([source(reviews, held_out=0.4)], [], seed=2).measured

    other = tmp_path / "other.jsonl"
    said = [
        {"item_id": "B0", "text": "Of item 0, elsewhere."},
        {"item_id": "C", "text": measured[0]},
    ]
    said.append({"item_id": "C", "text": "Something else."})
    other.write_text("\n".join(map(json.dumps, said)))
    both = read_reviews([source(reviews), source(other)], [source(reviews)], seed=13)
    assert [list(texts) for texts in both.train] == [[], ["Something else."]]
    assert both.counts == {"learnt": 1, "measured": 20, "left_out": 22}


def test_labels_are_read_as_the_reviews_that_they_are_about(tmp_path: Path) -> None:
    labels = tmp_path / "labels.jsonl"
    rows = [
        {
            "question": f"q{number}?",
            "context": f"Text {number // 2}.",
            "answers": [],
            "split": "train",
        }
        for number in range(8)
    ]
    labels.write_text("\n".join(map(json.dumps, rows)))
    texts = [f"Text {number}." for number in range(4)]
    for each in (source(labels, held_out=0.25), source(labels, split="train", held_out=0.25)):
        read = read_reviews([each], [], seed=1)
        assert sorted([*read.train[0], *read.measured[0]]) == texts
    squad = tmp_path / "squad.json"
    paragraphs = [{"context": text, "qas": []} for text in texts]
    for paragraph in paragraphs:
        paragraph["qas"] = [{"id": paragraph["context"], "question": "?", "answers": []}]
    squad.write_text(json.dumps({"data": [{"title": "B0", "paragraphs": paragraphs}]}))
    assert len(read_reviews([source(squad, held_out=0.25)], [], seed=1).train[0]) == 3
    sample = read_reviews([source("bundled:sample", held_out=0.2)], [], seed=1)
    assert sample.counts["learnt"] > sample.counts["measured"] > 0


def test_wrong_sources_are_named(reviews: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to measure on"):
        read_reviews([source(reviews)], [], seed=1)
    with pytest.raises(DataError, match="every review is of an item that is measured on"):
        read_reviews([source(reviews)], [source(reviews)], seed=1)
    with pytest.raises(DataError, match="nothing to learn from"):
        read_reviews([], [source(reviews)], seed=1)
    with pytest.raises(DataError, match="no such file"):
        read_reviews([source(tmp_path / "nowhere.csv", held_out=0.1)], [], seed=1)
    with pytest.raises(DataError, match="leave none"):
        read_reviews([source(reviews, held_out=0.99)], [], seed=1)
    unnamed = tmp_path / "unnamed.csv"
    unnamed.write_text("what,said\nB0,Good.\nB0,Bad.\n")
    with pytest.raises(ConfigError, match="Say in the recipe"):
        read_reviews([source(unnamed, held_out=0.5)], [], seed=1)
    told = source(unnamed, held_out=0.5, columns={"text": "said"}, item="all")
    assert read_reviews([told], [], seed=1).counts["learnt"] == 1
    empty = tmp_path / "empty.csv"
    empty.write_text("asin,reviewText\n")
    with pytest.raises(DataError, match="there is no review"):
        read_reviews([source(empty, held_out=0.5)], [], seed=1)


def test_a_vocabulary_has_no_special_token_to_draw() -> None:
    for kind in architectures.KINDS:
        tokenizer = architectures.tokenizer_of(kind)
        vocabulary: Vocabulary = vocabulary_of(tokenizer, Path("nowhere"))
        drawn = {tokenizer.id_to_token(int(number)) for number in vocabulary.ordinary}
        assert not drawn & {*architectures.BERT_SPECIALS, *architectures.ROBERTA_SPECIALS}
        assert len(drawn) == tokenizer.get_vocab_size() - 5
