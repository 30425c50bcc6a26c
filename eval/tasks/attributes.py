"""Attributes read out of reviews, compared with labelled values.

A label is an item, an attribute and the values that are right; none: no review says it. A number is
right within 5 % of one of them, words with an F1 of .5 with one of them, other values if they are
one of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import orjson

from eval.metrics.selective import RIGHT, coverages
from eval.runs.paired import Resampling
from eval.runs.storage import write_files
from eval.tasks.candidates import temporary_index
from qa_system.annotation.agreement import kappa
from qa_system.attributes.contract import Contract
from qa_system.attributes.extracting import ALIKE, Extraction, Value
from qa_system.attributes.job import BATCH, extracted, made_of
from qa_system.attributes.specification import Attribute, Specification
from qa_system.config import Settings, changed
from qa_system.errors import DataError, EvaluationError, QASystemError
from qa_system.metrics import f1
from qa_system.records import Review
from qa_system.system import QASystem

__all__ = [
    "Compared",
    "LabelledValue",
    "agreement",
    "compare",
    "contract_of",
    "is_right",
    "measured",
    "read_labelled",
    "write_rows",
]

MEASURES: Final = ("precision", "coverage", "found", "none_given", "not_said")


@dataclass(frozen=True, slots=True)
class LabelledValue:
    """The values of one attribute of one item that are right.

    Args:
        item_id: the item.
        attribute: its name.
        values: that are right, the best first; none: no review says it.
        passes: what each annotator wrote, if that was kept.
    """

    item_id: str
    attribute: str
    values: tuple[Value, ...]
    passes: tuple[tuple[Value, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Compared:
    """A label, and what the system made of it."""

    label: LabelledValue
    kind: str
    found: Extraction | None
    right: bool
    error: str | None = None

    @property
    def is_given(self) -> bool:
        """Whether the system gave a value."""
        return self.found is not None and self.found.value is not None

    @property
    def is_not_said(self) -> bool:
        """Whether the system told that no review says it."""
        return self.found is not None and self.found.status == "not_said"

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "item_id": self.label.item_id,
            "attribute": self.label.attribute,
            "type": self.kind,
            "labelled": list(self.label.values),
            "right": self.right,
            "error": self.error,
            **({} if self.found is None else self.found.to_dict()),
        }


def read_labelled(path: Path, specification: Specification) -> list[LabelledValue]:
    """Read labelled values: a JSON object a line with item_id, attribute and values.

    Args:
        path: of the file.
        specification: the attributes that they are of.

    Raises:
        DataError: a line is something else, stands there twice, or names an attribute that the
            specification does not give its item; or there are no lines.
    """
    found: dict[tuple[str, str], LabelledValue] = {}
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise DataError(
            f"the labels cannot be read: {error.strerror}",
            where=str(path),
            remedy="Name a file of labelled values: qa-eval attributes --dataset FILE.jsonl.",
        ) from error
    for number, line in enumerate(lines, start=1):
        try:
            label = _label_of(orjson.loads(line))
            if label.attribute not in specification.of_item(label.item_id):
                raise ValueError(f"{label.item_id!r} has no attribute {label.attribute!r}")
            if (label.item_id, label.attribute) in found:
                raise ValueError("the item and its attribute stand there twice")
        except (KeyError, TypeError, ValueError) as error:
            told = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise DataError(
                f"this is no labelled value: {told}",
                where=f"{path}, line {number}",
                remedy='Write {"item_id": "lamp", "attribute": "power", "values": [12]}.',
            ) from error
        found[label.item_id, label.attribute] = label
    if not found:
        raise DataError("there are no labels", where=str(path), remedy="Write some into it.")
    return list(found.values())


def compare(
    labels: Sequence[LabelledValue],
    specification: Specification,
    settings: Settings,
    reviews: Sequence[Review] | None,
) -> list[Compared]:
    """Extract the labelled attributes, and compare the values.

    Args:
        labels: with the names of attributes of the specification.
        specification: the attributes.
        settings: what users run.
        reviews: that are put into a temporary index; None: the store of the settings is asked.

    Raises:
        EvaluationError: every label failed.
        QASystemError: a store or model cannot be opened.
    """
    if reviews is None:
        return _compared(labels, specification, settings)
    about = {label.item_id for label in labels}
    chosen = [review for review in reviews if review.item_id in about]
    with temporary_index(chosen, settings, embed=True) as placed:
        return _compared(labels, specification, placed)


def is_right(attribute: Attribute, value: Value, right: Sequence[Value]) -> bool:
    """Tell whether a value is one of those that are right.

    >>> is_right(Attribute(questions=("How heavy is it?",), type="number"), 101.0, [100])
    True
    """
    if attribute.type == "text":
        return f1(str(value), list(map(str, right))) >= RIGHT if right else False
    if attribute.type == "number":
        return any(abs(float(value) - float(each)) <= ALIKE * abs(float(each)) for each in right)
    return value in right


def measured(compared: Sequence[Compared], resamples: int = 10_000) -> dict[str, Any]:
    """Return precision and coverage, of all labels and by type, with intervals.

    Args:
        compared: labels with what was found.
        resamples: of the items, for each interval.

    Returns:
        `all`, and each type of value -> `labels`, `labelled` (of which reviews say a value),
        `given`, and of each measure its mean and its 95 % interval: `precision` (of the values
        given, the right ones), `coverage` (of the labelled ones, those given a value), `found` (of
        the labelled ones, those given a right value), `none_given` (of those that no review says,
        those without a value) and `not_said` (of those told to be not said, those that no review
        says). `coverage_at_10` and so on: see `eval.metrics.selective`.
    """
    kinds = dict.fromkeys(each.kind for each in compared)
    parts = {"all": list(compared)} | {
        kind: [each for each in compared if each.kind == kind] for kind in kinds
    }
    result = {name: _of_part(own, resamples) for name, own in parts.items()}
    labelled = [each for each in compared if each.label.values]
    told = [
        each.found.confidence or 0.0 if each.is_given and each.found else float("nan")
        for each in labelled
    ]
    selective = coverages(told, [float(each.right) for each in labelled]) if labelled else {}
    return {"parts": result, **selective}


def agreement(labels: Sequence[LabelledValue]) -> dict[str, float | int | None]:
    """Return how far two annotators agree; nothing where their labels were not kept.

    >>> agreement([LabelledValue("lamp", "power", (12,), ((12,), (12,)))])["same_value"]
    1.0
    """
    pairs = [label.passes for label in labels if len(label.passes) == 2]
    if not pairs:
        return {}
    both = [(one[0], other[0]) for one, other in pairs if one and other]
    return {
        "labels": len(pairs),
        "kappa_said": kappa([(bool(one), bool(other)) for one, other in pairs]),
        "both_said": len(both),
        "same_value": sum(one == other for one, other in both) / len(both) if both else None,
    }


def contract_of(
    compared: Sequence[Compared], specification: Specification, settings: Settings, name: str
) -> Contract:
    """Return what a promised error is fitted on: the values given, and which are right.

    Args:
        compared: labels with what was found.
        specification: the attributes.
        settings: with which they were extracted.
        name: of the labels.
    """
    outcomes = tuple(
        (round(each.found.confidence or 0.0, 4), each.right)
        for each in compared
        if each.is_given and each.found is not None
    )
    return Contract(made_of(settings, specification), f"{name} ({len(compared)} labels)", outcomes)


def write_rows(path: Path, compared: Sequence[Compared]) -> None:
    """Write a JSON object for each label: its values, and what was found.

    Raises:
        DataError: the file cannot be written.
    """
    lines = [
        orjson.dumps(each.to_dict(), default=str, option=orjson.OPT_APPEND_NEWLINE)
        for each in compared
    ]
    write_files({path: b"".join(lines)})


def _label_of(tree: Mapping[str, Any]) -> LabelledValue:
    item, attribute = tree["item_id"], tree["attribute"]
    passes = tuple(map(_values, tree.get("passes", ())))
    if not isinstance(item, str) or not isinstance(attribute, str):
        raise TypeError("item_id and attribute have to be texts")
    return LabelledValue(item, attribute, _values(tree["values"]), passes)


def _values(found: object) -> tuple[Value, ...]:
    if not isinstance(found, list):
        raise TypeError("values have to be a list")
    for each in found:
        if isinstance(each, bool) or not isinstance(each, str | int | float):
            raise TypeError(f"{each!r} is no text and no number")
    return tuple(found)


def _compared(
    labels: Sequence[LabelledValue], specification: Specification, settings: Settings
) -> list[Compared]:
    # The confidence of every value is needed, so that a threshold can be chosen.
    bare = changed(settings, {"answers.max_error": None})
    found: list[Extraction | QASystemError] = []
    with QASystem.open(bare) as system:
        for first in range(0, len(labels), BATCH):
            part = labels[first : first + BATCH]
            places = [(label.item_id, label.attribute) for label in part]
            found += extracted(system, specification, places)
    rows = [
        _row(label, specification.attributes[label.attribute], each)
        for label, each in zip(labels, found, strict=True)
    ]
    if all(row.error is not None for row in rows):
        raise EvaluationError(f"every label failed, the first with: {rows[0].error}")
    return rows


def _row(label: LabelledValue, attribute: Attribute, found: Extraction | QASystemError) -> Compared:
    if isinstance(found, QASystemError):
        return Compared(label, attribute.type, None, right=False, error=str(found))
    right = found.value is not None and is_right(attribute, found.value, label.values)
    return Compared(label, attribute.type, found, right)


def _of_part(rows: Sequence[Compared], resamples: int) -> dict[str, Any]:
    nan = float("nan")
    scores = np.array(
        [
            [
                float(row.right) if row.is_given else nan,
                float(row.is_given) if row.label.values else nan,
                float(row.right) if row.label.values else nan,
                nan if row.label.values else float(not row.is_given),
                float(not row.label.values) if row.is_not_said else nan,
            ]
            for row in rows
        ]
    )
    intervals = Resampling([row.label.item_id for row in rows], resamples).intervals(scores)
    counted = ~np.isnan(scores)
    return {
        "labels": len(rows),
        "labelled": sum(bool(row.label.values) for row in rows),
        "given": sum(row.is_given for row in rows),
        **{
            name: {
                "mean": float(column[there].mean()) if there.any() else None,
                "interval": interval,
            }
            for name, column, there, interval in zip(
                MEASURES, scores.T, counted.T, intervals, strict=True
            )
        },
    }
