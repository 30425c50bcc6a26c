"""Search spaces: read by the safe loader, and checked against the recipe, all errors at once."""

from pathlib import Path

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents import blocks
from qa_system.errors import ConfigError
from qa_system.training.tuning.kinds import KINDS, recipe_of, trainer_of
from qa_system.training.tuning.space import Dimension, load_search

RECIPE = "model: start\ntrain: [{path: x}]\ndev: []\nbatch_size: 8\n"


def search(folder: Path, space: str, kind: str = "reader", recipe: str = RECIPE):
    (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    (folder / "space.yaml").write_text(space, encoding="utf-8")
    return load_search(kind, folder / "recipe.yaml", folder / "space.yaml")


def test_every_error_of_recipe_and_space_is_said_at_once(tmp_path: Path) -> None:
    space = """
learning_rte: {type: log, low: 1.0e-5, high: 1.0e-3}
epochs: {type: float, low: 0, high: 3}
batch_size: {type: float, low: 4, high: 16}
negatives.same_items: {type: float, low: 0, high: 1}
negatives.other_item: {type: float, low: -0.5, high: 1}
precision: {type: categorical, choices: [fp32, fp8]}
train.0.weight: {type: float, low: 1, high: 2}
warmup: {type: float, low: 0.5, high: 0.1}
dropout: {type: log, low: 0, high: 0.1}
seed: {type: int, low: 1, high: 2.5}
frozen_layers: {type: categorical}
stride: {typ: int, low: 1, high: 2}
weight_decay: 3
"""
    with pytest.raises(ConfigError) as caught:
        search(tmp_path, space, recipe=RECIPE + "patience: 0\n")
    said = caught.value.what.split("; ")
    assert [line for line in said if line.startswith("space, ")] == [
        "space, warmup: `low` must be a number, and no more than `high`",
        "space, dropout: `low` must be a number above 0, and no more than `high`",
        "space, seed: `int` has whole numbers",
        "space, frozen_layers: `categorical` has `choices`, and nothing else",
        "space, stride: type: is missing",
        "space, stride: typ: no such key",
        "space, weight_decay: must be keys with values, and is 3",
    ]
    assert [line for line in said if not line.startswith("space, ")] == [
        "patience: must be more than 0, and is 0",
        "learning_rte: no such key [space]",
        "epochs: must be more than 0, and is 0.0 [space]",
        "batch_size: must be a whole number, and is 8.6 [space]",
        "negatives.same_items: no such key [space]",
        "negatives.other_item: must be 0 or more, and is -0.5 [space]",
        "precision: must be 'auto', 'fp32' or 'bf16', and is 'fp8' [space]",
        "train.0.weight: no such key [space]",
    ]


def test_an_unsafe_or_empty_space_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="not YAML"):
        search(tmp_path, "epochs: !!python/object/apply:os.system [true]")
    with pytest.raises(ConfigError, match="the space has no key"):
        search(tmp_path, "{}")


def test_the_recipes_own_values_come_first_where_the_space_holds_them(tmp_path: Path) -> None:
    found = search(
        tmp_path,
        "batch_size: {type: int, low: 4, high: 16, step: 4}\n"
        "epochs: {type: float, low: 3, high: 5}\n"
        "negatives.same_item: {type: categorical, choices: [0.1, 0.5]}\n"
        "model: {type: categorical, choices: [a, b]}\n",
        recipe=RECIPE.replace("model: start\n", ""),
    )
    assert found.own_values() == {"batch_size": 8, "negatives.same_item": 0.1}
    recipe = found.recipe({"negatives.same_item": 0.5, "model": "b"}).model_dump()
    assert (recipe["negatives"], recipe["model"]) == ({"same_item": 0.5, "other_item": 0.05}, "b")


def test_the_space_that_the_documents_show_is_one(tmp_path: Path, root: Path) -> None:
    document = root / "docs" / "few-labels.md"
    [shown] = [block.code for block in blocks(document, "few-labels") if block.language == "yaml"]
    found = search(tmp_path, shown)
    assert found.own_values() == {
        "epochs": 2.0,
        "learning_rate": 1e-4,
        "frozen_layers": 0,
        "batch_size": 8,
        "negatives.same_item": 0.1,
    }


numbers = st.integers(-20, 20)


@given(st.sampled_from(["float", "log", "int"]), numbers, numbers, st.sampled_from([None, 1, 2, 5]))
def test_what_is_suggested_is_in_the_space_and_stays(type_, low, high, step) -> None:
    low, high = sorted((low, high))
    if type_ == "log":
        low, high, step = abs(low) + 1, abs(low) + 1 + high - low, None
    dimension = Dimension(type=type_, low=low, high=high, step=step)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=13))
    trial = study.ask()
    value = dimension.suggested(trial, "key")
    assert dimension.holds(value)
    assert low <= value <= high
    again = optuna.trial.Trial(study, trial._trial_id)
    assert dimension.suggested(again, "key") == value


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_a_recipe_and_a_trainer(kind: str) -> None:
    pytest.importorskip("torch")
    assert "learning_rate" in recipe_of(kind).model_fields
    assert callable(trainer_of(kind))


def test_the_command_names_every_kind() -> None:
    from typing import get_args

    from qa_system.cli.tune import Kind

    assert get_args(Kind) == tuple(KINDS)
    with pytest.raises(ConfigError, match="there is no training 'readers'"):
        recipe_of("readers")
