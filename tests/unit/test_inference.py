import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qa_system.errors import ModelError
from qa_system.models.inference import (
    OnnxSession,
    choose_backend,
    load_tokenizer,
    pad,
    token_batches,
)
from qa_system.models.locate import (
    ModelLocation,
    bundled_models,
    locate,
    read_manifest,
    weights_hash,
)


@given(
    lengths=st.lists(st.integers(0, 600), max_size=80),
    batch_tokens=st.integers(1, 4000),
)
def test_batches_hold_every_row_once_within_the_budget(
    lengths: list[int], batch_tokens: int
) -> None:
    batches = list(token_batches(lengths, batch_tokens))
    rows = [position for batch in batches for position in batch.tolist()]
    assert sorted(rows) == list(range(len(lengths)))
    for batch in batches:
        longest = max(lengths[position] for position in batch)
        assert len(batch) == 1 or len(batch) * longest <= batch_tokens
    longest_first = [max(lengths[position] for position in batch) for batch in batches]
    assert longest_first == sorted(longest_first, reverse=True)


@given(st.lists(st.lists(st.integers(1, 9), max_size=9), max_size=9))
def test_padding_keeps_the_rows(rows: list[list[int]]) -> None:
    padded = pad(rows)
    for row, filled in zip(rows, padded, strict=True):
        assert filled[: len(row)].tolist() == row
        assert not filled[len(row) :].any()


def test_backend_must_match_the_model() -> None:
    bundled = locate("bundled:reader")
    assert choose_backend(bundled, "auto") == "onnx"
    with pytest.raises(ModelError, match="backend 'torch' cannot run"):
        choose_backend(bundled, "torch")


@pytest.mark.parametrize("name", ["bundled:nothing", "./nowhere", "/nowhere", "nowhere", "a/b/c"])
def test_a_model_that_is_not_there_is_named(name: str) -> None:
    with pytest.raises(ModelError, match="there is no") as caught:
        locate(name)
    assert name in str(caught.value)


def test_a_hub_model_offline_is_a_model_error() -> None:
    with pytest.raises(ModelError, match="cannot be had"):
        locate("nobody/nothing-of-that-name")


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        locate(str(tmp_path))


def test_the_bundled_models_are_found() -> None:
    assert {"bundled:encoder", "bundled:reader"} <= set(bundled_models())


def test_another_precision_than_the_folders_is_refused() -> None:
    with pytest.raises(ModelError, match="holds int8 weights, not fp32"):
        OnnxSession(locate("bundled:reader"), precision="fp32")


def test_damaged_files_are_model_errors(tmp_path: Path) -> None:
    location = ModelLocation("broken", tmp_path, "onnx")
    with pytest.raises(ModelError, match="tokenizer cannot be read"):
        load_tokenizer(tmp_path)
    (tmp_path / "model.json").write_text("{")
    with pytest.raises(ModelError, match="manifest cannot be read"):
        read_manifest(tmp_path)
    with pytest.raises(ModelError, match="manifest cannot be read"):
        OnnxSession(location)
    (tmp_path / "model.json").write_text('{"precision": "int8", "task": "reader"}')
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(ModelError, match="ONNX model cannot be loaded"):
        OnnxSession(location)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"exactness": "int8"}, "exactness: no such key"),
        ({"precision": "int4"}, "precision: must be 'fp32', 'fp16' or 'int8', and is 'int4'"),
        ({"task": "ranker"}, "task: must be 'reader', 'encoder' or 'judge', and is 'ranker'"),
        ({"format": 2}, "format: must be 1, and is 2"),
        ({"max_seq_length": 0}, "max_seq_length: must be more than 0"),
        ({"max_seq_length": "many"}, "max_seq_length: must be a whole number"),
        ({"max_seq_length": True}, "max_seq_length: must be a whole number, and is True"),
        ({"pad_id": "0"}, "pad_id: must be a whole number, and is '0'"),
        ({"pad_id": -1}, "pad_id: must be 0 or more"),
        ({"task": "encoder"}, "an encoder has a dimension, a similarity and a max_seq_length"),
        ([], "must be keys with values"),
    ],
)
def test_a_manifest_is_as_strict_as_settings(change: object, said: str, tmp_path: Path) -> None:
    manifest = read_manifest(locate("bundled:reader").path)
    changed = manifest | change if isinstance(change, dict) else change
    (tmp_path / "model.json").write_text(json.dumps(changed))
    with pytest.raises(ModelError, match="manifest cannot be used") as caught:
        read_manifest(tmp_path)
    assert said in str(caught.value)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("key", ["precision", "max_seq_length"])
def test_a_manifest_says_what_running_the_model_takes(key: str, tmp_path: Path) -> None:
    source = locate("bundled:reader").path
    shutil.copy(source / "model.onnx", tmp_path)
    manifest = read_manifest(source)
    del manifest[key]
    (tmp_path / "model.json").write_text(json.dumps(manifest))
    with pytest.raises(ModelError, match=f"does not say its {key}"):
        OnnxSession(locate(str(tmp_path)))


def test_older_files_of_a_tokenizer_will_do(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    words = load_tokenizer(locate("bundled:reader").path)
    vocabulary = words.get_vocab()
    old = "\n".join(sorted(vocabulary, key=vocabulary.__getitem__))
    (tmp_path / "vocab.txt").write_text(old, encoding="utf-8")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    text = "The battery lasts [SEP] two days, crème brûlée"
    assert load_tokenizer(tmp_path).encode("Is it?", text).ids == words.encode("Is it?", text).ids
    (tmp_path / "vocab.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ModelError, match="tokenizer cannot be read"):
        load_tokenizer(tmp_path)


def test_the_weights_hash_follows_the_files(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"weights")
    (tmp_path / "README.md").write_text("one")
    before = weights_hash(tmp_path)
    (tmp_path / "README.md").write_text("two")
    assert weights_hash(tmp_path) == before
    (tmp_path / "model.onnx").write_bytes(b"weighty")
    assert weights_hash(tmp_path) != before


def test_threads_share_a_session() -> None:
    from concurrent.futures import ThreadPoolExecutor

    session = OnnxSession(locate("bundled:reader"), threads=1)
    rng = np.random.default_rng(13)
    batches = [rng.integers(1000, 2000, (1, 12)) for _ in range(16)]

    def run(ids: np.ndarray) -> np.ndarray:
        ones = np.ones_like(ids)
        feeds = {"input_ids": ids, "attention_mask": ones, "token_type_ids": ones * 0}
        return session.run(feeds)[0]

    alone = [run(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(run, batches))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
    assert all(math.isfinite(value) for value in alone[0].ravel())
