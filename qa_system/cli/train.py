"""`qa train`: models of one's own, each by a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from qa_system.config.shipped import shipped
from qa_system.console.app import print_json
from qa_system.console.options import ENCODER, JsonOption, takes_settings
from qa_system.console.wording import counted

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["OutOption", "RecipeOption", "SetOption", "show", "train"]

train = typer.Typer(
    help="Train models on labelled questions, or on reviews alone. A stopped run goes on when it "
    "is run again.",
    no_args_is_help=True,
)

RecipeOption = Annotated[
    Path,
    typer.Option(
        "--recipe",
        "-r",
        help="Train as this YAML file says, or as the recipe of this name does: "
        f"{', '.join(shipped('recipe'))}.",
    ),
]
OutOption = Annotated[Path, typer.Option("--out", help="Write the model to this folder.")]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Set any key of the recipe, for example epochs=3. Repeatable.",
    ),
]


@train.command()
def reader(
    recipe: RecipeOption, out: OutOption, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Train an extractive reader."""
    from qa_system.training.reader.train import train_reader
    from qa_system.training.recipes import ReaderTraining, load_training

    show(train_reader(load_training(ReaderTraining, recipe, set_ or ()), out), as_json)


@train.command()
def retriever(
    recipe: RecipeOption, out: OutOption, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Train encoders of questions and passages."""
    from qa_system.training.recipes import RetrieverTraining, load_training
    from qa_system.training.retriever.train import train_retriever

    show(train_retriever(load_training(RetrieverTraining, recipe, set_ or ()), out), as_json)


@train.command()
def ranker(
    recipe: RecipeOption, out: OutOption, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Train a cross-encoder that orders reviews."""
    from qa_system.training.ranker.train import train_ranker
    from qa_system.training.recipes import RankerTraining, load_training

    show(train_ranker(load_training(RankerTraining, recipe, set_ or ()), out), as_json)


@train.command()
def judge(
    recipe: RecipeOption, out: OutOption, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Train a judge of sentences: does one answer, and what does it say."""
    from qa_system.training.judge.recipe import JudgeTraining
    from qa_system.training.judge.train import train_judge
    from qa_system.training.recipes import load_training

    show(train_judge(load_training(JudgeTraining, recipe, set_ or ()), out), as_json)


@train.command()
def generator(
    recipe: RecipeOption, out: OutOption, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Train a RAG generator, and a question encoder with it."""
    from qa_system.training.generator.train import train_generator
    from qa_system.training.recipes import GeneratorTraining, load_training

    show(train_generator(load_training(GeneratorTraining, recipe, set_ or ()), out), as_json)


@train.command()
def language_model(
    recipe: RecipeOption, out: OutOption, set_: SetOption = None, as_json: JsonOption = False
) -> None:
    """Train an encoder to predict the words of your reviews, which need no labels."""
    from qa_system.training.language_model.recipe import LanguageModelTraining
    from qa_system.training.language_model.train import train_language_model
    from qa_system.training.recipes import load_training

    show(
        train_language_model(load_training(LanguageModelTraining, recipe, set_ or ()), out), as_json
    )


@train.command()
@takes_settings(*ENCODER)
def nearest(
    settings: Settings,
    out: Annotated[
        Path, typer.Option("--out", help="Write the labelled questions to this folder.")
    ],
    dataset: Annotated[
        str,
        typer.Option(
            "--dataset", help="Labelled questions: any data set. Default: the bundled sample."
        ),
    ] = "bundled:sample",
    field: Annotated[
        str,
        typer.Option(
            "--field",
            help="What is learnt: answer, or a field of the data set, for example query_asp.",
        ),
    ] = "answer",
    train_split: Annotated[
        str | None,
        typer.Option("--train-split", help="Part of the data set whose labels are given."),
    ] = "train",
    dev_split: Annotated[
        str | None,
        typer.Option("--dev-split", help="Part on which k and the threshold are chosen."),
    ] = "dev",
    as_json: JsonOption = False,
) -> None:
    """Keep labelled questions, whose labels the questions nearest to them get."""
    from qa_system.datasets.dataset import read_dataset
    from qa_system.nearest.examples import examples_of
    from qa_system.nearest.fitting import fit
    from qa_system.nearest.kept import save

    data = read_dataset(dataset)
    examples = examples_of(data.labels_of(train_split), field)
    held_out = examples_of(data.labels_of(dev_split), field)
    labelled = fit(examples, held_out, field, settings.encoder.model_dump())
    save(labelled, out)
    chosen = labelled.chosen
    if as_json:
        print_json({"questions": len(labelled.examples), "chosen": chosen.to_dict()})
        return
    typer.echo(
        f"{counted(len(labelled.examples), 'labelled question')}; k {chosen.k}, threshold "
        f"{chosen.threshold:.3f}: micro F1 {chosen.micro_f1 or 0.0:.3f} on "
        f"{counted(chosen.questions, 'question')} of {dev_split}"
    )
    typer.echo(f"labels: {out}")


def show(record: Mapping[str, Any], as_json: bool) -> None:
    """Print the scores of a training run."""
    if as_json:
        print_json(record)
        return
    for name, value in record["scores"].items():
        typer.echo(f"{name}: {value:.4f}")
