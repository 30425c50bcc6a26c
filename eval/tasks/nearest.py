"""Questions that get the labels of the nearest labelled ones, compared with their own labels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import nan
from statistics import fmean
from typing import Any, Final

import numpy as np

from eval.runs.paired import Resampling
from qa_system.errors import EvaluationError
from qa_system.nearest.component import NearestLabels
from qa_system.nearest.examples import Example, is_right

__all__ = ["measured", "nearest_run"]

MEASURES: Final = ("precision", "recall")


def nearest_run(
    nearest: NearestLabels, examples: Sequence[Example], resamples: int = 10_000
) -> dict[str, Any]:
    """Label held-out questions, and measure the labels; beside them those of a baseline.

    Args:
        nearest: the component.
        examples: the questions with their labels.
        resamples: of the questions, for each interval.

    Returns:
        `chosen`; and of `nearest` and `most frequent` (every question gets the label that most
        labelled questions have, of answers of the same item) what `measured` returns.

    Raises:
        EvaluationError: no question has a label.
        ModelError: the component cannot be loaded.
    """
    if not any(each.labels for each in examples):
        raise EvaluationError(
            "no question has a label", remedy="Measure on another split of the data set."
        )
    labelled = nearest.labelled
    items = [each.item_id for each in examples]
    found = nearest.predict([each.text for each in examples], items)
    counts: dict[str | None, Counter[str]] = {}
    for each in labelled.examples:
        counts.setdefault(each.item_id, Counter()).update(each.labels)
    frequent = [
        [label for label, _ in counts.get(item, Counter()).most_common(1)] for item in items
    ]
    given = [[vote.label for vote in each.labels] for each in found]
    return {
        "field": labelled.field,
        "chosen": labelled.chosen.to_dict(),
        "systems": {
            "nearest": measured(labelled.field, examples, given, resamples),
            "most frequent": measured(labelled.field, examples, frequent, resamples),
        },
    }


def measured(
    field: str, examples: Sequence[Example], given: Sequence[Sequence[str]], resamples: int
) -> dict[str, Any]:
    """Return how well labels that were given are those that questions have.

    Args:
        field: what the labels are.
        examples: the questions with their labels.
        given: the labels that each got.
        resamples: of the questions, for each interval.

    Returns:
        `precision` (mean over the questions that got labels), `recall` (over those that have
        some), each with its interval; `micro_f1`; `macro_f1`, the mean of the labels' F1, which
        answers have not; `questions`, `labelled`, `given`.
    """
    scores, right_given, right_found = [], 0, 0
    for example, own in zip(examples, given, strict=True):
        right = [is_right(field, label, example.labels) for label in own]
        kept = [any(is_right(field, label, [gold]) for label in own) for gold in example.labels]
        # One answer answers a question, whichever of its annotators' answers it is like.
        recalled = float(any(right)) if field == "answer" else fmean(kept or [0.0])
        scores.append([fmean(right) if right else nan, recalled if example.labels else nan])
        right_given += sum(right)
        right_found += int(any(right)) if field == "answer" else sum(kept)
    wanted = sum(bool(each.labels) if field == "answer" else len(each.labels) for each in examples)
    total = sum(map(len, given)) + wanted
    columns = np.array(scores)
    texts = [f"{at}" for at in range(len(examples))]
    intervals = Resampling(texts, resamples).intervals(columns)
    means = [
        float(column[~np.isnan(column)].mean()) if not np.isnan(column).all() else None
        for column in columns.T
    ]
    return {
        "questions": len(examples),
        "labelled": sum(bool(each.labels) for each in examples),
        "given": sum(bool(own) for own in given),
        **{
            name: {"mean": mean, "interval": interval}
            for name, mean, interval in zip(MEASURES, means, intervals, strict=True)
        },
        "micro_f1": (right_given + right_found) / total if total else 0.0,
        "macro_f1": None if field == "answer" else _macro_f1(examples, given),
    }


def _macro_f1(examples: Sequence[Example], given: Sequence[Sequence[str]]) -> float:
    wanted: Counter[str] = Counter(label for each in examples for label in each.labels)
    told: Counter[str] = Counter(label for own in given for label in own)
    right: Counter[str] = Counter(
        label
        for each, own in zip(examples, given, strict=True)
        for label in own
        if label in each.labels
    )
    return fmean(2 * right[label] / (wanted[label] + told[label]) for label in wanted | told)
