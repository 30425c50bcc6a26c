"""A retriever trained for a few steps on the sample, all the way to a store that it searches."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from transformers import BertConfig, BertForSequenceClassification, BertModel
from typer.testing import CliRunner

from indexing.cli import app
from qa_system.config import EncoderSettings, StoreSettings
from qa_system.errors import ConfigError, DataError, EncoderMismatchError, ModelError
from qa_system.export.onnx import export_model
from qa_system.models.locate import locate
from qa_system.retrievers.dense import DenseRetriever
from qa_system.retrievers.encoders import Encoder, load_encoder
from qa_system.stores import open_store
from qa_system.training import loop
from qa_system.training.recipes import RetrieverTraining
from qa_system.training.retriever import bi_encoder
from qa_system.training.retriever.examples import Triple
from qa_system.training.retriever.train import PASSAGE_ENCODER, QUESTION_ENCODER, train_retriever
from qa_system.training.run import begin

pytestmark = pytest.mark.slow

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
}
TEXTS = ["Is it good for reading?", "The battery lasts about two days.", "Spotless!"]


@pytest.fixture(scope="module")
def encoder(
    tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Callable[[Any, Path], Path]
) -> Path:
    return save_checkpoint(BertModel(BertConfig(**TINY)), tmp_path_factory.mktemp("encoder"))


def recipe(encoder: Path, **changed: Any) -> RetrieverTraining:
    return RetrieverTraining.model_validate(
        {
            "model": str(encoder),
            "train": [{"path": "bundled:sample", "split": "train", "weight": 0.3}],
            "dev": [{"path": "bundled:sample", "split": "dev"}],
            "passages": {"max_words": 30, "overlap_words": 5},
            "max_seq_length": 48,
            "batch_size": 8,
            "epochs": 1,
            "learning_rate": 1e-3,
            "evaluations": 2,
            "device": "cpu",
            "precision": "fp32",
        }
        | changed
    )


@pytest.fixture(scope="module")
def trained(encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("trained") / "encoder"
    return folder, train_retriever(recipe(encoder), folder)


def loaded(folder: Any, questions: Any = None) -> Encoder:
    settings = EncoderSettings(
        model=str(folder),
        question_model=None if questions is None else str(questions),
        device="cpu",
        precision="auto" if (Path(folder) / "model.json").exists() else "fp32",
    )
    return load_encoder(settings)


def invoke(*arguments: Any) -> None:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    assert result.exit_code == 0, result.output


def test_a_run_leaves_an_encoder_and_its_record(trained: tuple[Path, dict[str, Any]]) -> None:
    folder, record = trained
    names = {path.name for path in folder.iterdir()}
    assert {"model.safetensors", "modules.json", "tokenizer.json", "training.json"} <= names
    assert {"README.md", "curve.png"} <= names
    assert "checkpoints" not in names
    assert record["task"] == "retriever"
    assert set(record["scores"]) == {"mrr", "recall@1"}
    assert [origin["split"] for origin in record["data"]] == ["train", "dev"]
    assert record["counts"]["pairs"] > 0
    measured = [entry["eval_mrr"] for entry in record["history"] if "eval_mrr" in entry]
    assert record["scores"]["mrr"] == pytest.approx(max(measured), abs=1e-4)
    ours = loaded(folder)
    theirs = SentenceTransformer(str(folder), device="cpu").encode(TEXTS)
    assert ours.encode_passages(TEXTS) == pytest.approx(theirs, abs=1e-5)
    assert ours.max_seq_length == 48


def test_from_training_to_a_store_that_only_it_searches(
    trained: tuple[Path, dict[str, Any]], sample: Path, tmp_path: Path
) -> None:
    folder, _ = trained
    store = tmp_path / "store"
    invoke("run", "--source", sample, "--store", store, "--encoder-model", "bundled:encoder")
    for precision in ("fp32", "int8"):
        export_model(folder, tmp_path / precision, task="encoder", precision=precision)
    exported = {name: loaded(name) for name in (folder, tmp_path / "fp32", tmp_path / "int8")}
    exact, fp32, int8 = (each.encode_passages(TEXTS) for each in exported.values())
    units = exact / np.linalg.norm(exact, axis=1, keepdims=True)
    for vectors, least in ((fp32, 0.9999), (int8, 0.98)):
        rounded = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
        assert (units * rounded).sum(axis=1).min() > least

    adapted = {"model": str(tmp_path / "int8"), "device": "cpu"}
    with open_store(StoreSettings(path=str(store))) as opened, pytest.raises(EncoderMismatchError):
        DenseRetriever(opened, adapted).warm_up()
    invoke("reembed", "--store", store, "--encoder-model", tmp_path / "int8")
    with open_store(StoreSettings(path=str(store))) as opened:
        retriever = DenseRetriever(opened, adapted, top_k=3)
        retriever.warm_up()
        found = retriever.run("Is it good for reading?")["documents"]
        assert len(found) == 3
        text = [document.content or "" for document in found]
        similar = exported[tmp_path / "int8"]
        question = similar.encode_questions(["Is it good for reading?"])[0]
        expected = similar.encode_passages(text) @ question
        norms = np.linalg.norm(similar.encode_passages(text), axis=1) * np.linalg.norm(question)
        scores = [document.score for document in found]
        assert any(scores == pytest.approx(each, abs=1e-3) for each in (expected, expected / norms))
        with pytest.raises(EncoderMismatchError):
            DenseRetriever(opened, {"model": "bundled:encoder"}).warm_up()


def test_two_encoders_search_together(encoder: Path, tmp_path: Path) -> None:
    train_retriever(recipe(encoder, towers="two"), tmp_path / "two")
    folders = tmp_path / "two" / PASSAGE_ENCODER, tmp_path / "two" / QUESTION_ENCODER
    both = loaded(*folders)
    alone = loaded(folders[0])
    assert both.encode_passages(TEXTS) == pytest.approx(alone.encode_passages(TEXTS))
    assert np.abs(both.encode_questions(TEXTS) - alone.encode_questions(TEXTS)).max() > 1e-3
    exports = [tmp_path / folder.name for folder in folders]
    for folder, out in zip(folders, exports, strict=True):
        export_model(folder, out, task="encoder", precision="fp32")
    exported = loaded(*exports)
    assert exported.encode_questions(TEXTS) == pytest.approx(both.encode_questions(TEXTS), abs=1e-4)


def test_a_run_that_was_stopped_goes_on(
    encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = recipe(encoder, towers="two")
    whole = train_retriever(settings, tmp_path / "whole")
    last = whole["history"][-1]["step"]

    def stop(_shown: Any, _args: Any, state: Any, _control: Any, **_: Any) -> None:
        if state.global_step == last - 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(loop.Shown, "on_step_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train_retriever(settings, tmp_path / "stopped")
    assert not (tmp_path / "stopped" / "training.json").exists()
    with pytest.raises(ConfigError, match="other settings"):
        train_retriever(recipe(encoder, seed=1), tmp_path / "stopped")
    resumed = train_retriever(settings, tmp_path / "stopped")
    assert resumed["scores"] == pytest.approx(whole["scores"], abs=1e-6)
    for name in (QUESTION_ENCODER, PASSAGE_ENCODER):
        once, again = (loaded(tmp_path / run / name) for run in ("whole", "stopped"))
        assert once.encode_passages(TEXTS) == pytest.approx(again.encode_passages(TEXTS), abs=1e-5)


def test_without_labels_a_store_and_a_teacher_are_enough(
    encoder: Path,
    sample: Path,
    tmp_path: Path,
    save_checkpoint: Callable[[Any, Path], Path],
) -> None:
    invoke("run", "--source", sample, "--store", tmp_path / "store", "--no-embed")
    (tmp_path / "asked.txt").write_text("Is the battery good?\nDoes it fit?\nIs it loud?\n")
    ranker = save_checkpoint(
        BertForSequenceClassification(BertConfig(**TINY, num_labels=1)), tmp_path / "ranker"
    )
    source = [{"path": f"store:{tmp_path / 'store'}"}]
    for name in ("bundled:reader", str(ranker)):
        teacher = {"model": name, "candidates": 3, "questions": str(tmp_path / "asked.txt")}
        settings = recipe(encoder, train=source, labels="teacher", teacher=teacher)
        record = train_retriever(settings, tmp_path / f"taught-by-{Path(name).name}")
        assert record["counts"] == {"asked_on_dev": 0, "judged": 12}
    cloze = train_retriever(recipe(encoder, train=source, labels="cloze"), tmp_path / "cloze")
    assert cloze["counts"]["pairs"] > 20
    with pytest.raises(ConfigError, match="no labels"):
        train_retriever(recipe(encoder, train=source), tmp_path / "given")


def test_the_gradient_of_chunks_is_that_of_the_whole_batch(encoder: Path, tmp_path: Path) -> None:
    triples = [Triple(f"Is {n} good?", f"Yes, {n} is good.", (f"No {n}.",)) for n in range(8)]
    losses = []
    for chunk in (None, 2):
        model = bi_encoder.start(locate(str(encoder)), 48, torch.device("cpu"), seed=1)
        model[0].auto_model.config.hidden_dropout_prob = 0.0
        for module in model.modules():
            if type(module).__name__ == "Dropout":
                module.p = 0.0
        history = bi_encoder.fit(
            model,
            triples,
            loss=bi_encoder.Loss(scale=20.0, chunk_size=chunk),
            evaluate=lambda: {"mrr": 0.5},
            run=begin(recipe(encoder, epochs=2), tmp_path / str(chunk)),
        )
        losses.append([entry["loss"] for entry in history if "loss" in entry])
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert losses[0][-1] < losses[0][0]


def test_what_cannot_be_trained_is_named(encoder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="export"):
        train_retriever(recipe(Path("bundled:encoder")), tmp_path / "a")
    with pytest.raises(ModelError, match="512 positions"):
        train_retriever(recipe(encoder, max_seq_length=600), tmp_path / "b")
    with pytest.raises(DataError, match="measure on"):
        train_retriever(recipe(encoder, dev=[]), tmp_path / "c")
    with pytest.raises(DataError, match="learn from"):
        train_retriever(recipe(encoder, train=[]), tmp_path / "d")
