"""`qa-eval check`: small evaluations, compared with their expected scores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from qa_system.console.app import print_json
from qa_system.console.options import JsonOption
from qa_system.console.wording import counted

__all__ = ["check"]


def check(
    files: Annotated[
        list[Path], typer.Argument(help="YAML files: an evaluation and its expected scores.")
    ],
    update: Annotated[
        bool, typer.Option("--update", help="Write the measured scores into the files.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Run small evaluations again, and compare the scores with the expected ones."""
    from eval import regression

    expectations = {path: regression.load_expectation(path) for path in files}
    checked: dict[str, list[regression.Checked]] = {}
    changed_models: dict[str, list[str]] = {}
    for path, expectation in expectations.items():
        run = regression.evaluate(expectation)
        checked[str(path)] = regression.check(expectation, run)
        changed_models[str(path)] = regression.changed_models(expectation, run)
        if update:
            regression.write(regression.updated(expectation, run), path)
    surprises = sum(each.verdict != "as expected" for found in checked.values() for each in found)
    if as_json:
        found_in = {
            name: {"checked": found, "changed_models": changed_models[name]}
            for name, found in checked.items()
        }
        print_json({"surprises": surprises, "updated": update, "files": found_in})
    else:
        from eval.report.tables import print_checked

        for name, found in checked.items():
            print_checked(name, found, changed_models[name])
    if surprises and not update:
        sys.stderr.write(
            f"error: {counted(surprises, 'number')} not as expected. To expect the measured ones: "
            f"qa-eval check --update {' '.join(map(str, files))}\n"
        )
        raise typer.Exit(1)
