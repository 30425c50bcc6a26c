"""`qa-eval attributes`: attributes read out of reviews, compared with labelled values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from eval.cli.evaluation import is_own
from eval.cli.options import READER, ResamplesOption
from qa_system.console.app import print_json
from qa_system.console.options import ENCODER_IDENTITY, JsonOption, Setting, takes_settings

if TYPE_CHECKING:
    from qa_system.config import Settings

__all__ = ["attributes"]

COLUMNS: Final = (
    ("precision", "precision"),
    ("coverage", "coverage"),
    ("found", "found"),
    ("none_given", "none given, rightly"),
    ("not_said", "not said, rightly"),
)
"""Measures, and what people read."""


FileArgument = Annotated[
    str, typer.Argument(metavar="FILE", help="YAML of attributes, as for qa attributes.")
]
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--dataset",
        help="Labelled values (.jsonl): item_id, attribute, values. Default: the bundled sample's.",
    ),
]
WriteOption = Annotated[
    Path | None,
    typer.Option(
        "--write",
        metavar="FILE",
        help="Write the confidences and whether they were right, for qa attributes --max-error.",
    ),
]
LabelRowsOption = Annotated[
    Path | None, typer.Option("--rows", help="Write a row for each label to this file (.jsonl).")
]
SEARCHED = Setting(
    "store",
    "Ask this store: a folder, or a server's address with its index. Default: the sample's "
    "reviews, in a temporary one.",
)


@takes_settings(SEARCHED, *READER, *ENCODER_IDENTITY)
def attributes(
    settings: Settings,
    store: str | None,
    file: FileArgument = "sample",
    dataset: LabelsOption = None,
    write: WriteOption = None,
    rows: LabelRowsOption = None,
    resamples: ResamplesOption = 10_000,
    as_json: JsonOption = False,
) -> None:
    """Measure attributes that are read out of reviews: precision and coverage, with intervals."""
    from eval.datasets import load_dataset
    from eval.tasks.attributes import (
        agreement,
        compare,
        contract_of,
        measured,
        read_labelled,
        write_rows,
    )
    from qa_system.attributes.specification import read_specification
    from qa_system.config.shipped import resource
    from qa_system.models.locate import SAMPLE

    specification = read_specification(file)
    place = resource("gold") / "attributes.jsonl" if dataset is None else dataset
    labels = read_labelled(place, specification)
    found = None if is_own(store, settings) else load_dataset(SAMPLE, settings).reviews
    compared = compare(labels, specification, settings, found)
    if write is not None:
        contract_of(compared, specification, settings, place.name).write(write)
    if rows is not None:
        write_rows(rows, compared)
    result = {**measured(compared, resamples), "agreement": agreement(labels)}
    if as_json:
        print_json(result)
    else:
        _print(result, place.name)


def _print(result: dict[str, Any], name: str) -> None:
    from eval.report.tables import print_cells

    def shown(part: dict[str, Any], measure: str) -> str:
        mean, interval = part[measure]["mean"], part[measure]["interval"]
        if mean is None:
            return "-"
        between = "" if interval is None else f" [{interval[0]:.2f}, {interval[1]:.2f}]"
        return f"{mean:.3f}{between}"

    told = result["agreement"]
    notes = ["In brackets: 95 % intervals (bootstrap over items)."]
    if told:
        notes.append(
            f"Annotators, on {told['labels']} labels: kappa {told['kappa_said']:.3f} of said or "
            f"not; the same first value on {told['same_value']:.1%} of {told['both_said']}."
        )
    print_cells(
        f"Attributes: {name}",
        ("labels", "labelled", "given", *(title for _, title in COLUMNS)),
        {
            part: [
                str(each["labels"]),
                str(each["labelled"]),
                str(each["given"]),
                *(shown(each, measure) for measure, _ in COLUMNS),
            ]
            for part, each in result["parts"].items()
        },
        notes,
    )
