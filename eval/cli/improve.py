"""`qa-eval improve`, `qa-eval rollback`: a reader that learns from labels, and has to prove it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from eval.cli.options import READER, ResamplesOption
from qa_system.console.app import print_json
from qa_system.console.options import STORE, JsonOption, takes_settings

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["improve", "rollback"]

ModelsOption = Annotated[
    Path,
    typer.Option(
        "--models",
        help="Folder of the versions. Settings name its link as the reader: MODELS/serving.",
    ),
]
LabelsArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[LABELS]...",
        help="Labels: .jsonl, SQuAD .json, SubjQA folder, or store: for those in the store. Name "
        "old ones, too; only new ones count as new.",
        show_default=False,
    ),
]
CorrectionsOption = Annotated[
    Path | None,
    typer.Option(
        "--corrections",
        help="Also learn from the words that shoppers marked as the answer: the file of qa serve, "
        "or what qa feedback prints. Their reviews are read from the store.",
    ),
]
ReplayOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="SOURCE[:SPLIT]",
        help="General questions to replay and to guard. May be repeated. Default: the sample.",
    ),
]
MarkedOption = Annotated[
    list[str] | None,
    typer.Option(
        "--marked",
        metavar="FILE",
        help="Questions labelled over all reviews of their item: what confidences mean is fitted "
        "on them before a reader is promoted, as by qa-eval calibrate --pipeline. May be repeated.",
    ),
]


StartOption = Annotated[
    str | None, typer.Option(help="Train this checkpoint. Default: the reader that serves.")
]
RecipeOption = Annotated[
    Path, typer.Option("--recipe", "-r", help="YAML file; the one named improve has the keys.")
]
LeastOption = Annotated[int, typer.Option(min=1, help="New labels that are needed.")]
ShareOption = Annotated[
    float, typer.Option("--held-out", min=0.05, max=0.95, help="Share of the items to test on.")
]
LevelOption = Annotated[
    float,
    typer.Option(
        min=0.0001, max=0.5, help="Promote if p is this at most: one-sided, paired, by item."
    ),
]
MarginOption = Annotated[float, typer.Option(min=0, help="F1 that may be lost elsewhere, at most.")]
SeedOption = Annotated[int, typer.Option(help="Random seed of the division and the test.")]
KeepOption = Annotated[
    bool, typer.Option("--keep-refused", help="Keep the weights of a refused version.")
]


@takes_settings(STORE, *READER)
def improve(
    settings: Settings,
    models: ModelsOption,
    labels: LabelsArgument = None,
    corrections: CorrectionsOption = None,
    replay: ReplayOption = None,
    start: StartOption = None,
    recipe: RecipeOption = Path("improve"),
    least: LeastOption = 20,
    share: ShareOption = 0.4,
    level: LevelOption = 0.05,
    margin: MarginOption = 0.03,
    seed: SeedOption = 13,
    resamples: ResamplesOption = 10_000,
    marked: MarkedOption = None,
    keep: KeepOption = False,
    as_json: JsonOption = False,
) -> None:
    """Adapt the reader that serves to new labels, and promote the result if it is better."""
    from eval.adaptation.collecting import collect
    from eval.adaptation.decision import Rule
    from eval.adaptation.improve import Improvement
    from eval.adaptation.improve import improve as run
    from eval.adaptation.readers import source_of
    from qa_system.errors import ConfigError
    from qa_system.models.locate import SAMPLE
    from qa_system.training.recipes import Adaptation, load_training

    if not labels and corrections is None:
        raise ConfigError(
            "there are no labels to learn from",
            remedy="Name files of labels, store: for those in the store, or --corrections FILE.",
        )
    how = Improvement(
        load_training(Adaptation, recipe),
        Rule(level, margin, resamples, seed),
        tuple(map(source_of, replay or (SAMPLE,))),
        start,
        least,
        share,
        keep,
        tuple(marked or ()),
    )
    result = run(collect(labels or (), corrections, settings), models, how, settings)
    if as_json:
        print_json(result)
        return
    for line in _lines(result, models):
        typer.echo(line)


def rollback(
    models: ModelsOption,
    why: Annotated[str, typer.Option(help="The reason, for the record.")],
    as_json: JsonOption = False,
) -> None:
    """Let the version serve again that served before the one that serves now."""
    from eval.adaptation.versions import SERVING, Versions

    versions = Versions(models)
    with versions.locked():
        now = versions.roll_back(why)
    if as_json:
        print_json({"serving": now.number})
        return
    typer.echo(f"version {now.number} serves again: {models / SERVING}")


def _lines(result: dict[str, Any], models: Path) -> list[str]:
    """Say what was decided, and what is to be done now."""
    from eval.adaptation.versions import SERVING
    from qa_system.console.wording import counted

    if result["decision"] == "nothing new":
        return [f"no new labels: nothing was done, version {result['serving']} serves"]
    record, link = result["record"], models / SERVING
    asked = record["questions"]
    made = f"version {record['version']} of {counted(result['new_labels'], 'new label')}"
    lines = [
        f"{made}: {result['decision']}; version {result['serving']} serves",
        f"learnt from {asked['learnt']} questions, replayed from {asked['replayed']}",
        *record["reasons"],
    ]
    if result["decision"] == "promoted":
        fit = result["confidence"]
        lines += [f"services whose reader.model is {link} take it when they are reloaded (SIGHUP)"]
        about = (
            f"fitted, {fit['file']}"
            if fit["fitted"]
            else f"the reader's own until you fit it: {fit['run']}"
        )
        lines += [f"confidence of answers: {about}"]
    return lines
