"""What a recipe is resolved to before anything is trained."""

from pathlib import Path

import orjson
import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

from qa_system.errors import ConfigError
from qa_system.training.recipes import RetrieverTraining, Schedule
from qa_system.training.record import write_record
from qa_system.training.run import begin

RECIPE = {
    "model": "bundled:encoder",
    "train": [{"path": "bundled:sample", "split": "train"}],
    "dev": [{"path": "bundled:sample", "split": "dev"}],
    "epochs": 0.5,
    "towers": "two",
    "device": "cpu",
    "precision": "bf16",
}


def recipe(**changes: object) -> RetrieverTraining:
    return RetrieverTraining.model_validate(RECIPE | changes)


def test_a_run_has_the_recipes_schedule_and_nothing_else_of_it(tmp_path: Path) -> None:
    run = begin(recipe(), tmp_path / "model")
    # A retriever's own defaults, where the recipe says nothing.
    assert run.schedule == Schedule(
        epochs=0.5, batch_size=32, learning_rate=5e-5, device="cpu", precision="bf16"
    )
    assert type(run.schedule) is Schedule
    assert (run.device.type, run.bf16) == ("cpu", True)
    assert not begin(recipe(precision="fp32"), tmp_path / "other").bf16


def test_the_record_has_the_recipe_that_the_run_began_with(tmp_path: Path) -> None:
    run = begin(recipe(), tmp_path / "model")
    with pytest.raises(ConfigError, match="other settings"):
        begin(recipe(seed=1), tmp_path / "model")
    history = [{"step": 1, "loss": 0.5}]
    record = write_record(run, task="x", data=[], scores={"mrr": 0.5}, history=history, counts={})
    assert record["settings"] == recipe().model_dump(mode="json")
    assert list(record["models"]) == ["model"]
    assert orjson.loads((tmp_path / "model" / "training.json").read_bytes()) == record
    assert not run.checkpoints.exists()
    with pytest.raises(ConfigError, match="holds a trained model"):
        begin(recipe(), tmp_path / "model")
