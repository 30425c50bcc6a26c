"""A generator trained for a few steps on the sample: what it leaves, how it goes on, refusals."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from transformers import BertConfig, BertModel

from qa_system.config import EncoderSettings
from qa_system.errors import ConfigError, DataError, ModelError
from qa_system.generators.beams import BeamSearch, token_beams
from qa_system.generators.facts import read_facts
from qa_system.generators.seq2seq import load_seq2seq
from qa_system.models.locate import locate
from qa_system.retrievers.encoders import load_encoder
from qa_system.training.generator.bart_from_bert import build
from qa_system.training.generator.examples import answer_examples
from qa_system.training.generator.model import RagModel, start
from qa_system.training.generator.prior import Prior
from qa_system.training.generator.tokens import learnable_tokens
from qa_system.training.generator.train import train_generator
from qa_system.training.recipes import GeneratorTraining

pytestmark = pytest.mark.slow

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    # So that it matters which text is read.
    "initializer_range": 0.2,
}


@pytest.fixture(scope="module")
def encoder(
    tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Callable[[Any, Path], Path]
) -> Path:
    torch.manual_seed(0)
    return save_checkpoint(BertModel(BertConfig(**TINY)), tmp_path_factory.mktemp("encoder"))


@pytest.fixture
def recipe(encoder: Path) -> dict[str, Any]:
    return {
        "model": str(encoder),
        "decoder_layers": 1,
        "train": [{"path": "bundled:sample", "split": "train", "weight": 0.3}],
        "dev": [{"path": "bundled:sample", "split": "dev"}],
        "dev_questions": 6,
        "documents": 1,
        "epochs": 0.5,
        "batch_size": 8,
        "max_source_length": 96,
        "max_answer_length": 24,
        "evaluations": 2,
        "device": "cpu",
        "precision": "fp32",
    }


def trained(recipe: dict[str, Any], out: Path, **changes: Any) -> dict[str, Any]:
    return train_generator(GeneratorTraining.model_validate(recipe | changes), out)


def test_denoising_then_answers_then_rag(
    recipe: dict[str, Any], encoder: Path, tmp_path: Path
) -> None:
    record = trained(recipe, tmp_path / "denoised", objective="denoise", save_precision="fp32")
    assert record["counts"]["stretches"] > 0
    further = {"model": str(tmp_path / "denoised"), "decoder_layers": None}
    trained(recipe, tmp_path / "answers", **further, save_precision="fp32")
    further["model"] = str(tmp_path / "answers")
    further |= {"documents": 3, "question_encoder": str(encoder), "loss": "sequence"}
    record = trained(recipe, tmp_path / "rag", **further)
    assert sorted(path.name for path in (tmp_path / "rag").iterdir()) == [
        "README.md",
        "config.json",
        "curve.png",
        "generation_config.json",
        "generator.json",
        "model.safetensors",
        "question-encoder",
        "tokenizer.json",
        "training.json",
    ]
    assert json.loads((tmp_path / "rag" / "training.json").read_text()) == record
    assert record["counts"]["lessons"] > 0
    assert {"em", "f1"} <= set(record["scores"])
    facts = read_facts(tmp_path / "rag")
    assert (facts.mode, facts.score_scale) == ("sequence", 20.0)
    assert facts.template == "{question} [SEP] {text}"
    assert facts.question_encoder == "question-encoder"
    seq2seq = load_seq2seq(locate(str(tmp_path / "rag")), device="cpu", precision="fp32")
    sources = [seq2seq.source_ids("Is it light?", ["Very light.", "The screen broke."])]
    [[best, *_]] = token_beams(seq2seq, sources, [[0.5, 0.1]], BeamSearch(2, 6))
    assert len(best.posterior) == 2
    # bf16 is half of fp32.
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("answers", "rag")]
    assert sizes[1] < 0.51 * sizes[0]
    questions = load_encoder(
        EncoderSettings(
            model=str(encoder), question_model=str(tmp_path / "rag" / "question-encoder")
        )
    )
    before = load_encoder(EncoderSettings(model=str(encoder)))
    asked = ["Is it light?"]
    moved = questions.encode_questions(asked) - before.encode_questions(asked)
    assert abs(moved).max() > 1e-4


def test_a_generator_learns_to_ask(recipe: dict[str, Any], tmp_path: Path) -> None:
    from haystack import Document

    from qa_system.generators.rag import RAGGenerator
    from qa_system.training.questions.candidates import Candidate
    from qa_system.training.questions.writers import as_question, writer_of

    record = trained(
        recipe,
        tmp_path / "asker",
        objective="question",
        train=[{"path": "bundled:sample", "split": "train", "weight": 0.05}],
        epochs=40,
        learning_rate=3e-3,
        dropout=0.0,
        evaluations=1,
    )
    assert record["counts"]["questions"] > 0
    losses = [entry["loss"] for entry in record["history"] if "loss" in entry]
    assert losses[-1] < 0.7 * losses[0]
    assert read_facts(tmp_path / "asker").writes == "questions"
    generator = RAGGenerator(str(tmp_path / "asker"), num_beams=2, device="cpu")
    review = Document(id="r", content="Small. The battery lasts ten hours.")
    [written] = writer_of("model", generator).write([Candidate(review, 7, 34, "battery")])
    assert written == as_question(written or "?")
    with pytest.raises(ValidationError, match="set `documents: 1`"):
        GeneratorTraining.model_validate(recipe | {"objective": "question", "documents": 3})


@pytest.mark.parametrize("mode", ["token", "sequence"])
def test_the_gradient_reaches_the_question_encoder_and_not_the_passages(
    encoder: Path, tmp_path: Path, mode: Any
) -> None:
    from qa_system.datasets.dataset import read_dataset
    from qa_system.training.retriever import bi_encoder

    cpu = torch.device("cpu")
    built = build(locate(str(encoder)), 1, tmp_path / "built")
    seq2seq = start(built, cpu, dropout=0.0, max_source_length=96)
    question_encoder = bi_encoder.start(locate(str(encoder)), 64, cpu, seed=1)
    passage_encoder = load_encoder(EncoderSettings(model=str(encoder)))
    prior = Prior(passage_encoder, question_encoder, 20.0)
    labels = read_dataset("bundled:sample").labels_of("dev")
    examples, _ = answer_examples(labels, 3)
    learnable, _ = learnable_tokens(examples[:4], seq2seq, 16, prior)
    model = RagModel(seq2seq, mode=mode, prior=prior)
    model.eval()
    batch = model.collate(learnable)
    loss = model(batch)
    loss.backward()
    assert not batch["passages"].requires_grad
    weights = dict(question_encoder.named_parameters())
    query = next(weight for name, weight in weights.items() if name.endswith("query.weight"))
    assert query.grad is not None
    assert float(query.grad.abs().max()) > 0
    # A step against it makes the answers likelier.
    gradients = [(weight, weight.grad) for weight in weights.values() if weight.grad is not None]
    norm = sum(float(gradient.square().sum()) for _, gradient in gradients) ** 0.5
    with torch.no_grad():
        for weight, gradient in gradients:
            weight -= 0.01 / norm * gradient
        assert model(batch).item() < loss.item()


def test_a_run_learns_its_examples(recipe: dict[str, Any], tmp_path: Path) -> None:
    record = trained(
        recipe,
        tmp_path / "one",
        train=[{"path": "bundled:sample", "split": "train", "weight": 0.15}],
        epochs=40,
        learning_rate=3e-3,
        dropout=0.0,
        evaluations=1,
    )
    losses = [entry["loss"] for entry in record["history"] if "loss" in entry]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_the_same_recipe_gives_the_same_weights(recipe: dict[str, Any], tmp_path: Path) -> None:
    weights = []
    for name in ("one", "two"):
        trained(recipe, tmp_path / name)
        weights.append((tmp_path / name / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]
    with pytest.raises(ConfigError, match="holds a trained model"):
        trained(recipe, tmp_path / "one")


def test_a_killed_run_goes_on_where_it_was(
    recipe: dict[str, Any], encoder: Path, tmp_path: Path
) -> None:
    recipe |= {"epochs": 6.0, "evaluations": 6, "patience": 6}
    recipe |= {"documents": 2, "question_encoder": str(encoder)}
    told = tmp_path / "recipe.yaml"
    told.write_text(json.dumps(recipe))
    out = tmp_path / "model"
    command = [sys.executable, "-m", "qa_system.cli", "train", "generator", "--json"]
    run = subprocess.Popen(
        [*command, "--recipe", str(told), "--out", str(out)],
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    deadline = time.monotonic() + 240
    while not list(out.glob("checkpoints/checkpoint-*/trainer_state.json")):
        assert run.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert not (out / "training.json").exists()
    with pytest.raises(ConfigError, match="other settings"):
        trained(recipe, out, seed=1)
    record = trained(recipe, out)
    steps = [entry["step"] for entry in record["history"] if "eval_f1" in entry]
    assert steps == sorted(set(steps))
    assert len(steps) >= 6


def test_what_cannot_be_trained_is_said(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is an export"):
        trained(recipe, tmp_path / "a", model="bundled:reader")
    with pytest.raises(ModelError):
        trained(recipe, tmp_path / "b", decoder_layers=None)  # an encoder is no seq2seq model
    with pytest.raises(DataError, match="there is no split"):
        trained(recipe, tmp_path / "c", train=[{"path": "bundled:sample", "split": "nowhere"}])
    with pytest.raises(DataError, match="nothing to measure on"):
        trained(recipe, tmp_path / "d", dev=[])
    for wrong in ({"objective": "denoise", "documents": 5}, {"question_encoder": "x/y"}):
        with pytest.raises(ValidationError):
            GeneratorTraining.model_validate(recipe | wrong)
