"""The recipes that ship are ones that the commands take."""

from pathlib import Path

import pytest

from qa_system.training.judge.recipe import JudgeTraining
from qa_system.training.recipes import (
    Adaptation,
    DistillTraining,
    GeneratorTraining,
    RankerTraining,
    ReaderTraining,
    RetrieverTraining,
    load_training,
)

KINDS = {
    "adapt": Adaptation,
    "distill": DistillTraining,
    "generator": GeneratorTraining,
    "improve": Adaptation,
    "judge": JudgeTraining,
    "ranker": RankerTraining,
    "reader": ReaderTraining,
    "reader-student": DistillTraining,
    "retriever": RetrieverTraining,
}
RECIPES = sorted((Path(__file__).parents[2] / "configs" / "train").glob("*.yaml"))


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_what_its_command_takes(path):
    kind = KINDS[max((each for each in KINDS if path.stem.startswith(each)), key=len)]
    # What `qa distill` is told on the command line.
    named = {"model": "student", "teacher": "teacher"} if kind is DistillTraining else {}
    recipe = load_training(kind, path, named)
    if isinstance(recipe, Adaptation):
        return
    learnt = [*recipe.train, *getattr(recipe, "pairs", ())]
    assert recipe.dev or any(getattr(source, "held_out", 0) for source in learnt)
    # SubjQA's dev split asks again what its train asks.
    assert not [source for source in recipe.dev if "subjqa" in source.path]


def test_a_recipe_names_the_models_that_it_is_made_of():
    sources = {"train": [{"path": "x"}], "dev": []}
    distilled = DistillTraining.model_validate({"model": "s", "teacher": "t"} | sources)
    assert distilled.models() == {"model": "s", "teacher": "t"}
    taught = {"labels": "teacher", "teacher": {"model": "t"}}
    retriever = RetrieverTraining.model_validate({"model": "m"} | taught | sources)
    assert retriever.models() == {"model": "m", "teacher": "t"}
    generator = GeneratorTraining.model_validate({"model": "g", "passage_encoder": "p"} | sources)
    assert generator.models() == {"model": "g", "passage_encoder": "p"}
