"""Every architecture through every command: it works as plain transformers does, or is named.

Loading and reading are in `tests/unit/test_architectures.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from haystack import Document
from typer.testing import CliRunner

pytest.importorskip("onnx")
pytest.importorskip("transformers")

from architectures import ARCHITECTURES, save_dpr, save_rag, save_reader
from eval.cli import app as eval_app
from indexing.cli import app as index_app
from qa_system.config import EncoderSettings, load_settings
from qa_system.errors import EncoderMismatchError, ModelError
from qa_system.export.onnx import export_model
from qa_system.readers.extractive import ExtractiveReader
from qa_system.retrievers.encoders import load_encoder
from qa_system.system import QASystem
from qa_system.training.generator.train import train_generator
from qa_system.training.ranker.train import train_ranker
from qa_system.training.reader.train import train_reader
from qa_system.training.recipes import (
    GeneratorTraining,
    RankerTraining,
    ReaderTraining,
    RetrieverTraining,
)
from qa_system.training.retriever.train import train_retriever
from tiny_models import save_seq2seq, tiny_bart

pytestmark = pytest.mark.long

WITHOUT_NULL = {"gpt2", "xlnet", "t5"}
NOT_EXPORTED = {"longformer", "funnel"}
TEXTS = [
    "Bad.\r\nThe battery  lasts two days,\tbut\u202fit is crème brûlée; cafe\u0301!\x00 [SEP]</s>",
    "😀👨\u200d👩\u200d👧 so much and שָׁלוֹם مَرحبًا, 日本語 " * 8,
]
WINDOW = {"max_seq_length": 96, "stride": 16, "precision": "fp32", "device": "cpu"}
RECIPE: dict[str, Any] = {
    "train": [{"path": "bundled:sample", "split": "train", "weight": 0.03}],
    "dev": [{"path": "bundled:sample", "split": "dev"}],
    "epochs": 1,
    "batch_size": 8,
    "max_seq_length": 96,
    "evaluations": 1,
    "device": "cpu",
    "precision": "fp32",
}


def evaluate(*arguments: str) -> None:
    common = ["--dataset", "bundled:sample", "--split", "dev", "--resamples", "100", "--json"]
    done = CliRunner().invoke(eval_app, [*arguments, *common])
    assert done.exit_code == 0, done.exception or done.output


def reading(folder: Path) -> tuple[list[Any], np.ndarray]:
    reader = ExtractiveReader(str(folder), no_answer_threshold=-1000.0, **WINDOW)
    [found] = reader.read(["How long does it last?"], [[Document(content=t) for t in TEXTS]], 9)
    for answer in found.candidates:
        place = answer.document_offset
        assert answer.data == answer.document.content[place.start : place.end]
        assert answer.data.strip() == answer.data != ""
    return [answer.data for answer in found.candidates], np.array(found.log_odds)


@pytest.fixture(scope="module", params=ARCHITECTURES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(name: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_reader(name, tmp_path_factory.mktemp(name))


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_reader_is_exported_or_named(
    name: str, folder: Path, precision: Any, tmp_path: Path
) -> None:
    def export() -> dict[str, Any]:
        return export_model(folder, tmp_path / "out", task="reader", precision=precision)

    if name in WITHOUT_NULL | NOT_EXPORTED:
        said = "cannot be exported" if name in NOT_EXPORTED else "stand for 'no answer'"
        with pytest.raises(ModelError, match=said):
            export()
        return
    assert export()["max_seq_length"] == ARCHITECTURES[name].positions
    if precision == "fp32":
        answers, log_odds = reading(folder)
        exported, odds = reading(tmp_path / "out")
        assert odds == pytest.approx(log_odds, abs=1e-3)
        assert exported == answers


def test_an_encoder_is_exported_or_named(name: str, folder: Path, tmp_path: Path) -> None:
    if name in NOT_EXPORTED | {"xlnet"}:
        with pytest.raises(ModelError, match="cannot be exported"):
            export_model(folder, tmp_path / "out", task="encoder", precision="fp32")
        return
    export_model(folder, tmp_path / "out", task="encoder", precision="fp32")
    own, exported = (
        load_encoder(EncoderSettings(model=str(each), precision="fp32", device="cpu"))
        for each in (folder, tmp_path / "out")
    )
    assert exported.max_seq_length == own.max_seq_length
    expected = own.encode_passages(TEXTS)
    assert exported.encode_passages(TEXTS) == pytest.approx(expected, abs=1e-3)


def test_a_reader_is_trained_two_steps_and_evaluated(
    name: str, folder: Path, tmp_path: Path
) -> None:
    recipe = ReaderTraining.model_validate(RECIPE | {"model": str(folder), "stride": 16})
    if name in WITHOUT_NULL:
        said = "has 64 positions|stand for 'no answer'"
        with pytest.raises(ModelError, match=said):
            train_reader(recipe, tmp_path / "out")
        return
    record = train_reader(recipe, tmp_path / "out")
    assert max(entry["step"] for entry in record["history"]) >= 2
    before, _ = reading(folder)
    after, _ = reading(tmp_path / "out")
    assert len(before) == len(after) == 9
    settings = [f"reader.{key}={value}" for key, value in WINDOW.items()]
    options = [each for setting in settings for each in ("--set", setting)]
    evaluate("reader", "--reader", str(tmp_path / "out"), "--no-sas", *options)


@pytest.mark.parametrize(
    ("train", "recipe"),
    [(train_retriever, RetrieverTraining), (train_ranker, RankerTraining)],
    ids=["retriever", "ranker"],
)
def test_retrievers_and_rankers_start_from_it_or_it_is_named(
    name: str, folder: Path, train: Callable[..., Any], recipe: Any, tmp_path: Path
) -> None:
    settings = recipe.model_validate(RECIPE | {"model": str(folder), "max_seq_length": 48})
    if (name, train) == ("t5", train_ranker):
        with pytest.raises(ModelError, match="cannot read a text"):
            train(settings, tmp_path / "out")
        return
    record = train(settings, tmp_path / "out")
    assert 0 <= record["scores"]["mrr"] <= 1


@pytest.fixture(scope="module")
def dpr(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("dpr")
    passages, questions = save_dpr(folder / "pair", projection=32)
    others = save_dpr(folder / "other", seed=4, projection=32)[1]
    rag = save_rag(folder / "rag", questions, tiny_bart())
    return {"passages": passages, "questions": questions, "others": others, "rag": rag}


@pytest.mark.parametrize("questions", ["questions", "rag"])
def test_a_pair_indexes_answers_and_is_evaluated(
    dpr: dict[str, Path], questions: str, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    reviews = tmp_path / "reviews.jsonl"
    reviews.write_text(
        '{"review_id": "r1", "item_id": "B", "text": "The battery lasts two days.", "title": "A"}\n'
        '{"review_id": "r2", "item_id": "B", "text": "The strap is cheap. [SEP]", "title": null}\n'
    )
    pair = {"encoder.model": str(dpr["passages"]), "encoder.question_model": str(dpr[questions])}
    more = {"encoder.embed_title": True, "encoder.precision": "fp32", "retriever.mode": "dense"}
    options = [each for key, value in (pair | more).items() for each in ("--set", f"{key}={value}")]
    arguments = ["run", "--source", str(reviews), "--store", str(store), *options]
    done = CliRunner().invoke(index_app, arguments)
    assert done.exit_code == 0, done.exception or done.output
    there = {"store.path": str(store), **pair, **more}
    with QASystem(load_settings(None, there, environ={})) as system:
        assert system.ask("How long does it last?", item_id="B").reviews_read == 2
    wrong = there | {"encoder.question_model": str(dpr["others"])}
    with (
        QASystem(load_settings(None, wrong, environ={})) as system,
        pytest.raises(EncoderMismatchError, match="takes questions by"),
    ):
        system.ask("How long does it last?", item_id="B")
    of_eval = [each for key, value in pair.items() for each in ("--set", f"{key}={value}")]
    evaluate("retriever", "--retriever", "dense", *of_eval)


@pytest.mark.parametrize("side", ["passages", "questions", "rag"])
def test_a_side_of_a_pair_is_trained_and_exported(
    dpr: dict[str, Path], side: str, tmp_path: Path
) -> None:
    recipe = RECIPE | {"model": str(dpr[side]), "max_seq_length": 48, "towers": "two"}
    train_retriever(RetrieverTraining.model_validate(recipe), tmp_path / "out")
    for half in ("passage-encoder", "question-encoder"):
        trained = tmp_path / "out" / half
        export_model(trained, tmp_path / half, task="encoder", precision="int8")
        encoder = load_encoder(EncoderSettings(model=str(tmp_path / half), device="cpu"))
        assert encoder.identity.similarity == "dot_product"
        assert np.isfinite(encoder.encode_questions(TEXTS)).all()


@pytest.mark.parametrize("questions", ["questions", "rag"])
def test_a_generator_is_trained_with_a_pair(
    dpr: dict[str, Path], questions: str, tmp_path: Path
) -> None:
    recipe = {key: value for key, value in RECIPE.items() if key != "max_seq_length"} | {
        "model": str(save_seq2seq(tmp_path / "bart")),
        "max_source_length": 96,
        "max_answer_length": 16,
        "documents": 2,
        "dev_questions": 4,
        "passage_encoder": str(dpr["passages"]),
        "question_encoder": str(dpr[questions]),
    }
    train_generator(GeneratorTraining.model_validate(recipe), tmp_path / "out")
    trained = tmp_path / "out" / "question-encoder"
    pair = EncoderSettings(model=str(dpr["passages"]), question_model=str(trained), device="cpu")
    assert load_encoder(pair).encode_questions(TEXTS).shape == (2, 32)
    swapped = recipe | {"question_encoder": str(dpr["passages"])}
    with pytest.raises(ModelError, match="a question needs DPRQuestionEncoder"):
        train_generator(GeneratorTraining.model_validate(swapped), tmp_path / "swapped")
