"""A cross-encoder trained for a few steps on the sample: what it leaves, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import BertConfig, BertModel

from eval.datasets import load_dataset
from eval.tasks.candidates import Selection
from eval.tasks.run import retriever_run
from qa_system.config import load_settings
from qa_system.errors import ConfigError, DataError, ModelError
from qa_system.training.recipes import RankerTraining

pytestmark = pytest.mark.slow

TINY = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
}


@pytest.fixture(scope="module")
def encoder(
    tmp_path_factory: pytest.TempPathFactory, save_checkpoint: Callable[[Any, Path], Path]
) -> Path:
    return save_checkpoint(BertModel(BertConfig(**TINY)), tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def recipe(encoder: Path) -> dict[str, Any]:
    return {
        "model": str(encoder),
        "train": [{"path": "bundled:sample", "split": "train", "weight": 0.2}],
        "dev": [{"path": "bundled:sample", "split": "dev"}],
        "epochs": 1,
        "batch_size": 4,
        "max_seq_length": 48,
        "candidates": 5,
        "evaluations": 2,
        "device": "cpu",
        "precision": "fp32",
    }


def train(recipe: dict[str, Any], out: Path, **changes: Any) -> dict[str, Any]:
    from qa_system.training.ranker.train import train_ranker

    return train_ranker(RankerTraining.model_validate(recipe | changes), out)


@pytest.fixture(scope="module")
def trained(recipe: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trained") / "ranker"
    train(recipe, out)
    return out


def test_a_run_leaves_a_cross_encoder_and_its_record(trained: Path) -> None:
    from qa_system.models.locate import locate
    from qa_system.rankers.cross_encoder import load_cross_encoder
    from qa_system.training.ranker.evaluate import measure
    from qa_system.training.ranker.examples import dev_examples

    record = json.loads((trained / "training.json").read_bytes())
    assert record["task"] == "ranker"
    assert record["counts"]["questions"] > 0
    measured = [entry for entry in record["history"] if "eval_mrr" in entry]
    best = max(entry["eval_mrr"] for entry in measured)
    assert record["scores"]["mrr"] == pytest.approx(best, abs=0.02)  # saved in fp32
    assert any("loss" in entry for entry in record["history"])
    assert not (trained / "checkpoints").exists()
    assert "ranker" in (trained / "README.md").read_text()

    # What was saved is what was measured.
    model = load_cross_encoder(locate(str(trained)), "cpu")
    assert model.max_seq_length == 48
    assert "token_type_ids" in model.preprocess([("Is it good?", "Yes.")])
    data = load_dataset("bundled:sample")
    examples = dev_examples(data.labels_of("dev"), data.reviews, 5)
    assert measure(model, [examples]) == pytest.approx(record["scores"])


def test_the_other_loss_and_what_is_held_out(recipe: dict[str, Any], tmp_path: Path) -> None:
    source = {"path": "bundled:sample", "split": "train", "weight": 0.05, "held_out": 0.3}
    record = train(recipe, tmp_path / "out", loss="pointwise", train=[source], epochs=0.2, dev=[])
    assert 0 < record["scores"]["mrr"] <= 1


def test_a_stopped_run_goes_on(
    recipe: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end of a run is cut off; taken up again, it gives what an undisturbed run gives."""
    from qa_system.training.ranker import train as ranker

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(ranker, "write_record", stop)
        with pytest.raises(KeyboardInterrupt):
            train(recipe, tmp_path / "out")
    assert list((tmp_path / "out" / "checkpoints").glob("checkpoint-*"))
    with pytest.raises(ConfigError, match="other settings"):
        train(recipe, tmp_path / "out", seed=14)
    again = train(recipe, tmp_path / "out")
    straight = train(recipe, tmp_path / "straight")
    assert again["scores"] == pytest.approx(straight["scores"])
    with pytest.raises(ConfigError, match="holds a trained model"):
        train(recipe, tmp_path / "out")


def test_what_cannot_be_trained_is_refused(recipe: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is an export"):
        train(recipe, tmp_path / "a", model="bundled:reader")
    with pytest.raises(ModelError, match="512 positions"):
        train(recipe, tmp_path / "b", max_seq_length=513)
    with pytest.raises(DataError, match="nothing to measure on"):
        train(recipe, tmp_path / "c", dev=[])
    nothing = {"same_item": 0, "other_item": 0}
    unanswered = tmp_path / "labels.jsonl"
    unanswered.write_text(
        '{"question": "Why?", "item_id": "a", "review_id": "r", "context": "So.", "answers": []}\n'
    )
    with pytest.raises(DataError, match="nothing to learn from"):
        train(recipe, tmp_path / "d", train=[{"path": str(unanswered)}], negatives=nothing)


def test_evaluation_holds_it_against_the_bare_retriever(trained: Path) -> None:
    settings = load_settings(
        overrides={
            "retriever.mode": "bm25",
            "ranker.type": "cross_encoder",
            "ranker.model": str(trained),
            "ranker.device": "cpu",
        },
        environ={},
    )
    run = retriever_run(load_dataset("bundled:sample"), settings, Selection("dev"), ks=[1])
    assert list(run.systems) == ["bm25 + cross_encoder", "bm25"]
    assert run.made_with["models"]["ranker"]["name"] == str(trained)
    bare = retriever_run(
        load_dataset("bundled:sample"),
        load_settings(overrides={"retriever.mode": "bm25"}, environ={}),
        Selection("dev"),
        ks=[1],
    )
    assert run.systems["bm25"].metrics == bare.systems["bm25"].metrics
    assert run.systems["bm25 + cross_encoder"].metrics != bare.systems["bm25"].metrics
