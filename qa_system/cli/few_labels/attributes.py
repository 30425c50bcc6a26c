"""`qa attributes`: named attributes of a catalogue's items, read out of their reviews."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qa_system.console.app import print_json
from qa_system.console.options import ENCODER_IDENTITY, STORE, JsonOption, takes_settings
from qa_system.console.wording import counted

if TYPE_CHECKING:
    from qa_system.attributes.job import ExtractedReport
    from qa_system.config import Settings

__all__ = ["attributes"]


FileArgument = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="YAML of attributes, or sample for that of the bundled sample."
    ),
]
OutOption = Annotated[
    Path,
    typer.Option(
        "--out",
        metavar="FILE",
        help="Write a row for each item and attribute: .csv, or .jsonl with every quote.",
    ),
]
ItemOption = Annotated[
    list[str] | None,
    typer.Option("--item", "-i", help="Only the item with this id. Repeatable."),
]
MaxErrorOption = Annotated[
    float | None,
    typer.Option(
        "--max-error",
        help="Give only values of which no more than this share is wrong, with 95 % confidence; "
        "needs --fitted.",
    ),
]
FittedOption = Annotated[
    Path | None,
    typer.Option(
        "--fitted",
        metavar="FILE",
        help="What qa-eval attributes --write has fitted on labelled values.",
    ),
]
RestartOption = Annotated[
    bool, typer.Option("--restart", help="Begin anew, over the rows of an earlier run.")
]


@takes_settings(STORE, *ENCODER_IDENTITY)
def attributes(
    settings: Settings,
    file: FileArgument,
    out: OutOption,
    item: ItemOption = None,
    max_error: MaxErrorOption = None,
    fitted: FittedOption = None,
    restart: RestartOption = False,
    as_json: JsonOption = False,
) -> None:
    """Read attributes of a catalogue out of its reviews: qa attributes FILE.yaml --out FILE.csv.

    A row has the value, how many reviews say it and what they say, or "not_said".
    A run that was stopped or killed goes on where it was when the same command is
    run again.
    """
    if (max_error is None) != (fitted is None):
        raise typer.BadParameter("--max-error SHARE and --fitted FILE belong together")
    if max_error is not None and not 0 < max_error < 1:
        raise typer.BadParameter("--max-error is a share between 0 and 1")
    from qa_system.attributes.job import extract_all, made_of
    from qa_system.attributes.specification import read_specification

    specification = read_specification(file)
    threshold = None
    if fitted is not None and max_error is not None:
        from qa_system.attributes.contract import read_contract

        contract = read_contract(fitted, made_of(settings, specification))
        threshold = contract.threshold(max_error)
    report = extract_all(settings, specification, out, item, threshold=threshold, restart=restart)
    if as_json:
        print_json(report.to_dict())
    else:
        _print_report(report)
    raise typer.Exit(report.exit_code)


def _print_report(report: ExtractedReport) -> None:
    typer.echo(
        f"{counted(report.rows, 'row')} of {counted(report.items, 'item')}: {report.said:,} said, "
        f"{report.unsure:,} unsure, {report.not_said:,} not said, "
        f"{counted(report.errors, 'error')}. {report.seconds:,.1f} s"
    )
    if report.threshold is not None:
        typer.echo(f"values need a confidence of {report.threshold:.3f}")
    if report.resumed:
        typer.echo(f"{report.resumed:,} of them by an earlier run")
    typer.echo(f"attributes: {report.out}")
