"""Exports of small models with random weights: the same numbers, the same bytes each time."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from architectures import ARCHITECTURES, save_dpr, save_rag, save_reader
from tiny_models import tiny_bart

pytest.importorskip("torch")
pytest.importorskip("onnx")

from transformers import (
    BertConfig,
    BertForQuestionAnswering,
    BertModel,
    DistilBertConfig,
    DistilBertForQuestionAnswering,
    MBartConfig,
    MBartForQuestionAnswering,
)

from qa_system.config import EncoderSettings
from qa_system.errors import ModelError
from qa_system.export.onnx import export_model
from qa_system.models.inference import OnnxSession
from qa_system.models.locate import locate, read_manifest
from qa_system.readers.backends import load_backend
from qa_system.readers.calibration import Calibration, Sigmoid, keep_calibration
from qa_system.retrievers.encoders import Encoder, load_encoder

pytestmark = pytest.mark.slow
Save = Callable[[Any, Path], Path]
SMALL = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 128,
    "initializer_range": 0.2,
}


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Save) -> Path:
    return save_checkpoint(
        BertForQuestionAnswering(BertConfig(**SMALL)), tmp_path_factory.mktemp("bert")
    )


def batch(rows: int, length: int) -> dict[str, np.ndarray]:
    ids = np.random.default_rng(length).integers(200, 20_000, size=(rows, length))
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": (np.arange(length) > 5).astype(np.int64) * np.ones_like(ids),
    }


def logits_of(folder: Path, feeds: dict[str, np.ndarray], precision: str = "auto") -> np.ndarray:
    backend = load_backend(locate(str(folder)), precision=precision, device="cpu")
    return np.stack(backend.logits(**feeds))


@pytest.mark.parametrize("shape", [(1, 9), (4, 130), (2, 384)])
def test_fp32_equals_the_checkpoint(bert: Path, tmp_path: Path, shape: tuple[int, int]) -> None:
    manifest = export_model(bert, tmp_path, task="reader", precision="fp32")
    assert read_manifest(tmp_path) == manifest
    assert (manifest["task"], manifest["precision"]) == ("reader", "fp32")
    feeds = batch(*shape)
    assert logits_of(tmp_path, feeds) == pytest.approx(logits_of(bert, feeds, "fp32"), abs=1e-4)


def test_a_model_without_token_types(tmp_path: Path, save_checkpoint: Save) -> None:
    config = DistilBertConfig(dim=32, n_layers=2, n_heads=2, hidden_dim=64, initializer_range=0.5)
    source = save_checkpoint(DistilBertForQuestionAnswering(config), tmp_path / "source")
    export_model(source, tmp_path / "out", task="reader", precision="fp32")
    feeds = batch(3, 40)
    expected = logits_of(source, feeds, "fp32")
    assert logits_of(tmp_path / "out", feeds) == pytest.approx(expected, abs=1e-4)


def test_int8_is_small_near_and_the_same_each_time(bert: Path, tmp_path: Path) -> None:
    (tmp_path / "once").mkdir()
    (tmp_path / "once" / "README.md").write_text("a card")
    for name in ("once", "twice"):
        export_model(bert, tmp_path / name, task="reader")
    assert (tmp_path / "once" / "README.md").read_text() == "a card"
    for file in ("model.onnx", "model.json", "tokenizer.json"):
        once, twice = ((tmp_path / name / file).read_bytes() for name in ("once", "twice"))
        assert once == twice
    assert str(tmp_path).encode() not in (tmp_path / "once" / "model.onnx").read_bytes()
    parameters = sum(p.stat().st_size for p in bert.glob("*.safetensors"))
    assert (tmp_path / "once" / "model.onnx").stat().st_size < 0.5 * parameters
    feeds = batch(2, 60)
    exact, rounded = logits_of(bert, feeds, "fp32"), logits_of(tmp_path / "once", feeds)
    assert np.corrcoef(exact.ravel(), rounded.ravel())[0, 1] > 0.98


def test_fp16_is_half_as_large_and_near(bert: Path, tmp_path: Path) -> None:
    manifest = export_model(bert, tmp_path, task="reader", precision="fp16")
    assert manifest["precision"] == "fp16"
    parameters = sum(p.stat().st_size for p in bert.glob("*.safetensors"))
    assert (tmp_path / "model.onnx").stat().st_size == pytest.approx(0.5 * parameters, rel=0.05)
    feeds = batch(2, 60)
    exact, half = logits_of(bert, feeds, "fp32"), logits_of(tmp_path, feeds, "fp16")
    assert half.dtype == np.float32
    worst = np.abs(half - exact).max()
    assert 0 < worst < 0.01 * np.abs(exact).max()
    # torch's own half, computed without ONNX Runtime, is as far from fp32.
    assert worst < 3 * np.abs(logits_of(bert, feeds, "fp16") - exact).max()


def test_what_does_not_fit_into_fp16_is_refused(tmp_path: Path, save_checkpoint: Save) -> None:
    model = BertForQuestionAnswering(BertConfig(**SMALL))
    model.bert.encoder.layer[0].output.dense.weight.data *= 3e4  # its product is beyond 65,504
    source = save_checkpoint(model, tmp_path / "source")
    with pytest.raises(ModelError, match=r"reach .* and fp16 ends at 65,504"):
        export_model(source, tmp_path / "out", task="reader", precision="fp16")
    assert not (tmp_path / "out").exists()


def test_a_calibration_travels_with_the_export(bert: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(bert, source)
    fitted = Calibration(-1.5, Sigmoid(2.0, 2.5), Sigmoid(-1.0, 2.0), "dev, 80 questions")
    keep_calibration(fitted, locate(str(source)))
    manifest = export_model(source, tmp_path / "out", task="reader", precision="fp32")
    assert manifest["calibration"] == fitted.to_dict()
    assert load_backend(locate(str(tmp_path / "out"))).calibration == fitted


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_an_embedding_does_not_depend_on_its_batch(
    tmp_path: Path, precision: str, save_checkpoint: Save
) -> None:
    sentence_transformers = pytest.importorskip("sentence_transformers")
    from sentence_transformers.models import Normalize, Pooling, Transformer

    config = BertConfig(**SMALL)
    word = Transformer(
        str(save_checkpoint(BertModel(config), tmp_path / "bert")), max_seq_length=128
    )
    model = sentence_transformers.SentenceTransformer(
        modules=[word, Pooling(64, pooling_mode="mean"), Normalize()], device="cpu"
    )
    model.save(str(tmp_path / "source"))
    manifest = export_model(
        tmp_path / "source", tmp_path / "out", task="encoder", precision=precision
    )
    assert manifest["dimension"] == 64
    assert (manifest["similarity"], manifest["normalize"]) == ("dot_product", True)
    assert manifest["max_seq_length"] == 128

    texts = ["The battery lasts ten hours.", "Light.", "It broke after a week of careful use!"]
    expected = model.encode(texts)
    session = OnnxSession(locate(str(tmp_path / "out")))
    encoded = model.tokenizer(texts, padding=True, return_tensors="np", return_token_type_ids=True)
    [together] = session.run({name: np.asarray(ids) for name, ids in encoded.items()})
    for number, text in enumerate(texts):
        alone = model.tokenizer([text], return_tensors="np", return_token_type_ids=True)
        [single] = session.run({name: np.asarray(ids) for name, ids in alone.items()})
        same = 1e-5 if precision != "fp16" else 1e-3
        assert single[0] == pytest.approx(together[number], abs=same)
        nearest = {"fp32": 0.9999, "fp16": 0.999, "int8": 0.99}[precision]
        assert single[0] @ expected[number] > nearest


def test_errors_are_named(bert: Path, tmp_path: Path, save_checkpoint: Save) -> None:
    with pytest.raises(ModelError, match="an export already"):
        export_model(locate("bundled:reader").path, tmp_path, task="reader")
    save_checkpoint(BertModel(BertConfig(**SMALL)), tmp_path / "headless")
    with pytest.raises(ModelError, match="no weights for qa_outputs"):
        export_model(tmp_path / "headless", tmp_path / "out", task="reader")
    assert not (tmp_path / "out").exists()
    with pytest.raises(ModelError, match="cannot be loaded for extractive"):
        export_model(save_dpr(tmp_path / "dpr")[0], tmp_path / "out", task="reader")
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="the export cannot be written"):
        export_model(bert, tmp_path / "file", task="reader", precision="fp32")


def test_an_architecture_that_cannot_be_exported_is_named(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, said in (
        ("longformer", "the architecture LongformerForQuestionAnswering cannot be exported"),
        ("t5", "no token that could stand for 'no answer'"),
    ):
        capfd.readouterr()
        with pytest.raises(ModelError, match=said) as caught:
            export_model(save_reader(name, tmp_path / name), tmp_path / "out", task="reader")
        assert "\n" not in str(caught.value)
        assert "def forward" not in capfd.readouterr().err


def test_a_graph_that_does_not_run_is_told_by_the_error_alone(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], save_checkpoint: Save
) -> None:
    config = MBartConfig(vocab_size=30522, **ARCHITECTURES["bart"].options)
    folder = save_checkpoint(MBartForQuestionAnswering(config), tmp_path / "mbart")
    capfd.readouterr()
    with pytest.raises(ModelError, match="MBartForQuestionAnswering cannot be exported"):
        export_model(folder, tmp_path / "out", task="reader", precision="fp32")
    assert "onnxruntime" not in capfd.readouterr().err


def test_an_export_carries_the_positions_of_a_roberta(tmp_path: Path) -> None:
    folder = save_reader("roberta", tmp_path / "roberta")
    manifest = export_model(folder, tmp_path / "reader", task="reader", precision="fp32")
    assert (manifest["max_seq_length"], manifest["pad_id"]) == (128, 1)
    manifest = export_model(folder, tmp_path / "encoder", task="encoder", precision="fp32")
    assert (manifest["max_seq_length"], manifest["positions"]) == (128, 128)
    assert "role" not in manifest


def test_exports_of_dpr_encode_as_the_pair_does(tmp_path: Path) -> None:
    passages, questions = save_dpr(tmp_path / "dpr", projection=24)
    rag = save_rag(tmp_path / "rag", questions, tiny_bart())
    for name, source in (("p", passages), ("q", questions), ("r", rag)):
        export_model(source, tmp_path / name, task="encoder", precision="fp32")

    def pair(one: Path, other: Path | None) -> Encoder:
        named = None if other is None else str(other)
        return load_encoder(
            EncoderSettings(model=str(one), question_model=named, precision="fp32", device="cpu")
        )

    asked = ["How long does it last?", "Spotless! [SEP] Breakfast"]
    own, exported = pair(passages, questions), pair(tmp_path / "p", tmp_path / "q")
    of_rag = pair(tmp_path / "p", tmp_path / "r")
    assert exported.identity.similarity == "dot_product"
    assert exported.encode_passages(asked) == pytest.approx(own.encode_passages(asked), abs=1e-4)
    for each in (exported, of_rag):
        assert each.encode_questions(asked) == pytest.approx(own.encode_questions(asked), abs=1e-4)
    with pytest.raises(ModelError, match="encodes passages only"):
        pair(tmp_path / "p", None).encode_questions(asked)
    with pytest.raises(ModelError, match="encodes questions only"):
        pair(tmp_path / "q", None)
